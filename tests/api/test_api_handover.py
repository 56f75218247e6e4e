"""A server that goes on in the place of another one: no byte is lost, nothing is answered twice."""

import asyncio
import json
import os
import pickle
import struct
from dataclasses import replace

import pytest

from devserver.model.event import Event, EventResponse
from devserver.server.app import make_app
from devserver.transports.http.handover import HandedConnection
from devserver.transports.http.serving import HttpServer

GET = b"GET %s HTTP/1.1\r\nHost: @HOST@\r\n\r\n"


class Successor:
    """What a server becomes when it restarts in place: another network and server, with what was handed over."""

    def __init__(self, served, network) -> None:
        self.served = served
        self.network = network
        app = make_app(network, served.control, token=served.token, port_of=lambda: served.port, hold=20.0)
        self.http = HttpServer(app)

    def take(self) -> list[HandedConnection]:
        """Take the connections as an exec does: the old server does nothing more with them."""
        old = self.served.server
        handed = pickle.loads(pickle.dumps(old.hand_over()))
        handed = [replace(each, descriptor=os.dup(each.descriptor)) for each in handed]
        self._take_agents()
        for each in old.connections:
            each.transport.abort()
        return handed

    def _take_agents(self) -> None:
        directory = self.served.network.directory
        self.network.directory.import_identities(directory.export_identities())
        for agent in directory.agents():
            kept = self.network.directory.agent(agent.agent_id)
            while (event := agent.outbox.peek()) is not None:
                kept.outbox.put(event)
                agent.outbox.handed_over(event)

    async def go_on(self) -> list[HandedConnection]:
        """Restart in place."""
        self.served.server.pause()
        assert await self.served.server.quiet(5)
        handed = self.take()
        await self.http.adopt(handed)
        return handed


@pytest.fixture
async def successor(served, network_with):
    made = Successor(served, network_with())
    made.http.begin([])
    yield made
    made.network.directory.close()
    await made.http.end()


def told(directory, to: str, **values) -> None:
    directory.deliver(Event(event_name="test.event", source_id="ana", destination_id=to, **values))


async def test_kept_connections_go_on(served, successor):
    """One that waits between requests, as one that has not asked anything yet."""
    async with served.line() as line, served.line() as fresh:
        assert (await line.ask(GET % b"/healthz")).status == 200
        await served.until(lambda: len(served.connections()) == 2)
        await successor.go_on()
        assert (await line.ask(GET % b"/healthz")).status == 200
        assert (await fresh.ask(GET % b"/healthz")).status == 200


@pytest.mark.parametrize("cut", [1, 20, 60, 95, 120])
async def test_half_a_request_is_read_to_its_end(served, successor, cut):
    """Wherever it was cut: in its first line, its headers or its body."""
    body = b'{"agent_id":"bea"}'
    request = (
        b"POST /api/register HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n%s" % (served.port, len(body), body)
    )
    async with served.line() as line:
        line.writer.write(request[:cut])
        await served.until(lambda: [each for each in served.connections() if each._fed])
        handed = await successor.go_on()
        assert [each.received for each in handed] == [request[:cut]]
        assert (await line.ask(request[cut:])).status == 200
    assert successor.network.directory.agent("bea") is not None


async def test_what_is_sent_meanwhile_waits_in_the_kernel(served, successor):
    """And is answered by the successor, once."""
    async with served.line() as line:
        assert (await line.ask(GET % b"/healthz")).status == 200
        served.server.pause()
        line.writer.write((GET % b"/api/health").replace(b"@HOST@", line.host))
        await line.writer.drain()
        await successor.go_on()
        assert (await line.ask(GET % b"/healthz")).status == 200
        assert json.loads((await line.ask(b"")).body) == {"ok": True}


async def test_a_held_poll_is_held_again(served, successor):
    """And answered with the first event that comes after the restart."""
    secret = await served.join("bea")
    polling = await served.polling("bea", secret)
    await successor.go_on()
    await served.until(lambda: successor.network.directory.agent("bea").outbox.awaited)
    told(successor.network.directory, "bea", payload={"n": 1})
    assert [each["payload"] for each in (await polling)["messages"]] == [{"n": 1}]


async def test_what_runs_is_answered_before(served, successor):
    """By the server that began it: the successor is not asked again."""
    go = asyncio.Event()

    async def wait(event):
        await go.wait()
        return EventResponse(True, "done")

    served.network.on_event = wait
    secret = await served.join("ana")
    sending = asyncio.create_task(served.send("ana", secret))
    await served.until(lambda: served.network.taken)
    served.server.pause()
    assert (served.server.busy(), await served.server.quiet(0)) == (1, False)
    go.set()
    await successor.go_on()
    assert (await sending)["message"] == "done"
    assert successor.network.taken == []


async def test_what_still_runs_is_answered_with_an_error(served, successor):
    """Where it is not waited for: its sender is told that the server was restarted."""

    async def never(event):
        await asyncio.Event().wait()

    served.network.on_event = never
    secret = await served.join("ana")
    sending = asyncio.create_task(served.send("ana", secret))
    async with served.agent("bea") as (bea, _):
        await bea.send(json.dumps({"type": "send", "id": 7, "event": {"event_name": "test.event"}}))
        await served.until(lambda: len(served.network.taken) == 2)
        served.server.pause()
        handed = successor.take()
        await successor.http.adopt(handed)
        assert (await sending)["code"] == "restarted"
        answer = json.loads(await bea.recv())
        assert (answer["type"], answer["id"], answer["code"]) == ("error", 7, "restarted")
        await bea.send(json.dumps({"type": "ping"}))
        assert json.loads(await bea.recv()) == {"type": "pong"}


async def test_the_unread_rest_of_an_answer_is_sent(served, successor):
    """To a client that reads slowly: every byte of it, once."""
    await served.join("ana")
    secret = await served.join("bea")
    for number in range(8):
        told(served.network.directory, "bea", payload={"n": number, "text": "x" * 900_000})
    request = b"GET /api/poll?agent_id=bea&secret=%s HTTP/1.1\r\nHost: @HOST@\r\n\r\n" % secret.encode()
    async with served.line() as line:
        line.writer.transport.pause_reading()
        line.writer.write(request.replace(b"@HOST@", line.host))
        await served.until(lambda: any(each.is_sending for each in served.connections()))
        handed = await successor.go_on()
        assert sum(len(each.unsent) > 0 for each in handed) == 1
        line.writer.transport.resume_reading()
        answer = await line.ask(b"")
        assert [each["payload"]["n"] for each in json.loads(answer.body)["messages"]] == list(range(8))
        assert (await line.ask(GET % b"/healthz")).status == 200


async def test_a_line_goes_on_with_its_agent(served, successor):
    """It is pushed what comes, is heard, and counts as connected; what waited for it comes first."""
    async with served.agent("bea") as (line, _):
        await served.until(lambda: served.network.directory.agent("bea").sockets)
        await successor.go_on()
        agent = successor.network.directory.agent("bea")
        assert agent.sockets == 1
        for number in range(3):
            told(successor.network.directory, "bea", payload={"n": number})
        assert [json.loads(await line.recv())["event"]["payload"]["n"] for _ in range(3)] == [0, 1, 2]
        await line.send(json.dumps({"type": "send", "id": 1, "event": {"event_name": "test.event"}}))
        assert json.loads(await line.recv())["success"] is True
        assert successor.network.taken[0][0].source_id == "bea"
    await served.until(lambda: not agent.sockets)


async def test_a_line_that_has_not_registered_may_still_do_so(served, successor):
    """After the restart."""
    async with served.socket() as line:
        await served.until(lambda: served.connections())
        await successor.go_on()
        await line.send(json.dumps({"type": "register", "agent_id": "bea"}))
        assert json.loads(await line.recv())["type"] == "registered"


def masked(opcode: int, data: bytes, *, fin: bool = True) -> bytes:
    """A frame as a client sends it."""
    return struct.pack("!BB", (0x80 if fin else 0) | opcode, 0x80 | len(data)) + b"\0\0\0\0" + data


@pytest.mark.parametrize("cut", [0, 1, 7, 9])
async def test_half_a_message_is_read_to_its_end(served, successor, cut):
    """Fragments that came before, and a frame that was cut at any byte."""
    shake = (
        b"GET /ws HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    first = masked(1, b'{"type":"register",', fin=False)
    rest = masked(0, b'"agent_id":', fin=False) + masked(0, b'"bea"}')
    async with served.line() as line:
        line.writer.write(shake % served.port)
        await line.reader.readuntil(b"\r\n\r\n")
        line.writer.write(first + rest[:cut])
        await served.until(lambda: [each for each in served.connections() if each._fragments])
        await served.until(lambda: [each for each in served.connections() if len(each.unread) == cut])
        await successor.go_on()
        line.writer.write(rest[cut:])
        head = await line.reader.readexactly(4)
        assert json.loads(await line.reader.readexactly(int.from_bytes(head[2:4], "big")))["type"] == "registered"


async def test_where_the_exec_fails_the_old_server_goes_on(served):
    """A snapshot takes nothing away."""
    secret = await served.join("bea")
    polling = await served.polling("bea", secret)
    async with served.agent("cem") as (line, _), served.line() as raw:
        assert (await raw.ask(GET % b"/healthz")).status == 200
        served.server.pause()
        assert len(served.server.hand_over()) >= 3
        served.server.resume()
        told(served.network.directory, "bea", payload={"n": 1})
        assert [each["payload"] for each in (await polling)["messages"]] == [{"n": 1}]
        await line.send(json.dumps({"type": "ping"}))
        assert json.loads(await line.recv()) == {"type": "pong"}
        assert (await raw.ask(GET % b"/healthz")).status == 200
