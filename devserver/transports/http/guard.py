"""The application: does what the gate decides, and asks the route that it admits. There is no other way to a route.

Every answer leaves with the same protecting headers, and no failure of an endpoint shows its inside. It decides nothing
about a request itself: `gate` does.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from http import HTTPStatus
from typing import Any

from starlette.types import Message, Receive, Scope, Send

from devserver.model.names import is_loopback
from devserver.model.principal import Principal
from devserver.network.audit import Audit
from devserver.transports.http.answers import Answer, refused
from devserver.transports.http.gate import MOST_BODY, Gate, Verdict, too_large
from devserver.transports.http.routes import WEBSOCKET, Asked, Route
from devserver.transports.http.verdicts import Head, Verdicts
from devserver.transports.strict import Malformed, parse_object, parse_query

TARGET = "oa_dev.target"
"""Where `protocol` leaves the request target as it was sent, of which uvicorn keeps a part only."""
REPLY = "oa_dev.reply"
"""Where it leaves the shortest way to answer, an async function that takes an `Answer`."""
CROWDED = "oa_dev.crowded"
"""Where it says that there are more connections than this process has room for."""
ASKED = "oa_dev.asked"
ALIVE = b"/healthz"
"""What is answered however crowded it is."""

PROTECTING_HEADERS: tuple[tuple[bytes, bytes], ...] = (
    (b"x-content-type-options", b"nosniff"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
    (b"x-frame-options", b"DENY"),
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'",
    ),
)

_PROTECTING = b"".join(b"%s: %s\r\n" % each for each in PROTECTING_HEADERS)
_STARTS = frozenset({"http.response.start", "websocket.http.response.start", "websocket.accept"})
_log = logging.getLogger("devserver.api")


class ClientGone(Exception):
    """The client went away while its body was read: nobody is there to answer."""


class Guard:
    """An ASGI application. `gate` gives the gate, which holds the routes (the port is known once it is bound)."""

    def __init__(self, *, gate: Callable[[], Gate], audit: Audit) -> None:
        self.gate = gate
        self._verdicts = Verdicts(gate)
        self._audit = audit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Judge a request, and refuse it or have its route answer."""
        sender = _Sender(send)
        try:
            route = await self._admit(head_of(scope), scope, receive, sender)
            if route is not None:
                await _serve(route, scope, receive, sender)
        except Malformed as problem:
            await answer(scope, sender, refused(problem.code, str(problem), problem.status))
        except ClientGone:
            return
        except Exception:
            _log.exception("%s %r failed", scope.get("method", WEBSOCKET), scope["path"][:200])
            if not sender.started:
                await answer(scope, sender, refused("internal", "the server failed; its log says more", 500))

    async def _admit(self, head: Head, scope: Scope, receive: Receive, sender: _Sender) -> Route | None:
        """The route of a request, which is left in the scope with all that was sent; None where it was refused."""
        verdict = crowded() if CROWDED in scope and head.target != ALIVE else self._verdicts.on(head)
        if verdict.route is None:
            self._audit.refused(_who(scope, head), f"{head.method} {head.path}", verdict.code)
            await answer(scope, sender, refusal_of(verdict))
            return None
        scope[ASKED] = await _asked(scope, receive, verdict.route, verdict.principal, _who(scope, head))
        return verdict.route


async def _serve(route: Route, scope: Scope, receive: Receive, send: Send) -> None:
    if route.endpoint is None:
        assert route.socket is not None  # RouteTable sees to it
        await route.socket(scope, receive, send)
    elif (given := await route.endpoint(scope[ASKED])) is not None:
        await answer(scope, send, given)


class _Sender:
    """Adds the protecting headers to whatever begins an answer."""

    __slots__ = ("_send", "started")

    def __init__(self, send: Send) -> None:
        self._send = send
        self.started = False

    async def __call__(self, message: Message) -> None:
        if message["type"] in _STARTS:
            self.started = True
            message["headers"] = [*message.get("headers", ()), *PROTECTING_HEADERS]
        await self._send(message)


def head_of(scope: Scope) -> Head:
    """The head of a request, out of an ASGI scope."""
    method = WEBSOCKET if scope["type"] == "websocket" else scope["method"]
    scheme = "https" if scope["scheme"] in ("https", "wss") else "http"
    return Head(method, _target_of(scope), tuple(scope["headers"]), scheme, _is_near(scope.get("client")))


def _is_near(client: tuple[str, int] | None) -> bool:
    """Whether who connected is on this machine; one that went away at once is nowhere."""
    address = "" if client is None else client[0].removeprefix("::ffff:")
    return is_loopback(address)


def _who(scope: Scope, head: Head) -> str:
    """Whom a refusal is written down for, where nobody has proved to be an agent."""
    client = scope.get("client")
    return "somebody" if head.near or client is None else f"somebody at {client[0]}"


def _target_of(scope: Scope) -> bytes:
    if TARGET in scope:
        return bytes(scope[TARGET])
    query = scope["query_string"]
    return bytes(scope["raw_path"] + (b"?" + query if query else b""))


async def _asked(scope: Scope, receive: Receive, route: Route, principal: Principal, who: str) -> Asked:
    query = parse_query(scope["query_string"])
    body: Mapping[str, Any] = parse_object(await _collect(receive)) if route.method == "POST" else {}
    return Asked(principal, receive, body, query, who)


async def _collect(receive: Receive) -> bytes:
    """The body. For how long it is waited is up to `protocol`, which then hangs up."""
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > MOST_BODY:
            over = too_large()
            raise Malformed(over.code, over.message, over.status)
        if not message.get("more_body", False):
            return b"".join(parts)


def refusal_of(verdict: Verdict) -> Answer:
    """The answer that a refusing verdict stands for."""
    return refused(verdict.code, verdict.message, verdict.status, verdict.headers)


def crowded() -> Verdict:
    """The refusal of what there is no room for."""
    return Verdict(503, "too_many_connections", "there are too many connections; close some and try again")


ENDING = frozenset({408, 413, 431, 503})
"""Statuses after which the connection ends: the rest of what the client sends is not worth reading."""


async def answer(scope: Scope, send: Send, given: Answer) -> None:
    """Send an answer; to a WebSocket that is not open yet, as its refusal."""
    if REPLY in scope:
        await scope[REPLY](given)
        return
    kind = "websocket.http.response" if scope["type"] == "websocket" else "http.response"
    headers = [*about_body(given), *given.headers]
    if given.status in ENDING:
        headers.append((b"connection", b"close"))
    await send({"type": f"{kind}.start", "status": given.status, "headers": headers})
    await send({"type": f"{kind}.body", "body": given.body})


def about_body(given: Answer) -> tuple[tuple[bytes, bytes], ...]:
    """The headers that say what the body of an answer is."""
    return ((b"content-type", given.content_type), (b"content-length", b"%d" % len(given.body)))


def as_http(given: Answer, headers: Iterable[tuple[bytes, bytes]] = (), *, bodiless: bool = False) -> bytes:
    """An answer as the bytes of an HTTP/1.1 response; `bodiless` leaves out the body, which a HEAD may not have."""
    own = b"".join(b"%s: %s\r\n" % each for each in (*about_body(given), *given.headers, *headers))
    return b"".join((_first_line(given.status), _PROTECTING, own, b"\r\n", b"" if bodiless else given.body))


@lru_cache(maxsize=100)
def _first_line(status: int) -> bytes:
    return f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n".encode()
