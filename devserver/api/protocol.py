"""uvicorn's protocols with the limits that only the one who reads the socket can set.

How long and how big the head of a request may be, and that its target reaches the gate as it was sent. Everything that
can be judged from a whole request is judged in `gate`.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from devserver.api.answers import refused
from devserver.api.gate import MOST_BODY, MOST_HEADER_BYTES, MOST_HEADERS, MOST_TARGET
from devserver.api.guard import PROTECTING_HEADERS, TARGET

if TYPE_CHECKING:
    from uvicorn._types import ASGISendEvent

HEAD_SECONDS = 10.0
KEEP_ALIVE_SECONDS = 75
_MOST_HEAD = MOST_HEADER_BYTES + MOST_TARGET + 4096
_MOST_LINE = 8192 - 64
_TCP, _NO_DELAY = 6, 1  # the same numbers on every system; the module socket belongs to `sockets`
_KEY = re.compile(rb"[A-Za-z0-9+/]{22}==")


class GuardedHttp(HttpToolsProtocol):
    """One connection of a client."""

    head_seconds = HEAD_SECONDS
    _deadline: asyncio.TimerHandle | None = None
    _head = 0
    _in_head = True

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        # Whatever listens to that log: its lines would hold the secrets that clients send in the query of a poll.
        self.access_log = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A connection is there; its first request is awaited."""
        super().connection_made(transport)
        # asyncio does this only for sockets made with IPPROTO_TCP; without it each answer, head and body being written
        # one after the other, waits 40 ms for the client's delayed acknowledgement.
        transport.get_extra_info("socket").setsockopt(_TCP, _NO_DELAY, 1)
        self._start_deadline()

    def connection_lost(self, exc: Exception | None) -> None:
        """It has ended."""
        self._stop_deadline()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on; give up a head that grows without end."""
        super().data_received(data)
        if not self._in_head:
            return
        # A head that came in one piece, as nearly all do, needs no deadline.
        self._start_deadline()
        self._head += len(data)
        if self._head > _MOST_HEAD:
            self._refuse(431, "headers_too_large", f"the head of a request has at most {_MOST_HEAD} bytes")

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._in_head, self._head = True, 0

    def on_headers_complete(self) -> None:
        """Its head is complete."""
        self._in_head = False
        self._stop_deadline()
        cast(dict[str, Any], self.scope)[TARGET] = self.url
        super().on_headers_complete()

    def handle_websocket_upgrade(self) -> None:
        """It asks for a WebSocket."""
        self._stop_deadline()
        problem = handshake_problem(self.parser.get_method(), self.url, self.headers)
        if problem is None:
            super().handle_websocket_upgrade()
        else:
            self._refuse(*problem)

    def send_400_response(self, msg: str) -> None:
        """It is no HTTP."""
        self._refuse(400, "bad_request", msg)

    def _start_deadline(self) -> None:
        if self._deadline is None and not self.transport.is_closing():
            self._deadline = self.loop.call_later(self.head_seconds, self._too_slow)

    def _stop_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_slow(self) -> None:
        self._refuse(408, "too_slow", f"the head of a request did not come within {self.head_seconds:.0f} s")

    def _refuse(self, status: int, code: str, sentence: str) -> None:
        """Answer without the application, which has not seen this request, and hang up."""
        if self.transport.is_closing():
            return
        self._stop_deadline()
        body = refused(code, sentence, status).body
        head = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}".encode()]
        head += [name + b": " + value for name, value in PROTECTING_HEADERS]
        head += [b"content-type: application/json", f"content-length: {len(body)}".encode(), b"connection: close"]
        if status == HTTPStatus.UPGRADE_REQUIRED:
            head.append(b"sec-websocket-version: 13")
        self.transport.write(b"\r\n".join(head) + b"\r\n\r\n" + body)
        self.transport.close()


class GuardedWebSocket(WebSocketsSansIOProtocol):
    """One WebSocket of a client."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        # At debug level the library would write every message to the log, and the first one holds a secret.
        self.conn.debug = False

    async def send(self, message: ASGISendEvent) -> None:
        """Send what the application says; a refusal of the handshake completes it."""
        await super().send(message)
        # uvicorn takes a refused handshake for one that was forgotten, and writes an error to the log.
        if message["type"] == "websocket.http.response.body" and self.close_sent:
            self.handshake_complete = True


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
    }
