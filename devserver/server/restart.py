"""Does a restart in place: stops reading, lets handlers end, packs what stays, replaces the image.

Decides nothing: it carries out a plan that has a restart. Until the image is replaced everything
can be taken back.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from devserver.agent_network import AgentNetwork
from devserver.live.children import Child, end_children
from devserver.live.generation import Call
from devserver.live.loops import LoopThread, run_in_thread
from devserver.model.facts import Fact, Notice, PlanDone
from devserver.model.plan import Plan
from devserver.server.image import VARIABLE, Image, write_memory
from devserver.transports.http.serving import HttpServer

_FIRST_SAID = 1.0
"""Seconds after which the handlers that a restart waits for are named."""
_UNWINDS = 1.5
"""Seconds that handlers have to end after their cancellation."""
_CHILDREN_END = 1.0
_ENDED = "the server restarts and did not wait longer for this handler"
IMPORTED = ("devserver.cli.serve", "devserver.server.server", "devserver.ui.face", "devserver.ui.capture")
"""The module that the next image imports before it can tell anything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The parts that a restart works on.

    `give_way` ends processes that the next image starts itself; `more` gives further surviving
    values, and descriptors by their names; `again` the supervisor's; `last` ends the face and
    everything that writes, right before the end; `serve_on` takes back what these have closed.
    """

    image: Image
    network: AgentNetwork
    home: LoopThread
    connections: HttpServer
    tell: Callable[[Fact], None]
    more: Callable[[], tuple[Mapping[str, Any], Mapping[str, int]]]
    again: Callable[[], tuple[dict[str, str], list[int]]]
    last: Callable[[], None]
    give_way: Callable[[], Awaitable[None]]
    serve_on: Callable[[], None]


class RestartInPlace:
    """One restart of one server, by its plan."""

    def __init__(self, plan: Plan, parts: Parts) -> None:
        self._plan = plan
        self._parts = parts
        self._asked = time.time()
        self._insisted = asyncio.Event()
        self._is_packed = False

    def insist(self) -> None:
        """Stop waiting for handlers: a second request insists."""
        self._insisted.set()

    async def run(self) -> None:
        """Replace the image. Returns if that is impossible: the reason is told."""
        parts = self._parts
        paused = time.time()
        parts.connections.pause()
        await self._drain()
        await parts.network.engine.rest()
        await parts.network.end_mods()
        ended = await run_in_thread(end_children, _CHILDREN_END)
        # Here the loop still runs, which alone reaps them without a fault from Python 3.12 on.
        try:
            await parts.give_way()
            self._replace(ended, paused)
        except Exception as error:  # of any kind: agents wait meanwhile
            if self._is_packed:
                parts.serve_on()
            self._tell(f"not restarted: {error}; the mods are loaded again in this process")
            parts.network.engine.go_on()
            await parts.network.initialize()
            parts.connections.resume()
            # Tell waiting callers that the restart waits, like one that was not planned.
            why = str(error)
            assert self._plan.restart is not None
            plan = Plan(self._plan.cause, restart=replace(self._plan.restart, waits=why))
            self._parts.network.engine.restarts.note(plan)
            self._parts.tell(PlanDone(plan, (), 0.0))

    def _replace(self, ended: tuple[Child, ...], paused: float) -> None:
        """Replace the image without awaiting: the next one finds the state that is packed here."""
        parts, restart = self._parts, self._plan.restart
        assert restart is not None
        connections = parts.connections.hand_over()
        values, descriptors = parts.more()
        self._is_packed = True
        # Plain values: the next image may have another version of this code.
        memory = write_memory({
            **parts.network.pack(),
            **values,
            "descriptors": dict(descriptors),
            "connections": [{each.name: getattr(one, each.name) for each in fields(one)} for one in connections],
            "restart": {
                "reasons": restart.reasons,
                "asked": self._asked,
                "paused": paused,
                "ended": tuple(map(str, ended)),
                "mods": [asdict(each) for each in restart.moves],
            },
        })  # fmt: skip
        try:
            parts.last()
            variables, supervised = parts.again()
            inherited = [memory, *descriptors.values(), *supervised, *(each.descriptor for each in connections)]
            parts.image.replace({**variables, VARIABLE: str(memory)}, inherited)
        finally:
            os.close(memory)

    async def _drain(self) -> None:
        """Wait for handlers up to the limit, name slow ones, then end the rest."""
        limit = self._parts.network.config.restart.drain
        latest = time.monotonic() + limit
        quiet = asyncio.ensure_future(self._quiet(limit))
        insisted = asyncio.ensure_future(self._insisted.wait())
        wait = min(_FIRST_SAID, limit)
        while not quiet.done() and not insisted.done() and (left := latest - time.monotonic()) > 0:
            await asyncio.wait((quiet, insisted), timeout=min(wait, left), return_when=asyncio.FIRST_COMPLETED)
            if not quiet.done() and not insisted.done():
                self._tell(f"restart waits for {', '.join(await self._running())}; R again ends it")
                wait = 2 * _FIRST_SAID
        insisted.cancel()
        if not quiet.done():
            await self._parts.home.run(self._end_calls)
            # The overseer, or the connection that is handed over, answers for one that ignores it.
            await asyncio.wait((quiet,), timeout=_UNWINDS)
        quiet.cancel()

    async def _quiet(self, limit: float) -> None:
        """Wait until no request is being answered and no handler runs."""
        while not await self._parts.connections.quiet(limit) or await self._running():
            await self._parts.home.run(self._idle)

    async def _idle(self) -> None:
        for generation in self._parts.network.engine.registry.live:
            await generation.idle(but_for_waiting=True)

    async def _running(self) -> list[str]:
        return await self._parts.home.run(self._named)

    async def _named(self) -> list[str]:
        return [f"{call.generation.mod_id} ({call.event.event_name})" for call in self._calls() if call.event]

    def _calls(self) -> list[Call]:
        live = self._parts.network.engine.registry.live
        return [call for generation in live for call in generation.handler_calls() if not call.waits]

    async def _end_calls(self) -> None:
        for call in self._calls():
            self._parts.network.engine.registry.expire(call, _ENDED)

    def _tell(self, words: str) -> None:
        self._parts.tell(Notice(words))
