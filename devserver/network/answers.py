"""The answers already given, so that an event that is sent twice is handled once.

An event id is an idempotency key of its sender: a repeat gets the first answer, also while that is still being made.
"""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import orjson

from devserver.model.event import EventResponse
from devserver.network.packed import to_json

PER_SENDER = 1000
SENDERS = 10_000


@dataclass(slots=True)
class Pending:
    """An answer that is being made, and who else waits for it."""

    waiting: list[asyncio.Future[EventResponse]] = field(default_factory=list)


class Answers:
    """The last answers of each sender. Bounded both ways; what was answered longest ago is forgotten first.

    What is still being answered is never forgotten: others may wait for it.
    """

    def __init__(self, per_sender: int = PER_SENDER, senders: int = SENDERS) -> None:
        self._per_sender = per_sender
        self._most_senders = senders
        # Ordered dicts: to take the first entry out of a plain one costs more the more have been taken out before.
        self._given: OrderedDict[str | None, OrderedDict[str, EventResponse]] = OrderedDict()
        self._pending: dict[tuple[str | None, str], Pending | None] = {}
        self._lock = threading.Lock()

    def given(self, sender: str | None, event_id: str) -> EventResponse | None:
        """The answer that an event has had, if it is known. May be called from any thread, as may `give`."""
        given = self._given.get(sender)
        return None if given is None else given.get(event_id)

    def give(self, sender: str | None, event_id: str, answer: EventResponse) -> None:
        """Remember the answer to an event that nobody had to wait for."""
        with self._lock:
            given = self._given.get(sender)
            if given is None:
                given = self._given[sender] = OrderedDict()
                if len(self._given) > self._most_senders:
                    self._given.popitem(last=False)
            else:
                self._given.move_to_end(sender)
            given[event_id] = answer
            if len(given) > self._per_sender:
                given.popitem(last=False)

    def begin(self, sender: str | None, event_id: str) -> EventResponse | Pending | None:
        """The answer of a repeat, or what to wait on for it; None when the event is new, and is now being answered."""
        known = self.given(sender, event_id)
        if known is not None:
            return known
        key = (sender, event_id)
        if key not in self._pending:
            self._pending[key] = None
            return None
        # Made for the first who waits: nearly every event comes once.
        pending = self._pending[key] = self._pending[key] or Pending()
        return pending

    def end(self, sender: str | None, event_id: str, answer: EventResponse) -> None:
        """That event has been answered."""
        key = (sender, event_id)
        if key not in self._pending:
            return
        pending = self._pending.pop(key)
        self.give(sender, event_id, answer)
        for waiter in pending.waiting if pending is not None else ():
            if not waiter.done():
                waiter.set_result(answer)

    def pack(self) -> dict[str | None, list[tuple[str, bytes]]]:
        """Every answer given, by sender, the oldest first, each as JSON."""
        with self._lock:
            return {
                sender: [(event_id, to_json(answer.to_dict())) for event_id, answer in given.items()]
                for sender, given in self._given.items()
            }

    def unpack(self, packed: Mapping[str | None, Iterable[tuple[str, bytes]]]) -> None:
        """Remember the answers that an earlier process gave."""
        for sender, given in packed.items():
            for event_id, text in given:
                self.give(sender, event_id, EventResponse(**orjson.loads(text)))

    async def wait(self, pending: Pending) -> EventResponse:
        """The answer that somebody else's sending of the same event gets."""
        waiter: asyncio.Future[EventResponse] = asyncio.get_running_loop().create_future()
        pending.waiting.append(waiter)
        return await waiter
