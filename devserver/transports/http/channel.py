"""One connection of a client: bytes in, in short steps, and bytes out, counted until they are sent.

`http_connection` and `websocket` read requests and messages out of it. It knows neither.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from devserver.transports.http.handover import HandedConnection

if TYPE_CHECKING:
    from devserver.transports.http.serving import HttpServer

STALLED_SECONDS = 5.0
"""Seconds for which a client may leave sent bytes unread before it is cut off."""


class Deadline:
    """Calls `function` when `set` was neither repeated nor cleared for its seconds. Setting it
    again, as each request does, costs nothing: the timer of the loop looks when it rings."""

    __slots__ = ("_at", "_function", "_handle")

    def __init__(self, function: Callable[[], None]) -> None:
        self._function = function
        self._at: float | None = None
        self._handle: asyncio.TimerHandle | None = None

    @property
    def is_set(self) -> bool:
        return self._at is not None

    def set(self, seconds: float) -> None:
        """Start, or start again."""
        loop = asyncio.get_running_loop()
        self._at = at = loop.time() + seconds
        if self._handle is not None and self._handle.when() > at:
            self._handle.cancel()
            self._handle = None
        if self._handle is None:
            self._handle = loop.call_at(at, self._ring)

    def clear(self) -> None:
        self._at = None

    def end(self) -> None:
        """Stop, and release the loop's timer."""
        self._at = None
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _ring(self) -> None:
        self._handle = None
        if self._at is None:
            return
        loop = asyncio.get_running_loop()
        if loop.time() < self._at:
            self._handle = loop.call_at(self._at, self._ring)
            return
        self._at = None
        self._function()


class Channel(asyncio.BufferedProtocol):
    """The bytes of one connection. A subclass takes usable ones out of `unread` with each `step`.

    Reading stops while there is more in `unread` than one step takes, or while the subclass
    `is_busy`: the client's bytes then wait in the kernel. `server` owns it.
    """

    __slots__ = (
        "__weakref__",
        "_counted",
        "_ends",
        "_is_reading",
        "_sending",
        "_stalled",
        "_unsent",
        "has_turn",
        "server",
        "transport",
        "unread",
    )

    stalled_seconds = STALLED_SECONDS

    def __init__(self, server: HttpServer) -> None:
        self.server = server
        self.transport: asyncio.Transport = cast(asyncio.Transport, None)
        self.unread = bytearray()
        self.has_turn = False
        """Whether it waits for its turn to take another step."""
        self._is_reading = True
        self._sending: deque[bytes] | None = None
        """The bytes that the kernel has not taken: first the rest of a write in the transport, then
        those that wait behind it."""
        self._unsent = 0
        """Their number."""
        self._counted = 0
        """The bytes that the account of connections knows of."""
        self._ends = False
        self._stalled: Deadline | None = None

    # What a subclass brings

    @property
    def is_busy(self) -> bool:
        """Whether reading has to wait."""
        raise NotImplementedError

    def step(self) -> bool:
        """Take one request, one message or a few kilobytes out of `unread`; False if there is too
        little of it."""
        raise NotImplementedError

    def handed(self) -> HandedConnection | None:
        """Return the values with which a successor continues; None for one that ends here."""
        raise NotImplementedError

    def shut(self) -> None:
        """End it because the server ends; a request in progress is answered first."""
        raise NotImplementedError

    def cut_off(self) -> None:
        """End it because its client does not read."""
        self.transport.abort()

    def refuse_more(self) -> None:
        """End it because its share of memory is full."""
        self.transport.abort()

    @property
    def owner(self) -> str:
        """The client, as the account of connections shows it."""
        host, port, *_ = self.transport.get_extra_info("peername") or ("unknown", 0)
        return f"{host}:{port}"

    def is_working(self) -> bool:
        """Return whether something runs that can neither be cancelled nor repeated."""
        raise NotImplementedError

    # What it holds

    @property
    def size(self) -> int:
        """The bytes that are held for it: read and not processed, or not taken by the kernel."""
        return len(self.unread) + self._unsent

    def count(self) -> None:
        """Tell the account the held bytes, and end the connection if they do not fit."""
        size, counted = self.size, self._counted
        if size == counted or self.transport.is_closing():
            return
        self._counted = size
        if size < counted:
            self.server.account.keep(size - counted)
        elif not self.server.account.ask(size - counted, counted):
            # Received bytes are counted until they are gone.
            self.server.account.keep(size - counted)
            self.server.audit.refused(self.owner, "more bytes", "no_room")
            self.refuse_more()

    # Bytes in

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        # With this limit the transport holds the rest of one write at most, of which we know how
        # long it is.
        self.transport.set_write_buffer_limits(high=0)
        self.server.connections.add(self)

    def take_over(self, other: Channel) -> None:
        """Continue the connection of another channel, which lets go of it."""
        self.transport, self.unread, self._is_reading = other.transport, other.unread, other._is_reading
        other.unread = bytearray()
        self._sending, other._sending = other._sending, None
        self._unsent, self._counted = other._unsent, other._counted
        other._unsent = other._counted = 0
        if self._sending is not None:
            self._await_reading()
        if other._stalled is not None:
            other._stalled.end()
        self.server.connections.discard(other)
        self.server.connections.add(self)
        self.transport.set_protocol(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.unread.clear()
        self._sending, self._unsent = None, 0
        self.server.account.keep(-self._counted)
        self._counted = 0
        if self._stalled is not None:
            self._stalled.end()
        self.server.connections.discard(self)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return the one buffer of the server; its size is how much is read at a time."""
        return self.server.buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Take what was read."""
        self.unread += self.server.buffer[:nbytes]
        if not self.has_turn:
            self.go_on()

    def go_on(self) -> None:
        """Take one step, and wait for a turn to take the next one."""
        if self.server.is_paused or self.transport.is_closing():
            return
        went_on = bool(self.unread) and not self.is_busy and self.step()
        if not self.unread:
            self.adjust_reading(True)
        elif self.is_busy:
            self.adjust_reading(False)
        else:
            # Either one more step is possible, or the bytes are too few for one.
            self.adjust_reading(not went_on)
            if went_on:
                self.server.turns.add(self)
        self.count()

    def adjust_reading(self, wanted: bool) -> None:
        """Read from the client, or leave its bytes in the kernel."""
        wanted = wanted and not self.server.is_paused
        if wanted is self._is_reading or self.transport.is_closing():
            return
        self._is_reading = wanted
        if wanted:
            self.transport.resume_reading()
        else:
            self.transport.pause_reading()

    # Bytes out

    @property
    def is_sending(self) -> bool:
        """Whether bytes wait that the client has not read."""
        return self._sending is not None

    def write(self, data: bytes) -> None:
        """Send bytes, after those that wait."""
        if self.transport.is_closing() or not data:
            return
        if self._sending is None:
            self.transport.write(data)
            if not self.transport.get_write_buffer_size():
                return
            self._sending = deque((data,))
            self._await_reading()
        else:
            self._sending.append(data)
        self._unsent += len(data)
        self.count()

    def _await_reading(self) -> None:
        if self._stalled is None:
            self._stalled = Deadline(self.cut_off)
        self._stalled.set(self.stalled_seconds)

    def finish(self) -> None:
        """Close the connection once all is sent."""
        self._ends = True
        if self._sending is None:
            self.transport.close()

    def resume_writing(self) -> None:
        """Continue: the kernel has taken everything that the transport held."""
        waiting, self._sending = self._sending, None
        if waiting is None:
            return
        self._unsent = 0
        if self._stalled is not None:
            self._stalled.clear()
        waiting.popleft()
        while waiting:
            self.write(waiting.popleft())
            if self._sending is not None:
                self._sending.extend(waiting)
                self._unsent += sum(map(len, waiting))
                self.count()
                return
        self.count()
        if self._ends:
            # Not at once: asyncio closes a transport twice that is closed while it reports that all
            # is written.
            self.server.loop.call_soon(self.transport.close)
        else:
            self.sent()

    def sent(self) -> None:
        """Continue: the client has read everything."""
        self.look_further()

    def look_further(self) -> None:
        """Take the bytes that came meanwhile, or read more."""
        if not self.is_busy and not self.transport.is_closing():
            if self.unread:
                self.server.turns.add(self)
            else:
                self.adjust_reading(True)

    def unsent(self) -> bytes:
        """Return the bytes that the kernel has not taken."""
        if self._sending is None:
            return b""
        first, *others = self._sending
        held = self.transport.get_write_buffer_size()
        return first[len(first) - held :] + b"".join(others)
