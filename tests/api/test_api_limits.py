"""What clients do by reading slowly, sending oddly or coming in crowds, they do to themselves and to no one else."""

import asyncio
import json
import os
import struct

import pytest
import websockets

from devserver.transports.http.http_connection import HttpConnection, most_connections
from devserver.transports.http.websocket import WebSocket

SHAKE = (
    b"GET /ws HTTP/1.1\r\nHost: @HOST@\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
TEXT, BINARY, PING, CLOSE, CONTINUATION = 1, 2, 9, 8, 0


def frame(opcode: int, data: bytes = b"", *, fin: bool = True, reserved: int = 0, masked: bool = True) -> bytes:
    """One frame as a client sends it, or should not."""
    first = (0x80 if fin else 0) | reserved << 4 | opcode
    flag = 0x80 if masked else 0
    if len(data) < 126:
        head = struct.pack("!BB", first, flag | len(data))
    elif len(data) < 65536:
        head = struct.pack("!BBH", first, flag | 126, len(data))
    else:
        head = struct.pack("!BBQ", first, flag | 127, len(data))
    return head + (b"\0\0\0\0" if masked else b"") + data


BAD_FRAMES = {
    "unmasked": (frame(TEXT, b"{}", masked=False), 1002),
    "reserved bits": (frame(TEXT, b"{}", reserved=4), 1002),
    "an unknown opcode": (frame(5, b""), 1002),
    "an endless length": (struct.pack("!BBQ", 0x81, 0xFF, 1 << 62) + b"\0\0\0\0", 1009),
    "a negative length": (struct.pack("!BBQ", 0x81, 0xFF, 1 << 63) + b"\0\0\0\0", 1009),
    "a fragmented ping": (frame(PING, b"", fin=False), 1002),
    "a ping that is too long": (frame(PING, b"x" * 126), 1002),
    "a continuation of nothing": (frame(CONTINUATION, b"x"), 1002),
    "no UTF-8": (frame(TEXT, b"\xff\xfe"), 1007),
    "half a letter in UTF-8": (frame(TEXT, b'{"a":"\xc3"}'), 1007),
    "a binary message": (frame(BINARY, b"{}"), 1003),
    "over a mebibyte": (frame(TEXT, b" " * (1 << 20) + b"{}"), 1009),
    "over a mebibyte in parts": (
        frame(TEXT, b" " * 600_000, fin=False) + frame(CONTINUATION, b" " * 600_000, fin=False),
        1009,
    ),
    "a thousand empty parts": (frame(TEXT, b"", fin=False) + frame(CONTINUATION, b"", fin=False) * 1100, 1009),
}


async def closing_code(line) -> int:
    """The code of the closing frame that the server sends, after the messages before it."""
    while True:
        first, length = struct.unpack("!BB", await line.reader.readexactly(2))
        if length == 126:
            (length,) = struct.unpack("!H", await line.reader.readexactly(2))
        data = await line.reader.readexactly(length)
        if first & 0x0F == CLOSE:
            return struct.unpack("!H", data[:2])[0]


@pytest.mark.parametrize("case", BAD_FRAMES)
async def test_a_bad_frame_ends_its_own_line_with_the_right_code(served, case, caplog):
    """No one else's, and without an error in the log: it is the client's."""
    data, code = BAD_FRAMES[case]
    async with served.agent("bea") as (other, _), served.line() as line:
        line.writer.write(SHAKE.replace(b"@HOST@", line.host))
        await line.reader.readuntil(b"\r\n\r\n")
        line.writer.write(data)
        async with asyncio.timeout(60):
            assert await closing_code(line) == code
        await other.send(json.dumps({"type": "ping"}))
        assert json.loads(await other.recv()) == {"type": "pong"}
    assert [each for each in caplog.records if each.levelname == "ERROR"] == []


async def test_a_client_that_pings_and_never_reads_costs_no_memory(served):
    """Once what it could have read fills its share, its pongs are not kept for it."""
    async with served.line() as line:
        line.writer.write(SHAKE.replace(b"@HOST@", line.host))
        await line.reader.readuntil(b"\r\n\r\n")
        line.writer.transport.pause_reading()
        (protocol,) = served.connections()
        pings = frame(PING, b"x" * 125) * 500
        while not protocol.is_sending:
            line.writer.write(pings)
            await line.writer.drain()
        kept = protocol.transport.get_write_buffer_size()
        for _ in range(50):
            line.writer.write(pings)
            await line.writer.drain()
        assert protocol.transport.get_write_buffer_size() <= kept + len(pings)


async def filled(served, agent_id: str, count: int) -> list[dict]:
    """Send an agent so many events of 100 kB; the answers."""
    sender = f"for-{agent_id}"
    secret = await served.join(sender)
    events = ({"payload": {"n": n, "text": "x" * 100_000}, "event_id": f"{agent_id}{n}"} for n in range(count))
    return [await served.send(sender, secret, agent_id, **each) for each in events]


async def test_a_slow_consumer_is_cut_off_with_a_reason_and_the_others_are_not(served, monkeypatch, caplog):
    """What it had not got is there when it comes back; meanwhile another one gets everything at once."""
    monkeypatch.setattr(WebSocket, "stalled_seconds", 0.2)
    monkeypatch.setattr(WebSocket, "parting_seconds", 20.0)
    async with served.agent("bea") as (bea, _):
        reader = await served.agent_that_does_not_read("slow")
        assert all(each["success"] for each in await filled(served, "slow", 70))
        await served.until(lambda: not served.network.directory.agent("slow").sockets)
        assert "'slow' was cut off: slow_consumer" in caplog.text
        assert all(each["success"] for each in await filled(served, "bea", 20))
        assert [json.loads(await bea.recv())["event"]["payload"]["n"] for _ in range(20)] == list(range(20))
        seen, reason = await reader.read_all()
        assert reason == (4002, "slow_consumer")
        async with served.agent("slow", secret=reader.secret) as (line, registered):
            assert registered["resumed"] is True
            rest = [json.loads(await line.recv())["event"]["payload"]["n"] for _ in range(70 - len(seen))]
    assert seen + rest == list(range(70))


async def test_a_slow_consumer_that_never_reads_again_is_gone(served, monkeypatch):
    """The connection does not stay for its sake."""
    monkeypatch.setattr(WebSocket, "stalled_seconds", 0.1)
    monkeypatch.setattr(WebSocket, "parting_seconds", 0.1)
    reader = await served.agent_that_does_not_read("slow")
    await filled(served, "slow", 70)
    await served.until(lambda: not any(isinstance(each, WebSocket) for each in served.connections()))
    reader.line.transport.abort()
    await reader.line.wait_closed()


async def test_what_waits_for_an_agent_is_bounded_in_bytes(served):
    """8 MiB, whatever the number of events; the sender is told."""
    await served.join("bea")
    secret = await served.join("ana")
    answers = [
        await served.send("ana", secret, "bea", event_id=f"e{n}", payload={"text": "x" * 900_000}) for n in range(12)
    ]
    assert [each["data"]["delivered"] for each in answers] == [1] * 9 + [0] * 3
    assert len((await served.poll("bea", await served.secret_of("bea")))["messages"]) == 9


async def test_an_http_client_that_never_reads_is_gone(served, monkeypatch):
    """Its answers are not kept for it, and it keeps no connection."""
    monkeypatch.setattr(HttpConnection, "stalled_seconds", 0.1)
    async with served.line() as line:
        line.writer.transport.pause_reading()
        host = b"GET /api/health HTTP/1.1\r\nHost: %s\r\n\r\n" % line.host
        with pytest.raises(ConnectionError):
            for _ in range(100_000):
                line.writer.write(host * 100)
                await line.writer.drain()
    await served.until(lambda: not served.connections())


async def test_a_hundred_slow_heads_are_all_given_up(served, monkeypatch):
    """One byte at a time keeps none of them open, and meanwhile others are answered."""
    monkeypatch.setattr(HttpConnection, "request_seconds", 1.5)
    lines = [await asyncio.open_connection("127.0.0.1", served.port) for _ in range(100)]
    for byte in b"GET /":
        for _, writer in lines:
            writer.write(bytes([byte]))
        assert (await served.http.get("/healthz")).status_code == 200
    answers = await asyncio.gather(*(reader.read() for reader, _ in lines), return_exceptions=True)
    # Where a byte came after the refusal, the reset that answers it may overtake the refusal.
    read = [each for each in answers if not isinstance(each, ConnectionResetError)]
    assert {each.split(b"\r\n")[0] for each in read} == {b"HTTP/1.1 408 Request Timeout"}
    for _, writer in lines:
        writer.close()


async def test_a_body_that_trickles_is_given_up(served, monkeypatch):
    """The time is that of the whole request, however often a byte comes."""
    monkeypatch.setattr(HttpConnection, "request_seconds", 0.2)
    head = (
        b"POST /api/register HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: 999999\r\n\r\n"
    )
    async with served.line() as line:
        line.writer.write(head % line.host)
        with pytest.raises(ConnectionError):
            while True:
                line.writer.write(b" ")
                await asyncio.sleep(0)
                await line.writer.drain()


async def test_where_it_is_crowded_health_still_answers(served, monkeypatch):
    """A client that finds no place is told so; the clients that have one go on."""
    monkeypatch.setattr(HttpConnection, "most_connections", 3)
    monkeypatch.setattr(HttpConnection, "crowded_seconds", 0.2)
    async with served.line() as first, served.line() as second, served.line() as third:
        get = b"GET %s HTTP/1.1\r\nHost: @HOST@\r\n\r\n"
        for line in (first, second, third):
            assert (await line.ask(get % b"/healthz")).status == 200
        refused = await served.raw(get % b"/api/health")
        assert (refused.status, refused.code) == (503, "too_many_connections")
        assert (await served.raw(SHAKE)).status == 503
        alive = await served.raw(get % b"/healthz")
        assert (alive.status, alive.header("connection")) == (200, ["close"])
        async with served.line() as silent:
            assert (await silent.reader.read()).startswith(b"HTTP/1.1 408")
        assert (await first.ask(get % b"/api/health")).status == 200
    await served.until(lambda: not served.connections())
    assert (await served.raw(get % b"/api/health")).status == 200


def test_some_file_descriptors_stay_free():
    """For mods and their reloads, however many connections there are."""
    limit = os.sysconf("SC_OPEN_MAX")
    assert 40 <= limit - most_connections() <= 256


async def test_while_the_network_ends_nobodys_secret_is_wrong(served):
    """A client that is told so would throw it away; it is told to come back."""
    secret = await served.join("ana")
    served.network.directory.close()
    served.network.directory.unregister("ana")
    for path, body in (
        ("/api/send_event", {"event_name": "note.for.me", "source_id": "ana", "secret": secret}),
        ("/api/register", {"agent_id": "ana", "secret": secret}),
        ("/api/unregister", {"agent_id": "ana", "secret": secret}),
    ):
        answer = await served.http.post(path, json=body)
        assert (answer.status_code, answer.json()["code"]) == (503, "stopping")
    assert (await served.http.get("/api/poll", params={"agent_id": "ana", "secret": secret})).status_code == 503


async def test_a_line_is_told_that_the_server_ends(served):
    """And not that its agent was thrown out."""
    async with served.agent("ana") as (line, _):
        await served.until(lambda: served.network.directory.agent("ana").sockets)
        served.network.directory.close()
        with pytest.raises(websockets.ConnectionClosed) as ended:
            await line.recv()
    assert ended.value.rcvd.code == 1012


def afar(served) -> str:
    """How others than this machine's own agents call the server."""
    return f"dev.test:{served.port}"


async def test_who_comes_over_a_network_shows_the_join_token(serve, network):
    """As a field of its own or, for unmodified clients, in that of the password; who returns needs none."""
    async with serve(network, allowed_hosts=["dev.test"], join_token="let-me-in") as served:
        served.http.headers["Host"] = afar(served)
        for values in ({}, {"join_token": "wrong"}, {"join_token": ""}, {"password_hash": "é"}):
            answer = (await served.http.post("/api/register", json={"agent_id": "mal", **values})).json()
            assert (answer["success"], answer["code"]) == (False, "join_token_required")
        ana = await served.join("ana", join_token="let-me-in")
        assert await served.join("bea", password_hash="let-me-in")
        assert await served.join("ana", secret=ana) == ana


async def test_a_line_over_a_network_shows_the_join_token(serve, network):
    """In its first message."""
    async with serve(network, allowed_hosts=["dev.test"], join_token="let-me-in") as served:
        own = {"host": "127.0.0.1", "port": served.port}
        async with websockets.connect(f"ws://{afar(served)}/ws", **own) as line:
            await line.send(json.dumps({"type": "register", "agent_id": "cem"}))
            assert json.loads(await line.recv())["code"] == "join_token_required"
            await line.send(json.dumps({"type": "register", "agent_id": "cem", "join_token": "let-me-in"}))
            assert json.loads(await line.recv())["type"] == "registered"


@pytest.mark.parametrize("header", [{}, {"X-Forwarded-For": "203.0.113.9"}, {"Forwarded": "for=203.0.113.9"}])
async def test_agents_of_this_machine_need_no_join_token_and_those_behind_a_proxy_do(serve, network, header):
    """What a proxy passes on comes from this machine by its address, and says so itself."""
    async with serve(network, allowed_hosts=["dev.test"], join_token="let-me-in") as served:
        answer = await served.http.post("/api/register", json={"agent_id": "ana"}, headers=header)
        assert answer.json()["success"] is not bool(header)


async def test_without_a_join_token_nobody_joins_over_a_network(serve, network):
    """A name that is allowed is not an invitation."""
    async with serve(network, allowed_hosts=["dev.test"]) as served:
        answer = await served.http.post(
            "/api/register", json={"agent_id": "mal", "join_token": ""}, headers={"Host": afar(served)}
        )
        assert answer.json()["code"] == "join_token_required"


@pytest.mark.parametrize("path", ["/_dev/status", "/api/health"])
async def test_the_token_of_the_run_is_refused_over_a_network(serve, network, path):
    """Right or wrong: who listens there must not learn it, who tries there must not learn whether it is right."""
    async with serve(network, allowed_hosts=["dev.test"], join_token="let-me-in") as served:
        for token in (served.token, "wrong"):
            headers = {"Host": afar(served), "Authorization": f"Bearer {token}"}
            answer = await served.http.get(path, headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (403, "not_from_here")


@pytest.mark.parametrize("source", ["system:system", "system", "mod:wiki", "channel:general", "broadcast", "a\tb"])
async def test_the_control_api_sends_as_no_mod_and_no_system(served, source):
    """What comes over a wire is never from one, by any sender."""
    values = {"event_name": "note.to.nobody", "source_id": source}
    answer = await served.http.post("/_dev/send", json=values, headers={"Authorization": f"Bearer {served.token}"})
    assert (answer.status_code, answer.json()["code"]) == (400, "not_an_agent")


async def test_a_grant_needs_a_proof(serve, network_with):
    """Where secrets are not verified, a name that was granted something is a name."""
    network = network_with(grants={"tester": ("mods:write",)}, verify_secrets=False)
    async with serve(network) as served:
        await served.join("tester")
        answer = await served.send("tester", "", event_name="system.mod.load", payload={"mod_path": "mods.evil"})
        assert answer["data"]["code"] == "not_allowed"
