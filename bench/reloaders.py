"""The reloaders in Python that serve an HTTP application: what each is given to serve, and how it is started."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench import peers
from bench.agents import Line
from bench.processes import free_port, running, wait_for_port
from bench.subjects import Answer, Start, Subject, filled

_STARLETTE = """\
NUMBER = {number}
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route
from keep import TOKEN


async def get_number(request):
    return JSONResponse({{"number": NUMBER, "token": TOKEN}})


app = Starlette(routes=[Route("/number", get_number)])
"""
_FLASK = """\
NUMBER = {number}
from flask import Flask
from keep import TOKEN

app = Flask(__name__)


@app.get("/number")
def get_number():
    return {{"number": NUMBER, "token": TOKEN}}


"""
_FASTAPI = _FLASK.replace("from flask import Flask", "from fastapi import FastAPI").replace(
    "Flask(__name__)", "FastAPI()"
)
_PLAIN = "NUMBER = {number}\n"

_KEEP = "import uuid\n\nTOKEN = uuid.uuid4().hex\n"
_SERVE = """\
import uvicorn
from app import app


def main():
    uvicorn.run(app, host="127.0.0.1", port={port}, log_level="error")


if __name__ == "__main__":
    main()
"""
# hmr runs its entry again whenever a module changes that the entry has read from; the server is a thread beside it.
_ENTRY = """\
import beside
from app import NUMBER

beside.serve({port})
beside.answer["number"] = NUMBER
"""
_BESIDE = """\
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from keep import TOKEN

answer = {"token": TOKEN}
serving = []


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def do_GET(self):
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


def serve(port):
    if not serving:
        serving.append(ThreadingHTTPServer(("127.0.0.1", port), Handler))
        threading.Thread(target=serving[0].serve_forever, daemon=True).start()
"""


@dataclass(frozen=True, slots=True)
class Reloader:
    """A peer: the package it is, the command that serves app.py on a port, and what app.py is.

    `slow` ones start a process again: seconds rather than milliseconds.
    """

    package: str
    command: Callable[[Path, int], list[str]]
    slow: bool
    app: str = _STARLETTE
    environment: str = "reloaders"


def _program(name: str, *arguments: str) -> Callable[[Path, int], list[str]]:
    return lambda found, port: [str(found / name), *(each.format(port=port) for each in arguments)]


def _serving(name: str, *arguments: str) -> Callable[[Path, int], list[str]]:
    """One that runs serve.py with a Python; `{python}` stands for that."""
    return lambda found, port: [str(found / name), *(each.format(python=found / "python") for each in arguments)]


RELOADERS: dict[str, Reloader] = {
    "hmr": Reloader("hmr", _program("hmr", "entry.py"), False, _PLAIN, "hmr"),
    "uvicorn-hmr": Reloader(
        "uvicorn-hmr",
        _program("uvicorn-hmr", "app:app", "--port", "{port}", "--host", "127.0.0.1", "--log-level", "error"),
        False,
        environment="hmr",
    ),
    "jurigged": Reloader("jurigged", _serving("python", "-m", "jurigged", "serve.py"), False),
    "granian --reload": Reloader(
        "granian",
        _program("granian", "--interface", "asgi", "--reload", "--port", "{port}", "--no-log", "app:app"),
        False,
    ),
    "uvicorn --reload": Reloader("uvicorn", _program("uvicorn", "app:app", "--reload", "--port", "{port}"), True),
    "flask --debug": Reloader(
        "flask", _program("flask", "--app", "app", "run", "--debug", "--port", "{port}"), True, _FLASK, "flask"
    ),
    "fastapi dev": Reloader("fastapi", _program("fastapi", "dev", "app.py", "--port", "{port}"), True, _FASTAPI),
    "watchmedo": Reloader(
        "watchdog",
        _serving("watchmedo", "auto-restart", "--patterns=*.py", "--recursive", "--", "{python}", "serve.py"),
        True,
    ),
    "hupper": Reloader("hupper", _program("hupper", "-m", "serve"), True),
    "watchfiles": Reloader("watchfiles", _serving("watchfiles", "{python} serve.py", "."), True),
}
"""By the name in the results."""


def missing(name: str) -> str | None:
    """Why a peer of `RELOADERS` is not there; None where it is."""
    each = RELOADERS[name]
    return peers.environment(each.environment).missing.get(each.package)


def start(name: str) -> Start:
    """What starts a peer of `RELOADERS`."""
    return partial(_started, RELOADERS[name])


@contextlib.contextmanager
def _started(reloader: Reloader, folder: Path) -> Iterator[Subject]:
    """It serves the application in `folder`; what it cuts off is connected again."""
    file, port = folder / "app.py", free_port()
    file.write_text(filled(reloader.app, 0, 20))
    texts = {"keep": _KEEP, "serve": _SERVE.format(port=port), "entry": _ENTRY.format(port=port), "beside": _BESIDE}
    for name, text in texts.items():
        (folder / f"{name}.py").write_text(text)
    found = peers.environment(reloader.environment).bin
    with running(reloader.command(found, port), folder, PATH=f"{found}:/usr/bin:/bin") as process:
        wait_for_port(port, process)
        line = Line(port)

        def ask() -> Answer | None:
            return line.ask("GET", "/number")

        yield Subject(file, lambda number, lines: filled(reloader.app, number, lines), ask, lambda: line.cuts)
