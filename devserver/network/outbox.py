"""The events that wait for one agent: a bounded queue between the threads that send and the loop
that delivers.

Events leave it only when they are handed over, so a receiver that goes away while it waits loses
nothing. It knows neither agents nor transports, and never blocks a sender.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Iterable

from devserver.network.accounts import OUTBOXES, Account
from devserver.network.letter import Letter

_Waiter = tuple[asyncio.AbstractEventLoop, "asyncio.Future[None]"]


class Outbox:
    """A first-in-first-out queue of events with one current consumer; the newest consumer
    supersedes the others.

    `put` may be called from any thread, everything else from the loop of the consumers. When
    `limit` events wait, or as many bytes as `account` has room for, the newest is refused and the
    waiting ones are kept: the sender can be told, the receiver sees no gap.
    """

    read: Callable[[int], None] | None = None
    """Told the recorder's number of each event that its receiver has got."""

    def __init__(self, limit: int = 1000, account: Account | None = None) -> None:
        self.limit = limit
        self.dropped = 0
        """The number of events that were refused because the queue was full or closed."""
        # No deque until one is needed: an empty one takes more room than all the rest of an idle
        # agent.
        self._events: deque[Letter] | tuple[()] = ()
        self._account = account or Account(OUTBOXES)
        self.size = 0
        """The bytes that wait in it."""
        self._lock = threading.Lock()
        self._consumer = 0
        self._waiter: _Waiter | None = None
        self._closed = False
        self._late: list[Letter] | None = None
        """What came while the letters of another host, which come before it, are still on their way."""

    def __len__(self) -> int:
        return len(self._events)

    @property
    def closed(self) -> bool:
        """Whether the agent has left: nothing is accepted any more, and no consumer waits."""
        return self._closed

    @property
    def awaited(self) -> bool:
        """Whether a consumer waits for an event now."""
        return self._waiter is not None

    def put(self, letter: Letter, *, kept: bool = False, first: bool = False) -> bool:
        """Queue an event; False when it was refused because the queue is full or closed.

        Arguments: `kept`, whether another host keeps it until it is taken, so that no limit is needed here; `first`,
        whether it comes before what waits for `arrived`, which then takes no room from it.
        """
        with self._lock:
            late = self._late
            waiting = len(self._events) if late is None else len(self._events) + len(late)
            full = self._closed or (waiting >= self.limit and not kept)
            owned = self.size if late is None or not first else self.size - sum(each.size for each in late)
            if full or not self._account.hold(letter, owned):
                self.dropped += 1
                return False
            self.size += letter.size
            if late is not None and not first:
                late.append(letter)
                return True
            if isinstance(self._events, tuple):
                self._events = deque()
            self._events.append(letter)
            waiter, self._waiter = self._waiter, None
        _wake(waiter)
        return True

    def expect(self) -> None:
        """Let what comes wait until `arrived`: the letters that waited on another host come before it."""
        with self._lock:
            self._late = []

    def arrived(self) -> None:
        """All letters of the other host are here."""
        with self._lock:
            self._expect_no_more()
            waiter, self._waiter = (self._waiter, None) if self._events else (None, self._waiter)
        _wake(waiter)

    def _expect_no_more(self) -> None:
        """Put what came too early where it belongs. Needs the lock."""
        if self._late:
            self._events = deque([*self._events, *self._late])
        self._late = None

    def attach(self) -> int:
        """Become the consumer; get the number to wait with. The former one is released at once."""
        with self._lock:
            self._consumer += 1
            waiter, self._waiter = self._waiter, None
            number = self._consumer
        _wake(waiter)
        return number

    async def ready(self, consumer: int, timeout: float | None = None) -> bool:  # noqa: ASYNC109 - running out is not an error
        """Wait until an event is there for `consumer`, at most `timeout` seconds (None: without
        end).

        False when time is up, when a newer consumer has attached, or when the outbox was closed.
        """
        future = self.news(consumer)
        if future is not None:
            try:
                await asyncio.wait((future,), timeout=timeout)
            finally:
                with self._lock:
                    if self._waiter is not None and self._waiter[1] is future:
                        self._waiter = None
        return self.is_current(consumer) and bool(self._events)

    def is_current(self, consumer: int) -> bool:
        """Return whether `consumer` may still take events: it is the newest, the outbox open."""
        return consumer == self._consumer and not self._closed

    async def take(self, timeout: float) -> list[Letter]:  # noqa: ASYNC109 - running out is not an error
        """Take all waiting events, or the first within `timeout`; none if superseded or closed."""
        consumer = self.attach()
        return self.take_nowait() if await self.ready(consumer, timeout) else []

    def take_nowait(self) -> list[Letter]:
        """Hand over all events that wait now."""
        with self._lock:
            taken = list(self._events)
            self._events = ()
            self.size = sum(each.size for each in self._late or ())
        for each in taken:
            self._let_go(each)
        return taken

    def peek(self) -> Letter | None:
        """Return the oldest event, which stays until `handed_over`."""
        with self._lock:
            return self._events[0] if self._events else None

    def handed_over(self, letter: Letter) -> None:
        """Remove the oldest event if it is still this one: its receiver has it."""
        with self._lock:
            if isinstance(self._events, tuple) or not self._events or self._events[0] is not letter:
                return
            self._events.popleft()
            self.size -= letter.size
        self._let_go(letter)

    def _let_go(self, letter: Letter) -> None:
        self._account.let_go(letter)
        letter.taken()
        if self.read is not None and letter.number:
            self.read(letter.number)

    def close(self) -> None:
        """Refuse new events, and release the waiting consumer. Nothing is expected any more."""
        with self._lock:
            self._closed = True
            self._expect_no_more()
            waiter, self._waiter = self._waiter, None
        _wake(waiter)

    def waiting(self) -> list[Letter]:
        """Return the events that can be taken now; they stay."""
        with self._lock:
            return list(self._events)

    def pack(self) -> list[Letter]:
        """Return all that another process needs to continue this queue: also what came too early."""
        with self._lock:
            return [*self._events, *(self._late or ())]

    def unpack(self, letters: Iterable[Letter]) -> None:
        """Take the events that waited in an earlier process; they come before all others."""
        with self._lock:
            before = list(letters)
            for each in before:
                self._account.hold_again(each)
            self._events = deque([*before, *self._events])
            self.size += sum(each.size for each in before)

    def news(self, consumer: int) -> asyncio.Future[None] | None:
        """Give a future of the running loop that is done once `consumer` should look again; None: look now."""
        loop = asyncio.get_running_loop()
        with self._lock:
            if self._events or not self.is_current(consumer):
                return None
            future: asyncio.Future[None] = loop.create_future()
            self._waiter = (loop, future)
            return future


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
        # The consumer's loop has ended, so no one waits; queued events stay for the next consumer.
        pass


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _finish(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
