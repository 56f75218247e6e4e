"""For reference, the reloaders of JavaScript: `bun --hot`, and Vite as far as its message and its new module."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from bench import peers
from bench.agents import Line
from bench.processes import free_port, running, wait_for_port, wait_until
from bench.subjects import Answer, Start, Subject, filled

BUN, VITE_MESSAGE, VITE_MODULE = "bun --hot", "Vite: its message", "Vite: the new module"
_PACKAGES = {BUN: "bun", VITE_MESSAGE: "vite", VITE_MODULE: "vite"}

_FILLER = "export function filler_{n}(value) {{\n  return value + {n};\n}}\n"
_BUN = """\
const NUMBER = {number};
globalThis.token ??= crypto.randomUUID();
Bun.serve({{
  port: PORT,
  hostname: "127.0.0.1",
  fetch() {{ return Response.json({{number: NUMBER, token: globalThis.token}}); }},
}});
"""
_VALUE = "export const NUMBER = {number};\n"
_MAIN = (
    'import { NUMBER } from "./value.js";\nimport.meta.hot.accept("./value.js", () => {});\nexport default NUMBER;\n'
)
_MESSAGE_SECONDS = 0.002


def missing(name: str) -> str | None:
    """Why one of them is not there; None where it is."""
    return peers.environment("node").missing.get(_PACKAGES[name])


def start(name: str) -> Start:
    """What starts one of them."""
    return _bun if name == BUN else (lambda folder: _vite(folder, fetch=name == VITE_MODULE))


@contextlib.contextmanager
def _bun(folder: Path) -> Iterator[Subject]:
    file, port = folder / "app.js", free_port()
    template = _BUN.replace("PORT", str(port))
    file.write_text(filled(template, 0, 20, _FILLER))
    with running([str(peers.environment("node").bin / "bun"), "--hot", "app.js"], folder) as process:
        wait_for_port(port, process)
        line = Line(port)

        def ask() -> Answer | None:
            return line.ask("GET", "/")

        yield Subject(file, lambda number, lines: filled(template, number, lines, _FILLER), ask, lambda: line.cuts)


@contextlib.contextmanager
def _vite(folder: Path, *, fetch: bool) -> Iterator[Subject]:
    """Vite's server, asked as a page asks it: for the modules, then for messages, then (`fetch`) for the new module."""
    file, port = folder / "value.js", free_port()
    file.write_text(filled(_VALUE, 0, 20, _FILLER))
    (folder / "main.js").write_text(_MAIN)
    (folder / "index.html").write_text('<script type="module" src="/main.js"></script>')
    # Node ends its environment's links where they lead: Vite is started by its file.
    program = peers.environment("node").bin.parent / "vite" / "bin" / "vite.js"
    node = shutil.which("node") or "node"
    with running([node, str(program), "--host", "127.0.0.1", "--port", str(port), "--strictPort"], folder) as process:
        wait_for_port(port, process)
        # It tries the port before it serves there.
        line = Line(port)
        wait_until(lambda: line.text("/") is not None, "Vite answers")
        with connect(f"ws://127.0.0.1:{port}/", subprotocols=["vite-hmr"]) as socket:  # type: ignore[list-item]
            page = _Page(line, socket, fetch)
            yield Subject(file, page.text, page.ask, lambda: page.line.cuts)


class _Page:
    """What a browser does with Vite."""

    def __init__(self, line: Line, socket: object, fetch: bool) -> None:
        self.line = line
        self._socket = socket
        self._fetch = fetch
        self._number = self._written = 0
        for path in ("/main.js", "/value.js"):
            self.line.text(path)

    def text(self, number: int, lines: int) -> str:
        """A new text of the module."""
        self._written = number
        return filled(_VALUE, number, lines, _FILLER)

    def ask(self) -> Answer:
        """The number of the newest module that a message has told of."""
        with contextlib.suppress(TimeoutError, WebSocketException):
            told = json.loads(self._socket.recv(timeout=_MESSAGE_SECONDS))  # type: ignore[attr-defined]
            for update in told.get("updates", ()):
                self._learn(update)
        return {"number": self._number, "token": "kept"}

    def _learn(self, update: Answer) -> None:
        if not self._fetch:
            # A message names no number; there is one for each save.
            self._number = self._written
            return
        text = self.line.text(f"{update['acceptedPath']}?t={update['timestamp']}") or ""
        found = re.search(r"NUMBER = (\d+)", text)
        self._number = int(found[1]) if found else self._number
