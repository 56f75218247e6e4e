"""uvicorn's HTTP with the limits that only the one who holds the socket can set.

How long and how big a request may be, how long a client may not read, how many clients there is room for; and that the
target of a request reaches the gate as it was sent. Everything that can be judged from a whole request is judged in
`gate`.
"""

from __future__ import annotations

import asyncio
import logging
import resource
from http import HTTPStatus
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from devserver.transports.http.answers import Answer, refused
from devserver.transports.http.gate import MOST_BODY, MOST_HEADER_BYTES, MOST_TARGET
from devserver.transports.http.guard import (
    CROWDED,
    ENDING,
    REPLY,
    TARGET,
    as_http,
    crowded,
    refusal_of,
)
from devserver.transports.http.light import CutsOff, Timer
from devserver.transports.http.websocket import GuardedWebSocket, handshake_problem

REQUEST_SECONDS = 10.0
"""How long a request may take to come, from its first byte, or from the beginning of its connection, to its last."""
CROWDED_SECONDS = 1.0
"""How long that is where there is no room."""
CROWDED_PLACES = 8
"""How many connections may then ask for health at a time; whoever comes after them is sent away unheard."""
KEEP_ALIVE_SECONDS = 75

_MOST_HEAD = MOST_HEADER_BYTES + MOST_TARGET + 4096
_TCP, _NO_DELAY = 6, 1  # the same numbers on every system; the module socket belongs to `sockets`
_log = logging.getLogger("devserver.api")


def most_connections() -> int:
    """For how many connections there is room: some file descriptors stay free for mods, their reloads, and health."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return limit - min(256, max(40, limit // 10)) if limit != resource.RLIM_INFINITY else 1_000_000


def stay_calm_when_full(loop: asyncio.AbstractEventLoop) -> None:
    """Have `loop` say once a second that no file descriptor is left for who connects; asyncio says it thousandfold."""
    told = -1.0

    def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        nonlocal told
        if "socket.accept()" not in context.get("message", ""):
            loop.default_exception_handler(context)
        elif loop.time() - told >= 1.0:
            told = loop.time()
            _log.warning("no file descriptor is left for new connections: %s", context.get("exception"))

    loop.set_exception_handler(handle)


class GuardedHttp(CutsOff, HttpToolsProtocol):
    """One connection of a client."""

    request_seconds = REQUEST_SECONDS
    crowded_seconds = CROWDED_SECONDS
    most_connections = most_connections()
    _crowded = False
    _head = 0
    _in_head = True
    _in_request = True

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        # Whatever listens to that log: its lines would hold the secrets that clients send in the query of a poll.
        self.access_log = False
        self._deadline = Timer(self._too_slow)
        self._stalled = Timer(self._hang_up)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A connection is there; its first request is awaited."""
        super().connection_made(transport)
        self.client = self.client or _came_from(transport)
        # asyncio does this only for sockets made with IPPROTO_TCP; without it an answer that is written in two parts
        # waits 40 ms for the client's delayed acknowledgement.
        transport.get_extra_info("socket").setsockopt(_TCP, _NO_DELAY, 1)
        self._crowded = len(self.connections) > self.most_connections
        if len(self.connections) > self.most_connections + CROWDED_PLACES:
            self._give_up(refusal_of(crowded()))
        self._await_request()

    def connection_lost(self, exc: Exception | None) -> None:
        """It has ended."""
        self._deadline.stop()
        self._stalled.stop()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on; give up a head that grows without end."""
        super().data_received(data)
        if not self._in_request:
            return
        # A request that came in one piece, as nearly all do, needs no deadline.
        self._await_request()
        self._head += len(data)
        if self._in_head and self._head > _MOST_HEAD:
            self._refuse(431, "headers_too_large", f"the head of a request has at most {_MOST_HEAD} bytes")

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._in_request = self._in_head = True
        self._head = 0

    def on_headers_complete(self) -> None:
        """Its head is complete."""
        self._in_head = False
        before = self.cycle
        super().on_headers_complete()
        scope = cast(dict[str, Any], self.scope)
        scope[TARGET] = self.url
        if self.cycle is before:
            return  # a WebSocket, of which another protocol takes care
        scope[REPLY] = Reply(self, self.cycle)
        if self._crowded:
            scope[CROWDED] = True
            self.cycle.keep_alive = False

    def on_message_complete(self) -> None:
        """All of it is there."""
        self._in_request = False
        self._deadline.stop()
        super().on_message_complete()

    def handle_websocket_upgrade(self) -> None:
        """It asks for a WebSocket."""
        self._in_request = False
        self._deadline.stop()
        problem = handshake_problem(self.parser.get_method(), self.url, self.headers)
        if self._crowded:
            self._give_up(refusal_of(crowded()))
        elif problem is None:
            super().handle_websocket_upgrade()
            self._let_go()
        else:
            self._refuse(*problem)

    def send_400_response(self, msg: str) -> None:
        """It is no HTTP."""
        self._refuse(400, "bad_request", msg)

    def _let_go(self) -> None:
        """Another protocol has the connection now: of this one, and of its parser, nothing need be kept."""
        self._in_request = False
        del self.scope, self.headers, self.flow
        self.parser = None  # type: ignore[assignment]

    def _await_request(self) -> None:
        if not self.transport.is_closing():
            self._deadline.start(self.crowded_seconds if self._crowded else self.request_seconds)

    def _too_slow(self) -> None:
        if self.flow.read_paused:
            # It is we who do not read: an earlier request of this connection is still being answered.
            self._await_request()
            return
        self._refuse(408, "too_slow", f"the request did not come within {self.request_seconds:.0f} s")

    def _refuse(self, status: int, code: str, sentence: str) -> None:
        self._give_up(refused(code, sentence, status))

    def _give_up(self, given: Answer) -> None:
        """Answer without the application, which may not have seen this request, and hang up."""
        if self.transport.is_closing():
            return
        self._deadline.stop()
        more = [(b"connection", b"close")]
        if given.status == HTTPStatus.UPGRADE_REQUIRED:
            more.append((b"sec-websocket-version", b"13"))
        self.transport.write(as_http(given, more))
        self.transport.close()

    def _hang_up(self) -> None:
        self.transport.abort()


def _came_from(transport: asyncio.Transport) -> tuple[str, int] | None:
    """Who connected, as the system said then: uvicorn asks again, in vain where that one has gone already."""
    address = transport.get_extra_info("peername")
    return (str(address[0]), int(address[1])) if address else None


class Reply:
    """The shortest way to answer one request: one write, in place of the messages of ASGI."""

    __slots__ = ("_cycle", "_protocol")

    def __init__(self, protocol: GuardedHttp, cycle: RequestResponseCycle) -> None:
        self._protocol = protocol
        self._cycle = cycle

    async def __call__(self, given: Answer) -> None:
        """Send an answer, which is the whole answer."""
        cycle, flow = self._cycle, self._protocol.flow
        if flow.write_paused and not cycle.disconnected:
            await flow.drain()
        if cycle.disconnected or cycle.response_started:
            return
        cycle.keep_alive = cycle.keep_alive and given.status not in ENDING
        ending = () if cycle.keep_alive else ((b"connection", b"close"),)
        headers = (*cycle.default_headers, *ending)
        cycle.transport.write(as_http(given, headers, bodiless=cycle.scope["method"] == "HEAD"))
        self._complete(cycle)

    def _complete(self, cycle: RequestResponseCycle) -> None:
        """What uvicorn does at the end of a response."""
        cycle.response_started = cycle.response_complete = True
        cycle.message_event.set()
        if not cycle.keep_alive:
            cycle.transport.close()
        cycle.on_response()


def uvicorn_options() -> dict[str, Any]:
    """The arguments of `uvicorn.Config` that the gate relies on."""
    return {
        "http": GuardedHttp,
        "ws": GuardedWebSocket,
        "ws_max_size": MOST_BODY,
        # Compression would let a small message grow a thousandfold.
        "ws_per_message_deflate": False,
        "lifespan": "off",
        "server_header": False,
        # A forwarded header would let a client choose its own scheme and address.
        "proxy_headers": False,
        "access_log": False,
        "timeout_keep_alive": KEEP_ALIVE_SECONDS,
        # Below that uvicorn tells of what clients do wrong, as often as they do it.
        "log_level": logging.ERROR,
    }
