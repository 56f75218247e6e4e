"""A queue, an event and a timer for one connection each, far lighter than asyncio's: idle connections are many.

To be used in one loop. Queue and event have no limit; what bounds them is that a connection is read only when its queue
is empty.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")

STALLED_SECONDS = 5.0
"""How long a client may read too slowly before it is cut off: as long as 64 KiB wait for it, down to 16 KiB."""


class Mailbox(Generic[T]):
    """Items in the order they came, for one reader; stands in for `asyncio.Queue`."""

    __slots__ = ("_come", "_due", "_reader")

    def __init__(self) -> None:
        self._come: list[T] = []
        self._due: list[T] = []
        """The oldest ones, last first."""
        self._reader: asyncio.Future[None] | None = None

    def empty(self) -> bool:
        """Whether nothing waits."""
        return not self._come and not self._due

    def put_nowait(self, item: T) -> None:
        """Add an item."""
        self._come.append(item)
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    async def get(self) -> T:
        """The oldest item, waited for."""
        while self.empty():
            self._reader = asyncio.get_running_loop().create_future()
            try:
                await self._reader
            finally:
                self._reader = None
        if not self._due:
            self._due, self._come = self._come[::-1], []
        return self._due.pop()


class Sign:
    """Up or down; stands in for `asyncio.Event`."""

    __slots__ = ("_is_up", "_waiting")

    def __init__(self) -> None:
        self._is_up = False
        self._waiting: list[asyncio.Future[None]] = []

    def is_set(self) -> bool:
        """Whether it is up."""
        return self._is_up

    def set(self) -> None:
        """Put it up, and let all go on who wait."""
        self._is_up = True
        for each in self._waiting:
            if not each.done():
                each.set_result(None)

    def clear(self) -> None:
        """Take it down."""
        self._is_up = False

    async def wait(self) -> bool:
        """Go on once it is up."""
        if self._is_up:
            return True
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        try:
            await waiting
        finally:
            self._waiting.remove(waiting)
        return True


class Timer:
    """Calls `function` when it was started and not stopped for some seconds."""

    __slots__ = ("_function", "_handle")

    def __init__(self, function: Callable[[], None]) -> None:
        self._function = function
        self._handle: asyncio.TimerHandle | None = None

    def start(self, seconds: float) -> None:
        """Run from now on, unless it runs already."""
        if self._handle is None:
            self._handle = asyncio.get_running_loop().call_later(seconds, self._ring)

    def stop(self) -> None:
        """Run no more."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _ring(self) -> None:
        self._handle = None
        self._function()


class CutsOff(asyncio.Protocol):
    """A connection that does not wait for a client that does not read: once it has written more than the client takes,
    `_stalled` runs.
    """

    stalled_seconds = STALLED_SECONDS
    _stalled: Timer

    def pause_writing(self) -> None:
        """The client does not read."""
        super().pause_writing()
        self._stalled.start(self.stalled_seconds)

    def resume_writing(self) -> None:
        """It reads again."""
        super().resume_writing()
        self._stalled.stop()
