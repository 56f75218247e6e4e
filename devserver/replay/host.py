"""The server's side of the replay process: starts it, has it follow the code, asks it, ends it.

One question after the other. It is started again if it has died, and given up after three deaths in
half a minute. Nothing here waits for mods of the server, and no save waits for it.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from devserver.errors import DevServerError
from devserver.model.config import NetworkConfig, ReplayRules
from devserver.replay.code import Code
from devserver.replay.frames import MOST_BYTES, packed, read_answer

START_SECONDS = 60.0
"""Seconds for loading all mods."""
IDLE_SECONDS = 600.0
"""Seconds without a question after which the process ends."""
_DEATHS, _DEATHS_WITHIN = 3, 30.0
# The process ends late work itself and says so; this is for one that says nothing any more.
_SLACK = 5.0


class ReplayFailed(DevServerError):
    """Replay has failed. The text says why."""


class _Process:
    """One replay process that runs."""

    def __init__(self, process: asyncio.subprocess.Process, folder: tempfile.TemporaryDirectory[str]) -> None:
        self._process = process
        self._folder = folder
        self.digests: dict[Path, str] = {}
        """The sources that it was given, with their digests."""
        self.code: Code | None = None
        """The code that it runs."""
        self.names: set[str] = set()
        """The events that it keeps."""
        self.failed: dict[str, str] = {}
        self.kernel = False

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    async def ask(self, message: Mapping[str, Any], seconds: float) -> dict[str, Any]:
        """Ask one question. Raises ReplayFailed if it dies or does not answer."""
        writer, reader = self._process.stdin, self._process.stdout
        assert writer is not None and reader is not None
        try:
            async with asyncio.timeout(seconds):
                writer.write(packed(message))
                await writer.drain()
                return await read_answer(reader)
        except TimeoutError as error:
            raise ReplayFailed(f"the replay process did not answer within {seconds:g} s") from error
        except (OSError, ValueError, asyncio.IncompleteReadError) as error:
            raise ReplayFailed(f"the replay process has ended ({type(error).__name__})") from error

    async def end(self) -> None:
        """End it, and remove the files that it has written."""
        with suppress(ProcessLookupError):  # it may have ended itself
            self._process.kill()
        await self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()
        await asyncio.to_thread(self._folder.cleanup)


class Host:
    """Asks the replay process of one server. For the control side's loop."""

    def __init__(self, workspace: Path, environ: Mapping[str, str]) -> None:
        self._workspace = workspace
        self._environ = environ
        self._rules = ReplayRules()
        """The rules of network.yaml at the start of the process."""
        self._process: _Process | None = None
        self._lock = asyncio.Lock()
        self._deaths: deque[float] = deque(maxlen=_DEATHS)
        self._idle: asyncio.TimerHandle | None = None
        self.off = ""
        """Why replay has been given up; empty if it has not."""

    @property
    def pid(self) -> int | None:
        """The process id, while there is a process."""
        return None if self._process is None else self._process.pid

    @property
    def kernel(self) -> bool:
        """Whether the kernel isolates it from the network."""
        return self._process is not None and self._process.kernel

    @property
    def failed(self) -> Mapping[str, str]:
        """The mods that do not run there, each with the reason."""
        return {} if self._process is None else self._process.failed

    def try_again(self) -> None:
        """Start again after replay was given up."""
        self.off = ""
        self._deaths.clear()

    async def ask(
        self, code: Code, config: NetworkConfig, message: Mapping[str, Any], seconds: float
    ) -> dict[str, Any]:
        """Ask a question about this code. Raises ReplayFailed; a refusal is in `cannot`."""
        async with self._lock:
            if self.off:
                raise ReplayFailed(self.off)
            process = await self._following(code, config)
            try:
                return await process.ask(message, seconds + _SLACK)
            except ReplayFailed as error:
                if self._rules.fresh:
                    # It ran in that process itself, which the next question does not find.
                    is_late = isinstance(error.__cause__, TimeoutError)
                    return {"cannot": f"did not end within {seconds:g} s" if is_late else "ended the process"}
                await self._died()
                raise
            finally:
                if self._rules.fresh:
                    await self.end()
                else:
                    self._be_idle()

    async def follow(self, code: Code, config: NetworkConfig) -> None:
        """Have this code run there. Raises ReplayFailed."""
        async with self._lock:
            if not self.off:
                await self._following(code, config)
                self._be_idle()

    async def keep(self, code: Code, config: NetworkConfig, name: str, kept: Mapping[str, Any]) -> None:
        """Keep an event under a name, to run it often; a kept one stays."""
        async with self._lock:
            if self.off:
                raise ReplayFailed(self.off)
            process = await self._following(code, config)
            if name not in process.names:
                answer = await self._asked(process, {"do": "keep", "name": name, **kept}, START_SECONDS)
                if "cannot" in answer:
                    raise ReplayFailed(answer["cannot"])
                process.names.add(name)

    async def drop(self, name: str) -> None:
        """Forget a kept event."""
        async with self._lock:
            if self._process is not None and name in self._process.names:
                self._process.names.discard(name)
                await self._asked(self._process, {"do": "drop", "name": name}, _SLACK)

    async def _asked(self, process: _Process, message: Mapping[str, Any], seconds: float) -> dict[str, Any]:
        """Ask it; end it if it fails: a late answer would count as that of the next question. Raises ReplayFailed."""
        try:
            return await process.ask(message, seconds)
        except ReplayFailed:
            await self._died()
            raise

    async def end(self) -> None:
        """End the process, if there is one."""
        if self._idle is not None:
            self._idle.cancel()
        process, self._process = self._process, None
        if process is not None:
            await process.end()

    async def _following(self, code: Code, config: NetworkConfig) -> _Process:
        """Return the process, running this code; started again once if it has to be."""
        if self._process is not None and self._rules != config.replay:
            await self.end()
        self._rules = config.replay
        for is_last in (False, True):
            fresh = self._process is None
            process = self._process or await self._start()
            try:
                if await self._follow(process, code, config):
                    return process
            except ReplayFailed:
                await self._died()
                if is_last or self.off:
                    raise
                continue
            if is_last or fresh:
                break
            await self.end()
        raise ReplayFailed("the replay process runs other code than the server")

    async def _follow(self, process: _Process, code: Code, config: NetworkConfig) -> bool:
        """Have it run this code; return whether it does."""
        if process.code is not None and (process.code is code or _is_same(process.code, code)):
            return True
        texts = {path: text.data for path, text in code.texts.items() if process.digests.get(path) != text.digest}
        message: dict[str, Any] = {
            "do": "follow",
            "mods": [(each.path, dict(each.config)) for each in code.mods],
            "digests": code.digests,
            "texts": texts,
            "numbers": dict(code.numbers),
        }
        if process.code is None:
            # The places of configuration values in files have no use there.
            message["config"] = replace(config, mods=())
            # Imports are searched in the same places as here.
            message["path"] = [each or os.getcwd() for each in sys.path]
            message["roots"], message["asked"] = code.roots, code.asked
        answer = await process.ask(message, START_SECONDS)
        if "cannot" in answer:
            raise ReplayFailed(f"the replay process cannot follow: {answer['cannot']}")
        process.code, process.failed, process.kernel = code, answer["failed"], answer["kernel"]
        process.digests.update(code.digests)
        return not answer["others"]

    async def _start(self) -> _Process:
        folder = tempfile.TemporaryDirectory(prefix="oa-dev-replay-")
        quiet = {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONHASHSEED": "0", "TMPDIR": folder.name}
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            # Files in the working directory must not shadow Python's own modules.
            "-P",
            "-m",
            "devserver.replay",
            str(self._workspace),
            folder.name,
            str(os.getpid()),
            "network" if self._rules.allow else "",
            "fresh" if self._rules.fresh else "",
            cwd=self._workspace,
            env={**self._environ, **quiet},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            limit=MOST_BYTES,
            # In a session of its own: it is not a process of a mod, and signals of the terminal are
            # not meant for it.
            start_new_session=True,
        )
        self._process = _Process(process, folder)
        return self._process

    async def _died(self) -> None:
        await self.end()
        self._deaths.append(time.monotonic())
        if len(self._deaths) == _DEATHS and self._deaths[-1] - self._deaths[0] < _DEATHS_WITHIN:
            self.off = f"replay is off: its process died {_DEATHS} times; key p tries again"

    def _be_idle(self) -> None:
        """Count the time without a question from now."""
        loop = asyncio.get_running_loop()
        if self._idle is not None:
            self._idle.cancel()
        self._idle = loop.call_later(IDLE_SECONDS, self._end_idle)

    def _end_idle(self) -> None:
        if self._process is not None and not self._lock.locked():
            process, self._process = self._process, None
            self._ending = asyncio.get_running_loop().create_task(process.end())


def _is_same(one: Code, other: Code) -> bool:
    return one.mods == other.mods and one.numbers == other.numbers and one.digests == other.digests
