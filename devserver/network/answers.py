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


class _Sender:
    """The answers of one sender, by event id, and their ids, the oldest first."""

    __slots__ = ("answers", "has_gone", "order", "size")

    def __init__(self) -> None:
        self.answers: dict[str, _Kept] = {}
        # Beside the dict: taking the first entry out of one costs more the more have been taken out
        # before.
        self.order: deque[str] = deque()
        self.size = 0
        self.has_gone = False

    def forget_oldest(self) -> int:
        """Forget the oldest answer; return the bytes that this frees."""
        freed = self.answers.pop(self.order.popleft())[0]
        self.size -= freed
        return freed


class Pending:
    """An answer that is being made and that is waited for, or not remembered."""

    def __init__(self, sender: _Sender) -> None:
        self.sender = sender
        self.waiting: list[asyncio.Future[EventResponse]] = []
        self.is_kept = True


class Answers:
    """The last answers of each sender; the oldest are forgotten first.

    A pending answer is never forgotten: others may wait for it. `begin`, `leave_out` and `wait` are
    called where mods run, all else on any thread.
    """

    def __init__(self, accounts: Accounts | None = None, bound: Bound = ANSWERS) -> None:
        self._given: OrderedDict[str | None, _Sender] = OrderedDict()
        self._latest: _Sender | None = None
        """The last of them, which needs no move to the end."""
        self._pending: dict[tuple[str | None, str], _Sender | Pending] = {}
        """The answers that are being made, most without a `Pending`: events come once."""
        self._lock = threading.Lock()
        self._account = (accounts or Accounts()).open(bound, self.sizes, self.forget)
        self._each, self._most = bound.each, bound.most

    def sizes(self) -> dict[str, int]:
        """Return the bytes that are kept for each sender."""
        with self._lock:
            return {str(sender): each.size for sender, each in self._given.items() if each.size}

    def forget(self, sender: str) -> None:
        """Forget the answers of a sender that has gone, and do not remember its pending ones."""
        names = (sender, f"agent:{sender}")
        with self._lock:
            self._latest = None
            for name in names:
                gone = self._given.pop(name, None)
                self._account.used -= 0 if gone is None else gone.size
            for (source_id, _), pending in list(self._pending.items()):
                if source_id in names:
                    (pending.sender if isinstance(pending, Pending) else pending).has_gone = True

    def given(self, sender: str | None, event_id: str) -> EventResponse | None:
        """Return the answer that an event has had, if it is known."""
        given = self._given.get(sender)
        kept = None if given is None else given.answers.get(event_id)
        return None if kept is None else _read(kept)

    def give(self, sender: str | None, event_id: str, answer: EventResponse) -> bytes | None:
        """Remember the answer to an event without waiting callers; return its data as `end` does."""
        return self._keep(sender, event_id, _kept(event_id, answer))

    def _keep(self, sender: str | None, event_id: str, kept: _Kept) -> bytes | None:
        size = kept[0]
        with self._lock:
            given = self._given.get(sender) or self._open(sender)
            if given is not self._latest:
                self._given.move_to_end(sender)
                self._latest = given
            before = given.answers.get(event_id)
            if before is None:
                given.order.append(event_id)
            else:
                size -= before[0]
            given.answers[event_id] = kept
            given.size += size
            while given.size > self._each and len(given.order) > 1:
                size -= given.forget_oldest()
            # Once for all of it: this is on the way of every event.
            account = self._account
            account.used += size
            if account.used > self._most:
                self._make_room()
        return kept[1] if len(kept) == 2 else None

    def _open(self, sender: str | None) -> _Sender:
        opened = self._given[sender] = self._latest = _Sender()
        return opened

    def _make_room(self) -> None:
        account = self._account
        while account.used > self._most:
            # Of the sender with the oldest answer.
            sender, oldest = next(iter(self._given.items()))
            if oldest.order:
                account.used -= oldest.forget_oldest()
            if not oldest.order:
                del self._given[sender]
                self._latest = None

    def begin(self, sender: str | None, event_id: str) -> EventResponse | Pending | None:
        """Return the answer of a repeat, or the future of it; None when the event is new, and is
        now being answered."""
        given = self._given.get(sender)
        if given is None:
            with self._lock:
                given = self._given.get(sender) or self._open(sender)
        known = given.answers.get(event_id)
        if known is not None:
            return _read(known)
        key = (sender, event_id)
        if key in self._pending:
            return self._waited_for(key)
        self._pending[key] = given
        return None

    def _waited_for(self, key: tuple[str | None, str]) -> Pending:
        pending = self._pending[key]
        if isinstance(pending, _Sender):
            pending = self._pending[key] = Pending(pending)
        return pending

    def leave_out(self, sender: str | None, event_id: str) -> None:
        """Do not remember the answer that is being made."""
        self._waited_for((sender, event_id)).is_kept = False

    def end(self, sender: str | None, event_id: str, answer: EventResponse) -> bytes | None:
        """End a pending answer; return it as JSON if it has data and is kept."""
        pending = self._pending.pop((sender, event_id), None)
        if pending is None:
            return None
        if isinstance(pending, _Sender):
            return None if pending.has_gone else self._keep(sender, event_id, _kept(event_id, answer))
        written = None
        if pending.is_kept and not pending.sender.has_gone:
            written = self._keep(sender, event_id, _kept(event_id, answer))
        for waiter in pending.waiting:
            if not waiter.done():
                waiter.set_result(answer)
        return written

    def pack(self) -> dict[str | None, list[tuple[str, bytes]]]:
        """Return every answer given, by sender, the oldest first, each as JSON."""
        with self._lock:
            return {
                sender: [(event_id, _written(given.answers[event_id])) for event_id in given.order]
                for sender, given in self._given.items()
                if given.order
            }

    def unpack(self, packed: Mapping[str | None, Iterable[tuple[str, bytes]]]) -> None:
        """Remember the answers that an earlier process gave."""
        for sender, given in packed.items():
            for event_id, raw in given:
                self._keep(sender, event_id, (len(event_id) + len(raw) + _ENTRY, raw))

    async def wait(self, pending: Pending) -> EventResponse:
        """Wait for the answer that another sending of the same event gets."""
        waiter: asyncio.Future[EventResponse] = asyncio.get_running_loop().create_future()
        pending.waiting.append(waiter)
        return await waiter


def _kept(event_id: str, answer: EventResponse) -> _Kept:
    """Return what is kept of an answer. Of one without data its own parts, which nothing can change:
    writing them would cost more than all else that is done to remember an event."""
    success, message, name = answer.success, answer.message, answer.event_name
    size = len(event_id) + _ENTRY
    if (
        answer.data is None
        and type(message) is str
        and message.isascii()
        and (size := size + len(message)) <= MOST_ANSWER
        and (name is None or type(name) is str)
        and type(success) is bool
    ):
        return size, success, message, name
    raw = to_json((success, message, answer.data, name))
    if len(raw) > MOST_ANSWER:
        message = f"this event was handled before; its answer, {len(raw)} bytes, was not kept"
        raw = to_json((success, message, {"code": "answer_not_kept"}, name))
    return len(event_id) + len(raw) + _ENTRY, raw


def _read(kept: _Kept) -> EventResponse:
    return EventResponse(*from_json(kept[1])) if len(kept) == 2 else EventResponse(kept[1], kept[2], None, kept[3])


def _written(kept: _Kept) -> bytes:
    return kept[1] if len(kept) == 2 else to_json((kept[1], kept[2], None, kept[3]))
