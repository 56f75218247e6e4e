"""The recorder: the latest events, as rows of JSON bytes in a ring, and sums for each second.

Bytes, because the garbage collector does not look at them, and their length is the memory that they
take. Records from any thread, and answers questions; it decides nothing. An error in it ends
recording and no event.
"""

from __future__ import annotations

import threading
import time
from array import array
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import count, islice
from typing import Any

from devserver.model.encoding import from_json, to_json
from devserver.model.event import Event
from devserver.model.trace import MOST_WHOLE, TOOK, WAY, Said
from devserver.network.accounts import Account
from devserver.network.way import BATCH, Ended, Trace, Way, entries_of

MOST_ROWS = 10_000
MOST_SECONDS = 600
MOST_READS = 10_000
MOST_FOLLOWED = 16 * 1024 * 1024
"""The most bytes that are kept of a payload or answer while events are followed: all."""
ALL = ""
"""The key of the sums of all events, beside those of each mod."""

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
        self._lock = threading.RLock()
        self._numbers = count(1)
        self._latest = 0
        self.fresh: deque[Ended] = deque()
        self._ring = _Ring(account)
        self._sums = _Sums(account)
        self._account = account
        self._reads: deque[tuple[int, str, int]] = deque(maxlen=MOST_READS)
        self.armed: list[Callable[[], None]] = []
        self._follower: Callable[[list[bytes]], None] | None = None
        self.most_whole = MOST_WHOLE
        """The most bytes of a payload, and of an answer, that are kept beside a row."""
        self.has_stopped = False
        self.zero = time.monotonic()
        """The zero of the times in rows, in monotonic seconds."""
        self.zero_at = time.time()
        """The same in seconds since 1970. Fixed: setting the clock moves no row."""

    # From the dispatcher, for each event: what can be done for many of them at once is left to `settle`.
    # `Trace.end` adds to `fresh`.

    def begin(self, event: Event, parent: int) -> Way:
        """Begin the way of an event, sent on behalf of the event `parent`."""
        if self.has_stopped:
            return Way()
        try:
            number = self._latest = next(self._numbers)
            return Trace(self, number, parent, event)
        except Exception as error:
            self.stop(error)
            return Way()

    def settle(self) -> None:
        """Sum up the ended events, keep them, and wake waiting readers."""
        with self._lock:
            self._take_in()
            armed, self.armed = self.armed, []
        for wake in armed:
            wake()

    def _take_in(self) -> None:
        fresh = self.fresh
        # As many as there are now: other threads continue.
        ended = [fresh.popleft() for _ in range(len(fresh))]
        if not ended:
            return
        try:
            entries = entries_of(ended)
            self._sums.add(ended, self.zero_at - self.zero)
            self._ring.put(entries)
            if self._follower is not None:
                self._follower(entries)
        except Exception as error:
            self.stop(error)

    def stop(self, error: Exception) -> None:
        """Record nothing more, and tell why, once."""
        with self._lock:
            news, self.has_stopped = not self.has_stopped, True
        if news:
            words = f"events are not recorded any more: {type(error).__name__}: {error}"
            self._tell(f"{words}; they go on, and a restart of oa-dev brings the recorder back")

    # For who asks

    def follow(self, follower: Callable[[list[bytes]], None] | None) -> None:
        """Give `follower` the entries of events that have ended, whole, as they are taken in; None ends that. It
        returns at once."""
        with self._lock:
            self._take_in()
            self._follower = follower
            self.most_whole = MOST_WHOLE if follower is None else MOST_FOLLOWED

    def take_in(self) -> None:
        """Keep and count everything that has ended until now, also what waits for a full batch."""
        with self._lock:
            self._take_in()

    def mark(self) -> int:
        """Return the number of the latest event that has begun."""
        return self._latest

    @property
    def number(self) -> int:
        """The number of events that have ended: the cursor after the latest one."""
        return self._ring.ended + len(self.fresh)

    @property
    def kept(self) -> int:
        """The number of events that can be looked at."""
        self.take_in()
        return self._ring.kept

    def arm(self, wake: Callable[[], None]) -> None:
        """Call `wake` once, after the next event has ended, on any thread."""
        with self._lock:
            self.armed = [*self.armed, wake]

    def disarm(self, wake: Callable[[], None]) -> None:
        """Have it called no more."""
        with self._lock:
            self.armed = [each for each in self.armed if each is not wake]

    def after(self, number: int, most: int, size: int) -> Rows:
        """Return the latest rows of all that ended after the cursor `number`: at most so many, of
        at most so many bytes.

        A cursor beyond the end, as one of an earlier run, counts as 0.
        """
        with self._lock:
            self._take_in()
            ended = self._ring.ended
            known = number if number <= ended else 0
            latest = list(islice(self._ring.newest(), min(most, ended - known)))
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
        """Return the cursor after the latest event, and every kept entry, the latest first."""
        with self._lock:
            self._take_in()
            return self._ring.ended, list(self._ring.newest())

    def now(self) -> int:
        """Return the present, in µs since the zero of the run."""
        return int((time.monotonic() - self.zero) * 1e6)

    def find(self, number: int) -> bytes | None:
        """Return the entry of an event; None if it is not kept, or has not ended."""
        start = b"[%d," % number
        with self._lock:
            self._take_in()
            return next((each for each in self._ring.newest(start) if each.startswith(start)), None)

    def children(self, number: int) -> list[bytes]:
        """Return the rows of the events that handlers sent for an event, in order of begin."""
        parent = b"%d" % number
        with self._lock:
            self._take_in()
            entries = self._ring.newest(b",%d," % number)
            found = [row_of(each) for each in entries if each.split(b",", 2)[1] == parent]
        return sorted(found, key=number_of)

    def read(self, agent_id: str, number: int) -> None:
        """Note that an agent has got an event."""
        if len(self._reads) < MOST_READS:
            self._account.keep(_READ)
        self._reads.append((number, agent_id, self.now()))

    def reads(self, number: int) -> dict[str, int]:
        """Return when each agent got an event, in µs since the run's zero, as far as kept."""
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
                "ring": list(self._ring.newest())[::-1],
                "seconds": self._sums.pack(),
            }

    def unpack(self, packed: Mapping[str, Any]) -> None:
        """Continue after an earlier image of this process: the machine's clock has gone on too."""
        with self._lock:
            self.zero, self.zero_at = packed["zero"], packed["zero_at"]
            self._latest = packed["number"]
            self._numbers = count(self._latest + 1)
            ring = packed["ring"]
            for place in range(0, len(ring), BATCH):
                self._ring.put(ring[place : place + BATCH])
            self._ring.ended = packed["ended"]
            self._sums.unpack(packed["seconds"])


class _Ring:
    """The entries of the latest events, bounded in number and in bytes. Needs the recorder's lock.

    They lie in pages, each of the entries that were put together: to allocate and free each of them
    costs more than to write it, because its memory has not been touched for thousands of events.
    """

    def __init__(self, account: Account) -> None:
        self._account = account
        self._pages: deque[tuple[int, bytes]] = deque()
        """The number of entries of each page, and their bytes."""
        self._held = 0
        """The number of entries in pages; those over the limit are in the oldest page."""
        self.ended = 0

    @property
    def kept(self) -> int:
        """The number of entries that can be looked at."""
        return min(self._held, MOST_ROWS)

    def put(self, entries: list[bytes]) -> None:
        """Keep more of them, and drop the oldest."""
        pages, account, page = self._pages, self._account, b"".join(entries)
        pages.append((len(entries), page))
        self._held += len(entries)
        self.ended += len(entries)
        size = len(page) + _ENTRY
        room = account.bound.most - account.used - size
        while pages and (room < 0 or self._held - pages[0][0] >= MOST_ROWS):
            number, gone = pages.popleft()
            self._held -= number
            size -= len(gone) + _ENTRY
            room += len(gone) + _ENTRY
        account.keep(size)

    def newest(self, part: bytes = b"") -> Iterator[bytes]:
        """Yield the entries, the latest first; with `part`, only of pages in which it occurs."""
        oldest, beyond = len(self._pages), max(0, self._held - MOST_ROWS)
        for place, (_, page) in enumerate(reversed(self._pages), 1):
            if part in page:
                entries = _split(page)
                yield from reversed(entries[beyond:] if place == oldest else entries)


def _split(page: bytes) -> list[bytes]:
    """Return the entries of a page: a row's line begins with a bracket, its rest does not."""
    return [b"[%b\n" % each for each in page[1:-1].split(b"\n[")]


class _Sums:
    """The events of each mod in each second, and how long they took. Needs the recorder's lock."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._second = 0
        self._took: defaultdict[str, array[int]] = defaultdict(partial(array, "Q"))
        self._failed: dict[str, int] = {}
        self._closed: deque[tuple[int, bytes]] = deque()
        self._size = 0

    def add(self, ended: Iterable[Ended], offset: float) -> None:
        """Add events that have ended; `offset` makes seconds since 1970 of their monotonic ones."""
        took_by, until = self._took, self._second + 1 - offset
        for now, row, _, _, _ in ended:
            if now >= until:
                self._close(int(now + offset))
                until = self._second + 1 - offset
            failed = False
            for mod_id, _, _, _, lasted, said in row[WAY]:
                took_by[mod_id].append(lasted)
                if said > _ANSWERED and said in _FAILED:
                    failed = True
                    self._failed[mod_id] = self._failed.get(mod_id, 0) + 1
            took_by[ALL].append(row[TOOK])
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
            self._took.clear()
            self._failed.clear()
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
