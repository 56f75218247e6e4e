"""The mods of a host that is gone, run by the host that makes plans (`dev.hosts.take_over`).

A host counts as gone when nothing of it was heard for `seats.DEAD` seconds, while this one heard itself; by then it has
fenced itself (`fence`). Its seats are written for this host, each over what was read, and the plan that brings the mods
here is one like any other: network.yaml wants them here for as long as their host is gone. When it is back they move
home with their state.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

from devserver.errors import DevServerError
from devserver.hosts import move
from devserver.hosts.agree import Author
from devserver.hosts.link import Link
from devserver.hosts.members import Member, Members
from devserver.hosts.parts import state_from
from devserver.hosts.rooms import Rooms
from devserver.hosts.seats import Silence
from devserver.live.generation import Generation
from devserver.model.change import ConfigChanged
from devserver.model.names import module_of
from devserver.reload.carry import PackedState
from devserver.reload.engine import Engine

COPY_SECONDS = 2.0
"""Seconds between two copies of a state."""

_ASK_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Copy:
    """The state of a mod, as its host had it at `at` of this host's clock."""

    digest: str
    state: PackedState
    at: float


class TakeOver:
    """What the host that makes plans does about those that are gone. `say` tells a person."""

    def __init__(
        self,
        link: Link,
        rooms: Rooms,
        members: Members,
        *,
        author: Author,
        engine: Engine,
        begin_work: Callable[[Awaitable[Any]], object],
        say: Callable[[str], None],
    ) -> None:
        self.copies: dict[str, Copy] = {}
        """The last copy of each state, by module."""
        self._link, self._rooms, self._members = link, rooms, members
        self._author, self._engine = author, engine
        self._begin_work, self._say = begin_work, say
        self._silence = Silence()
        self._fencing: set[str] = set()
        """The hosts that have said that they fence themselves."""
        self._owners: dict[str, str] = {}
        """The host that each mod (by module) was taken from."""
        self._busy: set[str] = set()

    def begin(self) -> None:
        """Look at who is heard, from now on."""
        self._silence.connected(time.monotonic())
        self._members.on_beat.append(self._heard)
        self._members.on_own.append(self._own)
        self._link.on_away.append(self._silence.disconnected)
        self._link.on_back.append(self._back)
        self._begin_work(self._keep_copies())

    def give_back(self, host: str) -> None:
        """Give a host that is there again its mods back, which network.yaml wants there."""
        self._owners = {path: owner for path, owner in self._owners.items() if owner != host}
        self._author.taken = frozenset(self._owners)

    def would(self, host: str) -> bool:
        """Return whether the mods of a host are taken over when it is gone."""
        return self._engine.config.take_over and host in self._fencing

    # Who is gone

    def _heard(self, member: Member) -> None:
        self._silence.heard(member.host, member.heard)
        (self._fencing.add if member.values.get("fences") is True else self._fencing.discard)(member.host)

    async def _back(self, seconds: float) -> None:
        self._silence.connected(time.monotonic())

    def _own(self, sent: float) -> None:
        self._silence.heard_own(sent)
        for host in self._silence.dead():
            if self.would(host) and host not in self._busy and self._rooms.of(host):
                self._busy.add(host)
                self._begin_work(self._take_over(host))

    async def _take_over(self, host: str) -> None:
        try:
            await self._rooms.read()
            mods = self._rooms.of(host)
            self._rooms.expect(mods)
            if won := [each for each in mods if await self._rooms.take(each)]:
                await self._load(won, host)
        except DevServerError as error:
            self._say(f"the mods of {host} are not taken over: {error}")
        finally:
            self._rooms.expect(())
            self._busy.discard(host)

    async def _load(self, won: Iterable[str], host: str) -> None:
        """Bring mods here whose seats this host has, with the last copies of their states."""
        engine, author = self._engine, self._author
        paths = {mod_id: module_of(self._rooms.path(mod_id)) for mod_id in won}
        numbers = {mod_id: max(self._rooms.generation(mod_id), author.numbers.get(mod_id, 0)) for mod_id in paths}
        engine.registry.unpack(numbers)
        author.forget(host)
        self._owners |= dict.fromkeys(paths.values(), host)
        author.taken = frozenset(self._owners)
        for path in paths.values():
            engine.moving[path] = partial(_give, copy=self.copies.get(path), limit=engine.limits.initialize)
        await engine.submit(ConfigChanged(engine.config, f"host {host} is gone: its mods are taken over"))
        for mod_id, path in paths.items():
            slot = engine.registry.find(mod_id)
            if slot is None or slot.live is None:
                # It is brought again where its host is back.
                engine.moving.pop(path, None)
                self._owners.pop(path, None)
                author.taken = frozenset(self._owners)
                await self._rooms.let_go(mod_id)
                self._say(f"{mod_id} does not run here instead of on {host}: it waits for that host")

    # States

    async def _keep_copies(self) -> None:
        while True:
            await asyncio.sleep(COPY_SECONDS)
            if self._engine.config.take_over and self._link.connected:
                mods = [each.mod for each in self._author.mods.values()]
                await asyncio.gather(*(self._copy(module_of(each.mod_path), each.host) for each in mods))

    async def _copy(self, path: str, host: str) -> None:
        """Take what has changed of a state, in pieces; where it comes to nothing the copy before stays."""
        if not self._members.alive(host):
            return
        known, began, text, digest = self.copies.get(path), time.monotonic(), "", ""
        while True:
            asked = {"mod": path, "known": known.digest if known else "", "digest": digest, "at": len(text)}
            told = await self._author.ask(host, "copy", asked, _ASK_SECONDS)
            if not isinstance(told.get("digest"), str) or (digest and told["digest"] != digest):
                return  # it has changed between two pieces: the next copy has all of it
            digest = told["digest"]
            if known is not None and digest == known.digest:
                self.copies[path] = Copy(digest, known.state, began)
                return
            piece = told.get("text")
            if not isinstance(piece, str) or not piece or len(text) > 4 * move.MOST_BYTES:
                return
            text += piece
            if len(text) >= int(told.get("size", 0)):
                break
        try:
            self.copies[path] = Copy(digest, state_from(json.loads(text)), began)
        except (LookupError, TypeError, ValueError) as error:
            self._say(f"the copy of a state that host {host} has sent cannot be read: {error}")


async def _give(generation: Generation, copy: Copy | None, limit: float) -> str:
    """Give a mod that was taken over its last copy; what became of it, in words."""
    if copy is None:
        return "state begins empty: there is no copy of it"
    said = await move.give(generation, copy.state, limit)
    return f"{said.replace('state moved', 'state copied', 1)}, as of {time.monotonic() - copy.at:.1f} s ago"
