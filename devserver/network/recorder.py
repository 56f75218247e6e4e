"""The recorder: the latest events, as rows of JSON bytes in a ring, and sums for each second.

Bytes, because the garbage collector does not look at them, and their length is the memory that they
take. Records from any thread, and answers questions; it decides nothing. An error in it ends
recording and no event.
"""

from __future__ import annotations

import threading
import time
from array import array
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count, islice
from time import monotonic
from typing import Any

from orjson import Fragment, dumps

from devserver.model.encoding import as_text, from_json, to_json
from devserver.model.event import Event, EventResponse
from devserver.model.facts import ErrorFacts
from devserver.model.trace import MOST_PAYLOAD, MOST_SAID, MOST_WHOLE, Said, Visit
from devserver.model.wire_form import error_to_dict
from devserver.network.accounts import Account
from devserver.network.way import Trace, Way

MOST_ROWS = 10_000
MOST_SECONDS = 600
MOST_READS = 10_000
MOST_FOLLOWED = 16 * 1024 * 1024
"""The most bytes that are kept of a payload, and of an answer, while events are followed: all that
may come."""
ALL = ""
"""The key of the sums of all events, beside those of each mod."""

_Ended = tuple[bytes, float, int, Sequence[Visit]]
"""An event that has ended: its entry, when (monotonic seconds), how long its way was (µs), and its visits."""

_BATCH = 64
"""The number of ended events that are taken into the ring and the sums at a time: locks cost as
much as the rest."""
_SECRET = b"null"
_NOTHING = b"{}"
_READ = 160
"""The rough bytes of one note of a delivery."""
_ENTRY = 41
"""The bytes of a bytes object without its text, and of its place in a deque."""
# Plain integers: to compare the members of an enumeration takes longer than all else in a sum.
_ANSWERED = int(Said.ANSWERED)
_FAILED = (int(Said.RAISED), int(Said.GIVEN_UP))
_MOST_SECONDS_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Rows:
    """Some rows as JSON, oldest first. `next`: the cursor for those after them; `skipped`: how many are left out."""

    next: int
    skipped: int
    rows: tuple[bytes, ...]


class Recorder:
    """Keeps the latest events. Safe to use from several threads.

    Arguments: `account` counts its bytes; `tell` is told, once, why nothing is recorded any more.
    """

    def __init__(self, account: Account, tell: Callable[[str], None] = lambda words: None) -> None:
        self._tell = tell
        self._lock = threading.Lock()
        self._numbers = count(1)
        self._latest = 0
        self._fresh: deque[_Ended] = deque()
        self._ring = _Ring(account)
        self._sums = _Sums(account)
        self._account = account
        self._reads: deque[tuple[int, str, int]] = deque(maxlen=MOST_READS)
        self._armed: list[Callable[[], None]] = []
        self._follower: Callable[[list[bytes]], None] | None = None
        self.batch = _BATCH
        """The number of ended events that are taken in at a time."""
        self.most_whole = MOST_WHOLE
        """The most bytes of a payload, and of an answer, that are kept beside a row."""
        self.has_stopped = False
        self.zero = time.monotonic()
        """The zero of the times in rows, in monotonic seconds."""
        self.zero_at = time.time()
        """The same in seconds since 1970. Fixed: setting the clock moves no row."""

    # From the dispatcher, for each event: what can be done for many of them at once is left to `_settle`

    def begin(self, event: Event, parent: int) -> Way:
        """Begin the way of an event, sent on behalf of the event `parent`."""
        if self.has_stopped:
            return Way()
        try:
            number = self._latest = next(self._numbers)
            return Trace(self, number, parent, _payload(event))
        except Exception as error:
            self._stop(error)
            return Way()

    def end(self, trace: Trace, event: Event, answer: EventResponse, written: bytes | None) -> None:
        """Note the answer of an event. Called by `Trace.end`."""
        if self.has_stopped:
            return
        try:
            now = monotonic()
            took = int((now - trace.began) * 1e6)
            self._fresh.append((_entry(trace, event, answer, written, took), now, took, trace.visits))
            if len(self._fresh) >= self.batch or self._armed:
                self._settle()
        except Exception as error:
            self._stop(error)

    def _settle(self) -> None:
        """Sum up the ended events, keep them, and wake waiting readers."""
        with self._lock:
            self._take_in()
            armed, self._armed = self._armed, []
        for wake in armed:
            wake()

    def _take_in(self) -> None:
        fresh, offset = self._fresh, self.zero_at - self.zero
        entries = []
        # As many as there are now: other threads continue.
        for _ in range(len(fresh)):
            entry, now, took, visits = fresh.popleft()
            entries.append(entry)
            self._sums.add(int(now + offset), took, visits)
        self._ring.put(entries)
        if self._follower is not None and entries:
            self._follower(entries)

    def _stop(self, error: Exception) -> None:
        with self._lock:
            news, self.has_stopped = not self.has_stopped, True
        if news:
            words = f"events are not recorded any more: {type(error).__name__}: {error}"
            self._tell(f"{words}; they go on, and a restart of oa-dev brings the recorder back")

    # For who asks

    def follow(self, follower: Callable[[list[bytes]], None] | None) -> None:
        """Give `follower` the entry of each event as it ends, whole; None ends that. It returns at
        once."""
        with self._lock:
            self._take_in()
            self._follower = follower
            # The file of a killed process has all events until then.
            self.batch = _BATCH if follower is None else 1
            self.most_whole = MOST_WHOLE if follower is None else MOST_FOLLOWED

    def mark(self) -> int:
        """Return the number of the latest event that has begun."""
        return self._latest

    @property
    def number(self) -> int:
        """The number of events that have ended: the cursor after the latest one."""
        return self._ring.ended + len(self._fresh)

    @property
    def kept(self) -> int:
        """The number of events that can be looked at."""
        return len(self.newest())

    def arm(self, wake: Callable[[], None]) -> None:
        """Call `wake` once, after the next event has ended, on any thread."""
        with self._lock:
            self._armed = [*self._armed, wake]

    def disarm(self, wake: Callable[[], None]) -> None:
        """Have it called no more."""
        with self._lock:
            self._armed = [each for each in self._armed if each is not wake]

    def after(self, number: int, most: int, size: int) -> Rows:
        """Return the latest rows of all that ended after the cursor `number`: at most so many, of
        at most so many bytes.

        A cursor beyond the end, as one of an earlier run, counts as 0.
        """
        with self._lock:
            self._take_in()
            ended = self._ring.ended
            known = number if number <= ended else 0
            latest = list(islice(reversed(self._ring.entries), min(most, ended - known)))
        rows: list[bytes] = []
        for each in latest:
            row = row_of(each)
            size -= len(row)
            if size < 0 and rows:
                break
            rows.append(row)
        return Rows(ended, ended - known - len(rows), tuple(reversed(rows)))

    def newest(self) -> list[bytes]:
        """Return every entry that is kept now, the latest first."""
        return self.all()[1]

    def all(self) -> tuple[int, list[bytes]]:
        """Return the cursor after the latest event, and every entry that is kept now, the latest
        first."""
        with self._lock:
            self._take_in()
            return self._ring.ended, list(reversed(self._ring.entries))

    def now(self) -> int:
        """Return the present, in µs since the zero of the run."""
        return int((time.monotonic() - self.zero) * 1e6)

    def find(self, number: int) -> bytes | None:
        """Return the entry of an event; None if it is not kept, or has not ended."""
        start = b"[%d," % number
        return next((each for each in self.newest() if each.startswith(start)), None)

    def children(self, number: int) -> list[bytes]:
        """Return the rows of the events that handlers sent on behalf of an event, in the order in
        which they began."""
        parent = b"%d" % number
        found = [row_of(each) for each in self.newest() if each.split(b",", 2)[1] == parent]
        return sorted(found, key=number_of)

    def read(self, agent_id: str, number: int) -> None:
        """Note that an agent has got an event."""
        if len(self._reads) < MOST_READS:
            self._account.keep(_READ)
        self._reads.append((number, agent_id, self.now()))

    def reads(self, number: int) -> dict[str, int]:
        """Return when each agent got an event, in µs since the zero of the run, as far as that is
        kept."""
        return {agent_id: at for each, agent_id, at in tuple(self._reads) if each == number}

    def seconds(self, since: int) -> list[bytes]:
        """Return the sums of each whole second after `since` (seconds since 1970), as JSON:
        `[second, {mod: [n, …]}]`.

        Per mod, and for all events under the empty key: how many, how many of these failed, p50 and
        p95 in µs.
        """
        with self._lock:
            self._take_in()
            return self._sums.after(since, int(self.zero_at + time.monotonic() - self.zero))

    # A restart in place

    def pack(self) -> dict[str, Any]:
        """Return everything that is kept, for the next image of this process."""
        with self._lock:
            self._take_in()
            return {
                "zero": self.zero,
                "zero_at": self.zero_at,
                "number": self._latest,
                "ended": self._ring.ended,
                "ring": list(self._ring.entries),
                "seconds": self._sums.pack(),
            }

    def unpack(self, packed: Mapping[str, Any]) -> None:
        """Continue after an earlier image of this process: the clock is the machine's, and has gone
        on too."""
        with self._lock:
            self.zero, self.zero_at = packed["zero"], packed["zero_at"]
            self._latest = packed["number"]
            self._numbers = count(self._latest + 1)
            self._ring.put(packed["ring"])
            self._ring.ended = packed["ended"]
            self._sums.unpack(packed["seconds"])


class _Ring:
    """The entries of the latest events, bounded in number and in bytes. Needs the recorder's
    lock."""

    def __init__(self, account: Account) -> None:
        self._account = account
        # An entry is a line with the row, perhaps followed by a line with the rest.
        self.entries: deque[bytes] = deque()
        self.ended = 0

    def put(self, entries: list[bytes]) -> None:
        """Keep more of them, and drop the oldest."""
        ring, account = self.entries, self._account
        ring.extend(entries)
        self.ended += len(entries)
        size = sum(map(len, entries)) + _ENTRY * len(entries)
        beyond = len(ring) - MOST_ROWS
        if beyond > 0:
            # Most of the time this is all that goes; together they cost half of what they cost one by one.
            size -= sum(map(len, islice(ring, beyond))) + _ENTRY * beyond
            for _ in range(beyond):
                ring.popleft()
        room = account.bound.most - account.used - size
        while room < 0 and ring:
            gone = len(ring.popleft()) + _ENTRY
            size -= gone
            room += gone
        account.keep(size)


class _Sums:
    """The events of each mod in each second, and how long they took. Needs the recorder's lock."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._second = 0
        self._took: dict[str, array[int]] = {}
        self._failed: dict[str, int] = {}
        self._closed: deque[tuple[int, bytes]] = deque()
        self._size = 0

    def add(self, second: int, took: int, visits: Iterable[Visit]) -> None:
        """Add an event that has ended, in a second since 1970."""
        if second != self._second:
            self._close(second)
        sums, failed = self._took, False
        for mod_id, _, _, _, lasted, said in visits:
            known = sums.get(mod_id)
            if known is None:
                known = sums[mod_id] = array("Q")
            known.append(lasted)
            if said > _ANSWERED and said in _FAILED:
                failed = True
                self._failed[mod_id] = self._failed.get(mod_id, 0) + 1
        known = sums.get(ALL)
        if known is None:
            known = sums[ALL] = array("Q")
        known.append(took)
        if failed:
            self._failed[ALL] = self._failed.get(ALL, 0) + 1

    def after(self, since: int, now: int) -> list[bytes]:
        """Return the sums after a second; `now` is not over yet."""
        if now != self._second:
            self._close(now)
        return [raw for second, raw in self._closed if second > since]

    def pack(self) -> list[tuple[int, bytes]]:
        """Return the seconds that are over, and the present one, which ends here."""
        self._close(self._second)
        return list(self._closed)

    def unpack(self, closed: list[tuple[int, bytes]]) -> None:
        """Continue after these."""
        for second, raw in closed:
            self._put(second, raw)

    def _close(self, second: int) -> None:
        if self._took:
            sums = {mod_id: _summed(took, self._failed.get(mod_id, 0)) for mod_id, took in self._took.items()}
            self._put(self._second, to_json((self._second, sums)))
            self._took, self._failed = {}, {}
        self._second = second

    def _put(self, second: int, raw: bytes) -> None:
        self._closed.append((second, raw))
        size = len(raw) + _ENTRY
        while len(self._closed) > MOST_SECONDS or self._size + size > _MOST_SECONDS_BYTES:
            size -= len(self._closed.popleft()[1]) + _ENTRY
        self._size += size
        self._account.keep(size)


def _summed(took: array[int], failed: int) -> tuple[int, int, int, int]:
    ordered = sorted(took)
    last = len(ordered) - 1
    return len(ordered), failed, ordered[last // 2], ordered[last * 95 // 100]


def row_of(entry: bytes) -> bytes:
    return entry[: entry.index(b"\n")]


def rest_of(entry: bytes) -> dict[str, Any]:
    """Return what is kept of an event beside its row, without empty parts: `answer`, `payload`,
    `errors`.

    An answer has success, message, data and event_name.
    """
    rest = entry[entry.index(b"\n") + 1 :]
    return from_json(rest) if rest else {}


def number_of(row: bytes) -> int:
    """Return the number of the event of a row or an entry."""
    return int(row[1 : row.index(b",")])


def _payload(event: Event) -> bytes:
    """Return the payload as JSON; `_SECRET` itself if it may contain passwords and secrets."""
    if event.event_name.startswith("system."):
        return _SECRET
    if not event.payload:
        return _NOTHING
    try:
        return dumps(event.payload)
    except TypeError:
        return to_json(event.payload)


def _entry(trace: Trace, event: Event, answer: EventResponse, written: bytes | None, took: int) -> bytes:
    payload, message, parts = trace.payload, answer.message, []
    if type(message) is not str:
        message = as_text(message)
    if len(payload) > MOST_PAYLOAD:
        parts = [b'"payload":%b' % payload] if len(payload) <= trace.recorder.most_whole else []
        payload = b'"%b bytes"' % f"{len(payload):,}".encode()
    row = (
        trace.number,
        trace.parent,
        int((trace.began - trace.recorder.zero) * 1e6),
        took,
        event.event_name,
        event.source_id,
        event.destination_id,
        event.event_id,
        answer.success,
        message if len(message) <= MOST_SAID else message[:MOST_SAID],
        trace.visits,
        trace.to,
        trace.full,
        Fragment(payload),
    )
    try:
        raw = dumps(row)
    except TypeError:
        # A name with a lone surrogate, or an answer of another type: mods may make them.
        raw = to_json((*row[:-1], from_json(payload)))
    if (answer.data is not None or len(message) > MOST_SAID) and payload is not _SECRET:
        told = written or to_json((answer.success, message, answer.data, answer.event_name))
        if len(told) <= trace.recorder.most_whole:
            if not parts and not trace.errors:
                return b'%b\n{"answer":%b}\n' % (raw, told)
            parts.append(b'"answer":%b' % told)
    if trace.errors:
        parts.append(b'"errors":%b' % to_json([_error(*each) for each in trace.errors]))
    return b"%b\n{%b}\n" % (raw, b",".join(parts)) if parts else raw + b"\n"


def _error(mod_id: str, error: ErrorFacts) -> dict[str, Any]:
    where = error.where
    excerpt = [list(each) for each in where.excerpt] if where is not None else []
    return {"mod_id": mod_id, **error_to_dict(error), "excerpt": excerpt, "trace": error.trace}
