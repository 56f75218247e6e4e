"""The server: listens, holds the connections, lets busy ones take turns, and hands them to a
successor.

The gate decides on requests, the table of routes on their endpoints.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from devserver.model.logs import logger
from devserver.network.accounts import CONNECTIONS, Accounts
from devserver.network.audit import Audit
from devserver.transports.http.answers import as_http
from devserver.transports.http.channel import Channel
from devserver.transports.http.gate import Gate, RequestFacts, Verdict, judge
from devserver.transports.http.handover import HandedConnection
from devserver.transports.http.http_connection import Head, HttpConnection, crowded, refusal_of
from devserver.transports.http.websocket import WebSocket

READ_BYTES = 16 * 1024
"""The bytes that are read of one connection at a time: further ones wait in the kernel."""
TURN_SECONDS = 0.0003
"""Seconds that connections with more steps to do may take in one turn of the loop, in all."""
BURST_SECONDS = 0.02
"""Seconds that they may do so turn after turn; then the loop rests between for others."""
# A flood pays for its work with this pause, in which the loop hears all other connections.
REST_SECONDS = 0.001
MOST_KNOWN = 256
"""The most heads of admitted requests that are remembered."""
MOST_ACCEPTED = 16
"""The most connections that are accepted before surplus ones have been refused: fewer than
`http_connection`'s `most_connections` leaves descriptors free."""
FULL_SECONDS = 0.1
"""Seconds without accepting when not even a refusal could be sent."""
HOLDINGS = 3
"""How often a body may be held at once: as it came, put together, and as the answer to
it."""
_log = logger("devserver.api")


@dataclass(frozen=True, slots=True)
class App:
    """The application. `gate` gives the gate, which holds the routes (the port is known once it is
    bound)."""

    gate: Callable[[], Gate]
    audit: Audit


class Turns:
    """Connections with more to do than one step, in the order of their turns."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: deque[Channel] = deque()
        self._is_due = False
        self._since = 0.0

    def add(self, channel: Channel) -> None:
        """Queue a connection for its next step, after those that wait and the loop's other work."""
        if not channel.has_turn:
            channel.has_turn = True
            self._waiting.append(channel)
        if not self._is_due:
            self._is_due = True
            self._since = time.perf_counter()
            self._loop.call_soon(self._take)

    def _take(self) -> None:
        began = time.perf_counter()
        try:
            self._take_until(began + TURN_SECONDS)
        finally:
            self._take_again(began)

    def _take_until(self, until: float) -> None:
        while self._waiting:
            channel = self._waiting.popleft()
            channel.has_turn = False
            try:
                channel.go_on()
            except BaseException:
                # Its bytes cannot be read. The others have their turns, and the loop tells the error.
                channel.transport.abort()
                raise
            # A request that has begun costs its time in the next turn of the loop. A WebSocket takes the
            # next event meanwhile: after a pause of the server many wait, and at one a rest their
            # delay would last.
            if channel.is_busy or time.perf_counter() >= until:
                break

    def _take_again(self, began: float) -> None:
        self._is_due = bool(self._waiting)
        if self._is_due and began - self._since < BURST_SECONDS:
            self._loop.call_soon(self._take)
        elif self._is_due:
            self._loop.call_later(REST_SECONDS, self._take)


class HttpServer:
    """Serves an application; `accounts` gets one for the bytes of connections. See `handover` for
    its successor."""

    def __init__(self, app: App, accounts: Accounts | None = None) -> None:
        self._app = app
        self.account = (accounts or Accounts()).open(CONNECTIONS, self._sizes)
        """The bytes that are held for connections."""
        self.audit = app.audit
        self.buffer = memoryview(bytearray(READ_BYTES))
        """The buffer that every connection reads into."""
        self.connections: set[Channel] = set()
        self.known_heads: dict[tuple[bool, bytes], Head] = {}
        """Admitted heads, byte for byte, each for clients of this machine or for others."""
        self.is_paused = False
        self.ends = False
        """Whether every connection ends after its answer."""
        self._listening: tuple[socket.socket, ...] = ()
        self._accepting: set[asyncio.Task[object]] = set()
        self._told_full = -1.0
        # Closed for a moment when no descriptor is left, so that a client can be told that.
        self._spare = _spare_descriptor()

    def begin(self, listening: Sequence[socket.socket]) -> None:
        """Accept connections in the running loop. The sockets stay the caller's, and open."""
        self.loop = asyncio.get_running_loop()
        self.turns = Turns(self.loop)
        self._listening = tuple(listening)
        self._listen()

    async def end(self, seconds: float = 1.0) -> None:
        """Accept no more, give answers in progress so many seconds, and close every connection."""
        self.ends = True
        self._listen_no_more()
        for each in tuple(self.connections):
            each.shut()
        try:
            async with asyncio.timeout(seconds):
                while self.connections:  # noqa: ASYNC110 - they end one by one, each by its own doing
                    await asyncio.sleep(0.01)
        except TimeoutError:
            for each in tuple(self.connections):
                each.transport.abort()
            await asyncio.sleep(0)
        if self._spare >= 0:
            os.close(self._spare)

    # What connections need

    def judge(self, facts: RequestFacts) -> Verdict:
        """Return the gate's verdict."""
        verdict = judge(facts, self._app.gate())
        if verdict.most * HOLDINGS > self.account.bound.each:
            # A person allowed it: dev.max_body.
            each = verdict.most * HOLDINGS
            self.account.bound = replace(CONNECTIONS, each=each, most=max(CONNECTIONS.most, 2 * each))
        return verdict

    def remember(self, near: bool, raw: bytes, head: Head) -> None:
        """Remember an admitted head: the same bytes get the same verdict."""
        if len(self.known_heads) >= MOST_KNOWN:
            self.known_heads.clear()
        self.known_heads[near, raw] = head

    def open_socket(self, socket: WebSocket) -> None:
        """Have the route of WebSockets speak on one."""
        speak = next(each.socket for each in self._app.gate().routes if each.socket is not None)
        speak(socket)

    def _sizes(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for each in tuple(self.connections):
            if size := each.size:
                found[each.owner] = found.get(each.owner, 0) + size
        return found

    # Accepting

    def _listen(self) -> None:
        if self.ends or self.is_paused:
            return
        if self._spare < 0:
            with contextlib.suppress(OSError):
                self._spare = _spare_descriptor()
        for each in self._listening:
            each.setblocking(False)
            self.loop.add_reader(each, self._accept, each)

    def _listen_no_more(self) -> None:
        for each in self._listening:
            self.loop.remove_reader(each)

    def _accept(self, listening: socket.socket) -> None:
        while len(self._accepting) < MOST_ACCEPTED:
            try:
                connection, _ = listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                self._refuse_unheard(listening, error)
                return
            self._begin(connection, partial(HttpConnection, self))

    def _begin(self, connection: socket.socket, make: Callable[[], asyncio.BufferedProtocol]) -> asyncio.Task[object]:
        connection.setblocking(False)
        # asyncio does this only for sockets made with IPPROTO_TCP; without it an answer that is written in two parts
        # waits 40 ms for the client's delayed acknowledgement.
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        task: asyncio.Task[object] = self.loop.create_task(self.loop.connect_accepted_socket(make, connection))
        self._accepting.add(task)
        task.add_done_callback(self._accepting.discard)
        return task

    def _refuse_unheard(self, listening: socket.socket, error: OSError) -> None:
        """Tell a client that no file descriptor is left, and log it once a second."""
        spare, self._spare = self._spare, -1
        try:
            if spare >= 0:
                os.close(spare)
            connection, _ = listening.accept()
            connection.setblocking(False)
            connection.send(as_http(refusal_of(crowded()), last=True))
            connection.close()
            if self.loop.time() - self._told_full >= 1.0:
                # Before the spare one is taken back: writing a log may need a descriptor, too.
                _log.warning("no file descriptor is left for new connections: %s", error)
                self._told_full = self.loop.time()
            self._spare = _spare_descriptor()
        except OSError:
            # The client has gone, or another thread has taken the descriptor. Not at once again:
            # that would never rest.
            self._listen_no_more()
            self.loop.call_later(FULL_SECONDS, self._listen)

    # Handing over

    def pause(self) -> None:
        """Accept and read nothing more; requests in progress are answered."""
        self.is_paused = True
        self._listen_no_more()
        for each in self.connections:
            each.adjust_reading(False)

    def resume(self) -> None:
        """Accept and read again."""
        self.is_paused = False
        self._listen()
        for each in tuple(self.connections):
            each.go_on()

    def busy(self) -> int:
        """Count the connections with work that cannot be repeated."""
        return len(self._accepting) + sum(each.is_working() for each in self.connections)

    async def quiet(self, seconds: float) -> bool:
        """Wait until no such work runs; False if that takes longer."""
        until = self.loop.time() + seconds
        while self.busy():
            if self.loop.time() >= until:
                return False
            await asyncio.sleep(0.002)
        return True

    def hand_over(self) -> list[HandedConnection]:
        """Return the values of each connection for a successor. Nothing is closed, and nothing may
        run until the exec."""
        return [handed for each in self.connections if (handed := each.handed()) is not None]

    async def adopt(self, handed: Iterable[HandedConnection]) -> None:
        """Continue the connections of another server."""
        for each in handed:
            connection = socket.socket(fileno=each.descriptor)
            # It had to survive the exec; programs that mods start must not get it.
            connection.set_inheritable(False)
            make = partial(WebSocket, self, each.principal, each.who, each)
            await self._begin(connection, make if each.kind == "websocket" else partial(HttpConnection, self, each))


def _spare_descriptor() -> int:
    """Return a descriptor to give up when none is left. Raises OSError."""
    return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
