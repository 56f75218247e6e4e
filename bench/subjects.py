"""What reloads on a save: ours, the floor, and peers that serve an equivalent Starlette application.

Each subject has a file with a number in it and can be asked for the number that it serves.
"""

from __future__ import annotations

import contextlib
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bench import networks, peers
from bench.agents import Line, event, register
from bench.processes import free_port, running, wait_for_port

OURS, FLOOR = "oa-dev", "floor: notify, compile, exec"
_AGENT = "bench-agent"

_FILLER = "def filler_{n}(value: int) -> int:\n    return value + {n}\n"
_MOD = """\
NUMBER = {number}
from devserver import BaseMod, Event, EventResponse, mod_event_handler


class BenchMod(BaseMod):
    @mod_event_handler("bench.number.get")
    async def get_number(self, event: Event) -> EventResponse:
        return EventResponse(True, "", {{"number": NUMBER}})


"""
_APP = """\
NUMBER = {number}
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route


async def get_number(request):
    return JSONResponse({{"number": NUMBER}})


app = Starlette(routes=[Route("/number", get_number)])
"""
_SERVE = """\
import uvicorn
from app import app


def main():
    uvicorn.run(app, host="127.0.0.1", port={port}, log_level="error")


if __name__ == "__main__":
    main()
"""


@dataclass(frozen=True, slots=True)
class Subject:
    """A running subject: `file` with `text(number, lines)` in it; `ask` gives the number it serves, None for none."""

    file: Path
    text: Callable[[int, int], str]
    ask: Callable[[], int | None]
    cuts: Callable[[], int]


def filled(template: str, number: int, lines: int) -> str:
    """A module of so many lines."""
    text = template.format(number=number)
    missing = max(0, lines - text.count("\n")) // 2
    return text + "".join(_FILLER.format(n=each) for each in range(missing))


@contextlib.contextmanager
def ours(folder: Path) -> Iterator[Subject]:
    """`oa-dev run` with one mod, asked by an agent on a kept connection."""
    port = free_port()
    networks.write_network(folder, networks.OURS, port)
    file = folder / "mods" / "bench_mod" / "mod.py"
    file.write_text(filled(_MOD, 0, 20))
    command = networks.command(networks.OURS, port)
    assert command is not None
    with running(command, folder) as process:
        wait_for_port(port, process)
        line, body = Line(port), event(_AGENT, register(port, _AGENT), "bench.number.get")

        def ask() -> int | None:
            answer = line.ask("POST", "/api/send_event", body)
            return None if answer is None or not answer.get("data") else answer["data"].get("number")

        yield Subject(file, lambda number, lines: filled(_MOD, number, lines), ask, lambda: line.cuts)


@contextlib.contextmanager
def floor(folder: Path) -> Iterator[Subject]:
    """The least that a reload can be."""
    file, port = folder / "module.py", free_port()
    file.write_text(filled("NUMBER = {number}\n", 0, 20))
    program = str(Path(__file__).parent / "sides" / "floor.py")
    with running([sys.executable, program, str(file), str(port)], folder) as process:
        wait_for_port(port, process)
        with socket.create_connection(("127.0.0.1", port)) as line, line.makefile("rb") as answers:

            def ask() -> int:
                line.sendall(b"?")
                return int(answers.readline())

            yield Subject(file, lambda number, lines: filled("NUMBER = {number}\n", number, lines), ask, lambda: 0)


@contextlib.contextmanager
def peer(command: Callable[[Path, int], list[str]], folder: Path) -> Iterator[Subject]:
    """A reloader that serves the Starlette application; what it cuts off is connected again."""
    file, port = folder / "app.py", free_port()
    file.write_text(filled(_APP, 0, 20))
    (folder / "serve.py").write_text(_SERVE.format(port=port))
    with running(command(peers.reloaders()[0], port), folder) as process:
        wait_for_port(port, process)
        line = Line(port)

        def ask() -> int | None:
            answer = line.ask("GET", "/number")
            return None if answer is None else answer["number"]

        yield Subject(file, lambda number, lines: filled(_APP, number, lines), ask, lambda: line.cuts)


PEERS: dict[str, tuple[str, Callable[[Path, int], list[str]]]] = {
    "uvicorn --reload": (
        "uvicorn",
        lambda found, port: [str(found / "uvicorn"), "app:app", "--reload", "--port", str(port)],
    ),
    "watchfiles": ("watchfiles", lambda found, port: [str(found / "watchfiles"), f"{found / 'python'} serve.py", "."]),
    "hupper": ("hupper", lambda found, port: [str(found / "hupper"), "-m", "serve"]),
    "jurigged": ("jurigged", lambda found, port: [str(found / "python"), "-m", "jurigged", "serve.py"]),
    "uvicorn-hmr": (
        "uvicorn-hmr",
        lambda found, port: [str(found / "uvicorn-hmr"), "app:app", "--port", str(port)],
    ),
}
"""By name: the package, and the command that serves app.py and reloads it."""
