"""The answers already given, so that an event that is sent twice is handled once.

An event id is an idempotency key of its sender: a repeat gets the first answer, also while that is
being made. Answers are kept without the objects of mods, bounded by their account, and dropped when
their sender goes.
"""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict, deque
from collections.abc import Iterable, Mapping

from devserver.model.encoding import from_json, to_json
from devserver.model.event import EventResponse
from devserver.network.accounts import ANSWERS, KIB, Accounts, Bound

MOST_ANSWER = 64 * KIB
"""A larger answer is not kept: its event is still handled once, and a repeat is told so."""

_ENTRY = 280
"""The rough bytes of an answer without its text: an id, two objects, places in a table and a queue."""

_Kept = tuple[int, bytes] | tuple[int, bool, str, str | None]
"""The bytes that an answer takes, and the answer as JSON, or its parts without data."""


class Pending:
    """An answer that is being made and that is waited for, or not remembered."""

    def __init__(self) -> None:
        self.waiting: list[asyncio.Future[EventResponse]] = []
        self.is_kept = True

    def tell(self, answer: EventResponse) -> None:
        """Give the answer to the waiting repeats."""
        for waiter in self.waiting:
            if not waiter.done():
                waiter.set_result(answer)


_MAKING = Pending()
"""An answer that is made and not waited for: one object for all, as most events come once."""


class _Sender:
    """The answers of one sender, by event id, and the ids of the given ones, the oldest first."""

    __slots__ = ("answers", "name", "order", "size")

    def __init__(self, name: str | None) -> None:
        self.name = name
        self.answers: dict[str, _Kept | Pending] = {}
        # Beside the dict: taking the first entry out of one costs more the more have been taken out
        # before; and a pending answer is never forgotten.
        self.order: deque[str] = deque()
        self.size = 0

    def forget(self, most: int, at_least: int) -> int:
        """Forget the oldest answers until `most` bytes are kept, or `at_least` so many answers;
        return the bytes that this frees."""
        answers, order, size = self.answers, self.order, self.size
        while size > most and len(order) > at_least:
            size -= answers.pop(order.popleft())[0]  # type: ignore[index]  # given, so no Pending
        freed, self.size = self.size - size, size
        return freed


class Answers:
    """The last answers of each sender; the oldest are forgotten first.

    A pending answer is never forgotten: others may wait for it. `begin`, `leave_out`, `end` and
    `wait` are called where mods run, all else on any thread. Answers that have just ended are known
    at once, and counted some at a time: a lock for each costs as much as the rest of it.
    """

    def __init__(self, accounts: Accounts | None = None, bound: Bound = ANSWERS) -> None:
        self._given: OrderedDict[str | None, _Sender] = OrderedDict()
        self._latest: _Sender | None = None
        """The last of them, which needs no move to the end."""
        self._fresh: deque[tuple[_Sender, str, int]] = deque()
        """The answers that are not counted yet, each with its bytes."""
        self._uncounted = 0
        self._left: dict[tuple[str | None, str], Pending] = {}
        """The pending answers to senders that have gone: repeats may wait for them."""
        self._lock = threading.Lock()
        self._account = (accounts or Accounts()).open(bound, self.sizes, self.forget)
        self._each, self._most = bound.each, bound.most
        self._most_uncounted = min(bound.each, bound.most) // 64

    def sizes(self) -> dict[str, int]:
        """Return the bytes that are kept for each sender."""
        with self._lock:
            self._count()
            return {str(sender): each.size for sender, each in self._given.items() if each.size}

    def forget(self, sender: str) -> None:
        """Forget the answers of a sender that has gone, and do not remember its pending ones."""
        with self._lock:
            self._count()
            self._latest = None
            for name in (sender, f"agent:{sender}"):
                gone = self._given.pop(name, None)
                if gone is not None:
                    self._account.used -= gone.size
                    waited = ((i, p) for i, p in gone.answers.items() if isinstance(p, Pending) and p is not _MAKING)
                    self._left |= {(name, event_id): pending for event_id, pending in waited}

    def given(self, sender: str | None, event_id: str) -> EventResponse | Pending | None:
        """Return the answer that an event has had, or that it is being made; None for a new event."""
        given = self._given.get(sender)
        known = None if given is None else given.answers.get(event_id)
        return known if known is None or isinstance(known, Pending) else _read(known)

    def give(self, sender: str | None, event_id: str, answer: EventResponse) -> bytes | None:
        """Remember the answer to an event without waiting callers; return its data as `end` does."""
        return self._give(sender, event_id, _kept(event_id, answer))

    def _give(self, sender: str | None, event_id: str, kept: _Kept) -> bytes | None:
        with self._lock:
            given = self._given.get(sender) or self._open(sender)
            # The first answer counts, also one that is still being made.
            if given.answers.setdefault(event_id, kept) is kept:
                self._fresh.append((given, event_id, kept[0]))
                self._count()
        return kept[1] if len(kept) == 2 else None

    def _count(self) -> None:
        """Count the answers that have ended, and forget the oldest ones for them. Needs the lock."""
        fresh, latest, grown, full = self._fresh, self._latest, 0, set()
        self._uncounted = 0
        while fresh:
            given, event_id, size = fresh.popleft()
            if given is not latest:
                if self._given.get(given.name) is not given:
                    # The sender went while it was answered.
                    continue
                self._given.move_to_end(given.name)
                latest = given
            given.order.append(event_id)
            given.size += size
            grown += size
            if given.size > self._each:
                full.add(given)
        self._latest = latest
        for each in full:
            grown -= each.forget(self._each, 1)
        self._account.used += grown
        if self._account.used > self._most:
            self._make_room()

    def _open(self, sender: str | None) -> _Sender:
        opened = self._given[sender] = self._latest = _Sender(sender)
        return opened

    def _make_room(self) -> None:
        account = self._account
        while account.used > self._most:
            # Of the sender with the oldest answer. One without answers stays: it may wait for some.
            oldest = next(iter(self._given.values()))
            account.used -= oldest.forget(oldest.size + self._most - account.used, 0)
            if not oldest.order:
                self._given.move_to_end(oldest.name)
                self._latest = None

    def begin(self, sender: str | None, event_id: str) -> EventResponse | Pending | None:
        """Return a repeat's answer, or its future; None for a new event, which is answered now."""
        given = self._given.get(sender)
        if given is None:
            with self._lock:
                given = self._given.get(sender) or self._open(sender)
        known = given.answers.get(event_id)
        if known is None:
            # Not a plain assignment: another thread may have given an answer meanwhile.
            known = given.answers.setdefault(event_id, _MAKING)
            if known is _MAKING:
                return None
        elif known is _MAKING:
            known = given.answers[event_id] = Pending()
        return known if isinstance(known, Pending) else _read(known)

    def leave_out(self, sender: str | None, event_id: str) -> None:
        """Do not remember the answer that is being made."""
        given = self._given.get(sender)
        if given is not None and event_id in given.answers:
            pending = self.begin(sender, event_id)
            if isinstance(pending, Pending):
                pending.is_kept = False

    def end(self, sender: str | None, event_id: str, answer: EventResponse) -> bytes | None:
        """End a pending answer; return it as JSON if it has data and is kept."""
        given = self._given.get(sender)
        pending = None if given is None else given.answers.get(event_id)
        if given is None or not isinstance(pending, Pending):
            # Its sender has gone, or it was ended before.
            pending = self._left.pop((sender, event_id), None)
            if pending is not None:
                pending.tell(answer)
            return None
        if not pending.is_kept:
            del given.answers[event_id]
            pending.tell(answer)
            return None
        given.answers[event_id] = kept = _kept(event_id, answer)
        self._fresh.append((given, event_id, kept[0]))
        self._uncounted += kept[0]
        if self._uncounted > self._most_uncounted:
            with self._lock:
                self._count()
        if pending.waiting:
            pending.tell(answer)
        return kept[1] if len(kept) == 2 else None

    def pack(self) -> dict[str | None, list[tuple[str, bytes]]]:
        """Return every answer given, by sender, the oldest first, each as JSON."""
        with self._lock:
            self._count()
            return {
                sender: [(event_id, _written(given.answers[event_id])) for event_id in given.order]  # type: ignore[arg-type]
                for sender, given in self._given.items()
                if given.order
            }

    def unpack(self, packed: Mapping[str | None, Iterable[tuple[str, bytes]]]) -> None:
        """Remember the answers that an earlier process gave."""
        for sender, given in packed.items():
            for event_id, raw in given:
                self._give(sender, event_id, (len(event_id) + len(raw) + _ENTRY, raw))

    async def wait(self, pending: Pending) -> EventResponse:
        """Wait for the answer that another sending of the same event gets."""
        waiter: asyncio.Future[EventResponse] = asyncio.get_running_loop().create_future()
        pending.waiting.append(waiter)
        return await waiter


def _kept(event_id: str, answer: EventResponse) -> _Kept:
    """Return what is kept of an answer. Of one without data its own parts, which nothing can change:
    writing them would cost more than all else that is done to remember an event."""
    success, message, name = answer.success, answer.message, answer.event_name
    if (
        answer.data is None
        and type(message) is str
        and message.isascii()
        and (size := len(event_id) + len(message)) <= MOST_ANSWER
        and (name is None or type(name) is str)
        and type(success) is bool
    ):
        return size + _ENTRY, success, message, name
    raw = to_json((success, message, answer.data, name))
    if len(raw) > MOST_ANSWER:
        message = f"this event was handled before; its answer, {len(raw)} bytes, was not kept"
        raw = to_json((success, message, {"code": "answer_not_kept"}, name))
    return len(event_id) + len(raw) + _ENTRY, raw


def _read(kept: _Kept) -> EventResponse:
    return EventResponse(*from_json(kept[1])) if len(kept) == 2 else EventResponse(kept[1], kept[2], None, kept[3])


def _written(kept: _Kept) -> bytes:
    return kept[1] if len(kept) == 2 else to_json((kept[1], kept[2], None, kept[3]))
