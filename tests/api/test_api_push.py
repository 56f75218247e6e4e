"""The WebSocket: one agent, its events in order, and everything that can go wrong with a line."""

import asyncio
import json

import pytest
import websockets

from devserver.model.event import EventResponse
from devserver.model.principal import Kind


async def heard(line) -> dict:
    """The next message."""
    return json.loads(await asyncio.wait_for(line.recv(), 20))


async def ask(line, **message) -> dict:
    """Send a message and hear the next one."""
    await line.send(json.dumps(message))
    return await heard(line)


async def closed(line) -> int:
    """Wait for the end of a line; its code."""
    with pytest.raises(websockets.ConnectionClosed):
        while True:
            await asyncio.wait_for(line.recv(), 20)
    return line.close_code


def event(to: str = "", **values) -> dict:
    return {"event_name": "test.event", "destination_id": to, "payload": {}, **values}


async def test_an_agent_registers_with_its_first_message(served):
    """It gets its secret and group, and is known as an agent on a WebSocket."""
    async with served.agent("ana", metadata={"x": 1}, password_hash="team-hash") as (_, told):
        assert (told["type"], told["agent_id"], told["assigned_group"]) == ("registered", "ana", "team")
        assert served.network.directory.authenticate("ana", told["secret"]).transport == "ws"
        assert served.network.directory.connected() == 1


async def test_the_upgrade_has_the_protecting_headers(served):
    """Like every answer; and no compression, which would let a small message grow."""
    async with served.socket() as line:
        assert line.response.headers["x-content-type-options"] == "nosniff"
        assert "sec-websocket-extensions" not in line.response.headers


async def test_what_is_sent_is_answered_and_pushed(served):
    """The answer has the id of the question, the receiver gets the event without a secret."""
    async with served.agent("ana") as (ana, told), served.agent("bob") as (bob, _):
        sent = event("bob", event_id="e1", payload={"n": 1}, timestamp=1, source_agent_group="admin", secret="x")
        assert await ask(ana, type="send", id=[1, "a"], event=sent) == {
            "type": "response",
            "id": [1, "a"],
            "success": True,
            "message": "delivered to 1",
            "data": {"delivered": 1},
            "event_id": "e1",
            "event_name": "test.event",
        }
        pushed = await heard(bob)
        assert pushed["type"] == "event"
        assert (pushed["event"]["source_id"], pushed["event"]["payload"]) == ("ana", {"n": 1})
        assert pushed["event"]["source_agent_group"] == "guest" and pushed["event"]["timestamp"] > 1
        assert "secret" not in pushed["event"] and told["secret"] not in json.dumps(pushed)


async def test_the_principal_is_the_connections_agent(served):
    """And its source is the event's, even unsaid."""
    async with served.agent("ana") as (ana, _):
        await ask(ana, type="send", event=event())
        sent, principal = served.network.taken[0]
        assert (sent.source_id, principal.kind, principal.id) == ("ana", Kind.AGENT, "ana")


@pytest.mark.parametrize("source", ["bob", "agent:ana", "system:system", "mod:wiki", "", 5])
async def test_a_forged_source_is_an_error(served, source):
    """The event goes nowhere and the connection stays."""
    async with served.agent("ana") as (ana, _):
        answer = await ask(ana, type="send", id=1, event=event(source_id=source))
        assert (answer["type"], answer["id"], answer["code"]) == ("error", 1, "not_yourself")
        assert served.network.taken == []
        assert await ask(ana, type="ping") == {"type": "pong"}


async def test_events_are_pushed_in_the_order_they_were_sent(served):
    """Two hundred of them, started in order of arrival though each in its own task."""
    async with served.agent("ana") as (ana, _), served.agent("bob") as (bob, _):
        hearing = asyncio.create_task(collect(bob, "event", 200))
        answers = asyncio.create_task(collect(ana, "response", 200))
        for number in range(200):
            await ana.send(json.dumps({"type": "send", "id": number, "event": event("bob", payload={"n": number})}))
        assert [each["event"]["payload"]["n"] for each in await hearing] == list(range(200))
        assert {each["id"] for each in await answers} == set(range(200))


async def collect(line, kind: str, count: int) -> list[dict]:
    """So many messages of a kind."""
    found: list[dict] = []
    while len(found) < count:
        message = await heard(line)
        if message["type"] == kind:
            found.append(message)
    return found


async def test_a_slow_answer_holds_up_no_other(served):
    """Answers come when they are ready, each with its id."""
    go = asyncio.Event()

    async def wait_for_slow(event):
        if event.event_id == "slow":
            await go.wait()
        return EventResponse(True, event.event_id)

    served.network.on_event = wait_for_slow
    async with served.agent("ana") as (ana, _):
        await ana.send(json.dumps({"type": "send", "id": 1, "event": event(event_id="slow")}))
        assert (await ask(ana, type="send", id=2, event=event(event_id="quick")))["id"] == 2
        go.set()
        assert (await heard(ana))["id"] == 1


async def test_sends_in_flight_are_bounded(served, monkeypatch):
    """The hundred and first is refused, and the others are answered."""
    monkeypatch.setattr("devserver.transports.http.push.PATIENCE_SECONDS", 0.01)
    go = asyncio.Event()

    async def wait(event):
        await go.wait()
        return EventResponse(True, "done")

    served.network.on_event = wait
    async with served.agent("ana") as (ana, _):
        for number in range(101):
            await ana.send(json.dumps({"type": "send", "id": number, "event": event()}))
        refused = await heard(ana)
        assert (refused["type"], refused["id"], refused["code"]) == ("error", 100, "too_many_in_flight")
        go.set()
        assert {each["id"] for each in await collect(ana, "response", 100)} == set(range(100))


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("[]", "not_an_object"),
        ("1", "not_an_object"),
        ("null", "not_an_object"),
        ('"x"', "not_an_object"),
        ("{", "bad_json"),
        ('{"type":"send","type":"ping"}', "duplicate_key"),
        ('{"type":"send","id":7,"event":{"event_name":"test.event","payload":{"x":NaN}}}', "bad_json"),
        ("[" * 10_000, "bad_json"),
        ("{}", "unknown_type"),
        ('{"type":"register","agent_id":"bob"}', "unknown_type"),
        ('{"type":["send"]}', "unknown_type"),
        ('{"type":"send"}', "bad_event"),
        ('{"type":"send","event":[]}', "bad_event"),
        ('{"type":"send","event":{"event_name":"x"}}', "bad_event"),
        ('{"type":"send","event":{"event_name":"test.event","payload":null}}', "bad_event"),
        ('{"type":"send","event":{"event_name":"test.event","destination_id":5}}', "bad_field"),
    ],
)
async def test_a_message_of_the_wrong_shape_is_an_error_and_no_end(served, message, code):
    """With a code and a sentence."""
    async with served.agent("ana") as (ana, _):
        await ana.send(message)
        answer = await heard(ana)
        assert (answer["type"], answer["code"]) == ("error", code)
        assert answer["message"]
        assert await ask(ana, type="ping", id=1) == {"type": "pong", "id": 1}
        assert served.network.taken == []


async def test_before_registering_nothing_else_is_answered(served):
    """What comes before is an error; the registration may still follow."""
    async with served.socket() as line:
        assert (await ask(line, type="send", event=event()))["code"] == "not_registered"
        assert (await ask(line, type="register"))["code"] == "no_agent_id"
        assert (await ask(line, type="register", agent_id="system"))["code"] == "bad_agent_id"
        assert (await ask(line, type="register", agent_id="ana"))["type"] == "registered"


async def test_a_line_that_never_registers_is_closed(serve, network):
    """Five seconds in all; here, fewer."""
    async with serve(network, hello_seconds=0.05) as served, served.socket() as line:
        assert await closed(line) == 1008
        assert network.directory.agents() == ()


async def test_binary_messages_are_not_spoken(served):
    """The line is closed with the code for that."""
    async with served.agent("ana") as (ana, _):
        await ana.send(b"{}")
        assert await closed(ana) == 1003


async def test_a_message_over_a_mebibyte_ends_the_line(served):
    """With the code for that."""
    async with served.agent("ana") as (ana, _):
        await ana.send("x" * (1024 * 1024 + 1))
        assert await closed(ana) == 1009


async def test_an_id_in_use_is_not_given_away(served):
    """Not to a stranger on another line, nor over HTTP; the holder's line stays."""
    async with served.agent("ana") as (ana, _):
        async with served.agent("ana") as (_, told):
            assert (told["type"], told["code"]) == ("error", "agent_id_taken")
        answer = await served.http.post("/api/register", json={"agent_id": "ana"})
        assert answer.json()["code"] == "agent_id_taken"
        assert (await heard(ana))["event"]["event_name"] == "system.notification.registration_refused"
        assert await ask(ana, type="ping") == {"type": "pong"}


async def test_an_agent_that_lost_its_line_resumes_with_its_backlog(served):
    """Within its grace nothing that was sent meanwhile is lost, and the order is kept."""
    sender = await served.join("ana")
    directory = served.network.directory
    mark = directory.drops
    async with served.agent("bob") as (bob, told):
        bob.transport.abort()
    await served.until(lambda: directory.agent("bob").sockets == 0)
    assert directory.drops - mark == 1
    for number in range(3):
        await served.send("ana", sender, "bob", event_id=f"e{number}")
    async with served.agent("bob", secret=told["secret"]) as (bob, again):
        assert (again["resumed"], again["secret"]) == (True, told["secret"])
        assert [(await heard(bob))["event"]["event_id"] for _ in range(3)] == ["e0", "e1", "e2"]


async def test_a_newer_line_of_the_same_agent_takes_over(served):
    """The older is closed and told why; nothing counts as dropped."""
    sender = await served.join("ana")
    mark = served.network.directory.drops
    async with served.agent("bob") as (older, told), served.agent("bob", secret=told["secret"]) as (newer, _):
        assert await closed(older) == 4001
        await served.send("ana", sender, "bob")
        assert (await heard(newer))["event"]["event_id"] == "e1"
        assert served.network.directory.agent("bob").sockets == 1
        assert served.network.directory.drops - mark == 0


async def test_unregistering_is_answered_and_ends_the_line(served):
    """The agent is gone, and that is no dropped connection."""
    mark = served.network.directory.drops
    async with served.agent("ana") as (ana, _):
        assert await ask(ana, type="unregister") == {"type": "unregistered", "agent_id": "ana"}
        assert await closed(ana) == 4000
    assert served.network.directory.agent("ana") is None
    assert served.network.directory.drops - mark == 0


async def test_an_event_that_was_accepted_is_carried_to_its_end(served):
    """Though its sender is gone and no one hears the answer."""
    begun, go, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def carry(event):
        begun.set()
        await go.wait()
        ended.set()
        return EventResponse(True)

    served.network.on_event = carry
    async with served.agent("ana") as (ana, _):
        await ana.send(json.dumps({"type": "send", "event": event()}))
        await asyncio.wait_for(begun.wait(), 20)
        ana.transport.abort()
    await served.until(lambda: served.network.directory.agent("ana").sockets == 0)
    go.set()
    await asyncio.wait_for(ended.wait(), 20)


async def test_a_full_outbox_is_said_to_the_sender_and_kept_in_order(serve, network):
    """An agent without a line keeps the oldest; what did not fit is counted."""
    async with serve(network) as served:
        sender = await served.join("ana")
        async with served.agent("bob") as (bob, told):
            bob.transport.abort()
        agent = network.directory.agent("bob")
        await served.until(lambda: agent.sockets == 0)
        agent.outbox.limit = 2
        counts = [(await served.send("ana", sender, "bob", event_id=f"e{n}"))["data"]["delivered"] for n in range(3)]
        assert (counts, agent.outbox.dropped) == ([1, 1, 0], 1)
        async with served.agent("bob", secret=told["secret"]) as (bob, _):
            assert [(await heard(bob))["event"]["event_id"] for _ in range(2)] == ["e0", "e1"]


async def test_a_failing_network_answers_with_an_error_and_keeps_the_line(serve, network, caplog):
    """The inside of the failure is in the log alone."""

    async def fail(event):
        raise RuntimeError("inner secret")

    network.on_event = fail
    async with serve(network) as served, served.agent("ana") as (ana, _):
        answer = await ask(ana, type="send", id=3, event=event())
        assert (answer["type"], answer["id"], answer["code"]) == ("error", 3, "internal")
        assert "inner secret" not in answer["message"] and "inner secret" in caplog.text
        assert await ask(ana, type="ping") == {"type": "pong"}


@pytest.mark.parametrize("origin", ["http://evil.com", "null"])
async def test_a_page_of_another_origin_gets_no_line(served, origin):
    """It is refused before the upgrade."""
    with pytest.raises(websockets.InvalidStatus) as refused:
        async with served.socket(origin=origin):
            pass
    assert refused.value.response.status_code == 403


async def test_a_page_of_our_own_gets_one(served):
    """The dashboard is such a page."""
    async with served.socket(origin=served.url) as line:
        assert (await ask(line, type="register", agent_id="page"))["type"] == "registered"
