"""A real `oa-dev run --json` as a process of its own, and the lines that it tells. Knows nothing of agents."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from nursery import SCRIPT as OA_DEV
from nursery import forking

from rig.workspace import Workspace

PATIENCE = 60.0
"""Seconds after which something that should have become true counts as failed."""

Line = dict[str, Any]


def environment() -> dict[str, str]:
    """The environment of a person at a terminal: bytecode is written, nothing of the test runner's colours it."""
    left_out = ("PYTHONDONTWRITEBYTECODE", "NO_COLOR", "FORCE_COLOR", "CI", "COLUMNS", "LINES")
    kept = {name: value for name, value in os.environ.items() if name not in left_out and "OA_DEV" not in name}
    return {**kept, "TERM": "xterm-256color", "PYTHONUNBUFFERED": "1"}


class Running:
    """One server process. `lines` are the objects that it has told so far, in order."""

    def __init__(self, process: asyncio.subprocess.Process, workspace: Workspace, errors: Path) -> None:
        self.process = process
        self.workspace = workspace
        self.lines: list[Line] = []
        self._errors = errors
        self._news = asyncio.Event()
        self._reading = asyncio.create_task(self._read())

    @property
    def pid(self) -> int:
        """The process's id."""
        return self.process.pid

    @property
    def port(self) -> int:
        """The port that it said it listens on."""
        port = urlsplit(self.told("ready")[0]["url"]).port
        assert port is not None
        return port

    def mark(self) -> int:
        """A mark for `since`: what is told from now on."""
        return len(self.lines)

    def told(self, kind: str, since: int = 0, **wanted: Any) -> list[Line]:
        """The lines of a type that say what is wanted."""
        return [line for line in self.lines[since:] if line["type"] == kind and _says(line, wanted)]

    async def line(self, kind: str, since: int = 0, **wanted: Any) -> Line:
        """The first such line, waited for."""
        return (await self.several(kind, 1, since, **wanted))[0]

    async def several(self, kind: str, count: int, since: int = 0, **wanted: Any) -> list[Line]:
        """The first `count` such lines, waited for."""
        try:
            async with asyncio.timeout(PATIENCE):
                while len(found := self.told(kind, since, **wanted)) < count:
                    if self._reading.done():
                        raise AssertionError(f"the server ended before it told {kind} {wanted}\n{self.story(since)}")
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise AssertionError(f"it never told {count} × {kind} {wanted}\n{self.story(since)}") from None
        return found[:count]

    async def outcome(self, mod_id: str, since: int) -> Line:
        """What became of the first step on a mod."""
        return await self.line("outcome", since, mod_id=mod_id)

    async def plan(self, since: int) -> tuple[Line, list[Line]]:
        """The first plan, with the outcomes of all its steps."""
        plan = await self.line("plan", since)
        after = self.lines.index(plan, since)
        return plan, await self.several("outcome", len(plan["steps"]) + len(plan["holds"]), after)

    def story(self, since: int = 0) -> str:
        """What it told, and what it wrote to stderr, for a person who looks for a fault."""
        lines = "\n".join(json.dumps(line) for line in self.lines[since:][-40:])
        return f"{lines}\n--- stderr\n{self.errors()}"

    def errors(self) -> str:
        """What it wrote to stderr."""
        return self._errors.read_text(encoding="utf-8")

    def signal(self, number: signal.Signals = signal.SIGINT) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    async def ended(self) -> int:
        """Its exit code, when it has ended and told everything."""
        async with asyncio.timeout(PATIENCE):
            code = await self.process.wait()
            await self._reading
        return code

    async def _read(self) -> None:
        assert self.process.stdout is not None
        async for raw in self.process.stdout:
            self.lines.append(json.loads(raw))
            self._news.set()
        self._news.set()


def _says(line: Line, wanted: Mapping[str, Any]) -> bool:
    return all(line.get(key) == value for key, value in wanted.items())


async def started(workspace: Workspace, *arguments: str, any_port: bool = True) -> Running:
    """A server of this workspace, which may not be ready yet. On any free port unless `arguments` name one, or, without
    `any_port`, on that of network.yaml."""
    # Beside the workspace: what is in it is watched.
    errors = workspace.root.with_name("stderr")
    port = ("--port", "0") if any_port and "--port" not in arguments else ()
    with errors.open("wb") as stream, forking():
        process = await asyncio.create_subprocess_exec(
            *(OA_DEV, "run", "--json", *port, *arguments),
            cwd=workspace.root,
            env=environment(),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=stream,
            limit=1 << 22,
        )
    return Running(process, workspace, errors)


@contextlib.asynccontextmanager
async def serving(workspace: Workspace, *arguments: str, any_port: bool = True) -> AsyncIterator[Running]:
    """A server that is ready; at the end it has to stop cleanly and to have nothing to complain of."""
    running = await started(workspace, *arguments, any_port=any_port)
    try:
        await running.line("ready")
        yield running
        if running.process.returncode is None:
            running.signal()
        assert (await running.ended(), running.errors()) == (0, "")
    finally:
        if running.process.returncode is None:
            running.process.kill()
            await running.process.wait()
