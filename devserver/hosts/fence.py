"""Whether the mods of this host may answer, where another host takes over those of one that is gone.

A host that does not hear itself through the engine for `seats.FENCE` seconds lets events wait and answers no asks. When
it hears itself again, it writes the seats of its mods again, each over what stands there, and ends what runs elsewhere
now. Only then it answers. Without `dev.hosts.take_over` it always may.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from devserver.errors import DevServerError
from devserver.hosts.members import Members
from devserver.hosts.rooms import Rooms
from devserver.hosts.seats import FENCE, Lease
from devserver.model.change import PartAsked
from devserver.model.lifecycle import Action
from devserver.model.plan import Group, Plan, Step
from devserver.model.split import label_of
from devserver.reload.engine import Engine

_LOOK = 0.05


class Fence:
    """The right of this host to answer. `begin_work` starts work aside, `say` tells a person."""

    def __init__(
        self,
        rooms: Rooms,
        members: Members,
        engine: Engine,
        *,
        begin_work: Callable[[Awaitable[Any]], object],
        say: Callable[[str], None],
    ) -> None:
        self._rooms, self._members, self._engine = rooms, members, engine
        self._begin_work, self._say = begin_work, say
        self._lease = Lease(time.monotonic())
        self._heard_own = 0.0
        self._is_claiming = self._is_told = False

    def begin(self) -> None:
        """Count from now on. Call it where others may ask this host."""
        self._lease = Lease(time.monotonic())
        self._members.on_own.append(self._own)
        self._rooms.holds = self.holds
        self._begin_work(self._keep_looking())

    def holds(self) -> bool:
        """Return whether mods of this host may answer. For any thread."""
        return self._lease.holds(time.monotonic()) or not self._engine.config.take_over

    async def wait(self, seconds: float) -> str:
        """Wait until they may; why they may not, in words."""
        end = time.monotonic() + seconds
        while not self.holds():
            if time.monotonic() >= end:
                return (
                    f"the engine is unreachable, and another host may run the mods of {self._members.host}; send again"
                )
            await asyncio.sleep(_LOOK)
        return ""

    def _own(self, sent: float) -> None:
        self._heard_own = sent
        if not self._engine.config.take_over:
            self._lease.begin(sent)  # no other host has taken anything over
            return
        self._lease.heard_own(sent, time.monotonic())
        if self._lease.ended and not self._is_claiming:
            self._is_claiming = True
            self._begin_work(self._claim())

    async def _keep_looking(self) -> None:
        """Say that the gates are shut: a person sees events wait."""
        while True:
            await asyncio.sleep(_LOOK)
            if not self.holds() and not self._is_told:
                self._is_told = True
                here = ", ".join(self._here()) or "no mod"
                self._say(
                    f"cut off for {FENCE} s: gates shut ({here}), because another host may take over; events wait here"
                )

    def _here(self) -> list[str]:
        return [each.mod_id for each in self._engine.registry.live if label_of(each.mod_id) is None]

    async def _claim(self) -> None:
        """Write the seats again, end what sits elsewhere, and answer again."""
        try:
            await self._rooms.read()
            taken = [each for each in self._here() if not await self._is_mine(each)]
            for each in taken:
                await self._end(each)
            if time.monotonic() - self._heard_own < FENCE:
                self._lease.begin(self._heard_own)
                await self._rooms.publish()
                if self._is_told:
                    self._say(self._ended_words(taken))
                self._is_told = False
        except DevServerError:
            return  # cut off again: the next heartbeat that comes back begins once more
        finally:
            self._is_claiming = False

    async def _is_mine(self, mod_id: str) -> bool:
        if mod_id not in self._rooms.told:
            return True  # a plan has just brought it: the seat before is still to be written over
        while self._rooms.seat(mod_id).host == self._members.host:
            if await self._rooms.take(mod_id):
                return True
            await self._rooms.read()
        return False

    async def _end(self, mod_id: str) -> None:
        """End a mod that another host runs now: what waits at its gate is asked there."""
        slot = self._engine.registry.find(mod_id)
        if slot is None:
            return
        slot.host = self._rooms.seat(mod_id).host
        reason = f"{slot.host or 'another host'} has taken it over"
        step = Step(Action.UNLOAD, mod_id, slot.mod_path, reason, listed=False)
        await self._engine.submit(PartAsked(Plan(reason, (Group((step,)),)), cause=reason))

    def _ended_words(self, taken: list[str]) -> str:
        mine = self._here()
        words = (
            [f"{', '.join(mine)} answer here again" if len(mine) > 1 else f"{mine[0]} answers here again"]
            if mine
            else []
        )
        words += [f"{each} was taken over by {self._rooms.seat(each).host or 'another host'}" for each in taken]
        return f"the engine is heard again: {' · '.join(words) or 'this host answers again'}"
