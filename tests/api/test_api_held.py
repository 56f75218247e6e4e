"""What connections hold has an account: it knows every byte, has bounds, and is empty when they have gone."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import pytest
import websockets
from workspaces import until

from devserver.model.event import EventResponse
from devserver.transports.http import push

REGISTER = (
    b"POST /api/register HTTP/1.1\r\nHost: @HOST@\r\nContent-Type: application/json\r\nContent-Length: 900000\r\n\r\n"
)
PART = 300_000


def held(served):
    """The bytes on the account, which are those that the connections have."""
    account = served.server.account
    assert account.used == sum(each.size for each in served.server.connections)
    assert account.used == sum(account.owners().values())
    return account.used


def bounded(served, **bounds):
    """Give the account other bounds."""
    account = served.server.account
    account.bound = replace(account.bound, **bounds)


async def half_a_request(served, line):
    """A request of which a part has come."""
    before = held(served)
    line.writer.write(REGISTER.replace(b"@HOST@", line.host) + b" " * PART)
    await until(lambda: held(served) >= before + PART)


async def test_half_a_request_is_held_and_goes_with_its_connection(served):
    """For each connection by its address."""
    async with served.line() as one, served.line() as other:
        await half_a_request(served, one)
        await half_a_request(served, other)
        owners = served.server.account.owners()
        assert len(owners) == 2
        assert all(owner.startswith("127.0.0.1:") and size > PART for owner, size in owners.items())
    await until(lambda: held(served) == 0)


async def test_an_answered_request_leaves_nothing(served):
    """Many on one connection, whole ones and refused ones."""
    async with served.line() as line:
        for _ in range(20):
            assert (await line.ask(b"GET /api/health HTTP/1.1\r\nHost: @HOST@\r\n\r\n")).status == 200
            assert (await line.ask(b"GET /nowhere HTTP/1.1\r\nHost: @HOST@\r\n\r\n")).status == 404
            await until(lambda: held(served) == 0)


async def test_an_answer_that_is_not_read_is_held_until_it_is(served, network):
    """All of it, and nothing once it is read."""
    text = "x" * 8_000_000
    network.on_event = lambda event: answered({"text": text})
    secret = (await network.register_agent("ana", {})).secret
    body = json.dumps({"event_name": "wiki.get", "source_id": "ana", "secret": secret}).encode()
    head = b"POST /api/send_event HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    async with served.line() as line:
        line.writer.write(head % (line.host, len(body)) + body)
        await until(lambda: held(served) > 1_000_000)
        read = 0
        while read < len(text):
            read += len(await line.reader.read(1_000_000))
        await until(lambda: held(served) == 0)
        assert not line.reader.at_eof()


async def answered(data):
    return EventResponse(True, "", data)


async def test_beyond_what_all_may_hold_the_next_one_is_told_and_ended(served):
    """The one that asks for more, and not those that are there; small requests are served as ever."""
    bounded(served, most=3 * PART)
    async with served.line() as one, served.line() as other:
        await half_a_request(served, one)
        answer = await other.ask(REGISTER + b" " * PART * 2)
        assert (answer.status, answer.code) == (503, "no_room")
        async with served.line() as third:
            assert (await third.ask(b"GET /api/health HTTP/1.1\r\nHost: @HOST@\r\n\r\n")).status == 200
        assert held(served) >= PART
        assert served.server.account.refused > 0


async def test_a_websocket_is_told_that_there_is_no_room(served):
    """With the code that says: try again later."""
    bounded(served, most=PART)
    async with websockets.connect(f"ws://127.0.0.1:{served.port}/ws") as line:
        await line.send(json.dumps({"type": "register", "agent_id": "ana"}))
        await line.recv()
        with pytest.raises(websockets.ConnectionClosed) as closed:
            for _ in range(40):
                await line.send("x" * 10_000 for _ in range(99))
            await line.recv()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1013
    await until(lambda: held(served) == 0)


async def test_what_runs_for_a_websocket_is_held_and_no_more_is_heard_beyond_its_bytes(served, network, monkeypatch):
    """The next message waits for a place, as where too many run; each has its answer in the end."""
    monkeypatch.setattr(push, "MOST_CARRIED", PART)
    monkeypatch.setattr(push, "PATIENCE_SECONDS", 60.0)
    gate = asyncio.Event()

    async def wait(event):
        await gate.wait()
        return EventResponse(True, "", {})

    network.on_event = wait
    async with websockets.connect(f"ws://127.0.0.1:{served.port}/ws") as line:
        await line.send(json.dumps({"type": "register", "agent_id": "ana"}))
        await line.recv()
        for number in range(5):
            event = {"event_name": "wiki.put", "payload": {"text": "x" * PART}}
            await line.send(json.dumps({"type": "send", "id": number, "event": event}))
        await until(lambda: held(served) > 2 * PART)
        assert served.server.account.owners().keys() == {"ana"}
        assert len([each for each in network.taken if each[0].event_name == "wiki.put"]) == 1
        gate.set()
        answers = [json.loads(await line.recv()) for _ in range(5)]
    assert sorted(each["id"] for each in answers) == [0, 1, 2, 3, 4]
    assert all(each["success"] for each in answers)
    await until(lambda: held(served) == 0)


async def test_the_largest_body_that_network_yaml_allows_fits(serve, network_with):
    """The bounds follow `dev.max_body`."""
    network = network_with(max_body=100 * 1024 * 1024)
    secret = (await network.register_agent("ana", {})).secret
    values = {"event_name": "wiki.put", "source_id": "ana", "secret": secret, "payload": {"text": "x" * 40_000_000}}
    body = json.dumps(values).encode()
    async with serve(network) as served, served.line() as line:
        head = b"POST /api/send_event HTTP/1.1\r\nHost: @HOST@\r\nContent-Type: application/json\r\n"
        answer = await line.ask(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        assert json.loads(answer.body)["success"] is True, answer
        await until(lambda: held(served) == 0)
