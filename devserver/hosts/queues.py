"""The queues of other hosts: what is sent on to where an agent is now, and what a dead host has left.

One of the living, the first by name, takes up the queue of a host that is not heard any more, or from which an agent
has gone on after its end: deliveries for agents that have gone on follow them, those for agents that have not stay
until they come in somewhere, or the host is back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from devserver.errors import DevServerError
from devserver.hosts.deliveries import Deliveries, Parcel, parcels_of
from devserver.hosts.link import EngineAway, EngineRefused, Link, Listening, Message, QueueFull
from devserver.hosts.members import Member, Members
from devserver.hosts.names import Names
from devserver.hosts.work import Work, whole_number
from devserver.model.encoding import to_json
from devserver.model.event import new_event_id
from devserver.transports.strict import Malformed, parse_object

_ENDING_SECONDS = 0.3


@dataclass(slots=True)
class _Found:
    """A message of a dead host's queue that is kept for some of its receivers."""

    parcels: list[Parcel]
    reply: str
    left: set[str]


@dataclass(slots=True)
class _TakenUp:
    """The queue of a dead host, in order."""

    listening: Listening | None = None
    found: dict[int, _Found] = field(default_factory=dict)
    through: bool = False
    """Whether all that it had when it was taken up has been looked at."""


class Queues:
    """Sends on, and takes up."""

    def __init__(self, link: Link, names: Names, members: Members, deliveries: Deliveries) -> None:
        self.where: Callable[[str], tuple[str, int] | None] = lambda agent_id: None
        self.moved_from: Callable[[str], list[tuple[str, str, int]]] = lambda host: []
        """Where an agent is and its epoch; who was at a host before. Both set by `identities`."""
        self._link, self._names, self._members, self._deliveries = link, names, members, deliveries
        self.took: dict[str, int] = {}
        """How often this host has taken up the queue of each other one, which is told with every heartbeat."""
        self._taken_up: dict[str, _TakenUp] = {}
        self._taken_from: dict[str, tuple[str, int]] = {}
        """How often the queue of this host was taken up, by each other one and the run of that."""
        self._work = Work()
        self._turn = asyncio.Lock()

    def begin(self) -> None:
        """Take up the queues of those that die from now on."""
        self._members.on_go.append(self._host_gone)
        self._members.on_come.append(lambda member, away: self._leave(member.host))
        self._members.on_beat.append(self._heard)
        self._link.on_back.append(self._engine_back)

    async def end(self) -> None:
        """Leave them."""
        await self._work.end()
        for taken in self._taken_up.values():
            if taken.listening is not None:
                await taken.listening.end()

    def waiting(self, host: str) -> int:
        """Return how many deliveries of a dead host wait here."""
        taken = self._taken_up.get(host)
        return 0 if taken is None else len(taken.found)

    async def forward(self, host: str, *parcels: Parcel) -> None:
        """Send parcels on, however long the engine is away: they are nowhere else by then."""
        while True:
            try:
                await self._deliveries.send_parcel(host, *parcels)
                return
            except (EngineAway, QueueFull):
                await asyncio.sleep(0.1)
            except EngineRefused:
                return  # larger than hosts send: it was smaller as it came here

    async def say(self, host: str, values: Mapping[str, Any]) -> None:
        """Send a mark behind all that was sent to a host; as `forward`."""
        while True:
            try:
                await self._deliveries.send_mark(host, values)
                return
            except (EngineAway, QueueFull):
                await asyncio.sleep(0.1)

    async def say_end(self, host: str, agent_id: str, epoch: int) -> None:
        """Say that an agent's host before has nothing more for it."""
        await self.say(host, {"mark": "end", "agent": agent_id, "epoch": epoch})

    def moved(self, agent_id: str, before: str) -> None:
        """An agent has gone on from one host (empty: with nothing of its own) to another: what a dead one has left for
        it follows."""
        if before and before not in self._taken_up:
            self._work.begin(self._take_up_if_gone(before))
        for host, taken in self._taken_up.items():
            if taken.through:
                # Only the host before says that this was all.
                goes_on = self._follow if host == before else self._send_all_on
                self._work.begin(goes_on(host, taken, agent_id))

    # Of dead hosts

    def is_mine(self) -> bool:
        """Return whether this host does what one of the living has to do."""
        return self._members.host == min((self._members.host, *(each.host for each in self._members.living)))

    def _host_gone(self, member: Member, silent: float) -> None:
        if self.moved_from(member.host):
            # Also one that leaves in order, which is not among those below: it may not have sent all on.
            self._work.begin(self._take_up_if_gone(member.host))
        for each in self._members.all.values():
            if not each.alive and each.host not in self._taken_up and self.is_mine():
                self._begin_to_take_up(each.host)

    async def _engine_back(self, seconds: float) -> None:
        """Take up again: with the connection the consumers have ended."""
        for host in tuple(self._taken_up):
            self._leave(host)
            self._begin_to_take_up(host)

    def _leave(self, host: str) -> None:
        taken = self._taken_up.pop(host, None)
        if taken is not None and taken.listening is not None:
            self._work.begin(taken.listening.end())

    async def _take_up_if_gone(self, host: str) -> None:
        # What its agents have just read, the engine is still to hear of.
        await asyncio.sleep(_ENDING_SECONDS)
        while self._members.is_deaf:  # noqa: ASYNC110 - silence is no event
            await asyncio.sleep(0.1)
        if not self._members.alive(host) and host not in self._taken_up and self.is_mine():
            self._begin_to_take_up(host)

    def _heard(self, member: Member) -> None:
        """Take back this host's own queue where another one counted it as gone, and has taken that up."""
        took = member.values.get("took")
        times = whole_number(took.get(self._members.host)) if isinstance(took, dict) else 0
        if times and self._taken_from.get(member.host) != (member.run, times):
            self._taken_from[member.host] = member.run, times
            self._work.begin(self._deliveries.take_back())

    def _begin_to_take_up(self, host: str) -> None:
        taken = self._taken_up[host] = _TakenUp()
        self._work.begin(self._take_up(host, taken))

    async def _take_up(self, host: str, taken: _TakenUp) -> None:
        names = self._names

        async def heard(message: Message) -> None:
            await self._look_at(host, taken, message)

        mark = to_json({"mark": "taken up", "by": self._members.host})
        while self._link.connected and self._taken_up.get(host) is taken:
            try:
                taken.listening = await self._link.consume(
                    names.out_stream, names.consumer(host), names.out(host), heard
                )
                # From now on that one hears nothing of its queue, should it be there after all.
                self.took[host] = self.took.get(host, 0) + 1
                self._members.beat_now()
                if self._taken_up.get(host) is not taken:
                    await taken.listening.end()
                    return
                await self._link.store(names.out(host), mark, message_id=new_event_id())
                return
            except DevServerError:
                await asyncio.sleep(0.1)  # an engine that has just started is not ready with its streams yet

    async def _look_at(self, host: str, taken: _TakenUp, message: Message) -> None:
        if self._taken_up.get(host) is not taken:
            return
        try:
            values = parse_object(message.data)
            if "mark" in values:
                await self._mark(host, taken, values, message)
                return
            parcels = parcels_of(values)
        except (Malformed, ValueError, TypeError, LookupError):
            await self._link.take(message.reply)
            return
        left = {agent_id for parcel in parcels for agent_id in parcel.to}
        taken.found[message.revision] = _Found(parcels, message.reply, left)
        for agent_id in tuple(left):
            await self._send_all_on(host, taken, agent_id)

    async def _mark(self, host: str, taken: _TakenUp, values: Mapping[str, Any], message: Message) -> None:
        await self._link.take(message.reply)
        if values.get("mark") == "end":
            # An agent has gone on before it had arrived there: the end of its host before is that of this one, too.
            return
        if values.get("mark") == "taken up" and values.get("by") == self._members.host:
            taken.through = True
            for agent_id, _, _ in self.moved_from(host):
                await self._follow(host, taken, agent_id)

    async def _follow(self, host: str, taken: _TakenUp, agent_id: str) -> None:
        """Send on what a dead host has for an agent, and say that this was all."""
        now = self.where(agent_id)
        if now is None or now[0] == host or self._taken_up.get(host) is not taken:
            return
        await self._send_all_on(host, taken, agent_id)
        await self.say_end(now[0], agent_id, now[1])

    async def _send_all_on(self, host: str, taken: _TakenUp, agent_id: str) -> None:
        """Send on what a dead host has for an agent, in order: it may have gone on since an earlier message was
        looked at."""
        now = self.where(agent_id)
        if now is not None and now[0] == host:
            return  # it is where it was: its messages stay
        async with self._turn:
            for revision in sorted(taken.found):
                if agent_id in taken.found[revision].left:
                    await self._send_on(host, taken, revision, agent_id)

    async def _send_on(self, host: str, taken: _TakenUp, revision: int, agent_id: str) -> None:
        found, now = taken.found[revision], self.where(agent_id)
        if now is not None and now[0] == host:
            return  # it is where it was: the message stays
        if now is not None:
            its = [each for each in found.parcels if agent_id in each.to]
            onward = [Parcel(each.delivery, each.raw, {agent_id: now[1]}, moved=True) for each in its]
            await self.forward(now[0], *onward)
        found.left.discard(agent_id)
        if not found.left:
            taken.found.pop(revision, None)
            try:
                await self._link.take(found.reply)
            except EngineAway:
                return  # it comes again, and is known by its delivery
