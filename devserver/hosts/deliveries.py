"""Deliveries to agents of other hosts: each waits on the engine's disk until the last of its receivers has taken it.

Sending: one message for each host that has receivers. Taking: this host's own consumer puts what comes into the
agents' outboxes, in order, and takes a message off the engine when all have read it. Runs on the control loop.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from devserver.errors import DevServerError
from devserver.hosts.link import (
    MOST_UNREAD,
    EngineAway,
    EngineRefused,
    Link,
    Listening,
    Message,
    NoAnswer,
    QueueFull,
)
from devserver.hosts.names import Names
from devserver.hosts.work import Work
from devserver.model.encoding import to_json
from devserver.model.event import Event, new_event_id
from devserver.model.trace import MOST_NAMED
from devserver.network.agent import Agent, FarDelivery
from devserver.network.letter import Letter
from devserver.transports.strict import Malformed, parse_object

QUEUE_SECONDS = 3600.0
QUEUE_BYTES = 1024 * 1024 * 1024
MOST_TOGETHER = 256
"""How many parcels go in one message; their bytes, as far as that can be, below `TOGETHER_BYTES`."""
TOGETHER_BYTES = 256 * 1024
_REMEMBERED = 1000
"""How many deliveries of each agent are known again, when the engine gives them twice."""


class Kept(Letter):
    """A letter that the engine keeps until its receivers have it. `raw` is that of the event."""

    __slots__ = ("_taken", "delivery", "mark")
    kept = True

    def __init__(self, raw: bytes, delivery: str, mark: int, taken: Callable[[Kept], None]) -> None:
        super().__init__(raw)
        self.delivery = delivery
        self.mark = mark
        """The number of its message in the queue."""
        self._taken = taken

    def taken(self) -> None:
        """One more of its receivers has it."""
        self._taken(self)


@dataclass(slots=True)
class Parcel:
    """A part of a message of a queue: what it brings, to whom (agent → the epoch that the sender knew of it)."""

    delivery: str
    raw: bytes
    to: dict[str, int]
    moved: bool = False
    """Whether it comes from the host where its receivers were before."""

    def to_bytes(self) -> bytes:
        # The event is JSON already, and is not written twice.
        head = to_json({"id": self.delivery, "to": self.to, "moved": self.moved})
        return head[:-1] + b',"event":' + self.raw + b"}"

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Parcel:
        """Raises ValueError, TypeError or LookupError for other values."""
        to = {str(agent): int(epoch) for agent, epoch in values["to"].items()}
        event = Event.from_dict({**values["event"], "secret": None})
        return cls(str(values["id"])[:128], to_json(event.to_dict()), to, values.get("moved") is True)


def parcels_of(values: Mapping[str, Any]) -> list[Parcel]:
    """Read the parcels of a message. Raises ValueError, TypeError or LookupError for other values."""
    parcels = values["parcels"]
    if not isinstance(parcels, list) or len(parcels) > MOST_TOGETHER:
        raise ValueError("a list of parcels was expected")
    return [Parcel.read(each) for each in parcels]


@dataclass(slots=True)
class _Open:
    """A message that is not taken off yet: where that is said, and how many receivers have still to read it."""

    reply: str
    left: int = 1


class Deliveries:
    """What this host sends to others, and takes for its own agents."""

    def __init__(self, link: Link, names: Names, *, host: str, hold_seconds: float = 5.0) -> None:
        self.place: Callable[[Parcel, Callable[[str], Letter | None]], Any] = _nowhere
        """Puts a parcel where its agents are: set by `identities`, which knows that."""
        self.on_mark: Callable[[Mapping[str, Any]], None] = lambda values: None
        """Told of a message that is not a delivery: that all of an agent has arrived, that all before it was seen."""
        self.sent = 0
        """How many messages were sent."""
        self._link, self._names, self._host, self._hold_seconds = link, names, host, hold_seconds
        self._loop = asyncio.get_running_loop()
        self._open: dict[int, _Open] = {}
        self._seen: dict[str, OrderedDict[str, None]] = {}
        self._listening: Listening | None = None
        self._consuming = asyncio.Lock()
        self._back = asyncio.Event()

    @property
    def waiting(self) -> int:
        """How many messages for agents of this host are not taken off yet."""
        return len(self._open)

    async def begin(self) -> None:
        """Take what waits for agents of this host, from now on. Raises EngineAway, EngineRefused."""
        await self._consume()
        self._link.on_back.append(self._engine_back)

    async def end(self) -> None:
        """Take no more. What is not taken off comes again to the next run of this host."""
        if self._engine_back in self._link.on_back:
            self._link.on_back.remove(self._engine_back)
        if self._listening is not None:
            await self._listening.end()

    # Sending

    async def send(self, event: Event, receivers: Sequence[Agent]) -> FarDelivery:
        """Have an event kept for agents of other hosts; the result once the engine has it on its disk."""
        raw, number = to_json(event.to_dict()), new_event_id()
        by_host: dict[str, dict[str, int]] = {}
        for each in receivers:
            by_host.setdefault(each.host or self._host, {})[each.agent_id] = each.epoch
        # Each to its end: what one host has no room for, the others get all the same.
        ended = await asyncio.gather(
            *(self.send_parcel(host, Parcel(number, raw, to)) for host, to in by_host.items()), return_exceptions=True
        )
        full: list[str] = []
        refused = code = ""
        for to, error in zip(by_host.values(), ended, strict=True):
            if error is None:
                continue
            if isinstance(error, QueueFull):
                full += to
            elif isinstance(error, DevServerError):
                refused, code = str(error), "engine_away" if isinstance(error, EngineAway) else "engine_refused"
                full += to
            else:
                raise error
        got = [each.agent_id for each in receivers if each.agent_id not in full]
        named = () if refused else tuple(full)
        return FarDelivery(len(got), named, to=tuple(got[:MOST_NAMED]), refused=refused, refused_code=code)

    async def send_parcel(self, host: str, *parcels: Parcel) -> None:
        """Have parcels kept for a host, as one message; waits for an engine that is away. Raises
        QueueFull, EngineAway and others."""
        data, parcel = b'{"parcels":[' + b",".join(each.to_bytes() for each in parcels) + b"]}", parcels[0]
        if len(data) > self._link.most_bytes > 0:
            raise EngineRefused(f"it has {len(data)} bytes, and hosts send each other {self._link.most_bytes}")
        # What was sent to several agents moves on with each of them, alone or with more, and may come back to a host
        # with its agent: those are no repeats.
        way = [*parcel.to.items(), len(parcels)] if parcel.moved else ""
        await self._store(host, data, f"{parcel.delivery}.{host}.{way}")

    async def send_mark(self, host: str, values: Mapping[str, Any]) -> None:
        """Send a host what comes behind all that was sent before. As `send_parcel`."""
        await self._store(host, to_json(dict(values)), new_event_id())

    async def _store(self, host: str, data: bytes, message_id: str) -> None:
        end = self._loop.time() + self._hold_seconds
        while True:
            try:
                await self._link.store(self._names.out(host), data, message_id=message_id)
                self.sent += 1
                return
            except (EngineAway, NoAnswer) as error:
                # It may be kept: sent again under the same id, it is kept once.
                if self._loop.time() >= end:
                    raise EngineAway(f"the engine has been unreachable for {self._hold_seconds:.0f} s") from error
                self._back.clear()
                try:
                    await asyncio.wait_for(self._back.wait(), 0.1)
                except TimeoutError:
                    continue

    # Taking

    async def _consume(self) -> None:
        link, names = self._link, self._names
        consumer, subject = names.consumer(self._host), names.out(self._host)
        async with self._consuming:
            if self._listening is not None:
                await self._listening.end()
            self._listening = await link.consume(names.out_stream, consumer, subject, self._heard, most=MOST_UNREAD)

    async def _engine_back(self, seconds: float) -> None:
        self._back.set()
        await self.take_back()

    async def take_back(self) -> None:
        """Take up the queue again: letters that were not taken off come again, in order; known numbers are dropped."""
        while self._link.connected and self._listening is not None:
            try:
                await self._consume()
                return
            except DevServerError:
                await asyncio.sleep(0.1)  # it listens, and is not ready with its streams yet

    async def _heard(self, message: Message) -> None:
        known = self._open.get(message.revision)
        if known is not None:
            # It waits here already: from now on it is taken off by this number.
            known.reply = message.reply
            return
        opened = self._open[message.revision] = _Open(message.reply)
        try:
            values = parse_object(message.data)
            if "mark" in values:
                self.on_mark(values)
            else:
                for parcel in parcels_of(values):
                    kept = Kept(parcel.raw, parcel.delivery, message.revision, self._one_took)
                    await self.place(parcel, partial(self._letter_for, kept, opened))
        except (Malformed, ValueError, TypeError, LookupError):
            pass  # whatever it is, it would come again for ever
        except asyncio.CancelledError:
            # The consumer is made again: this message comes again, and is not yet where it belongs.
            self._open.pop(message.revision, None)
            raise
        self._close_one(message.revision)

    def _letter_for(self, kept: Kept, opened: _Open, agent_id: str) -> Letter | None:
        """Return the letter for an agent's outbox; None where it has had this delivery before."""
        seen = self._seen.setdefault(agent_id, OrderedDict())
        if kept.delivery in seen:
            return None
        seen[kept.delivery] = None
        if len(seen) > _REMEMBERED:
            seen.popitem(last=False)
        opened.left += 1
        return kept

    def forget(self, agent_id: str, deliveries: Iterable[str] | None = None) -> None:
        """Forget that an agent has got these deliveries, or any: they go on to another host, or it is gone."""
        if deliveries is None:
            self._seen.pop(agent_id, None)
            return
        if (seen := self._seen.get(agent_id)) is not None:
            for each in deliveries:
                seen.pop(each, None)

    def _one_took(self, kept: Kept) -> None:
        """Note that a receiver has read a letter, or has gone. From any thread."""
        try:
            self._loop.call_soon_threadsafe(self._close_one, kept.mark)
        except RuntimeError:
            return  # the loop has ended: it comes again to the next run

    def _close_one(self, mark: int) -> None:
        opened = self._open.get(mark)
        if opened is None:
            return
        opened.left -= 1
        if opened.left <= 0:
            del self._open[mark]
            _running.begin(self._take(opened.reply))

    async def _take(self, reply: str) -> None:
        try:
            await self._link.take(reply)
        except EngineAway:
            return  # it comes again, and is known by its delivery


_running = Work()


async def _nowhere(parcel: Parcel, letter: Callable[[str], Letter | None]) -> None:
    return None


def delivery_of(letter: Letter) -> str:
    """Return the number of a letter's delivery; one that this host alone knows gets a new one."""
    return letter.delivery if isinstance(letter, Kept) else new_event_id()
