"""A real `oa-dev run --json` of a folder, and the lines that it tells."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from nursery import SCRIPT as OA_DEV
from nursery import forking

PATIENCE = 60.0

Line = dict[str, Any]


class Running:
    """One server process; `lines` are what it has told so far."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.lines: list[Line] = []
        self._news = asyncio.Event()
        self._reading = asyncio.create_task(self._read())

    @property
    def port(self) -> int:
        """Where it listens."""
        port = urlsplit(next(line["url"] for line in self.lines if line["type"] == "ready")).port
        assert port is not None
        return port

    async def told(self, is_wanted: Callable[[Line], bool], since: int = 0) -> Line:
        """The first line that is wanted, waited for."""
        async with asyncio.timeout(PATIENCE):
            while True:
                for line in self.lines[since:]:
                    if is_wanted(line):
                        return line
                assert not self._reading.done(), self.lines[-10:]
                self._news.clear()
                await self._news.wait()

    async def outcome(self, mod_id: str, since: int) -> Line:
        """What became of the first step on a mod."""
        return await self.told(lambda line: line["type"] == "outcome" and line["mod_id"] == mod_id, since)

    async def ready(self) -> None:
        """Return when it answers."""
        await self.told(lambda line: line["type"] == "ready")

    async def stop(self) -> None:
        """Ask it to end, as Ctrl-C does, and see that it does so cleanly."""
        self.process.send_signal(signal.SIGINT)
        async with asyncio.timeout(PATIENCE):
            assert await self.process.wait() == 0
            await self._reading

    async def _read(self) -> None:
        assert self.process.stdout is not None
        async for raw in self.process.stdout:
            self.lines.append(json.loads(raw))
            self._news.set()
        self._news.set()


@contextlib.asynccontextmanager
async def serving(folder: Path, port: int = 0, *, verb: Sequence[str] = ("run",)) -> AsyncIterator[Running]:
    """A server that is ready; ended with the context, where it still runs. `verb`: how it is started."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    with forking():
        process = await asyncio.create_subprocess_exec(
            *(OA_DEV, *verb, "--json", "--port", str(port), *(("--strict-port",) if port else ())),
            cwd=folder,
            env=environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            limit=1 << 22,
        )
    running = Running(process)
    try:
        await running.ready()
        yield running
        if process.returncode is None:
            await running.stop()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
