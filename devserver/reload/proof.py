"""Proves that replaced code is gone: waits until the generations that ran it have ended, takes the
census in a quiet moment, and tells what it found.

Costs nothing on the way from a save to its answer. If a collection is short, it is made before the
reload is told, so that the line names what still holds old code. Code of a generation that still
finishes its handlers is looked for again later.
"""

from __future__ import annotations

import asyncio
import time
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from devserver.live import garbage
from devserver.live.generation import Generation, activity
from devserver.live.loops import Home
from devserver.loader import census
from devserver.loader.census import Remains
from devserver.model.facts import Holder
from devserver.model.lifecycle import ModState

_QUIET = 10
"""The quiet time before a collection, as a multiple of its duration."""
_STEP = 0.02
_AGAIN = (0.05, 0.1)
"""Seconds after which code that is still alive is looked for again, before it is told."""
_UNSEEN = 0.5
"""Seconds after which code without a visible holder is looked for once more: on a loaded machine a
thread may stand for long with it in a local variable."""
_AT_ONCE = (0.002, 0.012, 0.042)
"""Seconds since the swap after which it is looked for before the reload is told."""
_MOST_WAITING = 16
"""The most reloads without a census that are remembered, the latest: saves may not pause."""


@dataclass(slots=True, eq=False)
class _Case:
    """The code that one reload has replaced, with the generations that ran it."""

    remains: Sequence[Remains]
    ran: Sequence[tuple[str, int]]
    """The mod and number of each generation."""
    generations: Sequence[weakref.ref[Generation]]
    since: float = field(default_factory=time.monotonic)

    @property
    def is_ready(self) -> bool:
        found = (each() for each in self.generations)
        return all(each is None or each.state is ModState.CLOSED for each in found)


class Proof:
    """`found(holders)` is told of the holders of code that should be gone; `states` gives the
    states of the mods that run; `hangs`: whether an abandoned import still runs, which holds what
    was loaded when it began: until it ends nothing can be proven.

    Runs in the loop it was made in.
    """

    def __init__(
        self,
        home: Home,
        found: Callable[[tuple[Holder, ...]], None],
        states: Callable[[], Sequence[Mapping[Any, Any]]] = tuple,
        hangs: Callable[[], bool] = lambda: False,
    ) -> None:
        self._hangs = hangs
        self._states = states
        self.held: dict[str, tuple[Holder, ...]] = {}
        """By mod, the holders of its replaced code in the last census."""
        self.is_wanted = True
        """False if no census is wanted, as in the replay process."""
        self._home = home
        self._found = found
        self._cases: list[_Case] = []
        self._cost: float | None = None
        self._task: asyncio.Task[None] | None = None

    def expect(self, remains: Sequence[Remains], generations: Iterable[Generation]) -> None:
        """Expect this code to be gone when these generations are."""
        # Held weakly: a generation holds its code.
        ended = list(generations)
        names = [(each.mod_id, each.number) for each in ended]
        self._add(_Case(remains, names, [weakref.ref(each) for each in ended]))

    def expect_failed(self, remains: Sequence[Remains]) -> None:
        """Expect this code of a failed attempt to be gone: it was undone, or garbage holds it."""
        self._add(_Case(remains, (), ()))

    def _add(self, case: _Case) -> None:
        if not case.remains or not self.is_wanted:
            return
        self._cases.append(case)
        self._cases = [each for each in self._cases if any(code.alive() for code in each.remains)][-_MOST_WAITING:]
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._work())

    async def at_once(self) -> dict[str, tuple[Holder, ...]]:
        """Return the holders of the code that was replaced last, by mod, if that needs no wait.

        That is so if its generations end at once and a collection is not felt; otherwise it is told
        later.
        """
        if self._cost is None:
            self._cost = garbage.expected_cost()
        if not self._cases or self._cost > garbage.BOUNDED or self._hangs():
            return {}
        case = self._cases[-1]
        for seconds in _AT_ONCE:
            await asyncio.sleep(case.since + seconds - time.monotonic())
            if case not in self._cases:
                return {}
            if case.is_ready and not await self._alive([case]):
                self._settle([case])
                return {}
        if case.is_ready and case in self._cases:
            found = await self._holders(case)
            # A thread that is about to let go of it shows no holder either: that is looked at again, and told later.
            if case in self._cases and all(what != census.UNSEEN for _, what in found):
                self._settle([case])
                self._name(case, found)
        return {mod_id: self.held[mod_id] for mod_id, _ in case.ran if mod_id in self.held}

    def is_proven(self, mod_id: str) -> bool:
        """Return whether no replaced code of a mod waits for its census."""
        return not any(each == mod_id for case in self._cases for each, _ in case.ran)

    @property
    def waits(self) -> bool:
        """Return whether any code waits for its census."""
        return bool(self._cases)

    def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
        self._cases.clear()

    async def _work(self) -> None:
        while self._cases:
            await asyncio.sleep(_STEP)
            may_be_gone = any(each.is_ready for each in self._cases) and not self._hangs()
            if may_be_gone and await self._may_collect():
                await self._take()

    async def _may_collect(self) -> bool:
        """Wait for a quiet moment, if a collection would be felt; False if something happened."""
        if self._cost is None:
            self._cost = garbage.expected_cost()
        before, waits = activity.begun, len(self._cases)
        if self._cost > garbage.BOUNDED:
            await asyncio.sleep(self._cost * _QUIET)
        is_quiet = (activity.begun, len(self._cases)) == (before, waits)
        return self._cost <= garbage.BOUNDED or is_quiet

    async def _take(self) -> None:
        cases = [each for each in self._cases if each.is_ready]
        alive = await self._alive(cases)
        for seconds in _AGAIN:
            if not alive:
                break
            # A frame that is about to end, or a callback that the loop still holds.
            await asyncio.sleep(seconds)
            alive = await self._alive(alive)
        self._settle([each for each in cases if each not in alive])
        for case in alive:
            found = await self._holders(case)
            if any(what == census.UNSEEN for _, what in found):
                await asyncio.sleep(_UNSEEN)
                found = await self._holders(case) if await self._alive([case]) else []
            # Until its holders are known it is not proven; what was told at once meanwhile is settled.
            if case in self._cases:
                self._settle([case])
                self._name(case, found)

    def _settle(self, cases: Sequence[_Case]) -> None:
        """Note the census of these: earlier findings count no more."""
        self._cases = [each for each in self._cases if each not in cases]
        for case in cases:
            for mod_id, _ in case.ran:
                self.held.pop(mod_id, None)

    async def _alive(self, cases: Sequence[_Case]) -> list[_Case]:
        # Where mods run: objects that go with old code are ended by the thread that has made them.
        self._cost = await self._home.run(_collect)
        return [case for case in cases if any(each.alive() for each in case.remains)]

    async def _holders(self, case: _Case) -> list[tuple[Remains, str]]:
        """Return the parts of the code that are alive, and what holds each, in words."""
        found = [(each, await self._home.run(_holder, each, self._states())) for each in case.remains if case.ran]
        return [(each, what) for each, what in found if what is not None]

    def _name(self, case: _Case, found: Iterable[tuple[Remains, str]]) -> None:
        mod_id, number = next(iter(case.ran), ("", 0))
        held: dict[Holder, None] = {}
        for remains, what in found:
            if what == census.LINGERING:
                self._cases.append(_Case([remains], case.ran, ()))
            else:
                held[Holder(remains.module, number, what)] = None
        if held:
            self.held[mod_id] = tuple(held)
            self._found(self.held[mod_id])


async def _collect() -> float:
    return census.collect()


async def _holder(remains: Remains, states: Sequence[Mapping[Any, Any]]) -> str | None:
    found = census.holder_of(remains, states)
    # Without a name it exists nevertheless: code in C holds objects that no search shows.
    return found or (census.UNSEEN if remains.alive() else None)
