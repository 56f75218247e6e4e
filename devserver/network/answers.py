"""The answers already given, so that an event that is sent twice is handled once.

An event id is an idempotency key of its sender: a repeat gets the first answer, also while that is still being made.
"""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass, field

from devserver.model.event import EventResponse

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
        self._senders = senders
        self._given: dict[str | None, dict[str, EventResponse]] = {}
        self._pending: dict[tuple[str | None, str], Pending] = {}
        self._lock = threading.Lock()

    def given(self, sender: str | None, event_id: str) -> EventResponse | None:
        """The answer that an event has had, if it is known. May be called from any thread, as may `give`."""
        with self._lock:
            return self._given.get(sender, {}).get(event_id)

    def give(self, sender: str | None, event_id: str, answer: EventResponse) -> None:
        """Remember the answer to an event that nobody had to wait for."""
        with self._lock:
            self._keep(sender, event_id, answer)

    def begin(self, sender: str | None, event_id: str) -> EventResponse | Pending | None:
        """The answer of a repeat, or what to wait on for it; None when the event is new, and is now being answered."""
        known = self.given(sender, event_id) or self._pending.get((sender, event_id))
        if known is None:
            self._pending[sender, event_id] = Pending()
        return known

    def end(self, sender: str | None, event_id: str, answer: EventResponse) -> None:
        """That event has been answered."""
        pending = self._pending.pop((sender, event_id), None)
        if pending is None:
            return
        self.give(sender, event_id, answer)
        for waiter in pending.waiting:
            if not waiter.done():
                waiter.set_result(answer)

    async def wait(self, pending: Pending) -> EventResponse:
        """The answer that somebody else's sending of the same event gets."""
        waiter: asyncio.Future[EventResponse] = asyncio.get_running_loop().create_future()
        pending.waiting.append(waiter)
        return await waiter

    def _keep(self, sender: str | None, event_id: str, answer: EventResponse) -> None:
        # Taken out and put in again, so that who was answered last stands last.
        given = self._given.pop(sender, {})
        self._given[sender] = given
        given[event_id] = answer
        if len(given) > self._per_sender:
            del given[next(iter(given))]
        if len(self._given) > self._senders:
            del self._given[next(iter(self._given))]
