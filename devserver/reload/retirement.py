"""The end of generations: replaced ones finish their handlers first, then each is shut down once.

Runs on the mods' loop, beside everything else. A failure here is told and never prevents the end of
a generation.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Iterable

from devserver.live.generation import Generation
from devserver.live.registry import Registry
from devserver.model.facts import ErrorFacts, Fact, LeftBehind, ModError
from devserver.model.lifecycle import Limits, ModState
from devserver.reload import hooks
from devserver.reload.handover import move_late_state


class Retirement:
    """Ends generations. `tell` is told of failures and leftovers; `facts_of` makes error facts."""

    def __init__(
        self,
        registry: Registry,
        limits: Callable[[], Limits],
        tell: Callable[[Fact], None],
        facts_of: Callable[[BaseException], ErrorFacts],
    ) -> None:
        self._registry = registry
        self._limits = limits
        self._tell = tell
        self._facts_of = facts_of
        self.ending: tuple[Generation, asyncio.Task[object] | None] | None = None
        """The generation whose shutdown() runs now, and its task."""
        self._lingering: dict[asyncio.Task[None], Generation] = {}

    def begin(self, generation: Generation) -> None:
        """Let a replaced generation finish and end; returns at once."""
        # Empty context: the end of a generation belongs to no call.
        task = asyncio.get_running_loop().create_task(self._linger(generation), context=contextvars.Context())
        self._lingering[task] = generation
        task.add_done_callback(self._lingering.pop)

    def lingering(self) -> list[Generation]:
        """Return the replaced generations whose handlers still run. For any thread."""
        return [each for each in self._lingering.copy().values() if each.calls]

    async def end_all(self, live: Iterable[Generation]) -> None:
        """End these and all lingering generations, now."""
        lingering = list(self._lingering.values())
        for task in list(self._lingering):
            task.cancel()
        for generation in (*lingering, *live):
            for call in generation.handler_calls():
                self._registry.expire(call, f"the network ended while {generation.name} was handling the event")
            await self._end(generation)

    async def _linger(self, generation: Generation) -> None:
        lingers = bool(generation.calls)
        limit = self._limits().linger
        try:
            async with asyncio.timeout(limit):
                await generation.idle()
        except TimeoutError:
            for call in generation.handler_calls():
                reason = f"{generation.name} was replaced {limit:g} s ago and its handler was still running"
                self._registry.expire(call, reason)
        if lingers:
            # Its last handlers have put values of replaced code into the state that both share.
            live = self._registry.running(generation.mod_path)
            if live is not None and live is not generation:
                move_late_state(generation, live)
        await self._end(generation)

    async def _end(self, generation: Generation) -> None:
        generation.state = ModState.CLOSED
        now = self._registry.running(generation.mod_path)
        if now is not None and now is not generation and now.instance is generation.instance:
            # The next generation is the same instance under a new class.
            return
        if not generation.is_down:
            generation.is_down = True
            self.ending = generation, asyncio.current_task()
            for error in await hooks.shutdown(generation, self._limits().shutdown):
                self._tell(ModError(generation.mod_id, "shutdown", generation.number, self._facts_of(error)))
        self.ending = None
        tasks = (f"task {each.get_name()!r} does not end" for each in generation.tasks if not each.done())
        left = (*map(_with_cure, generation.left_behind), *tasks)
        if left:
            self._tell(LeftBehind(generation.mod_id, generation.number, left))


def _with_cure(thing: str) -> str:
    """Name the leftovers; for a socket, also how the next generation can get it."""
    cure = 'reload_mode = "exclusive" ends a mod before its next generation starts'
    return f"{thing} ({cure})" if thing.startswith("socket on ") else thing
