"""The answers already given, so that an event that is sent twice is handled once.

An event id is an idempotency key of its sender: a repeat gets the first answer, also while that is
being made. Answers are kept as JSON bytes, bounded by their account, and dropped when their sender
goes.
"""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from devserver.model.encoding import from_json, to_json
from devserver.model.event import EventResponse
from devserver.network.accounts import ANSWERS, KIB, Accounts, Bound

MOST_ANSWER = 64 * KIB
"""A larger answer is not kept: its event is still handled once, and a repeat is told so."""

_ENTRY = 280
"""The rough bytes of an answer without its text: an id, two objects, a place in a table."""


@dataclass(slots=True)
class Pending:
    """An answer that is being made, and the callers that wait for it."""

    waiting: list[asyncio.Future[EventResponse]] = field(default_factory=list)
    kept: bool = True
    """Whether the answer is remembered: not if its sender has gone meanwhile."""


@dataclass(slots=True)
class _Sender:
    """The answers of one sender, the oldest first."""

    # Ordered dicts: taking the first entry out of a plain one costs more the more have been taken
    # out before.
    answers: OrderedDict[str, bytes] = field(default_factory=OrderedDict)
    size: int = 0

    def forget_oldest(self) -> int:
        """Forget the oldest answer; return the bytes that this frees."""
        event_id, raw = self.answers.popitem(last=False)
        self.size -= (freed := _size(event_id, raw))
        return freed


class Answers:
    """The last answers of each sender; the oldest are forgotten first.

    A pending answer is never forgotten: others may wait for it.
    """

    def __init__(self, accounts: Accounts | None = None, bound: Bound = ANSWERS) -> None:
        self._given: OrderedDict[str | None, _Sender] = OrderedDict()
        self._pending: dict[tuple[str | None, str], Pending | None] = {}
        self._lock = threading.Lock()
        self._account = (accounts or Accounts()).open(bound, self.sizes, self.forget)

    def sizes(self) -> dict[str, int]:
        """Return the bytes that are kept for each sender."""
        with self._lock:
            return {str(sender): each.size for sender, each in self._given.items()}

    def forget(self, sender: str) -> None:
        """Forget the answers of a sender that has gone, and do not remember its pending ones."""
        names = (sender, f"agent:{sender}")
        with self._lock:
            for name in names:
                gone = self._given.pop(name, None)
                if gone is not None:
                    self._account.keep(-gone.size)
            for key in [each for each in self._pending if each[0] in names]:
                pending = self._pending[key] = self._pending.get(key) or Pending()
                pending.kept = False

    def given(self, sender: str | None, event_id: str) -> EventResponse | None:
        """Return the answer that an event has had, if it is known. For any thread, as is `give`."""
        given = self._given.get(sender)
        raw = None if given is None else given.answers.get(event_id)
        return None if raw is None else EventResponse(*from_json(raw))

    def give(self, sender: str | None, event_id: str, answer: EventResponse) -> bytes:
        """Remember the answer to an event without waiting callers; return its kept form."""
        raw = _written(answer)
        self._keep(sender, event_id, raw)
        return raw

    def _keep(self, sender: str | None, event_id: str, raw: bytes) -> None:
        size = _size(event_id, raw)
        with self._lock:
            given = self._given.get(sender)
            if given is None:
                given = self._given[sender] = _Sender()
            else:
                self._given.move_to_end(sender)
            answers, account = given.answers, self._account
            if event_id in answers:
                size -= _size(event_id, answers.pop(event_id))
            answers[event_id] = raw
            given.size += size
            while given.size > account.bound.each and len(answers) > 1:
                size -= given.forget_oldest()
            # Once for all of it: this is on the way of every event.
            account.keep(size)
            if account.used > account.bound.most:
                self._make_room()

    def _make_room(self) -> None:
        bound = self._account.bound
        while self._account.used > bound.most:
            # Of the sender with the oldest answer.
            sender, oldest = next(iter(self._given.items()))
            self._account.keep(-oldest.forget_oldest())
            if not oldest.answers:
                del self._given[sender]

    def begin(self, sender: str | None, event_id: str) -> EventResponse | Pending | None:
        """Return the answer of a repeat, or the future of it; None when the event is new, and is
        now being answered."""
        known = self.given(sender, event_id)
        if known is not None:
            return known
        key = (sender, event_id)
        with self._lock:
            if key not in self._pending:
                self._pending[key] = None
                return None
            # Made for the first waiting caller: nearly every event comes once.
            pending = self._pending[key] = self._pending[key] or Pending()
        return pending

    def leave_out(self, sender: str | None, event_id: str) -> None:
        """Do not remember the answer that is being made."""
        with self._lock:
            key = (sender, event_id)
            pending = self._pending[key] = self._pending.get(key) or Pending()
            pending.kept = False

    def end(self, sender: str | None, event_id: str, answer: EventResponse) -> bytes | None:
        """End a pending answer; return its kept form, None if it is not kept."""
        key = (sender, event_id)
        if key not in self._pending:
            return None
        with self._lock:
            pending = self._pending.pop(key)
        raw = None
        if pending is None or pending.kept:
            raw = _written(answer)
            self._keep(sender, event_id, raw)
        for waiter in () if pending is None else pending.waiting:
            if not waiter.done():
                waiter.set_result(answer)
        return raw

    def pack(self) -> dict[str | None, list[tuple[str, bytes]]]:
        """Return every answer given, by sender, the oldest first, each as JSON."""
        with self._lock:
            return {sender: list(given.answers.items()) for sender, given in self._given.items()}

    def unpack(self, packed: Mapping[str | None, Iterable[tuple[str, bytes]]]) -> None:
        """Remember the answers that an earlier process gave."""
        for sender, given in packed.items():
            for event_id, raw in given:
                self._keep(sender, event_id, raw)

    async def wait(self, pending: Pending) -> EventResponse:
        """Wait for the answer that another sending of the same event gets."""
        waiter: asyncio.Future[EventResponse] = asyncio.get_running_loop().create_future()
        pending.waiting.append(waiter)
        return await waiter


def _written(answer: EventResponse) -> bytes:
    raw = to_json((answer.success, answer.message, answer.data, answer.event_name))
    if len(raw) <= MOST_ANSWER:
        return raw
    message = f"this event was handled before; its answer, {len(raw)} bytes, was not kept"
    return to_json((answer.success, message, {"code": "answer_not_kept"}, answer.event_name))


def _size(event_id: str, raw: bytes) -> int:
    return len(event_id) + len(raw) + _ENTRY
