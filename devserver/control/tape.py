"""The latest things of a kind, numbered from 1, for whoever wants to learn of the next ones. Knows nothing of them."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

T = TypeVar("T")


class Tape(Generic[T]):
    """Keeps the `most` latest. Things may be put on it from any thread; each one who waits does so in a loop."""

    def __init__(self, most: int) -> None:
        self._kept: deque[tuple[int, T]] = deque(maxlen=most)
        self._lock = threading.Lock()
        self._wakers: dict[object, Callable[[], None]] = {}
        self._closed = False
        self.number = 0
        """The number of the latest thing, 0 before the first."""

    def put(self, thing: T) -> None:
        """Number a thing and keep it, at the price of the oldest one."""
        with self._lock:
            self.number += 1
            self._kept.append((self.number, thing))
            self._wake()

    def close(self) -> None:
        """Nothing more will come: nobody waits any longer."""
        with self._lock:
            self._closed = True
            self._wake()

    def pack(self) -> list[tuple[int, T]]:
        """Everything that is kept, with its numbers."""
        with self._lock:
            return list(self._kept)

    def unpack(self, kept: Iterable[tuple[int, T]]) -> None:
        """Go on after what an earlier process kept."""
        with self._lock:
            for number, thing in kept:
                self._kept.append((number, thing))
                self.number = number

    def after(self, number: int) -> tuple[tuple[int, T], ...]:
        """What is kept of all that came after the thing of this number."""
        with self._lock:
            return tuple(each for each in self._kept if each[0] > number)

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


def _wake_in(loop: asyncio.AbstractEventLoop, news: asyncio.Event) -> None:
    # Whoever waits there takes itself off before its loop can close.
    loop.call_soon_threadsafe(news.set)
