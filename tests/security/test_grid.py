"""The gate of the real application: generated requests against an oracle that shares no code with it."""

from __future__ import annotations

import random
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
from live import Live

import devserver
from devserver.control.hosts import HostsApi
from devserver.control.page import PageApi, Tickets
from devserver.model.config import NetworkConfig
from devserver.server.app import make_app
from devserver.transports.http.gate import Gate, RequestFacts, judge

PORT = 8700
TOKEN = "the-token-of-this-run"
FILES = sorted((Path(devserver.__file__).parent / "control" / "page").iterdir())
ROUTES = {
    ("GET", "/healthz"): False,
    ("GET", "/api/health"): False,
    ("POST", "/api/register"): False,
    ("GET", "/api/poll"): False,
    ("POST", "/api/send_event"): False,
    ("POST", "/api/unregister"): False,
    ("WEBSOCKET", "/ws"): False,
    ("POST", "/_dev/prove"): False,
    ("GET", "/_dev/status"): True,
    ("GET", "/_dev/handlers"): True,
    ("GET", "/_dev/why"): True,
    ("GET", "/_dev/hosts"): True,
    ("POST", "/_dev/move"): True,
    ("POST", "/_dev/reload"): True,
    ("POST", "/_dev/restart"): True,
    ("POST", "/_dev/load"): True,
    ("POST", "/_dev/unload"): True,
    ("POST", "/_dev/send"): True,
    ("GET", "/_dev/"): False,
    **{("GET", f"/_dev/{each.name}"): False for each in FILES if each.suffix in (".js", ".css")},
    ("POST", "/_dev/tickets"): True,
    ("POST", "/_dev/enter"): False,
}
"""Every route, and whether it needs the token."""
METHODS = ["GET", "POST", "OPTIONS", "HEAD", "PUT", "DELETE", "WEBSOCKET"]
PATHS = [*sorted({path for _, path in ROUTES}), "/", "/nowhere", "/API/health", "/api/health/", "/_dev/status/../load"]
GOOD_HOSTS = ["localhost:{}", "127.0.0.1:{}", "LocalHost:{}", "[::1]:{}"]
HOSTS = [
    *GOOD_HOSTS,
    *("localhost", "127.0.0.1", "evil.example", "evil.example:{}", "localhost.evil.example:{}", "127.0.0.1.nip.io:{}"),
    *("0.0.0.0:{}", "[::]:{}", "127.1:{}", "2130706433:{}", "0x7f.1:{}", "0177.0.0.1:{}", "localhost.:{}"),
    *("user@localhost:{}", "localhost:1", "[::ffff:127.0.0.1]:{}", "rebind.test:{}", "localhost:{}:{}", ""),
]
ORIGINS = [
    *((), ("http://localhost:{}",), ("http://127.0.0.1:{}",), ("https://localhost:{}",), ("http://localhost:1",)),
    *(("null",), ("",), ("http://evil.example",), ("file://",), ("chrome-extension://abc",)),
    ("http://localhost:{}", "http://localhost:{}"),
]
SITES = [(), ("same-origin",), ("same-site",), ("cross-site",), ("none",), ("same-origin", "same-origin")]
NAVIGATION = ("navigate", "document")
LED = [(), NAVIGATION, ("navigate", "iframe"), ("no-cors", "script"), ("cors", "empty"), ("no-cors", "document")]
"""Sec-Fetch-Mode and Sec-Fetch-Dest."""
TYPES = [
    *((), ("application/json",), ("application/json; charset=utf-8",), ("text/plain",), ("application/json-seq",)),
    *(("application/x-www-form-urlencoded",), ("application/json; charset=utf-16",), ("multipart/form-data",)),
]
CREDENTIALS = [(), ("Bearer {}",), ("bearer {}",), ("Bearer wrong",), ("Basic {}",), ("Bearer {}x",), ("{}",), ("",)]
ADMITTED = 0

Texts = tuple[str, ...]
Case = tuple[str, str, str, Texts, Texts, Texts, Texts, Texts]


def oracle(case: Case) -> int:
    """What the contract says, step by step."""
    method, path, host, origin, site, led, content, credential = case
    if host not in GOOD_HOSTS:
        return 403
    if origin and origin != (f"http://{host.lower()}",):
        return 403
    opens_page = (method, path) == ("GET", "/_dev/") and led == NAVIGATION and len(site) == 1
    if (site not in ((), ("same-origin",)) and not opens_page) or method == "OPTIONS":
        return 403
    methods = {known for known, at in ROUTES if at == path}
    if not methods:
        return 404
    if method not in methods:
        return 426 if methods == {"WEBSOCKET"} else 400 if method == "WEBSOCKET" else 405
    if method == "POST" and content not in (("application/json",), ("application/json; charset=utf-8",)):
        return 415
    if credential and credential not in (("Bearer {}",), ("bearer {}",)):
        return 401
    return 401 if ROUTES[method, path] and not credential else ADMITTED


def cases(count: int, seed: int) -> list[Case]:
    """Every method with every path, as often, each time with another random rest: every second from a good place."""
    chosen = random.Random(seed)
    each = -(-count // (len(METHODS) * len(PATHS)))
    found: list[Case] = []
    for method, path in product(METHODS, PATHS):
        for number in range(each):
            good = number % 2 == 0
            host = chosen.choice(GOOD_HOSTS if good else HOSTS)
            origin = chosen.choice([(), (f"http://{host.lower()}",)] if good else ORIGINS)
            site = chosen.choice(SITES[:2] if good else SITES)
            led = chosen.choice(LED)
            content = chosen.choice(TYPES[1:3] if number % 4 == 0 else TYPES)
            credential = chosen.choice(CREDENTIALS[:2] if number % 4 == 0 else CREDENTIALS)
            found.append((method, path, host, origin, site, led, content, credential))
    return found


def filled(texts: tuple[str, ...], value: object) -> tuple[bytes, ...]:
    """The texts with the port or the token in them, as they are sent."""
    return tuple(text.replace("{}", str(value)).encode() for text in texts)


def verdict(case: Case, gate: Gate) -> int:
    """What the application's own gate says."""
    method, path, host, origin, site, led, content, credential = case
    headers = {
        b"host": filled((host,), PORT),
        b"origin": filled(origin, PORT),
        b"sec-fetch-site": filled(site, PORT),
        b"sec-fetch-mode": filled(led[:1], PORT),
        b"sec-fetch-dest": filled(led[1:], PORT),
        b"content-type": filled(content, PORT),
        b"authorization": filled(credential, TOKEN),
    }
    given = judge(RequestFacts(method, path.encode(), {name: each for name, each in headers.items() if each}), gate)
    return ADMITTED if given.admitted else given.status


@pytest.mark.parametrize("seed", range(4))
def test_the_gate_judges_as_the_contract_does(seed: int) -> None:
    """Ten thousand requests to each seed."""
    page = (*PageApi(TOKEN, Tickets(lambda: None)).routes(), *HostsApi(Mock()).routes())
    network: Any = SimpleNamespace(config=NetworkConfig("grid"))
    gate = make_app(network, Mock(), token=TOKEN, port_of=lambda: PORT, routes=page).gate()
    assert {(each.method, each.path) for each in gate.routes} == set(ROUTES)
    grid = cases(10_000, seed)
    assert len(grid) >= 10_000
    assert [(case, oracle(case)) for case in grid if verdict(case, gate) != oracle(case)] == []
    assert sum(oracle(case) == ADMITTED for case in grid) > 200


def request(case: Case, port: int, token: str) -> bytes:
    """The bytes of a case."""
    method, path, host, origin, site, led, content, credential = case
    lines = [f"{'GET' if method == 'WEBSOCKET' else method} {path} HTTP/1.1".encode()]
    named = (("Host", (host,)), ("Origin", origin), ("Sec-Fetch-Site", site), ("Content-Type", content))
    for name, values in (*named, ("Sec-Fetch-Mode", led[:1]), ("Sec-Fetch-Dest", led[1:])):
        lines += [name.encode() + b": " + value for value in filled(values, port)]
    lines += [b"Authorization: " + value for value in filled(credential, token)]
    if method == "WEBSOCKET":
        lines += [b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Version: 13"]
        lines.append(b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==")
    if method in ("POST", "PUT"):
        lines.append(b"Content-Length: 2")
    return b"\r\n".join(lines) + b"\r\n\r\n" + (b"{}" if method in ("POST", "PUT") else b"")


def test_the_server_answers_as_the_contract_says(live: Live) -> None:
    """Over sockets; a request that is admitted gets an answer of its route, and each answer its protecting headers."""
    token = live.token
    wrong = []
    for case in cases(500, seed=9):
        if case[:2] == ("GET", "/api/poll") and oracle(case) == ADMITTED:
            continue
        answer = live.raw(request(case, live.port, token))
        expected = oracle(case)
        # The body holds no ticket.
        admitted = (401,) if case[1] == "/_dev/enter" else (101, 200, 400)
        fits = answer.status == expected if expected else answer.status in admitted
        kept = answer.header("x-content-type-options") == ["nosniff"] and answer.header("x-frame-options") == ["DENY"]
        leaks = [name for name, _ in answer.headers if name.startswith("access-control") or name == "server"]
        if not fits or not kept or leaks:
            wrong.append((case, expected, answer))
    assert wrong == []
    assert live.running() == {"echo": live.running()["echo"]}


def test_reading_changes_nothing(live: Live) -> None:
    """Every route that can be got, three times, with the token and without, as a browser and as a crawler would."""
    ana = live.join("crawled")
    assert ana.send("note.for.ana", {"n": 1}, to="crawled")["success"] is True
    before = _state(live)
    known = {each.path for each in make_app(Mock(), Mock(), token=TOKEN, port_of=lambda: PORT).gate().routes}
    for path in sorted(
        known | {"/", "/_dev/", "/_dev/plan", "/_dev/reloads", "/_dev/feed", "/_dev/stop", "/_dev/undo"}
    ):
        for method, headers in (("GET", {}), ("HEAD", {}), ("GET", {"Authorization": f"Bearer {live.token}"})):
            for _ in range(3):
                assert live.request(method, path, None, headers).status < 500
    assert _state(live) == before
    assert [each["payload"] for each in ana.poll()] == [{"n": 1}]


def _state(live: Live) -> object:
    status = live.control("status")
    return {
        name: status[name] for name in ("mods", "agents", "reloads", "failed", "paused", "waiting", "reload_number")
    }
