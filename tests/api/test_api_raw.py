"""The gate on real sockets: bytes in, status and headers out."""

import asyncio
import json

import pytest

from devserver.transports.http.answers import PROTECTING_HEADERS
from devserver.transports.http.http_connection import HttpConnection
from devserver.transports.http.serving import MOST_KNOWN

GET = b"GET /healthz HTTP/1.1\r\nHost: @HOST@\r\n%s\r\n"
POST = b"POST /api/register HTTP/1.1\r\nHost: @HOST@\r\nContent-Type: application/json\r\n%s\r\n%s"
SHAKE = (
    b"GET /ws HTTP/1.1\r\nHost: @HOST@\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n%s\r\n"
)


def sized(body: bytes) -> bytes:
    return POST % (b"Content-Length: %d\r\n" % len(body), body)


CHUNKED = POST % (b"Transfer-Encoding: chunked\r\n", b"%s")

BAD_REQUESTS = {
    "absolute form": (b"GET http://@HOST@/healthz HTTP/1.1\r\nHost: @HOST@\r\n\r\n", 400),
    "asterisk": (b"OPTIONS * HTTP/1.1\r\nHost: @HOST@\r\n\r\n", 400),
    "connect": (b"CONNECT @HOST@ HTTP/1.1\r\nHost: @HOST@\r\n\r\n", 400),
    "trace": (b"TRACE /healthz HTTP/1.1\r\nHost: @HOST@\r\n\r\n", 405),
    "lower-case method": (b"get /healthz HTTP/1.1\r\nHost: @HOST@\r\n\r\n", 400),
    "http 0.9": (b"GET /healthz\r\n\r\n", 400),
    "no host": (b"GET /healthz HTTP/1.1\r\n\r\n", 400),
    "two hosts": (GET % b"Host: @HOST@\r\n", 400),
    "foreign host": (b"GET /healthz HTTP/1.1\r\nHost: evil.com\r\n\r\n", 403),
    "foreign host, unknown path": (b"GET /none HTTP/1.1\r\nHost: evil.com\r\n\r\n", 403),
    "fragment": (b"GET /healthz#a HTTP/1.1\r\nHost: @HOST@\r\n\r\n", 400),
    "backslash": (b"GET /\\healthz HTTP/1.1\r\nHost: @HOST@\r\n\r\n", 400),
    "nul": (b"GET /healthz%00 HTTP/1.1\r\nHost: @HOST@\r\n\r\n", 400),
    "traversal": (b"GET /..%2f..%2fetc/passwd HTTP/1.1\r\nHost: @HOST@\r\n\r\n", 404),
    "two slashes": (b"GET //etc/passwd HTTP/1.1\r\nHost: @HOST@\r\n\r\n", 404),
    "encoded path": (b"GET /%68ealthz HTTP/1.1\r\nHost: @HOST@\r\n\r\n", 404),
    "h2c": (GET % b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n", 400),
    "both lengths": (POST % (b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n", b"{}"), 400),
    "two lengths": (POST % (b"Content-Length: 2\r\nContent-Length: 2\r\n", b"{}"), 400),
    "signed length": (POST % (b"Content-Length: +2\r\n", b"{}"), 400),
    "bad chunk": (POST % (b"Transfer-Encoding: chunked\r\n", b"zz\r\n{}\r\n0\r\n\r\n"), 400),
    "long chunk extension": (CHUNKED % (b"2;" + b"x" * 1_000_000 + b"\r\n{}\r\n0\r\n\r\n"), 400),
    "long trailer": (CHUNKED % (b"2\r\n{}\r\n0\r\nX: " + b"x" * 100_000 + b"\r\n\r\n"), 400),
    "ten thousand chunks": (CHUNKED % (b"1\r\n \r\n" * 10_000 + b"0\r\n\r\n"), 400),
    "tls": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    "folded header": (GET % b"X: a\r\n b\r\n", 400),
    "long target": (b"GET /healthz?" + b"x" * 8192 + b" HTTP/1.1\r\nHost: @HOST@\r\n\r\n", 414),
    "129 headers": (GET % (b"X: 1\r\n" * 128), 431),
    "huge cookie": (GET % (b"Cookie: " + b"x" * 1_000_000 + b"\r\n"), 431),
    "preflight": (b"OPTIONS /api/register HTTP/1.1\r\nHost: @HOST@\r\nOrigin: http://evil.com\r\n\r\n", 403),
    "own preflight": (b"OPTIONS /api/register HTTP/1.1\r\nHost: @HOST@\r\n\r\n", 403),
    "null origin": (GET % b"Origin: null\r\n", 403),
    "other port's origin": (GET % b"Origin: http://127.0.0.1:1\r\n", 403),
    "cross-site": (GET % b"Sec-Fetch-Site: cross-site\r\n", 403),
    "form": (
        b"POST /api/register HTTP/1.1\r\nHost: @HOST@\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\n{}",
        415,
    ),
    "no type": (b"POST /api/register HTTP/1.1\r\nHost: @HOST@\r\nContent-Length: 2\r\n\r\n{}", 415),
    "gzip": (POST % (b"Content-Encoding: gzip\r\nContent-Length: 2\r\n", b"{}"), 415),
    "announced too large": (POST % (b"Content-Length: 1048577\r\n", b""), 413),
    "chunked too large": (
        POST % (b"Transfer-Encoding: chunked\r\n", b"100001\r\n" + b"x" * 0x100001 + b"\r\n0\r\n\r\n"),
        413,
    ),
    "list": (sized(b"[]"), 400),
    "duplicate key": (sized(b'{"agent_id":"a","agent_id":"b"}'), 400),
    "nan": (sized(b'{"agent_id":"a","metadata":{"x":NaN}}'), 400),
    "deep": (sized(b"[" * 100_000), 400),
    "get of a post": (b"GET /api/register HTTP/1.1\r\nHost: @HOST@\r\n\r\n", 405),
    "head": (b"HEAD /healthz HTTP/1.1\r\nHost: @HOST@\r\nConnection: close\r\n\r\n", 405),
    "unknown": (b"GET /nothing HTTP/1.1\r\nHost: @HOST@\r\n\r\n", 404),
    "no token": (b"GET /_dev/status HTTP/1.1\r\nHost: @HOST@\r\n\r\n", 401),
    "token in the query": (b"GET /_dev/status?token=admin-token-of-this-run HTTP/1.1\r\nHost: @HOST@\r\n\r\n", 401),
    "odd token": (GET % b"Authorization: Bearer \xc3\xa9\r\n", 401),
    "two tokens": (GET % (b"Authorization: Bearer admin-token-of-this-run\r\n" * 2), 400),
    "get of the websocket": (b"GET /ws HTTP/1.1\r\nHost: @HOST@\r\n\r\n", 426),
    "foreign origin's websocket": (SHAKE % b"Origin: http://evil.com\r\n", 403),
    "null origin's websocket": (SHAKE % b"Origin: null\r\n", 403),
    "foreign host's websocket": (SHAKE.replace(b"@HOST@", b"evil.com") % b"", 403),
    "foreign origin's websocket to nowhere": (SHAKE.replace(b"/ws", b"/none") % b"Origin: http://evil.com\r\n", 403),
    "websocket to nowhere": (SHAKE.replace(b"/ws", b"/none") % b"", 404),
    "websocket to an endpoint": (SHAKE.replace(b"/ws", b"/healthz") % b"", 400),
    "absolute websocket": (SHAKE.replace(b"/ws", b"http://@HOST@/ws") % b"", 400),
    "subprotocol": (SHAKE % b"Sec-WebSocket-Protocol: chat\r\n", 400),
    "websocket version": (SHAKE.replace(b"Version: 13", b"Version: 7") % b"", 426),
    "websocket key": (SHAKE.replace(b"Sec-WebSocket-Key", b"X") % b"", 400),
    "websocket post": (SHAKE.replace(b"GET", b"POST") % b"", 400),
    "websocket in HTTP/1.0": (SHAKE.replace(b"HTTP/1.1", b"HTTP/1.0") % b"", 400),
    "websocket with a body": (SHAKE % b"Content-Length: 5\r\n", 400),
    "websocket in chunks": (SHAKE % b"Transfer-Encoding: chunked\r\n", 400),
    "websocket with 129 headers": (SHAKE % (b"X: 1\r\n" * 124), 431),
    "websocket with a long header": (SHAKE % (b"Cookie: " + b"x" * 9000 + b"\r\n"), 431),
    "websocket with a long target": (SHAKE.replace(b"/ws", b"/ws?" + b"x" * 9000) % b"", 414),
    "websocket with two keys": (SHAKE % b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n", 400),
    "websocket with an odd key": (SHAKE.replace(b"AAAA", b"\xc3\xa9!!") % b"", 400),
    "websocket with two origins": (SHAKE % (b"Origin: http://@HOST@\r\n" * 2), 403),
    "websocket that the library refuses": (SHAKE % b'Connection: Upgrade, "\r\n', 400),
    "websocket with an odd origin": (SHAKE % b"Origin: http://\xe9\r\n", 403),
}


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("case", BAD_REQUESTS)
async def test_a_bad_request_is_refused_in_json_with_every_protecting_header(shared, case):
    """Also one that no application saw; none is answered with a CORS header or the name of the server."""
    request, status = BAD_REQUESTS[case]
    answer = await shared.raw(request)
    assert answer.status == status
    for name, value in PROTECTING_HEADERS:
        assert answer.header(name.decode()) == [value.decode()]
    assert answer.header("content-type") == ["application/json"]
    assert not [name for name, _ in answer.headers if name.startswith("access-control") or name == "server"]
    if case != "head":
        assert json.loads(answer.body)["success"] is False
    assert shared.network.directory.agents() == ()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LOCALHOST"])
async def test_the_names_of_this_machine_pass(served, host):
    """With the port, in any case of letters; a page of our own passes too."""
    own = f"{host}:{served.port}".encode()
    origin = b"Origin: http://" + own.lower() + b"\r\nSec-Fetch-Site: same-origin\r\n"
    answer = await served.raw((GET % origin).replace(b"@HOST@", own))
    assert (answer.status, answer.body) == (200, b'{"ok":true}')
    for name, value in PROTECTING_HEADERS:
        assert answer.header(name.decode()) == [value.decode()]


async def test_a_connection_serves_many_requests(served):
    """Keep-alive, refusals included."""
    async with served.line() as line:
        for request, status in [(GET % b"", 200), (GET % b"Origin: null\r\n", 403), (GET % b"", 200)]:
            assert (await line.ask(request)).status == status


async def test_a_head_that_does_not_come_is_not_waited_for(served, monkeypatch):
    """One byte after the other keeps no connection open."""
    monkeypatch.setattr(HttpConnection, "request_seconds", 0.05)
    answer = await served.raw(b"GET /healthz HTTP/1.1\r\nX: ")
    assert (answer.status, answer.code) == (408, "too_slow")


async def test_a_body_that_does_not_come_is_not_waited_for(served, monkeypatch):
    """Nor is the connection kept."""
    monkeypatch.setattr(HttpConnection, "request_seconds", 0.05)
    answer = await served.raw(POST % (b"Content-Length: 10\r\n", b"{"))
    assert (answer.status, answer.code, answer.header("connection")) == (408, "too_slow", ["close"])


async def test_a_client_that_vanishes_in_the_middle_is_no_error(served):
    """Cut at every fifth byte of a request, the server logs no failure and goes on."""
    request = sized(b'{"agent_id":"ana"}').replace(b"@HOST@", b"127.0.0.1:%d" % served.port)
    for cut in range(0, len(request), 5):
        _, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(request[:cut])
        await writer.drain()
        writer.transport.abort()
    assert (await served.http.get("/healthz")).json() == {"ok": True}


async def test_a_failing_network_shows_nothing_of_its_inside(serve, network, caplog):
    """A 500 names no file and no exception; the log does."""

    async def fail(event):
        raise RuntimeError("inner secret")

    network.on_event = fail
    async with serve(network) as served:
        secret = await served.join("ana")
        body = {"event_name": "test.event", "source_id": "ana", "secret": secret}
        answer = await served.http.post("/api/send_event", json=body)
    assert answer.status_code == 500
    assert "inner secret" not in answer.text and "Traceback" not in answer.text
    assert answer.headers["x-frame-options"] == "DENY"
    assert "inner secret" in caplog.text


async def test_an_allowed_host_passes(serve, network):
    """What `--allow-host` names, with our port."""
    async with serve(network, allowed_hosts=["dev.example"]) as served:
        own = b"dev.example:%d" % served.port
        assert (await served.raw((GET % b"").replace(b"@HOST@", own))).status == 200
        refused = await served.raw((GET % b"").replace(b"@HOST@", b"dev.example:1"))
        assert (refused.status, refused.code) == (403, "host_not_allowed")
        assert "--allow-host" in json.loads(refused.body)["message"]


async def test_a_body_in_chunks_is_read_wherever_it_is_cut(served):
    """Also between the bytes of its last line, and where its data looks like an end; the next request follows."""
    body = b'{"agent_id":"ana","metadata":{"x":"1\\r\\n"}}'
    parts = b"".join(b"%x\r\n%s\r\n" % (len(each), each) for each in (body[:1], b"\r\n\r\n", body[1:6], body[6:]))
    request = (CHUNKED % (parts + b"0\r\n\r\n")).replace(b"@HOST@", b"127.0.0.1:%d" % served.port)
    async with served.line() as line:
        for number, cut in enumerate(range(len(request) - len(parts) - 5, len(request))):
            asked = request.replace(b'"ana"', b'"a%02d"' % number)
            line.writer.write(asked[:cut])
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            answer = await line.ask(asked[cut:])
            assert (answer.status, json.loads(answer.body)["success"]) == (200, True), cut
        assert (await line.ask(GET % b"")).status == 200


async def test_a_client_that_waits_for_a_word_gets_it(served):
    """Before it sends the body, and only where the gate lets the request in."""
    body = b'{"agent_id":"ana"}'
    head = POST % (b"Expect: 100-continue\r\nContent-Length: %d\r\n" % len(body), b"")
    async with served.line() as line:
        line.writer.write(head.replace(b"@HOST@", line.host))
        assert await line.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert (await line.ask(body)).status == 200
    refused = await served.raw(head.replace(b"@HOST@", b"evil.com"))
    assert (refused.status, refused.code) == (403, "host_not_allowed")


async def test_the_body_of_a_refused_request_is_skipped(served):
    """It never passes for a request of its own."""
    hidden = (GET % b"").replace(b"@HOST@", b"127.0.0.1:%d" % served.port)
    refused = b"POST /api/register HTTP/1.1\r\nHost: @HOST@\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s"
    async with served.line() as line:
        assert (await line.ask(refused % (len(hidden), hidden))).status == 415
        assert (await line.ask(GET.replace(b"/healthz", b"/none") % b"")).status == 404


async def test_a_head_that_is_known_admits_its_own_bytes_alone(served):
    """Whatever differs is judged; what came with a token or a query is not remembered."""
    known = served.server.known_heads
    async with served.line() as line:
        for _ in range(2):
            assert (await line.ask(GET % b"")).status == 200
        assert len(known) == 1
        assert (await line.ask(GET % b"Origin: http://evil.example\r\n")).status == 403
        assert (await line.ask(GET.replace(b"/healthz", b"/_dev/status") % b"")).status == 401
        token = b"Authorization: Bearer %s\r\n" % served.token.encode()
        assert (await line.ask(GET.replace(b"/healthz", b"/_dev/status") % token)).status == 200
        assert (await line.ask(GET.replace(b"/healthz", b"/_dev/status") % b"")).status == 401
        assert (await line.ask(GET.replace(b"/healthz", b"/healthz?secret=x") % b"")).status == 200
    assert len(known) == 1
    assert all(near for near, _ in known)
    for number in range(MOST_KNOWN + 1):
        assert (await served.raw(GET % (b"X: %d\r\n" % number))).status == 200
    assert len(known) <= MOST_KNOWN


async def test_what_comes_in_one_piece_with_a_handshake_is_heard(served):
    """Frames behind it are no HTTP."""
    message = b'{"type":"ping"}'
    frames = b"".join(b"\x81" + bytes([0x80 | len(message)]) + b"\0\0\0\0" + message for _ in range(3))
    async with served.line() as line:
        line.writer.write((SHAKE % b"").replace(b"@HOST@", line.host) + frames)
        assert (await line.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101")
        for _ in range(3):
            head = await line.reader.readexactly(2)
            answer = json.loads(await line.reader.readexactly(head[1]))
            assert answer["code"] == "not_registered"
