"""The gate: whether this request may come in. Facts in, verdict out, no I/O. `guard` asks it before
everything else.

The steps G1 to G7 run in order and the first that refuses answers. Being on this machine is no
credential, and a browser page of another origin has no rights: no answer ever carries a CORS
header.
"""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from devserver.model.config import MOST_UPLOAD
from devserver.model.names import LOCAL_NAMES
from devserver.model.principal import ADMIN, ANONYMOUS, STRANGER, Principal, Scope
from devserver.transports.http.routes import WEBSOCKET, Route, RouteTable

MOST_BODY = 1024 * 1024
MOST_SKIPPED = 256 * 1024 * 1024
"""The most bytes of a too large body that are read away: its sender reads the answer then."""
MOST_TARGET = 8 * 1024
MOST_HEADERS = 128
MOST_HEADER_BYTES = 64 * 1024

CONTROL = "/_dev"
"""The path of the control API and its page."""
_FORWARDED = (b"forwarded", b"x-forwarded-for", b"x-real-ip")
_NO_NAMES = frozenset({"0.0.0.0", "::", "[::]"})

_TARGET = re.compile(rb"/[!-\"$-\[\]-~]*")  # printable ASCII but # and \
_LEADS = ((b"none",), (b"cross-site",), (b"same-site",))
"""Requests that may lead a browser to the page: of its user, or of another site; the file of
`oa-dev open` counts as one."""
_JSON_TYPE = re.compile(rb"application/json(; ?charset=utf-8)?", re.IGNORECASE)
_WITHOUT_CREDENTIAL = frozenset({Scope.OPEN, Scope.JOIN, Scope.SELF})
"""Scopes without a token. For SELF an agent proves its secret, which the endpoint checks."""


@dataclass(frozen=True, slots=True)
class RequestFacts:
    """The facts of a request for the gate. `target` as it was sent; header names in lower case,
    repeats kept.

    `near`: whether its connection comes from this machine.
    """

    method: str
    target: bytes
    headers: Mapping[bytes, tuple[bytes, ...]]
    scheme: str = "http"
    header_bytes: int = 0
    near: bool = True

    def all(self, name: bytes) -> tuple[bytes, ...]:
        """Return every value of a header."""
        return self.headers.get(name, ())

    @property
    def path(self) -> str:
        """The target without its query, not decoded."""
        return self.target.partition(b"?")[0].decode("latin-1")

    @property
    def host(self) -> str:
        """The one Host header in lower case."""
        return self.all(b"host")[0].decode("latin-1").lower()

    @property
    def is_local(self) -> bool:
        """Return whether it was sent on this machine, to this machine: neither over a network nor
        through its proxy."""
        named = self.host if self.host in LOCAL_NAMES else self.host.rpartition(":")[0]
        return self.near and named in LOCAL_NAMES and not any(self.all(each) for each in _FORWARDED)


@dataclass(frozen=True, slots=True)
class Gate:
    """The facts to judge requests by: the routes, every Host of ours, the run's token, the largest
    uploads."""

    routes: RouteTable
    hosts: frozenset[str]
    token: str = field(repr=False)
    most_upload: Callable[[], int] = lambda: MOST_UPLOAD


def own_hosts(port: int, allowed: Iterable[str] = ()) -> frozenset[str]:
    """Return every Host of ours, exactly as it must be sent: the loopback names and the allowed
    ones, with the port.

    An allowed name may bring a port of its own (a proxy's). Port 80 may be left out. The
    unspecified address, 0.0.0.0, is never a name.
    """
    names = [*LOCAL_NAMES, *(name.lower() for name in allowed if name not in _NO_NAMES)]
    hosts = {name if _has_port(name) else f"{name}:{port}" for name in names}
    return frozenset(hosts | {each.removesuffix(":80") for each in hosts})


@dataclass(frozen=True, slots=True)
class Verdict:
    """Admitted, with route and principal; or the refusal's status, code and sentence."""

    status: int = 200
    code: str = ""
    message: str = ""
    headers: tuple[tuple[bytes, bytes], ...] = ()
    route: Route | None = None
    principal: Principal = ANONYMOUS
    most: int = MOST_BODY
    """Return how many bytes of a body are read."""

    @property
    def admitted(self) -> bool:
        """Whether the request may come in."""
        return self.route is not None


Step = Callable[[RequestFacts, Gate], Verdict | None]


def judge(request: RequestFacts, gate: Gate) -> Verdict:
    """Return the verdict on a request: that of the first step that refuses it, or its admission."""
    for step in STEPS:
        refusal = step(request, gate)
        if refusal is not None:
            return refusal
    route = gate.routes.at(request.path)[request.method]
    return Verdict(route=route, principal=_principal(request), most=_most(request, route, gate))


# G1: the request itself


def _target(request: RequestFacts, gate: Gate) -> Verdict | None:
    if len(request.target) > MOST_TARGET:
        return Verdict(414, "target_too_long", f"a request target has at most {MOST_TARGET} bytes")
    if _TARGET.fullmatch(request.target) is None or b"%00" in request.target:
        return Verdict(400, "bad_target", "a request target is a path that begins with / and holds no odd characters")
    return None


def _framing(request: RequestFacts, gate: Gate) -> Verdict | None:
    if request.header_bytes > MOST_HEADER_BYTES or sum(map(len, request.headers.values())) > MOST_HEADERS:
        sentence = f"a request has at most {MOST_HEADERS} headers with {MOST_HEADER_BYTES} bytes"
        return Verdict(431, "headers_too_large", sentence)
    if len(request.all(b"host")) != 1:
        return Verdict(400, "bad_host", "a request has exactly one Host header")
    if request.all(b"transfer-encoding") and request.all(b"content-length"):
        return Verdict(400, "bad_framing", "a request has Content-Length or Transfer-Encoding, not both")
    if request.method != WEBSOCKET and request.all(b"upgrade"):
        return Verdict(400, "bad_upgrade", "the only upgrade here is to a WebSocket")
    return None


# G2 to G4: where it comes from


def _host(request: RequestFacts, gate: Gate) -> Verdict | None:
    if request.host in gate.hosts:
        return None
    sentence = f"the host {json.dumps(request.host[:200])} is not allowed; if it is yours, start with --allow-host NAME"
    return Verdict(403, "host_not_allowed", sentence)


def _origin(request: RequestFacts, gate: Gate) -> Verdict | None:
    own = f"{request.scheme}://{request.host}".encode("latin-1")
    if request.all(b"origin") in ((), (own,), (own.removesuffix(b":80"),)):
        return None
    return Verdict(403, "origin_not_allowed", "a page of another origin may not use this network")


def _fetch_site(request: RequestFacts, gate: Gate) -> Verdict | None:
    sites = request.all(b"sec-fetch-site")
    if sites in ((), (b"same-origin",)) or (sites in _LEADS and _opens_page(request, gate)):
        return None
    return Verdict(403, "fetch_not_allowed", "a page of another site may not use this network")


def _opens_page(request: RequestFacts, gate: Gate) -> bool:
    """Return whether a browser opens the page itself, in a tab of its own. Other sites may have
    links to it: it holds nothing of this run, and the other site cannot read it."""
    route = gate.routes.at(request.path).get(request.method)
    led = request.all(b"sec-fetch-mode") == (b"navigate",) and request.all(b"sec-fetch-dest") == (b"document",)
    return route is not None and route.page and request.method == "GET" and led


# G5 and G6: what it wants, and in which form


def _method(request: RequestFacts, gate: Gate) -> Verdict | None:
    if request.method == "OPTIONS":
        return Verdict(403, "preflight_not_allowed", "a page of another origin may not use this network")
    known = gate.routes.at(request.path)
    if request.method in known:
        return None
    if not known:
        # A person who opens the printed address in a browser meets this.
        way = "; agents join at /api/register or /ws, and `oa-dev open` shows the dashboard"
        where = way if request.path == "/" else ""
        return Verdict(404, "not_found", f"there is nothing at {request.path[:200]}{where}")
    if list(known) == [WEBSOCKET]:
        headers = ((b"upgrade", b"websocket"),)
        return Verdict(426, "upgrade_required", f"{request.path} is a WebSocket", headers)
    if request.method == WEBSOCKET:
        return Verdict(400, "no_websocket", f"{request.path} is not a WebSocket")
    allowed = ", ".join(sorted(set(known) - {WEBSOCKET}))
    return Verdict(405, "method_not_allowed", f"{request.path} takes {allowed}", ((b"allow", allowed.encode()),))


def _content(request: RequestFacts, gate: Gate) -> Verdict | None:
    if request.method == WEBSOCKET and request.all(b"sec-websocket-protocol"):
        return Verdict(400, "bad_subprotocol", "no WebSocket subprotocol is spoken here")
    if request.method != "POST":
        return None
    types = request.all(b"content-type")
    if len(types) != 1 or _JSON_TYPE.fullmatch(types[0]) is None or request.all(b"content-encoding"):
        sentence = "the body is JSON: send Content-Type: application/json and no Content-Encoding"
        return Verdict(415, "not_json", sentence)
    route = gate.routes.at(request.path)[request.method]
    most = _most(request, route, gate)
    if any(each.isdigit() and int(each[:20]) > most for each in request.all(b"content-length")):
        return too_large(route, most)
    return None


def _most(request: RequestFacts, route: Route, gate: Gate) -> int:
    return max(gate.most_upload(), MOST_BODY) if route.uploads and request.is_local else MOST_BODY


def too_large(route: Route, most: int) -> Verdict:
    """Return the refusal of a body of more than `most` bytes, announced or received. Clients of
    OpenAgents read only answers with status 200, and only when they have sent everything."""
    if not route.uploads:
        return Verdict(413, "body_too_large", f"a body has at most {most} bytes")
    sentence = f"an event has at most {most} bytes here, files in it included: see dev.max_body in network.yaml"
    return Verdict(200, "body_too_large", sentence, most=MOST_SKIPPED)


# G7: who asks


def _from_here(request: RequestFacts, gate: Gate) -> Verdict | None:
    """Refuse the token over an unencrypted network: it lets its holder run code, and strangers must
    not try it."""
    if request.is_local or not (request.path.startswith(CONTROL) or request.all(b"authorization")):
        return None
    return Verdict(403, "not_from_here", "the control API and its token are for this machine alone; use an SSH tunnel")


def _credential(request: RequestFacts, gate: Gate) -> Verdict | None:
    given = request.all(b"authorization")
    if len(given) > 1:
        return Verdict(400, "bad_credential", "a request has at most one Authorization header")
    if given and not _proves(given[0], gate.token):
        return _unauthorized("that is not the token of this run")
    if not given and gate.routes.at(request.path)[request.method].scope not in _WITHOUT_CREDENTIAL:
        return _unauthorized("this needs the token of this run as Authorization: Bearer")
    return None


def _proves(given: bytes, token: str) -> bool:
    scheme, _, credential = given.partition(b" ")
    return hmac.compare_digest(credential.strip(), token.encode()) and scheme.lower() == b"bearer" and bool(token)


def _unauthorized(sentence: str) -> Verdict:
    return Verdict(401, "unauthorized", sentence, ((b"www-authenticate", b"Bearer"),))


def _principal(request: RequestFacts) -> Principal:
    """Return the principal, after `_credential` has passed: a token that is there is right."""
    if request.all(b"authorization"):
        return ADMIN
    return ANONYMOUS if request.is_local else STRANGER


def _has_port(name: str) -> bool:
    return re.search(r":\d+$", name) is not None and (name.count(":") == 1 or "]:" in name)


STEPS: tuple[Step, ...] = (_target, _framing, _host, _origin, _fetch_site, _method, _content, _from_here, _credential)
"""The gate in order."""
