"""The events that wait for one agent: a bounded queue between the threads that send and the loop that delivers.

Events leave it only when they are handed over, so a receiver that goes away while it waits loses nothing. It knows
neither agents nor transports, and never blocks the one who puts.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Iterable

import orjson

from devserver.model.event import Event

MOST_BYTES = 8 * 1024 * 1024
"""How many bytes of payload may wait for one agent."""
_UNKNOWN_SIZE = 64 * 1024

_Waiter = tuple[asyncio.AbstractEventLoop, "asyncio.Future[None]"]


class Outbox:
    """A first-in-first-out queue of events with one current consumer; the newest consumer supersedes the others.

    `put` may be called from any thread, everything else from the loop of the consumers. When `limit` events or `most`
    bytes wait, the newest is refused and the ones that wait are kept: the sender can be told, the receiver sees no gap.
    """

    def __init__(self, limit: int = 1000, most: int = MOST_BYTES) -> None:
        self.limit = limit
        self.most = most
        self.dropped = 0
        """How many events were refused because the queue was full or closed."""
        # No deque until one is needed: an empty one takes more room than all the rest of an idle agent.
        self._events: deque[tuple[Event, int]] | tuple[()] = ()
        self._size = 0
        self._lock = threading.Lock()
        self._consumer = 0
        self._waiter: _Waiter | None = None
        self._closed = False

    def __len__(self) -> int:
        return len(self._events)

    @property
    def closed(self) -> bool:
        """Whether the agent has left: nothing goes in any more and nobody waits."""
        return self._closed

    @property
    def awaited(self) -> bool:
        """Whether a consumer waits for an event now."""
        return self._waiter is not None

    def put(self, event: Event, size: int = 0) -> bool:
        """Queue an event of `size` bytes; False when it was refused because the queue is full or closed."""
        with self._lock:
            if self._closed or len(self._events) >= self.limit or (self._events and self._size + size > self.most):
                self.dropped += 1
                return False
            if isinstance(self._events, tuple):
                self._events = deque()
            self._events.append((event, size))
            self._size += size
            waiter, self._waiter = self._waiter, None
        _wake(waiter)
        return True

    def attach(self) -> int:
        """Become the consumer, and get the number to wait with. Whoever waited before is let go at once."""
        with self._lock:
            self._consumer += 1
            waiter, self._waiter = self._waiter, None
            number = self._consumer
        _wake(waiter)
        return number

    async def ready(self, consumer: int, timeout: float | None = None) -> bool:  # noqa: ASYNC109 - running out is no error
        """Wait until an event is there for `consumer`, at most `timeout` seconds (None: for as long as it takes).

        False when time is up, when a newer consumer has attached, or when the outbox was closed.
        """
        future = self.news(consumer)
        if future is not None:
            try:
                await asyncio.wait((future,), timeout=timeout)
            finally:
                self._forget(future)
        return self.is_current(consumer) and bool(self._events)

    def is_current(self, consumer: int) -> bool:
        """Whether `consumer` may still take events: no newer one has attached and the outbox is open."""
        return consumer == self._consumer and not self._closed

    async def take(self, timeout: float) -> list[Event]:  # noqa: ASYNC109 - running out is no error
        """All events that wait, or the first to come within `timeout` seconds; none when superseded or closed."""
        consumer = self.attach()
        return self.take_nowait() if await self.ready(consumer, timeout) else []

    def take_nowait(self) -> list[Event]:
        """Hand over all events that wait now."""
        with self._lock:
            taken = [event for event, _ in self._events]
            self._events = ()
            self._size = 0
        return taken

    def peek(self) -> Event | None:
        """The oldest event, which stays until `handed_over`."""
        with self._lock:
            return self._events[0][0] if self._events else None

    def handed_over(self, event: Event) -> None:
        """Remove the oldest event if it is still this one: its receiver has it."""
        with self._lock:
            if not isinstance(self._events, tuple) and self._events and self._events[0][0] is event:
                self._size -= self._events.popleft()[1]

    def pack(self) -> list[tuple[Event, int]]:
        """What waits, with the size of each: all that another process needs to go on with this queue."""
        with self._lock:
            return list(self._events)

    def unpack(self, events: Iterable[tuple[Event, int]]) -> None:
        """Take what waited in an earlier process; it comes before everything that is put from now on."""
        with self._lock:
            self._events = deque([*events, *self._events])
            self._size = sum(size for _, size in self._events)

    def close(self) -> None:
        """End: refuse what comes, and let the waiting consumer go."""
        with self._lock:
            self._closed = True
            waiter, self._waiter = self._waiter, None
        _wake(waiter)

    def news(self, consumer: int) -> asyncio.Future[None] | None:
        """Give a future of the running loop that is done once `consumer` should look again; None: look now."""
        loop = asyncio.get_running_loop()
        with self._lock:
            if self._events or not self.is_current(consumer):
                return None
            future: asyncio.Future[None] = loop.create_future()
            self._waiter = (loop, future)
            return future

    def _forget(self, future: asyncio.Future[None]) -> None:
        with self._lock:
            if self._waiter is not None and self._waiter[1] is future:
                self._waiter = None


def size_of(event: Event) -> int:
    """About how many bytes an event keeps: those of its payload as JSON; for one that is no JSON, a rough guess."""
    try:
        return len(orjson.dumps(event.payload))
    except TypeError:
        return _UNKNOWN_SIZE


def _wake(waiter: _Waiter | None) -> None:
    if waiter is None:
        return
    loop, future = waiter
    if _running_loop() is loop:
        _finish(future)
        return
    try:
        loop.call_soon_threadsafe(_finish, future)
    except RuntimeError:
        # The consumer's loop has ended, so nobody waits; what was queued stays for the next consumer.
        pass


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _finish(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
