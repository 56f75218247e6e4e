"""The latest items of a kind, numbered from 1, for callers that wait for the next ones.

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
    """Keeps the `most` latest items. Any thread may add one; a caller waits in its own loop. An
    item is plain values, and is read as JSON has them."""

    def __init__(self, most: int, account: Account | None = None) -> None:
        self._most = most
        self._account = account or Account(RELOADS)
        self._kept: deque[tuple[int, bytes]] = deque()
        self._lock = threading.Lock()
        self._wakers: dict[object, Callable[[], object]] = {}
        self._closed = False
        self.number = 0
        """The number of the latest item, 0 before the first."""

    def put(self, thing: T) -> int:
        """Number an item and keep it, and drop the oldest ones; return its number."""
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
        """Release all waiting callers: no item will come any more."""
        with self._lock:
            self._closed = True
            self._wake()

    def open_again(self) -> None:
        """Let items come again."""
        with self._lock:
            self._closed = False

    def pack(self) -> list[tuple[int, bytes]]:
        """Return all kept items, as JSON with their numbers."""
        with self._lock:
            return list(self._kept)

    def unpack(self, kept: Iterable[tuple[int, bytes]]) -> None:
        """Continue after the items of an earlier process."""
        with self._lock:
            for number, raw in kept:
                self._keep(number, raw)

    def after(self, number: int) -> tuple[tuple[int, T], ...]:
        """Return the kept items after this number."""
        with self._lock:
            found = [each for each in self._kept if each[0] > number]
        return tuple((each, from_json(raw)) for each, raw in found)

    def raw_after(self, number: int, most: int) -> tuple[tuple[int, bytes], ...]:
        """Return the same as JSON, the latest `most` of it. A number beyond the end counts as 0."""
        with self._lock:
            known = number if number <= self.number else 0
            news = [each for each in islice(reversed(self._kept), most) if each[0] > known]
        return tuple(reversed(news))

    def before(self, number: int, most: int) -> tuple[tuple[int, bytes], ...]:
        """Return the latest `most` items before this number, as JSON."""
        with self._lock:
            found = [each for each in self._kept if each[0] < number]
        return tuple(found[-most:])

    def arm(self, key: object, wake: Callable[[], None]) -> None:
        """Call `wake` with each new item, on any thread, until `disarm(key)`."""
        with self._lock:
            self._wakers[key] = wake

    def disarm(self, key: object) -> None:
        """Stop calling it."""
        with self._lock:
            self._wakers.pop(key, None)

    @property
    def closed(self) -> bool:
        """Whether nothing more will come."""
        return self._closed

    async def wait_after(self, number: int, seconds: float) -> tuple[tuple[int, T], ...]:
        """Wait for items after this number; none if none came within `seconds`."""
        loop, news, key = asyncio.get_running_loop(), asyncio.Event(), object()
        with self._lock:
            # It is taken off before its loop can close.
            self._wakers[key] = lambda: loop.call_soon_threadsafe(news.set)
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
    # About what Python itself needs for an item.
    return len(raw) + 100
