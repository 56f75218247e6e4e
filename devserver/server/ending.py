"""The end of a run: every step in order, each with a time limit."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from devserver.agent_network import AgentNetwork
from devserver.live.loops import LoopThread
from devserver.model.facts import Notice, Stopped
from devserver.server.leaving import left_running
from devserver.server.watchdog import frames_of_thread
from devserver.transports.http.serving import HttpServer

STOP_SECONDS = 2.5
"""Seconds after which a stop leaves unfinished work to the end of the process."""

_PATIENCE = 0.4
"""Seconds after which a stop tells what it waits for."""

Step = tuple[str, Callable[[], Awaitable[Any] | None]]


def summary_of(network: AgentNetwork) -> Stopped:
    """Return the counts of a run that ends."""
    stats, directory = network.get_network_stats(), network.directory
    # Others are known, and hear nothing of it.
    agents = sum(map(directory.is_connected, directory.agents()))
    return Stopped(stats["events"], stats["reloads"], stats["failed_plans"], len(network.mods()), agents)


class Ending:
    """The last steps of a run."""

    def __init__(
        self, network: AgentNetwork, home: LoopThread, connections: HttpServer, tell: Callable[[Notice], None]
    ) -> None:
        self._network, self._home = network, home
        self._connections, self._tell = connections, tell

    async def run(self, first: Iterable[Step]) -> None:
        """Carry out the steps of the server's own, then end the mods, the connections and the mods' thread."""
        for what, end in (
            *first,
            ("the mods", self._end_mods),
            ("the connections", self._end_connections),
            ("the mods' thread", self._end_home),
        ):
            # A failing step is told, and never prevents the next ones.
            try:
                if (ending := end()) is not None:
                    await ending
            except Exception as error:
                self._say(f"{what} did not end as they should: {type(error).__name__}: {error}")

    async def _end_mods(self) -> None:
        work = asyncio.ensure_future(self._network.shutdown())
        if not (await asyncio.wait({work}, timeout=_PATIENCE))[0]:
            self._tell(Notice(f"waiting for {self._ending()} to shut down", calm=True))
        if not (await asyncio.wait({work}, timeout=STOP_SECONDS / 2 - _PATIENCE))[0]:
            self._say(f"{self._ending()} did not shut down within {STOP_SECONDS / 2:.1f} s; not waited for")
            work.cancel()
            return
        await work
        for each in self._network.engine.tried:
            self._say(f"{each} is not in network.yaml: at the next start the code on disk runs for all agents")

    def _ending(self) -> str:
        stack = list(reversed(frames_of_thread(self._home.thread.ident)))
        return self._network.engine.ending(stack) or "a mod"

    async def _end_connections(self) -> None:
        try:
            async with asyncio.timeout(STOP_SECONDS / 2):
                await self._connections.end()
        except TimeoutError:
            self._say("a connection does not end; cut off")

    async def _end_home(self) -> None:
        if not await asyncio.to_thread(self._home.stop, 0.5):
            self._say("the mods' thread is blocked; left behind")
        left = left_running(self._network.engine.shown, self._network.engine.is_own)
        if left:
            self._say(f"left behind: {'; '.join(left)}")

    def _say(self, words: str) -> None:
        self._tell(Notice(words))
