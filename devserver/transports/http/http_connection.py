"""HTTP/1.1 on one connection: a request is read, judged and answered, and only then the next one is
read.

httptools parses; the gate judges the head before the body is awaited. The holder of the socket has
further limits: how long and how big a request may be, and how many clients there is room for.
"""

from __future__ import annotations

import asyncio
import resource
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httptools

from devserver.model.logs import logger
from devserver.model.names import is_loopback
from devserver.transports.http.answers import ENDING, Answer, as_http, refused
from devserver.transports.http.channel import Channel, Deadline
from devserver.transports.http.gate import (
    MOST_HEADER_BYTES,
    MOST_HEADERS,
    MOST_TARGET,
    RequestFacts,
    Verdict,
    too_large,
)
from devserver.transports.http.handover import HandedConnection
from devserver.transports.http.routes import WEBSOCKET, Begin, Endpoint, Request, Route
from devserver.transports.http.websocket import WebSocket, handshake_problem, opened
from devserver.transports.strict import Malformed, parse_object, parse_query

if TYPE_CHECKING:
    from devserver.transports.http.serving import HttpServer

REQUEST_SECONDS = 10.0
"""Seconds for a request to arrive, from its first byte or its connection's beginning."""
CROWDED_SECONDS = 1.0
"""The same if memory for it is used up."""
CROWDED_PLACES = 8
"""The most connections that may then ask for health at a time; further ones are refused unheard."""
KEEP_ALIVE_SECONDS = 75.0
ALIVE = "/healthz"
"""Requests that are always answered."""

MOST_FRAMING = 4096
"""The most bytes of the chunk extensions and trailers of one body."""
# Each chunk costs calls of the parser, however few bytes it brings.
MOST_CHUNKS = 8192
MOST_KNOWN_HEAD = 2048
"""The longest head that is remembered after its admission."""
_CHUNK_HEAD = 16
"""The most bytes of a chunk beside its data: its length, and the ends of two lines."""
_MOST_HEAD = MOST_HEADER_BYTES + MOST_TARGET + 4096
# While the end of a head is not in sight, the parser gets this much: nothing of the next request.
_PIECE = 4096
_END = b"\r\n\r\n"
_log = logger("devserver.api")


def most_connections() -> int:
    """Return how many connections there is room for: some file descriptors stay free for mods,
    their reloads, and health."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return limit - min(256, max(40, limit // 10)) if limit != resource.RLIM_INFINITY else 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The head of a request, with the gate's verdict on it."""

    method: str
    verdict: Verdict
    query: bytes = b""
    length: int | None = 0
    """The length of the body; None if it comes in chunks."""
    keeps_alive: bool = True
    """Whether the connection goes on after the answer."""
    continues: bool = False
    """Whether the client waits for a go-ahead before it sends the body."""


class HttpConnection(Channel):
    """One connection of a client. The parser calls the methods whose names begin with `on_`."""

    __slots__ = (
        "_body",
        "_chunks",
        "_crowded",
        "_data",
        "_deadline",
        "_fed",
        "_handed",
        "_head",
        "_headers",
        "_is_answering",
        "_is_whole",
        "_near",
        "_parser",
        "_size",
        "_target",
        "_task",
        "_was_answered",
        "_was_served",
        "_who",
    )

    request_seconds = REQUEST_SECONDS
    crowded_seconds = CROWDED_SECONDS
    most_connections = most_connections()

    def __init__(self, server: HttpServer, handed: HandedConnection | None = None) -> None:
        super().__init__(server)
        self._handed = handed
        self._parser: Any = httptools.HttpRequestParser(self)
        self._deadline = Deadline(self._too_slow)
        self._crowded = self._near = self._was_served = False
        self._who = "unknown"
        self._is_answering = False
        """Whether a whole request waits for its answer."""
        self._task: asyncio.Task[None] | None = None
        """The task that answers it, if it has one."""
        self._fed = bytearray()
        """The bytes read of the request, for a successor to read again."""
        self._body = bytearray()
        self._expect_request()

    def _expect_request(self) -> None:
        self._target = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._head: Head | None = None
        self._fed.clear()
        self._body.clear()
        self._data = self._size = self._chunks = 0
        """Of its body: the bytes of data so far, those with all framing, and the chunks."""
        self._is_whole = self._was_answered = False

    # The connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the first request, or continue after another server."""
        super().connection_made(transport)
        address = transport.get_extra_info("peername")
        self._near = is_near(address)
        if address:
            self._who = "a client of this machine" if self._near else f"a client at {address[0]}"
        if self._handed is not None:
            self._resume(self._handed)
            return
        if address is None:
            # The client has gone already. Its address is not known any more, and no answer would
            # reach it.
            transport.abort()  # type: ignore[attr-defined]
            return
        crowd = len(self.server.connections)
        self._crowded = crowd > self.most_connections
        if crowd > self.most_connections + CROWDED_PLACES:
            self._give_up(refusal_of(crowded()))
        else:
            self._deadline.set(self._patience())

    def _resume(self, handed: HandedConnection) -> None:
        self._handed = None
        self.write(handed.unsent)
        if handed.ends:
            self.finish()
            return
        # Between two requests it may idle; in the middle of one it may not.
        self._was_served = not handed.received
        self._deadline.set(self.request_seconds if handed.received else KEEP_ALIVE_SECONDS)
        self.unread += handed.received
        self.go_on()

    def eof_received(self) -> None:
        """Cancel work that only this client waits for: the transport closes the connection."""
        if self._task is not None and self._waits():
            self._task.cancel()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.eof_received()
        self._deadline.end()
        self._parser = None

    def shut(self) -> None:
        """Close it, once it has its answer."""
        if not self._is_answering:
            self.finish()

    def is_working(self) -> bool:
        """Return whether a request runs that cannot be asked again."""
        return self._is_answering and not self._waits()

    def handed(self) -> HandedConnection | None:
        """Give it to a successor: with its request where that can be asked again, else with an error as its answer."""
        if self.transport.is_closing():
            return None
        received, unsent, ends = bytes(self._fed) + bytes(self.unread), self.unsent(), self._ends
        if self.is_working():
            error = refused("restarted", "the server was restarted before this was answered", 503)
            unsent, ends = unsent + as_http(error, last=True), True
        elif self._was_answered:
            # The rest of a body that is skipped would pass for a request.
            ends = True
        return HandedConnection(
            descriptor=self.transport.get_extra_info("socket").fileno(),
            kind="http",
            received=b"" if ends else received,
            unsent=unsent,
            ends=ends,
        )

    @property
    def size(self) -> int:
        """The bytes that are held for it, with those of an incomplete or repeatable request."""
        return len(self.unread) + self._unsent + len(self._fed) + len(self._body)

    def refuse_more(self) -> None:
        """Tell the reason if the client can still hear it, and end."""
        if self.is_sending or self._was_answered or self._is_answering:
            self.transport.abort()
        else:
            self._refuse(503, "no_room", "too many bytes wait on connections; try again")

    @property
    def is_busy(self) -> bool:
        """Whether a request is being answered, or an answer was not read: nothing is read then."""
        return self._is_answering or self._ends or self._sending is not None

    def _waits(self) -> bool:
        route = self._route()
        return route is not None and route.waits

    def _route(self) -> Route | None:
        return self._head.verdict.route if self._head is not None else None

    # A request comes

    def step(self) -> bool:
        """Read one request, or a few kilobytes of one."""
        if self._head is None:
            if not self._fed and self._take_known():
                return True
            if not self._fed and self._was_served:
                self._deadline.set(self._patience())
        piece, knew_head = self._next_piece(), self._head is not None
        try:
            self._parser.feed_data(piece)
        except httptools.HttpParserUpgrade:
            # The following bytes are not parsed: the connection becomes a WebSocket, or ends with
            # its refusal.
            pass
        except httptools.HttpParserError as error:
            self._refuse(400, "bad_request", str(error))
            return True
        self._fed += piece
        head = self._head
        if head is None:
            if len(self._fed) > _MOST_HEAD:
                self._refuse(431, "headers_too_large", f"the head of a request has at most {_MOST_HEAD} bytes")
        elif knew_head:
            self._size += len(piece)
            self._look_at_body(head)
        else:
            self._look_at_head(head, piece)
        return True

    def _next_piece(self) -> bytes:
        """Take the bytes that can be parsed without running into the next request. Every head, and
        every body in chunks, ends with an empty line: a piece of them ends there at the latest."""
        head, unread = self._head, self.unread
        if head is not None and head.length is not None:
            size = head.length - self._size
        else:
            tail = bytes(self._fed[-3:])
            found = (tail + unread[:_PIECE]).find(_END)
            size = found + len(_END) - len(tail) if found >= 0 else _PIECE
        piece = bytes(unread[:size])
        del unread[:size]
        return piece

    def _take_known(self) -> bool:
        """Take a whole request with a head that equals, byte for byte, an admitted one."""
        unread = self.unread
        start = unread.find(_END, 0, MOST_KNOWN_HEAD) + len(_END)
        if start < len(_END) or self._crowded:
            return False
        head = self.server.known_heads.get((self._near, bytes(unread[:start])))
        if head is None or head.length is None or len(unread) < start + head.length:
            return False
        end = start + head.length
        self._head, self._is_whole = head, True
        if head.verdict.route is not None and head.verdict.route.waits:
            self._fed += unread[:end]
        body = bytes(unread[start:end])
        del unread[:end]
        self._begin(head, body)
        return True

    def on_url(self, url: bytes) -> None:
        """Take a part of the target."""
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header, but none of a trailer; the gate refuses one too many."""
        if self._head is None and len(self._headers) <= MOST_HEADERS:
            self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """Have the gate judge the head."""
        parser, headers = self._parser, by_name(self._headers)
        method, is_current = parser.get_method().decode("ascii"), parser.get_http_version() == "1.1"
        upgrades = parser.should_upgrade()
        is_socket = upgrades and [each.lower() for each in headers.get(b"upgrade", ())] == [b"websocket"]
        size = sum(len(name) + len(value) + 4 for name, value in self._headers)
        kind = WEBSOCKET if is_socket else method
        verdict = self._judge(RequestFacts(kind, self._target, headers, header_bytes=size, near=self._near))
        if verdict.admitted and is_socket:
            verdict = handshake_problem(method, self._target, headers, is_current=is_current) or verdict
        lengths = headers.get(b"content-length", ())
        self._head = Head(
            method=method,
            verdict=verdict,
            query=self._target.partition(b"?")[2],
            length=None if b"transfer-encoding" in headers else int(lengths[0]) if lengths and not upgrades else 0,
            keeps_alive=is_current and parser.should_keep_alive() and not upgrades and not self._crowded,
            continues=is_current and headers.get(b"expect", (b"",))[0].lower() == b"100-continue",
        )

    def _judge(self, facts: RequestFacts) -> Verdict:
        is_refused = self._crowded and (facts.method == WEBSOCKET or facts.path != ALIVE)
        verdict = crowded() if is_refused else self.server.judge(facts)
        if not verdict.admitted:
            self.server.audit.refused(self._who, f"{facts.method} {facts.path}", verdict.code)
        return verdict

    def on_chunk_header(self) -> None:
        self._chunks += 1

    def on_body(self, data: bytes) -> None:
        """Take a part of the body, unless it is skipped."""
        self._data += len(data)
        if self._head is not None and self._head.method == "POST" and not self._was_answered:
            self._body += data

    def on_message_complete(self) -> None:
        """Note that the request is complete."""
        self._is_whole = True

    def _look_at_head(self, head: Head, piece: bytes) -> None:
        """Process a head that has just become complete."""
        if not head.verdict.admitted:
            self._answer(refusal_of(head.verdict))
            return
        route = head.verdict.route
        if route is not None and route.socket is not None:
            self._become_websocket(head.verdict, route)
            return
        if len(piece) == len(self._fed) <= MOST_KNOWN_HEAD and self._may_be_known(head):
            self.server.remember(self._near, piece, head)
        if self._is_whole:
            self._begin(head, bytes(self._body))
        elif head.continues:
            self.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _may_be_known(self, head: Head) -> bool:
        """Return whether an equal head has the same verdict, and keeping it reveals no secret."""
        names = {name for name, _ in self._headers}
        is_plain = head.keeps_alive and not head.continues and not head.query and head.length is not None
        return is_plain and b"authorization" not in names

    def _look_at_body(self, head: Head) -> None:
        if self._data > head.verdict.most:
            route = head.verdict.route
            self._give_up(refusal_of(too_large(route, head.verdict.most) if route else head.verdict))
        elif self._chunks > MOST_CHUNKS or (
            head.length is None and self._size - self._data - _CHUNK_HEAD * self._chunks > MOST_FRAMING
        ):
            self._refuse(400, "bad_chunks", "the chunks of the body have too many extensions, or are too many")
        elif self._is_whole and self._was_answered:
            self._next()
        elif self._is_whole:
            self._begin(head, bytes(self._body))

    # It is answered

    def _begin(self, head: Head, raw: bytes) -> None:
        """Have the route answer a complete request."""
        self._deadline.clear()
        route, principal = head.verdict.route, head.verdict.principal
        assert route is not None and route.endpoint is not None  # only such heads get here
        try:
            body = parse_object(raw) if head.method == "POST" else {}
            request = Request(principal, body, parse_query(head.query), self._who)
        except Malformed as problem:
            self._answer(refused(problem.code, str(problem), problem.status))
            return
        self._body.clear()
        if not route.waits:
            self._fed.clear()
        self._is_answering = True
        if route.begin is None or not self._begins(route.begin, request):
            self._task = self.server.loop.create_task(self._serve(route.endpoint, request))

    def _begins(self, begin: Begin, request: Request) -> bool:
        try:
            return begin(request, self._ended)
        except Exception as error:
            self._ended(None, error)
            return True

    async def _serve(self, endpoint: Endpoint, request: Request) -> None:
        given, failed = None, None
        try:
            given = await endpoint(request)
        except Exception as error:
            failed = error
        finally:
            self._task = None
            self._is_answering = False
        self._ended(given, failed)

    def _ended(self, given: Answer | None, error: BaseException | None) -> None:
        """Send the answer, or say what went wrong."""
        self._is_answering = False
        if isinstance(error, Malformed):
            given = refused(error.code, str(error), error.status)
        elif given is None:
            route = self._route()
            place = (route.method, route.path) if route else ("a request", "")
            _log.error("%s %r failed", *place, exc_info=error)
            given = refused("internal", "the server failed; its log says more", 500)
        self._answer(given)

    def _answer(self, given: Answer) -> None:
        """Send the answer, and read the next request."""
        head = self._head
        if head is None or self.transport.is_closing():
            return
        goes_on = head.keeps_alive and given.status not in ENDING and not self.server.ends
        self.write(as_http(given, last=not goes_on, bodiless=head.method == "HEAD"))
        self._was_answered = True
        if not goes_on:
            self._deadline.clear()
            self.finish()
        elif self._is_whole:
            self._next()

    def _next(self) -> None:
        self._expect_request()
        self._was_served = True
        self._deadline.set(KEEP_ALIVE_SECONDS)
        self.count()
        self.look_further()

    def _become_websocket(self, verdict: Verdict, route: Route) -> None:
        shaken = opened(self._target, self._headers)
        if isinstance(shaken, Answer):
            self._answer(shaken)
            return
        assert route.socket is not None
        self.write(shaken)
        socket = WebSocket(self.server, verdict.principal, self._who)
        self._deadline.end()
        self._parser = None
        self._fed.clear()
        socket.take_over(self)
        route.socket(socket)
        socket.go_on()

    # It is given up

    def _patience(self) -> float:
        return self.crowded_seconds if self._crowded else self.request_seconds

    def _too_slow(self) -> None:
        if self.is_sending or self.has_turn:
            # We are the ones who do not read.
            self._deadline.set(self._patience())
        elif self._was_answered or (self._was_served and not self._fed):
            self.finish()
        else:
            self._refuse(408, "too_slow", f"the request did not come within {self.request_seconds:.0f} s")

    def _refuse(self, status: int, code: str, sentence: str) -> None:
        self._give_up(refused(code, sentence, status))

    def _give_up(self, given: Answer) -> None:
        """Refuse the connection, unless its request has an answer already, and end it."""
        self._deadline.clear()
        if not self._was_answered:
            self.write(as_http(given, last=True))
        self.finish()


def by_name(headers: list[tuple[bytes, bytes]]) -> dict[bytes, tuple[bytes, ...]]:
    """Headers by their names, repeats kept."""
    found: dict[bytes, tuple[bytes, ...]] = {}
    for name, value in headers:
        found[name] = (*found[name], value) if name in found else (value,)
    return found


def is_near(address: tuple[Any, ...] | None) -> bool:
    """Return whether a client is on this machine, by the address that the system gives; False for
    one that has gone."""
    return address is not None and is_loopback(str(address[0]).removeprefix("::ffff:"))


def refusal_of(verdict: Verdict) -> Answer:
    return refused(verdict.code, verdict.message, verdict.status, verdict.headers)


def crowded() -> Verdict:
    """Return the refusal for want of room."""
    return Verdict(503, "too_many_connections", "there are too many connections; close some and try again")
