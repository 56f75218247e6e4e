"""The gate as a function: a grid of requests against an oracle that was written by itself."""

import itertools
from unittest.mock import Mock

import pytest

from devserver.control.hosts import HostsApi
from devserver.model.principal import ADMIN, ANONYMOUS, STRANGER, Scope
from devserver.server.app import make_app
from devserver.transports.http.answers import told
from devserver.transports.http.gate import Gate, RequestFacts, judge, own_hosts
from devserver.transports.http.http_connection import is_near
from devserver.transports.http.routes import WEBSOCKET, Route, RouteTable

PORT = 8700
TOKEN = "right-token"


async def endpoint(asked):
    return told({})


def socket(opened):
    raise AssertionError("never called")


TABLE = RouteTable(
    (
        Route("GET", "/", Scope.OPEN, endpoint, page=True),
        Route("GET", "/open", Scope.OPEN, endpoint),
        Route("POST", "/join", Scope.JOIN, endpoint),
        Route("POST", "/self", Scope.SELF, endpoint),
        Route("GET", "/read", Scope.READ, endpoint),
        Route("POST", "/admin", Scope.ADMIN, endpoint),
        Route(WEBSOCKET, "/ws", Scope.JOIN, socket=socket),
    )
)
GATE = Gate(TABLE, own_hosts(PORT, ["dev.example", "proxy.example:443"]), TOKEN)

HOSTS = [
    *(
        b"localhost:8700",
        b"LOCALHOST:8700",
        b"127.0.0.1:8700",
        b"[::1]:8700",
        b"dev.example:8700",
        b"proxy.example:443",
    ),
    *(b"", b"localhost", b"localhost:8701", b"localhost.:8700", b"localhost.evil.com:8700", b"evil.com:8700"),
    *(b"127.0.0.1.nip.io:8700", b"0.0.0.0:8700", b"[::]:8700", b"127.1:8700", b"2130706433:8700", b"0x7f.1:8700"),
    *(b"user@localhost:8700", b"[::ffff:127.0.0.1]:8700", b"proxy.example:8700", "lоcalhost:8700".encode()),
]
ORIGINS = [
    (),
    *((each,) for each in (b"http://localhost:8700", b"http://127.0.0.1:8700", b"http://[::1]:8700", b"null", b"")),
    *((each,) for each in (b"https://localhost:8700", b"http://localhost:8701", b"http://localhost", b"file://")),
    *((each,) for each in (b"http://evil.com:8700", b"chrome-extension://abc", b"http://dev.example:8700")),
    (b"http://localhost:8700", b"http://localhost:8700"),
]
SITES = [(), (b"same-origin",), (b"none",), (b"cross-site",), (b"same-site",), (b"same-origin", b"none"), (b"",)]
NAVIGATIONS = [
    ((), ()),
    ((b"navigate",), (b"document",)),
    ((b"navigate",), (b"iframe",)),
    ((b"no-cors",), (b"script",)),
]
REQUESTS = [
    ("GET", "/"),
    ("GET", "/open"),
    ("POST", "/join"),
    ("GET", "/nowhere"),
    ("OPTIONS", "/open"),
    (WEBSOCKET, "/ws"),
]
TYPES = [
    *((), (b"application/json",), (b"APPLICATION/JSON",), (b"application/json; charset=utf-8",), (b"text/plain",)),
    *((b"application/json; charset=utf-16",), (b"application/json-seq",), (b"application/x-www-form-urlencoded",)),
    *((b"multipart/form-data",), (b"application/json", b"application/json"), (b"application/json;charset=UTF-8",)),
]
CREDENTIALS = [
    *((), (b"Bearer right-token",), (b"bearer right-token",), (b"Bearer wrong",), (b"Bearer ",), (b"",)),
    *((b"Bearer right-toke",), (b"Bearer right-token1",), (b"Basic right-token",), (b"right-token",)),
    *(("Bearer é".encode(),), (b"Bearer \x00",), (b"Bearer right-token", b"Bearer right-token")),
]


def request(method, path, **headers) -> RequestFacts:
    named = {name.replace("_", "-").encode(): values for name, values in headers.items() if values}
    return RequestFacts(method, path.encode(), named)


def oracle(method, path, host, origin, site, mode, dest, content, credential) -> int:
    """The verdict in plain words, for well-formed requests."""
    ours = ["localhost:8700", "127.0.0.1:8700", "[::1]:8700", "dev.example:8700", "proxy.example:443"]
    name = host.decode("latin-1").lower()
    if name not in ours:
        return 403
    if len(origin) > 1 or (origin and origin[0].decode("latin-1") != "http://" + name):
        return 403
    led = (method, path, mode, dest) == ("GET", "/", (b"navigate",), (b"document",))
    leads = (b"none", b"cross-site", b"same-site")
    if len(site) > 1 or (site and site[0] != b"same-origin" and not (site[0] in leads and led)):
        return 403
    if method == "OPTIONS":
        return 403
    needs = {
        "/": "GET",
        "/open": "GET",
        "/join": "POST",
        "/self": "POST",
        "/read": "GET",
        "/admin": "POST",
        "/ws": WEBSOCKET,
    }
    if path not in needs:
        return 404
    if needs[path] != method:
        return 426 if path == "/ws" else 400 if method == WEBSOCKET else 405
    good_types = ["application/json", "application/json; charset=utf-8", "application/json;charset=utf-8"]
    if method == "POST" and (len(content) != 1 or content[0].decode().lower() not in good_types):
        return 415
    if len(credential) > 1:
        return 400
    if credential and credential[0] not in (b"Bearer right-token", b"bearer right-token"):
        return 401
    return 401 if path in ("/read", "/admin") and not credential else 200


def verdict(method, path, host, origin, site, mode, dest, content, credential) -> int:
    facts = request(
        method,
        path,
        host=(host,),
        origin=origin,
        sec_fetch_site=site,
        sec_fetch_mode=mode,
        sec_fetch_dest=dest,
        content_type=content,
        authorization=credential,
    )
    return judge(facts, GATE).status


def differences(cases) -> list:
    return [case for case in cases if verdict(*case) != oracle(*case)]


def test_where_a_request_comes_from_is_judged_as_the_oracle_does():
    """Every Host with every Origin, every Sec-Fetch set and six kinds of request."""
    grid = itertools.product(REQUESTS, HOSTS, ORIGINS, SITES, NAVIGATIONS)
    cases = [
        (method, path, host, origin, site, mode, dest, (b"application/json",), ())
        for (method, path), host, origin, site, (mode, dest) in grid
    ]
    assert len(cases) > 40_000
    assert differences(cases) == []


def test_what_a_request_wants_is_judged_as_the_oracle_does():
    """Every path with every method, content type and credential, from a place that is allowed."""
    paths = [
        "/",
        "/open",
        "/join",
        "/self",
        "/read",
        "/admin",
        "/ws",
        "/nowhere",
        "/OPEN",
        "//open",
        "/open/",
        "/%6fpen",
    ]
    methods = ["GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE", WEBSOCKET]
    cases = [
        (method, path, b"localhost:8700", (), (), (), (), content, credential)
        for method, path, content, credential in itertools.product(methods, paths, TYPES, CREDENTIALS)
    ]
    assert len(cases) > 10_000
    assert differences(cases) == []


def test_port_80_may_be_left_out():
    """There, and nowhere else, because browsers leave it out."""
    gate = Gate(TABLE, own_hosts(80), TOKEN)
    for host in (b"localhost", b"localhost:80"):
        facts = request("GET", "/open", host=(host,), origin=(b"http://localhost",))
        assert judge(facts, gate).admitted
    assert not judge(request("GET", "/open", host=(b"localhost:8700",)), gate).admitted


def test_the_address_of_no_host_cannot_be_allowed():
    """A page can reach 0.0.0.0 where it cannot reach 127.0.0.1."""
    assert own_hosts(PORT, ["0.0.0.0", "[::]"]) == own_hosts(PORT)


@pytest.mark.parametrize(
    ("target", "status"),
    [
        (b"/open", 200),
        (b"/open?a=b&c=%20", 200),
        (b"/open?" + b"x" * 8186, 200),
        (b"/open?" + b"x" * 8187, 414),
        (b"http://localhost:8700/open", 400),
        (b"*", 400),
        (b"", 400),
        (b"localhost:8700", 400),
        (b"/open#a", 400),
        (b"/open\\a", 400),
        (b"/open%00", 400),
        (b"/open?x=%00", 400),
        (b"/open\x01", 400),
        (b"/open a", 400),
        (b"/open\x7f", 400),
        (b"/\xc3\xa9", 400),
        (b"/../open", 404),
        (b"/%2e%2e/open", 404),
    ],
)
def test_a_target_is_a_plain_path(target, status):
    """In origin form, bounded, without characters that programs disagree about."""
    facts = RequestFacts("GET", target, {b"host": (b"localhost:8700",)})
    assert judge(facts, GATE).status == status


def test_the_address_alone_says_where_agents_and_people_go():
    """Who opens the address of the banner in a browser is led on; another path is only not there."""
    gate = Gate(RouteTable((Route("GET", "/open", Scope.OPEN, endpoint),)), own_hosts(PORT), TOKEN)
    facts = {b"host": (b"localhost:8700",)}
    sentences = [judge(RequestFacts("GET", path, facts), gate).message for path in (b"/", b"/docs")]
    assert sentences == [
        "there is nothing at /; agents join at /api/register or /ws, and `oa-dev open` shows the dashboard",
        "there is nothing at /docs",
    ]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 400),
        ({b"host": (b"localhost:8700", b"localhost:8700")}, 400),
        ({b"host": (b"localhost:8700",), b"upgrade": (b"h2c",)}, 400),
        ({b"host": (b"localhost:8700",), b"x": (b"1",) * 127}, 200),
        ({b"host": (b"localhost:8700",), b"x": (b"1",) * 128}, 431),
        ({b"host": (b"localhost:8700",), b"content-length": (b"1",), b"transfer-encoding": (b"chunked",)}, 400),
    ],
)
def test_a_requests_head_is_sound(headers, status):
    """One Host, few headers, one way to tell its length, no upgrade but to a WebSocket."""
    assert judge(RequestFacts("GET", b"/open", headers), GATE).status == status


def test_headers_are_bounded_in_size():
    """64 KiB of them."""
    host = {b"host": (b"localhost:8700",)}
    assert judge(RequestFacts("GET", b"/open", host, "http", 65_536), GATE).admitted
    assert judge(RequestFacts("GET", b"/open", host, "http", 65_537), GATE).status == 431


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({b"content-length": (b"1048576",)}, 200),
        ({b"content-length": (b"1048577",)}, 413),
        ({b"content-length": (b"9" * 5000,)}, 413),
        ({b"content-encoding": (b"gzip",)}, 415),
    ],
)
def test_a_body_is_bounded_before_it_is_read(headers, status):
    """By what it announces; compressed ones are not taken."""
    facts = {b"host": (b"localhost:8700",), b"content-type": (b"application/json",), **headers}
    assert judge(RequestFacts("POST", b"/self", facts), GATE).status == status


def test_the_token_makes_an_admin_and_nothing_else_does():
    """The principal is in the verdict."""
    host = (b"localhost:8700",)
    assert judge(request("GET", "/open", host=host), GATE).principal is ANONYMOUS
    assert judge(request("GET", "/read", host=host, authorization=(b"Bearer right-token",)), GATE).principal is ADMIN


@pytest.mark.parametrize(
    ("host", "near", "more", "principal"),
    [
        (b"localhost:8700", True, {}, ANONYMOUS),
        (b"[::1]:8700", True, {}, ANONYMOUS),
        (b"localhost:8700", False, {}, STRANGER),
        (b"dev.example:8700", True, {}, STRANGER),
        (b"dev.example:8700", False, {}, STRANGER),
        (b"localhost:8700", True, {b"x-forwarded-for": (b"127.0.0.1",)}, STRANGER),
    ],
)
def test_who_is_on_this_machine_is_known_by_address_and_name(host, near, more, principal):
    """A connection from here to a name of here, which no proxy passed on; everyone else is a stranger."""
    facts = RequestFacts("GET", b"/open", {b"host": (host,), **more}, near=near)
    assert judge(facts, GATE).principal is principal


@pytest.mark.parametrize("path", ["/read", "/open", "/_dev/status"])
@pytest.mark.parametrize(
    ("host", "near", "more"),
    [
        (b"dev.example:8700", True, {}),
        (b"localhost:8700", False, {}),
        (b"localhost:8700", True, {b"x-forwarded-for": (b"127.0.0.1",)}),
    ],
)
def test_the_token_is_taken_on_this_machine_alone(path, host, near, more):
    """The right one and a wrong one are refused alike, so that strangers learn nothing of it."""
    table = RouteTable((*TABLE, Route("GET", "/_dev/status", Scope.ADMIN, endpoint)))
    for token in (b"Bearer right-token", b"Bearer wrong"):
        facts = RequestFacts("GET", path.encode(), {b"host": (host,), b"authorization": (token,), **more}, near=near)
        verdict = judge(facts, Gate(table, GATE.hosts, TOKEN))
        assert (verdict.status, verdict.code) == (403, "not_from_here")


@pytest.mark.parametrize(
    ("client", "near"),
    [
        (("127.0.0.1", 1), True),
        (("127.8.8.8", 1), True),
        (("::1", 1), True),
        (("::ffff:127.0.0.1", 1), True),
        (("192.168.1.5", 1), False),
        (("::ffff:192.168.1.5", 1), False),
        (("::127.0.0.1", 1), False),
        (("::1:2", 1), False),
        (None, False),
    ],
)
def test_a_connection_is_near_by_its_address(client, near):
    """As the system says it."""
    assert is_near(client) is near


def test_an_empty_token_proves_nothing():
    """A gate that was built without one lets no one in as admin."""
    facts = request("GET", "/read", host=(b"localhost:8700",), authorization=(b"Bearer ",))
    assert judge(facts, Gate(TABLE, GATE.hosts, "")).status == 401


@pytest.mark.parametrize(
    "route",
    [
        Route("GET", "/x", None, endpoint),  # type: ignore[arg-type]
        Route("GET", "/x", "open", endpoint),  # type: ignore[arg-type]
        Route("PATCH", "/x", Scope.OPEN, endpoint),
        Route("GET", "x", Scope.OPEN, endpoint),
        Route("GET", "/{name}", Scope.OPEN, endpoint),
        Route("GET", "/x", Scope.OPEN),
        Route("GET", "/x", Scope.OPEN, socket=socket),
        Route(WEBSOCKET, "/x", Scope.OPEN, endpoint),
        Route("GET", "/open", Scope.OPEN, endpoint),
    ],
)
def test_a_route_that_is_not_fully_declared_stops_the_start(route):
    """Without a scope above all; a second route for the same place too."""
    with pytest.raises(ValueError, match=route.path):
        RouteTable((*TABLE, route))


def test_every_route_that_can_be_reached_has_a_scope(network):
    """The application has no router beside the table of its gate, and in that each row says who may ask."""
    extra = Route("GET", "/_dev/page", Scope.READ, endpoint)
    own = [extra, *HostsApi(Mock()).routes()]
    app = make_app(network, Mock(), token=TOKEN, port_of=lambda: PORT, routes=own)
    assert {(route.method, route.path, route.scope) for route in app.gate().routes} == {
        ("GET", "/healthz", Scope.OPEN),
        ("GET", "/api/health", Scope.OPEN),
        ("POST", "/api/register", Scope.JOIN),
        ("GET", "/api/poll", Scope.SELF),
        ("POST", "/api/send_event", Scope.SELF),
        ("POST", "/api/unregister", Scope.SELF),
        (WEBSOCKET, "/ws", Scope.JOIN),
        ("POST", "/_dev/prove", Scope.OPEN),
        ("GET", "/_dev/status", Scope.READ),
        ("GET", "/_dev/handlers", Scope.READ),
        ("GET", "/_dev/why", Scope.READ),
        ("GET", "/_dev/hosts", Scope.READ),
        ("POST", "/_dev/move", Scope.ADMIN),
        ("POST", "/_dev/reload", Scope.MODS_WRITE),
        ("POST", "/_dev/restart", Scope.ADMIN),
        ("POST", "/_dev/load", Scope.MODS_WRITE),
        ("POST", "/_dev/unload", Scope.MODS_WRITE),
        ("POST", "/_dev/send", Scope.ADMIN),
        ("GET", "/_dev/page", Scope.READ),
    }


def test_an_application_needs_a_token(network):
    """An empty one would be everyone's."""
    with pytest.raises(ValueError, match="token"):
        make_app(network, None, token="", port_of=lambda: PORT)
