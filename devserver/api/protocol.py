"""uvicorn's protocols with the limits that only the one who holds the socket can set.

How long and how big a request may be, how long a client may not read, how many clients there is room for; and that the
target of a request reaches the gate as it was sent. Everything that can be judged from a whole request is judged in
`gate`.
"""

from __future__ import annotations

import asyncio
import logging
import re
import resource
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request, Response
from websockets.server import ServerProtocol

from devserver.api.answers import Answer, refused
from devserver.api.gate import MOST_BODY, MOST_HEADER_BYTES, MOST_HEADERS, MOST_TARGET
from devserver.api.guard import (
    CROWDED,
    ENDING,
    PROTECTING_HEADERS,
    REPLY,
    TARGET,
    about_body,
    as_http,
    crowded,
    refusal_of,
)
from devserver.api.light import Mailbox, Sign
from devserver.api.push import SLOW_CONSUMER

if TYPE_CHECKING:
    from uvicorn._types import ASGISendEvent
    from websockets.frames import Frame

REQUEST_SECONDS = 10.0
"""How long a request may take to come, from its first byte, or from the beginning of its connection, to its last."""
CROWDED_SECONDS = 1.0
"""How long that is where there is no room."""
CROWDED_PLACES = 8
"""How many connections may then ask for health at a time; whoever comes after them is sent away unheard."""
KEEP_ALIVE_SECONDS = 75
STALLED_SECONDS = 5.0
"""How long a client may read too slowly before it is cut off: as long as 64 KiB wait for it, down to 16 KiB."""
PARTING_SECONDS = 3.0
"""How long it then has to read what waits for it and why it was cut off."""

MOST_FRAGMENTS = 1024
_TOO_BIG = 1009
_NOT_UTF8 = 1007
_MOST_HEAD = MOST_HEADER_BYTES + MOST_TARGET + 4096
_MOST_LINE = 8192 - 64
_TCP, _NO_DELAY = 6, 1  # the same numbers on every system; the module socket belongs to `sockets`
_log = logging.getLogger("devserver.api")
_KEY = re.compile(rb"[A-Za-z0-9+/]{22}==")


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


class GuardedHttp(HttpToolsProtocol):
    """One connection of a client."""

    request_seconds = REQUEST_SECONDS
    crowded_seconds = CROWDED_SECONDS
    stalled_seconds = STALLED_SECONDS
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

    def pause_writing(self) -> None:
        """The client does not read."""
        super().pause_writing()
        self._stalled.start(self.stalled_seconds)

    def resume_writing(self) -> None:
        """It reads again."""
        super().resume_writing()
        self._stalled.stop()

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


class GuardedWebSocket(WebSocketsSansIOProtocol):
    """One WebSocket of a client."""

    stalled_seconds = STALLED_SECONDS
    parting_seconds = PARTING_SECONDS

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        # At debug level the library would write every message to the log, and the first one holds a secret.
        self.conn.debug = False
        self.queue = cast(Any, Mailbox())
        self.writable = cast(Any, Sign())
        self.writable.set()
        self._stalled = Timer(self._too_slow)
        self._parting = Timer(self._hang_up)
        self.conn.accept = self._accept  # type: ignore[method-assign]

    def _accept(self, request: Request) -> Response:
        """The library's answer to a handshake; a refusal of its own leaves as all our answers do."""
        response = ServerProtocol.accept(self.conn, request)
        if response.status_code != HTTPStatus.SWITCHING_PROTOCOLS:
            given = refused("bad_websocket", "this is no WebSocket handshake", response.status_code)
            response.body = given.body
            del response.headers["content-type"], response.headers["content-length"]
            for name, value in (*PROTECTING_HEADERS, *about_body(given)):
                response.headers[name.decode()] = value.decode()
        return response

    async def send(self, message: ASGISendEvent) -> None:
        """Send what the application says; a refusal of the handshake completes it."""
        await super().send(message)
        if message["type"] == "websocket.accept":
            self._forget_handshake()
        # uvicorn takes a refused handshake for one that was forgotten, and writes an error to the log.
        if message["type"] == "websocket.http.response.body" and self.close_sent:
            self.handshake_complete = True

    def _forget_handshake(self) -> None:
        """Headers of requests and answers would be a third of what an idle connection costs."""
        for each in (self.request, self.response):
            # The library keeps them too.
            each.headers.clear()
        del self.request, self.response
        cast(dict[str, Any], self.scope)["headers"] = ()

    def pause_writing(self) -> None:
        """The client does not read."""
        super().pause_writing()
        self._stalled.start(self.stalled_seconds)

    def resume_writing(self) -> None:
        """It reads again."""
        super().resume_writing()
        self._stalled.stop()

    def connection_lost(self, exc: Exception | None) -> None:
        """It has ended."""
        self._stalled.stop()
        self._parting.stop()
        super().connection_lost(exc)

    def handle_ping(self) -> None:
        """A client that pings and does not read gets no pongs: they would pile up here."""
        pong = b"".join(self.conn.data_to_send())
        if self.writable.is_set():
            self.transport.write(pong)

    def handle_cont(self, event: Frame) -> None:
        """One more fragment of a message. Their number is bounded too: the library bounds their bytes."""
        if len(self.frames) >= MOST_FRAGMENTS:
            self._fail(_TOO_BIG, "too many fragments")
        else:
            super().handle_cont(event)

    def send_receive_event_to_app(self) -> None:
        """A message is whole; one that is no text is the client's fault and no error of ours to log."""
        if self.curr_msg_data_type == "text" and not _is_utf8(self.frames):
            self._fail(_NOT_UTF8, "not UTF-8")
        else:
            super().send_receive_event_to_app()

    def _fail(self, code: int, reason: str) -> None:
        self.frames = []
        if not self.close_sent:
            self.conn.send_close(code, reason)
            self.handle_parser_exception()

    def _too_slow(self) -> None:
        """Cut off a client that does not read, and let go who waits to send to it."""
        if self.close_sent or self.transport.is_closing():
            self.transport.abort()
            return
        self.conn.send_close(SLOW_CONSUMER, "slow_consumer")
        self.handle_parser_exception()
        self.disconnected = True
        self.writable.set()
        self._parting.start(self.parting_seconds)

    def _hang_up(self) -> None:
        self.transport.abort()


def _is_utf8(parts: Sequence[bytes]) -> bool:
    try:
        (parts[0] if len(parts) == 1 else b"".join(parts)).decode()
    except UnicodeDecodeError:
        return False
    return True


def handshake_problem(
    method: bytes, target: bytes, headers: Sequence[tuple[bytes, bytes]]
) -> tuple[int, str, str] | None:
    """What is wrong with a WebSocket handshake: status, code and sentence.

    The library `websockets` reads it again and has limits of its own, and uvicorn leaves a connection that breaks them
    without an answer and open: nothing that breaks them may get there.
    """
    named: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        named.setdefault(name, []).append(value)
    if method != b"GET" or b"content-length" in named or b"transfer-encoding" in named:
        return 400, "bad_websocket", "a WebSocket handshake is a GET without a body"
    if len(target) > _MOST_LINE:
        return 414, "target_too_long", f"the target of a WebSocket has at most {_MOST_LINE} bytes"
    if len(headers) > MOST_HEADERS or any(len(name) + len(value) > _MOST_LINE for name, value in headers):
        return (
            431,
            "headers_too_large",
            f"a WebSocket handshake has at most {MOST_HEADERS} headers of {_MOST_LINE} bytes",
        )
    if named.get(b"sec-websocket-version") != [b"13"]:
        return 426, "bad_websocket_version", "the WebSocket version spoken here is 13"
    if len(named.get(b"origin", [])) > 1:
        return 403, "origin_not_allowed", "a WebSocket handshake has at most one Origin"
    keys = named.get(b"sec-websocket-key", [])
    if len(keys) != 1 or _KEY.fullmatch(keys[0]) is None:
        return 400, "bad_websocket_key", "a WebSocket handshake has one Sec-WebSocket-Key of 16 bytes in base64"
    return None


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
