"""The latest things of a kind, numbered from 1, for those who wait for the next ones. Knows nothing of them.

Keeps them as JSON, bounded in number and, by their account, in bytes.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Generic, TypeVar

from devserver.model.encoding import from_json, to_json
from devserver.network.accounts import RELOADS, Account

T = TypeVar("T")


class Tape(Generic[T]):
    """Keeps the `most` latest. Things may be put on it from any thread; each one who waits does so in a loop.

    A thing is plain values, and comes off the tape as JSON has them.
    """

    def __init__(self, most: int, account: Account | None = None) -> None:
        self._most = most
        self._account = account or Account(RELOADS)
        self._kept: deque[tuple[int, bytes]] = deque()
        self._lock = threading.Lock()
        self._wakers: dict[object, Callable[[], None]] = {}
        self._closed = False
        self.number = 0
        """The number of the latest thing, 0 before the first."""

    def put(self, thing: T) -> int:
        """Number a thing and keep it, at the price of the oldest ones; its number."""
        raw = to_json(thing)
        with self._lock:
            number = self.number + 1
            self._keep(number, raw)
            self._wake()
        return number

    def _keep(self, number: int, raw: bytes) -> None:
        self.number = number
        self._kept.append((number, raw))
        self._account.keep(_size(raw))
        while len(self._kept) > self._most or self._account.used > self._account.bound.most:
            self._account.keep(-_size(self._kept.popleft()[1]))

    def close(self) -> None:
        """Nothing more will come: nobody waits any longer."""
        with self._lock:
            self._closed = True
            self._wake()

    def open_again(self) -> None:
        """More will come after all."""
        with self._lock:
            self._closed = False

    def pack(self) -> list[tuple[int, bytes]]:
        """Everything that is kept, as JSON with its numbers."""
        with self._lock:
            return list(self._kept)

    def unpack(self, kept: Iterable[tuple[int, bytes]]) -> None:
        """Go on after what an earlier process kept."""
        with self._lock:
            for number, raw in kept:
                self._keep(number, raw)

    def after(self, number: int) -> tuple[tuple[int, T], ...]:
        """What is kept of all that came after the thing of this number."""
        with self._lock:
            found = [each for each in self._kept if each[0] > number]
        return tuple((each, from_json(raw)) for each, raw in found)

    def raw_after(self, number: int, most: int) -> tuple[tuple[int, bytes], ...]:
        """The same as JSON, the latest `most` of it. A number that is beyond all there is counts as 0."""
        with self._lock:
            known = number if number <= self.number else 0
            news = [each for each in islice(reversed(self._kept), most) if each[0] > known]
        return tuple(reversed(news))

    def before(self, number: int, most: int) -> tuple[tuple[int, bytes], ...]:
        """The latest `most` things of those that came before the one of this number, as JSON."""
        with self._lock:
            found = [each for each in self._kept if each[0] < number]
        return tuple(found[-most:])

    def arm(self, key: object, wake: Callable[[], None]) -> None:
        """Have `wake` called with each thing that comes, on whatever thread, until `disarm(key)`."""
        with self._lock:
            self._wakers[key] = wake

    def disarm(self, key: object) -> None:
        """Have it called no more."""
        with self._lock:
            self._wakers.pop(key, None)

    @property
    def closed(self) -> bool:
        """Whether nothing more will come."""
        return self._closed

    async def wait_after(self, number: int, seconds: float) -> tuple[tuple[int, T], ...]:
        """The same, waited for: nothing where nothing came within `seconds`."""
        loop, news, key = asyncio.get_running_loop(), asyncio.Event(), object()
        with self._lock:
            self._wakers[key] = lambda: _wake_in(loop, news)
            waits = self.number <= number and not self._closed
        try:
            if waits:
                async with asyncio.timeout(seconds):
                    await news.wait()
        except TimeoutError:
            return ()
        finally:
            with self._lock:
                del self._wakers[key]
        return self.after(number)

    def _wake(self) -> None:
        for each in self._wakers.values():
            each()


def _size(raw: bytes) -> int:
    return len(raw) + 100


def _wake_in(loop: asyncio.AbstractEventLoop, news: asyncio.Event) -> None:
    # Whoever waits there takes itself off before its loop can close.
    loop.call_soon_threadsafe(news.set)
