"""Keeps the agents of `dev.agents` running beside the network: started, restarted, ended with it.

network.yaml and the files on disk decide what runs, compared every quarter of a second.
"""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from devserver.errors import DevServerError
from devserver.live.loops import run_in_thread
from devserver.model.facts import AgentProgram, Fact, ProgramState
from devserver.server.programs import Program, problem_of, sources_digest, start_program
from devserver.server.runfile import process_started, read_private, remove_private, write_private
from devserver.ui.said import PRINTED, Said, Say

URL_VARIABLE = "OA_DEV_URL"
"""Tells a program where the network answers; `devserver.Agent` reads it."""

FILE = "agents.json"
_INTERVAL = 0.25
_STEP = 0.02
_GRACE = 2.0
"""Seconds that a program has to end by itself before it is killed."""

_GRACE_AT_THE_END = 1.0
_MOST_BYTES = 1024 * 1024


class StartedAgents:
    """The programs of one run.

    Args:
        workspace: the folder of network.yaml.
        url: where the network answers.
        wanted: the files that network.yaml lists now, as paths from the workspace.
        may_restart: whether a save restarts a program now.
        tell: told what becomes of each program.
        say: given each line that a program writes.
    """

    def __init__(
        self,
        workspace: Path,
        url: str,
        *,
        wanted: Callable[[], Sequence[str]],
        may_restart: Callable[[], bool],
        tell: Callable[[Fact], None],
        say: Say,
    ) -> None:
        self._workspace, self._variables = workspace, {URL_VARIABLE: url}
        self._wanted, self._may_restart = wanted, may_restart
        self._tell, self._say = tell, say
        self._running: dict[str, Program] = {}
        self._tried: dict[str, str] = {}
        """The digest of each program at its last start, end or refusal."""

    def adopt(self, packed: Sequence[dict[str, Any]]) -> None:
        """Take over the programs of the image before this one."""
        for each in packed:
            program = Program(**each)
            self._running[program.file] = program
            self._tried[program.file] = program.sources

    def pack(self) -> list[dict[str, Any]]:
        """Give the running programs to the next image, as plain values."""
        return [asdict(each) for each in self._running.values()]

    def descriptors(self) -> dict[str, int]:
        """Give the descriptors that the next image needs, by a name for each."""
        return {f"output of {each.file}": each.output for each in self._running.values()}

    async def run(self, *, first: bool) -> None:
        """Keep the wanted programs running. `first`: no earlier image has left some on purpose."""
        if first:
            await self._end_leftovers()
        while True:
            self._read()
            await self._compare()
            await asyncio.sleep(_INTERVAL)

    async def end(self) -> None:
        """End every program."""
        await self._end(list(self._running.values()), _GRACE_AT_THE_END)
        self._remember()

    # What runs

    def _read(self) -> None:
        for program in list(self._running.values()):
            self._say_lines(program, program.lines())
            code = program.code()
            if code is not None:
                self._forget(program)
                self._told(program.file, ProgramState.ENDED, code=code)

    def _forget(self, program: Program) -> None:
        self._say_lines(program, program.last_words())
        self._running.pop(program.file, None)

    def _say_lines(self, program: Program, lines: Iterable[str]) -> None:
        for each in lines:
            self._say(Said(program.file, PRINTED, each))

    # What should run

    async def _compare(self) -> None:
        wanted = dict.fromkeys(self._wanted())
        unlisted = [each for each in self._running.values() if each.file not in wanted]
        await self._end(unlisted, _GRACE)
        for each in unlisted:
            self._told(each.file, ProgramState.ENDED, why="network.yaml lists it no more")
        self._tried = {file: digest for file, digest in self._tried.items() if file in wanted}
        for file in wanted:
            if file not in self._tried or self._may_restart():
                await self._bring(file)

    async def _bring(self, file: str) -> None:
        """Start a program, or again if its sources differ from the last attempt."""
        place = self._workspace / file
        digest = await run_in_thread(sources_digest, place)
        if self._tried.get(file) == digest:
            return
        self._tried[file] = digest
        before = self._running.get(file)
        problem = await run_in_thread(problem_of, place)
        if problem is not None:
            # An agent that runs old code is better than none.
            state = ProgramState.FAILED if before is None else ProgramState.KEPT
            self._told(file, state, why=problem)
            return
        if before is not None:
            await self._end([before], _GRACE)
        try:
            program = start_program(file, self._workspace, self._variables)
        except (OSError, ValueError) as error:
            self._told(file, ProgramState.FAILED, why=str(error))
            return
        self._running[file] = program
        self._remember()
        state = ProgramState.STARTED if before is None else ProgramState.RESTARTED
        self._told(file, state, pid=program.pid)

    async def _end(self, programs: Sequence[Program], grace: float) -> None:
        if not programs:
            return
        for each in programs:
            each.end()
        loop = asyncio.get_running_loop()
        latest = loop.time() + grace
        left = [each for each in programs if each.code() is None]
        while left and loop.time() < latest:
            await asyncio.sleep(_STEP)
            left = [each for each in left if each.code() is None]
        for each in left:
            each.end(signal.SIGKILL)
        for each in programs:
            self._forget(each)

    def _told(self, file: str, state: ProgramState, **known: Any) -> None:
        self._tell(AgentProgram(file, state, **known))

    # Programs of a run that ended without ending them

    def _remember(self) -> None:
        """Write down the running programs, so that the next run can end them after a crash."""
        left = [{"pid": each.pid, "began": process_started(each.pid)} for each in self._running.values()]
        try:
            if left:
                write_private(self._workspace, FILE, json.dumps(left) + "\n")
            else:
                remove_private(self._workspace, FILE)
        except (OSError, DevServerError):
            return  # only a crash would need the file, and a folder that cannot be written is told elsewhere

    async def _end_leftovers(self) -> None:
        try:
            data = read_private(self._workspace, FILE, _MOST_BYTES)
            found = [Program("", each["pid"], -1, "") for each in json.loads(data or b"[]") if _is_same(each)]
        except (OSError, ValueError, TypeError, KeyError, DevServerError):
            return  # damaged, or of another version: none is known to be left
        for each in found:
            each.end()
        if found:
            # They are not children of this process: their end shows in the ids that they free.
            await asyncio.sleep(_STEP)
            for each in found:
                each.end(signal.SIGKILL)


def _is_same(written: dict[str, Any]) -> bool:
    """Return whether a process still is the one that was written down: pids are used again."""
    pid, began = written["pid"], written["began"]
    return isinstance(pid, int) and pid > 1 and began is not None and process_started(pid) == began
