"""Writes text to a stream from a thread of its own: telling a fact never waits for a reader.

Text beyond the bounded queue is counted and told later; a stream whose reader has gone is given up
silently. Knows nothing of facts.
"""

from __future__ import annotations

import os
import select
import threading
from collections import deque
from collections.abc import Callable
from typing import TextIO

QUEUE_LIMIT = 1 << 20
"""The most bytes that wait for a slow reader."""

CLOSE_SECONDS = 0.5
"""How long the end of the process waits for a slow reader."""


class Writer:
    """A stream that never blocks its caller.

    Args:
        stream: where text goes. Its file descriptor is written to directly where it has one: a daemon thread stuck in
            a buffered write would hold the buffer's lock, and the interpreter could then not exit.
        lost: the line that says how many writes were dropped, told as soon as the reader keeps up again.
    """

    def __init__(self, stream: TextIO, lost: Callable[[int], str]) -> None:
        self._stream = stream
        self._encoding = getattr(stream, "encoding", None) or "utf-8"
        self._descriptor = _descriptor(stream)
        self._lost = lost
        self._waiting: deque[bytes] = deque()
        self._size = 0
        self._dropped = 0
        self._news = threading.Condition()
        self._closing = False
        self._gone = False
        self._thread = threading.Thread(target=self._run, name="oa-dev writer", daemon=True)
        self._thread.start()

    def write(self, text: str) -> None:
        """Take text, or count it as dropped where the reader is too far behind. Returns at once, never raises."""
        data = text.encode(self._encoding, "backslashreplace")
        with self._news:
            if self._closing or self._gone:
                return
            if self._size + len(data) > QUEUE_LIMIT:
                self._dropped += 1
                return
            self._waiting.append(data)
            self._size += len(data)
            self._news.notify()

    def close(self, seconds: float = CLOSE_SECONDS) -> None:
        """Let what waits go out, for at most `seconds`; what a reader has not taken then is lost."""
        with self._news:
            self._closing = True
            self._news.notify()
        self._thread.join(seconds)

    def open_again(self) -> None:
        """Take text again after `close`."""
        if self._gone or not self._closing:
            return
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="oa-dev writer", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while (data := self._next()) is not None:
            try:
                self._send(data)
            except (OSError, ValueError):
                # The reader has gone (EPIPE), the terminal has closed (EIO) or the stream was closed.
                with self._news:
                    self._gone = True
                    self._waiting.clear()
                    self._size = 0
                return

    def _next(self) -> bytes | None:
        """Return the next text to write, waiting for it; None at the end."""
        with self._news:
            while not self._waiting and not self._closing and not self._dropped:
                self._news.wait()
            if self._waiting:
                data = self._waiting.popleft()
                self._size -= len(data)
                return data
            dropped, self._dropped = self._dropped, 0
            return self._lost(dropped).encode(self._encoding, "backslashreplace") if dropped else None

    def _send(self, data: bytes) -> None:
        if self._descriptor is None:
            self._stream.write(data.decode(self._encoding))
            self._stream.flush()
            return
        _write_all(self._descriptor, data)


def _descriptor(stream: TextIO) -> int | None:
    try:
        stream.flush()
        return stream.fileno()
    except (OSError, ValueError, AttributeError):
        # In memory (io.UnsupportedOperation is both an OSError and a ValueError), or closed.
        return None


def _write_all(descriptor: int, data: bytes) -> None:
    """Write everything, waiting if a process that shares the descriptor made it non-blocking."""
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[os.write(descriptor, rest) :]
        except BlockingIOError:
            _wait_for(descriptor)


def _wait_for(descriptor: int) -> None:
    """Wait until something can be written."""
    try:
        select.select((), (descriptor,), ())
    except ValueError:
        # It refuses descriptors from 1,024 on. For others it stays: the poll of macOS refuses terminals.
        ready = select.poll()
        ready.register(descriptor, select.POLLOUT)
        ready.poll()
