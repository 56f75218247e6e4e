"""Stands before the whole application and does what the gate decides: refuses, or reads the body and lets pass.

Every answer leaves with the same protecting headers, and no failure of an endpoint shows its inside. It decides nothing
about a request itself: `gate` does.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from devserver.api.answers import Answer, refused
from devserver.api.gate import MOST_BODY, Gate, RequestFacts, Verdict, judge, too_large
from devserver.api.routes import WEBSOCKET, Asked, Endpoint
from devserver.api.strict import Malformed, parse_object, parse_query
from devserver.network.audit import Audit

BODY_SECONDS = 10.0
TARGET = "oa_dev.target"
"""Where `protocol` leaves the request target as it was sent, of which uvicorn keeps a part only."""
ASKED = "oa_dev.asked"

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

_STARTS = frozenset({"http.response.start", "websocket.http.response.start", "websocket.accept"})
_log = logging.getLogger("devserver.api")


class ClientGone(Exception):
    """The client went away while its body was read: nobody is there to answer."""


class Guard:
    """ASGI middleware around everything. `gate` gives the gate as it is now (the port is known once it is bound)."""

    def __init__(self, app: ASGIApp, *, gate: Callable[[], Gate], audit: Audit) -> None:
        self._app = app
        self._gate = gate
        self._audit = audit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Judge a request and refuse it or pass it on."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        sender = _Sender(send)
        facts = facts_of(scope)
        verdict = judge(facts, self._gate())
        try:
            if not verdict.admitted:
                self._audit.refused("somebody", f"{facts.method} {facts.path}", verdict.code)
                await answer(scope, sender, refusal_of(verdict))
                return
            scope[ASKED] = await _asked(scope, receive, verdict)
            await self._app(scope, receive, sender)
        except Malformed as problem:
            await answer(scope, sender, refused(problem.code, str(problem), problem.status))
        except ClientGone:
            return
        except Exception:
            _log.exception("%s %r failed", facts.method, facts.path[:200])
            if not sender.started:
                await answer(scope, sender, refused("internal", "the server failed; its log says more", 500))


class _Sender:
    """Adds the protecting headers to whatever begins an answer."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.started = False

    async def __call__(self, message: Message) -> None:
        if message["type"] in _STARTS:
            self.started = True
            message["headers"] = [*message.get("headers", ()), *PROTECTING_HEADERS]
        await self._send(message)


class Serving:
    """An endpoint as the ASGI application that the router calls."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Ask the endpoint and send its answer."""
        given = await self.endpoint(scope[ASKED])
        if given is not None:
            await answer(scope, send, given)


def facts_of(scope: Scope) -> RequestFacts:
    """What the gate judges, out of an ASGI scope."""
    headers: dict[bytes, tuple[bytes, ...]] = {}
    size = 0
    for name, value in scope["headers"]:
        key = name.lower()
        headers[key] = (*headers.get(key, ()), value)
        size += len(name) + len(value) + 4
    socket = scope["type"] == "websocket"
    method = WEBSOCKET if socket else scope["method"]
    scheme = "https" if scope["scheme"] in ("https", "wss") else "http"
    return RequestFacts(method, _target_of(scope), headers, scheme, size)


def _target_of(scope: Scope) -> bytes:
    if TARGET in scope:
        return bytes(scope[TARGET])
    query = scope["query_string"]
    return bytes(scope["raw_path"] + (b"?" + query if query else b""))


async def _asked(scope: Scope, receive: Receive, verdict: Verdict) -> Asked:
    query = parse_query(scope["query_string"])
    body: Mapping[str, Any] = {}
    if verdict.route is not None and verdict.route.method == "POST":
        body = parse_object(await _read_body(receive))
    return Asked(verdict.principal, receive, body, query)


async def _read_body(receive: Receive) -> bytes:
    try:
        async with asyncio.timeout(BODY_SECONDS):
            return await _collect(receive)
    except TimeoutError as error:
        raise Malformed("too_slow", f"the body did not come within {BODY_SECONDS:.0f} s", 408) from error


async def _collect(receive: Receive) -> bytes:
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


_ENDING = frozenset({408, 413, 431})
"""Statuses after which the rest of what the client sends is not worth reading."""


async def answer(scope: Scope, send: Send, given: Answer) -> None:
    """Send an answer; to a WebSocket that is not open yet, as its refusal."""
    kind = "websocket.http.response" if scope["type"] == "websocket" else "http.response"
    headers = [
        (b"content-type", given.content_type),
        (b"content-length", str(len(given.body)).encode()),
        *given.headers,
    ]
    if given.status in _ENDING:
        headers.append((b"connection", b"close"))
    await send({"type": f"{kind}.start", "status": given.status, "headers": headers})
    await send({"type": f"{kind}.body", "body": given.body})
