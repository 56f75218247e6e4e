"""A real `oa-dev run --json`, run as someone who may do less than the tests, and the lines that it tells."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from nursery import SCRIPT as OA_DEV
from nursery import forking

PATIENCE = 60.0

Line = dict[str, Any]


class Process:
    """The process, and the lines that it has told so far."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._news = asyncio.Event()
        self._reading = asyncio.create_task(self._read())
        self.lines: list[Line] = []

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for raw in self._process.stdout:
            self.lines.append(json.loads(raw))
            self._news.set()
        self._news.set()

    def told(self, kind: str) -> list[Line]:
        """The lines of a type, but for those of its marks."""
        return [each for each in self.lines if each["type"] == kind and "mark" not in each.get("path", "")]

    def outcomes(self) -> list[Line]:
        """What became of each step since it was ready."""
        is_ready = [each["type"] for each in self.lines].index("ready")
        return [each for each in self.lines[is_ready:] if each["type"] == "outcome"]

    async def watches(self, folder: Path) -> None:
        """Return when saves in a folder are told of: at first the watches are still being placed."""
        async with asyncio.timeout(PATIENCE):
            for number in itertools.count():
                mark = folder / f"mark{number}.md"
                mark.touch()
                if await self._tells_of(mark.name):
                    return

    async def _tells_of(self, name: str) -> bool:
        try:
            async with asyncio.timeout(0.2):
                await self.until(lambda: any(name in each.get("path", "") for each in self.lines))
        except TimeoutError:
            return False
        return True

    async def until(self, fact: Callable[[], bool]) -> None:
        """Wait until something is so, which a line tells."""
        async with asyncio.timeout(PATIENCE):
            while not fact():
                assert not self._reading.done(), f"it has ended: {self.lines}"
                self._news.clear()
                await self._news.wait()

    def memory(self) -> int:
        """The memory in use, in bytes (proc(5), VmRSS)."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        found = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
        return int(found.split()[1]) * 1024

    def processor_seconds(self) -> float:
        """The processor time that it has used (proc(5), utime and stime)."""
        values = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(values[11]) + int(values[12])) / os.sysconf("SC_CLK_TCK")

    async def end(self) -> None:
        """Stop it as Ctrl-C does."""
        if self._process.returncode is None:
            self._process.terminate()
        async with asyncio.timeout(PATIENCE):
            await self._process.wait()
            await self._reading


@asynccontextmanager
async def running(folder: Path, *before: str, more: tuple[str, ...] = ()) -> AsyncIterator[Process]:
    """Run the network of a folder; `before` is the command that starts it, `more` are arguments for it."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    with forking():
        process = Process(
            await asyncio.create_subprocess_exec(
                *(*before, OA_DEV, "run", "--json", "--port", "0", *more),
                cwd=folder,
                env=environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                limit=1 << 22,
            )
        )
    try:
        await process.until(lambda: bool(process.told("ready")))
        yield process
    finally:
        await process.end()


def can(*command: str) -> bool:
    """Whether this machine lets us run a command."""
    try:
        return subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False
