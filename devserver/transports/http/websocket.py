"""uvicorn's WebSocket with the limits that only the one who holds the socket can set.

How long a client may not read, in how many pieces a message may come, which handshakes reach the library at all.
Everything that can be judged from a whole handshake is judged in `gate`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, cast

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request, Response
from websockets.server import ServerProtocol

from devserver.transports.http.answers import refused
from devserver.transports.http.gate import MOST_HEADERS
from devserver.transports.http.guard import PROTECTING_HEADERS, about_body
from devserver.transports.http.light import CutsOff, Mailbox, Sign, Timer
from devserver.transports.http.push import SLOW_CONSUMER

if TYPE_CHECKING:
    from uvicorn._types import ASGISendEvent
    from websockets.frames import Frame

PARTING_SECONDS = 3.0
"""How long a client that was cut off has to read what waits for it, and why."""
MOST_FRAGMENTS = 1024
_TOO_BIG = 1009
_NOT_UTF8 = 1007
_MOST_LINE = 8192 - 64
_KEY = re.compile(rb"[A-Za-z0-9+/]{22}==")


class GuardedWebSocket(CutsOff, WebSocketsSansIOProtocol):
    """One WebSocket of a client."""

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
