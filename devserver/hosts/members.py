"""Who is there: the hosts that were heard from within 2.5 s, each by its own monotonic clock.

No two clocks are compared. A host that was here before the engine went is not dead because the engine is: while the
engine is away, nothing is concluded from silence; nor after a moment in which this process itself did not run.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from devserver.errors import DevServerError
from devserver.hosts.link import WIRE, Link, Listening, Message
from devserver.hosts.names import Names
from devserver.hosts.work import Work, whole_number
from devserver.model.encoding import to_json
from devserver.model.names import host_name_problem
from devserver.transports.strict import Malformed, parse_object

BEAT_SECONDS = 0.5
HEARD_SECONDS = 2.5
"""How long after it was last heard from a host counts as there."""

_LOOK_SECONDS = BEAT_SECONDS / 5
_MOST_BEAT_BYTES = 64 * 1024
_MOST_HOSTS = 100


@dataclass(frozen=True, slots=True)
class Member:
    """A host as it tells of itself. `run`: a number of this process of it."""

    host: str
    run: str
    values: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """What its heartbeat says beside that: rev, mods, agents, seen, url."""
    heard: float = 0.0
    """When, on this host's monotonic clock."""
    alive: bool = True

    def number(self, name: str) -> int:
        """Return a whole number of its heartbeat; 0 where it says none."""
        return whole_number(self.values.get(name))


class Members:
    """The hosts of a network, this one left out. `beat` gives what this one tells of itself."""

    def __init__(
        self,
        link: Link,
        names: Names,
        *,
        host: str,
        run: str,
        beat: Callable[[], Mapping[str, Any]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.host, self.run = host, run
        self.all: Mapping[str, Member] = {}
        """All that were ever heard from in this run, by name; those that left in order are taken out."""
        self.on_come: list[Callable[[Member, float | None], None]] = []
        """Told of a host that is there, and for how many seconds it was not; None where it is new."""
        self.on_go: list[Callable[[Member, float], None]] = []
        """Told of a host that is not heard any more, and for how many seconds; 0.0 where it left in order."""
        self.on_beat: list[Callable[[Member], None]] = []
        """Told of every heartbeat."""
        self.on_own: list[Callable[[float], None]] = []
        """Told that a heartbeat of this host has come back through the engine: when it was sent, by its own clock."""
        self.on_refused: list[Callable[[str], None]] = []
        """Told the words about a host that speaks another version, or has the name of another."""
        self._link, self._names, self._beat, self._clock = link, names, beat, clock
        self._listening: Listening | None = None
        self._work = Work()
        self._refused: set[tuple[str, str]] = set()
        self._wanted = asyncio.Event()
        self._silent_until = 0.0
        """Before this moment silence means nothing: this host has not listened for long enough."""

    def alive(self, host: str) -> bool:
        """Return whether a host is there; this one always is."""
        member = self.all.get(host)
        return host == self.host or (member is not None and member.alive)

    @property
    def is_deaf(self) -> bool:
        """Whether others may be there that were not heard yet."""
        return self._clock() < self._silent_until

    @property
    def living(self) -> tuple[Member, ...]:
        """The other hosts that are there."""
        return tuple(each for each in self.all.values() if each.alive)

    async def listen(self) -> None:
        """Hear the others, and say nothing yet. Raises EngineAway."""
        self._listening = await self._link.subscribe(self._names.heartbeat, self._heard)
        self._silent_until = self._clock() + HEARD_SECONDS
        self._link.on_away.append(self._engine_away)
        self._link.on_back.append(self._engine_back)
        self._work.begin(self._keep_looking())

    async def begin(self) -> None:
        """Tell that this host is there, from now on. Raises EngineAway."""
        if self._listening is None:
            await self.listen()
        self._work.begin(self._keep_beating())

    async def end(self) -> None:
        """Tell that this host leaves, and hear no more."""
        await self._work.end()
        if self._engine_back in self._link.on_back:
            self._link.on_away.remove(self._engine_away)
            self._link.on_back.remove(self._engine_back)
        if self._listening is not None:
            await self._listening.end()
        try:
            # What agents have just read, the engine hears first: another host takes up the rest.
            await self._link.flush()
            await self._tell(leaves=True)
        except DevServerError:
            return  # without the engine the others find out by silence

    def beat_now(self) -> None:
        """Tell at once, and not in half a second: what is told has changed."""
        self._wanted.set()

    async def _keep_beating(self) -> None:
        while True:
            self._wanted.clear()
            try:
                await self._tell()
            except DevServerError:
                pass  # the engine is away, which the link tells
            try:
                await asyncio.wait_for(self._wanted.wait(), BEAT_SECONDS)
            except TimeoutError:  # time for the next beat
                continue

    async def _tell(self, *, leaves: bool = False) -> None:
        values = {"host": self.host, "run": self.run, "wire": WIRE, "sent": self._clock(), **self._beat()}
        await self._link.publish(self._names.heartbeat, to_json(values | ({"leaves": True} if leaves else {})))

    async def _heard(self, message: Message) -> None:
        try:
            values = parse_object(message.data) if len(message.data) <= _MOST_BEAT_BYTES else {}
        except Malformed:
            return
        host, run = values.pop("host", None), values.pop("run", None)
        if not isinstance(host, str) or not isinstance(run, str) or host_name_problem(host) or len(run) > 64:
            return
        if host == self.host:
            if run != self.run:
                self._refuse(host, run, f"another process says that it is host {host}: its run is {run}")
            elif isinstance(values.get("sent"), float):
                for own in tuple(self.on_own):
                    own(values["sent"])
            return
        if values.get("wire") != WIRE:
            words = f"host {host} speaks version {values.get('wire')!r} of what hosts say, this one version {WIRE}"
            self._refuse(host, run, f"{words}: run the same oa-dev on both")
            return
        if values.get("leaves") is True:
            member = self.all.get(host)
            # The farewell of an earlier run may come after the first beat of the next one.
            if member is not None and member.run == run:
                self.all = {name: each for name, each in self.all.items() if name != host}
                for told in tuple(self.on_go):
                    told(member, 0.0)
        else:
            self._note(Member(host, run, values, self._clock()))

    def _note(self, member: Member) -> None:
        before = self.all.get(member.host)
        if before is None and len(self.all) >= _MOST_HOSTS:
            return
        self.all = {**self.all, member.host: member}
        if before is None or not before.alive or before.run != member.run:
            away = None if before is None else member.heard - before.heard
            self.beat_now()  # it knows no host before it has heard from it
            for told in tuple(self.on_come):
                told(member, away)
        for heard in tuple(self.on_beat):
            heard(member)

    def _refuse(self, host: str, run: str, words: str) -> None:
        if (host, run) not in self._refused:
            self._refused.add((host, run))
            for told in tuple(self.on_refused):
                told(words)

    def _engine_away(self) -> None:
        self._silent_until = math.inf

    async def _engine_back(self, seconds: float) -> None:
        # All hosts come back to it within a moment of each other, and not in the same.
        self._silent_until = self._clock() + HEARD_SECONDS
        self.beat_now()

    async def _keep_looking(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            await asyncio.sleep(_LOOK_SECONDS)
            if loop.time() - began > _LOOK_SECONDS + BEAT_SECONDS:
                # This process was held up: what others said meanwhile is still to be read.
                await asyncio.sleep(2 * BEAT_SECONDS)
                continue
            if self.is_deaf:
                continue
            now = self._clock()
            for member in self.living:
                if now - member.heard > HEARD_SECONDS:
                    seconds = now - member.heard
                    gone = Member(member.host, member.run, member.values, member.heard, alive=False)
                    self.all = {**self.all, member.host: gone}
                    for told in tuple(self.on_go):
                        told(gone, seconds)
