"""The HTTP wire of OpenAgents over real sockets."""

import asyncio
import json
import logging
import socket

import pytest

from devserver.model.event import Event, EventResponse
from devserver.model.principal import Kind, Scope
from devserver.network.agents import REGISTRATION_REFUSED
from devserver.network.identity import secret_digest

_CLIENTS = ("httpx", "httpcore", "websockets.client")

NOT_PROVEN = "Authentication failed: Invalid or missing secret"


async def test_health_names_the_port_that_is_bound(served):
    """Clients connect to the port in health, whatever port they were given."""
    answer = (await served.http.get("/api/health")).json()
    assert answer["success"] is True
    data = answer["data"]
    assert data["transports"] == [{"type": "http", "config": {"port": served.port}}]
    assert (data["recommended_transport"], data["network_id"]) == ("http", "network-1")
    assert (data["network_name"], data["requires_password"]) == ("Test network", False)
    assert data["mods"] == [{"name": "mods.wiki", "enabled": True, "config": {}}]
    assert isinstance(data["max_connections"], int)


async def test_health_tells_strangers_of_no_agent_and_no_configuration(served):
    """Names of groups and mods only; the holder of the token sees all but secrets."""
    secret = await served.join("ana", metadata={"note": "hidden-metadata"}, password_hash="team-hash")
    await served.join("bob")
    anonymous = await served.http.get("/api/health")
    assert "hidden" not in anonymous.text and "ana" not in anonymous.text and "team-hash" not in anonymous.text
    assert anonymous.json()["data"]["agent_count"] == 2
    group, guest = anonymous.json()["data"]["group_config"]
    assert (guest["name"], guest["agent_count"]) == ("guest", 1)
    assert (group["name"], group["has_password"], group["agent_count"]) == ("team", True, 1)
    full = await served.http.get("/api/health", headers={"Authorization": f"Bearer {served.token}"})
    assert full.json()["data"]["agents"]["ana"]["metadata"] == {"note": "hidden-metadata"}
    assert full.json()["data"]["groups"] == {"team": ["ana"], "guest": ["bob"]}
    assert full.json()["data"]["mods"][0]["config"] == {"key": "hidden-config"}
    assert secret not in full.text and "team-hash" not in full.text


async def test_registering_gives_a_secret_and_a_group(served):
    """In the form of OpenAgents, with the network's real name."""
    body = {"agent_id": "ana", "metadata": {}, "password_hash": "team-hash"}
    answer = (await served.http.post("/api/register", json=body)).json()
    assert answer["success"] and len(answer["secret"]) == 64
    assert (answer["network_name"], answer["network_id"]) == ("Test network", "network-1")
    assert (answer["assigned_group"], answer["resumed"]) == ("team", False)


async def test_an_id_in_use_is_not_given_away(served):
    """The stranger reads why, the holder is told, and can go on with its secret."""
    secret = await served.join("ana")
    taken = await served.http.post("/api/register", json={"agent_id": "ana", "metadata": {}, "password_hash": ""})
    assert taken.status_code == 200
    assert (taken.json()["success"], taken.json()["code"]) == (False, "agent_id_taken")
    assert taken.json()["error_message"].startswith("Registration failed: the agent id 'ana' is in use")
    assert [each["event_name"] for each in (await served.poll("ana", secret))["messages"]] == [REGISTRATION_REFUSED]
    again = await served.http.post("/api/register", json={"agent_id": "ana", "secret": secret})
    assert (again.json()["resumed"], again.json()["secret"]) == (True, secret)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({}, 400, "no_agent_id"),
        ({"agent_id": ""}, 400, "no_agent_id"),
        ({"agent_id": 5}, 400, "no_agent_id"),
        ({"agent_id": "a", "metadata": []}, 400, "bad_field"),
        ({"agent_id": "a", "password_hash": 5}, 400, "bad_field"),
        ({"agent_id": "a", "secret": ["x"]}, 400, "bad_field"),
        ({"agent_id": "a\tb"}, 200, "bad_agent_id"),
        ({"agent_id": "x" * 1_000_000}, 200, "bad_agent_id"),
        ({"agent_id": "a", "metadata": {"x": "y" * 70_000}}, 200, "bad_metadata"),
        ({"agent_id": "a", "agent_group": "none"}, 200, "unknown_group"),
        ({"agent_id": "a", "agent_group": "team", "password_hash": "no"}, 200, "wrong_password"),
    ],
)
async def test_a_registration_that_cannot_be_is_refused_with_a_sentence(served, body, status, code):
    """Bad input with 400, a refusal that the client has to read with 200; never a failure of the server."""
    answer = await served.http.post("/api/register", json=body)
    assert (answer.status_code, answer.json()["success"], answer.json()["code"]) == (status, False, code)
    assert served.network.directory.agents() == ()


async def test_refused_registrations_keep_no_newcomer_out(serve, network):
    """A client that tries a taken id again and again is refused each time, and is not counted."""
    async with serve(network, new_agents_per_minute=3) as served:
        await served.join("ana")
        for _ in range(10):
            refused = await served.http.post("/api/register", json={"agent_id": "ana"})
            assert refused.json()["code"] == "agent_id_taken"
        assert await served.join("bob") and await served.join("cy")


async def test_strangers_come_at_a_bounded_rate(serve, network):
    """Agents that prove themselves and the admin are not counted."""
    async with serve(network, new_agents_per_minute=3) as served:
        secrets = [await served.join(f"agent-{number}") for number in range(3)]
        flooded = await served.http.post("/api/register", json={"agent_id": "one-more"})
        assert (flooded.status_code, flooded.json()["code"]) == (429, "too_many_registrations")
        again = await served.http.post("/api/register", json={"agent_id": "agent-0", "secret": secrets[0]})
        assert again.json()["resumed"]
        row = {"host": "gpu-1", "epoch": 1, "secret_sha256": secret_digest("its secret"), "metadata": {}}
        served.network.directory.put_away("far", {**row, "group": "guest", "transport": "http", "proven": False}, ())
        moves = await served.http.post("/api/register", json={"agent_id": "far", "secret": "its secret"})
        assert moves.json()["resumed"], "the agents of a host that has died come in at another door at once"
        bearer = {"Authorization": f"Bearer {served.token}"}
        assert (await served.http.post("/api/register", json={"agent_id": "more"}, headers=bearer)).json()["success"]


async def test_an_event_reaches_its_receiver_without_the_senders_secret(served):
    """From one unmodified client to another; the server sets what a sender cannot know."""
    ana, bob = await served.join("ana", password_hash="team-hash"), await served.join("bob")
    answer = await served.send("ana", ana, "bob", payload={"text": "hi"}, timestamp=1e300, source_agent_group="admin")
    assert answer == {
        "success": True,
        "message": "delivered to 1",
        "event_id": "e1",
        "data": {"delivered": 1},
        "event_name": "test.event",
    }
    (message,) = (await served.poll("bob", bob))["messages"]
    assert (message["event_name"], message["payload"]) == ("test.event", {"text": "hi"})
    assert (message["source_id"], message["destination_id"], message["source_agent_group"]) == ("ana", "bob", "team")
    assert isinstance(message["timestamp"], int) and message["timestamp"] < 1e12
    assert "secret" not in message and ana not in json.dumps(message)


async def test_the_fields_that_unmodified_clients_lose_travel_too(served):
    """For clients that send them."""
    ana, bob = await served.join("ana"), await served.join("bob")
    sent = {"thread_name": "t", "response_to": "r", "requires_response": True, "text_representation": "x" * 500}
    sent |= {"relevant_mod": "m", "allowed_agents": ["bob"], "visibility": "restricted", "metadata": {"k": 1}}
    await served.send("ana", ana, destination_id="agent:bob", **sent)
    (message,) = (await served.poll("bob", bob))["messages"]
    assert {key: message[key] for key in sent} == sent


async def test_who_sends_is_who_proved_itself(served):
    """The event and its principal are of the agent whose secret came with it, with what it was granted."""
    secret = await served.join("ana")
    await served.send("ana", secret)
    event, principal = served.network.taken[0]
    assert (event.source_id, event.secret) == ("ana", None)
    assert (principal.kind, principal.id, principal.may(Scope.MODS_WRITE)) == (Kind.AGENT, "ana", False)


async def test_grants_of_network_yaml_reach_the_principal(serve, network_with):
    """`dev.grants`, for an agent that registered with a proof."""
    async with serve(network_with(grants={"ana": ("mods:write",)})) as served:
        secret = await served.join("ana", trusted=True)
        answer = await served.send("ana", secret, event_name="system.mod.load", payload={"mod_path": "mods.wiki"})
        assert answer["success"] and answer["data"]["trusted"] is False


@pytest.mark.parametrize("source", ["bob", "agent:bob", "system:system", "mod:wiki", "nobody", "ANA", "ana "])
async def test_a_forged_source_is_refused(served, source):
    """One agent's secret makes no one else's events; the event goes nowhere."""
    secret, bob = await served.join("ana"), await served.join("bob")
    answer = await served.send(source, secret, "bob")
    assert (answer["success"], answer["message"], answer["event_id"]) == (False, NOT_PROVEN, "e1")
    assert served.network.taken == []
    assert len(served.network.directory.agent("bob").outbox) == 0
    assert served.network.directory.authenticate("bob", bob) is not None


@pytest.mark.parametrize("secret", ["", None, 5, ["x"], "x" * 64, "é", "\x01"])
async def test_a_wrong_secret_opens_nothing(served, secret):
    """Neither sending nor polling nor unregistering; the answers do not tell unknown from wrong."""
    await served.join("ana")
    for agent_id in ("ana", "unknown"):
        assert (await served.send(agent_id, secret))["message"] == NOT_PROVEN
        left = await served.http.post("/api/unregister", json={"agent_id": agent_id, "secret": secret})
        assert (left.status_code, left.json()["error_message"]) == (200, f"Unregistration failed: {NOT_PROVEN}")
        polled = await served.http.get("/api/poll", params={"agent_id": agent_id, "secret": str(secret)})
        assert polled.status_code == 200
        assert polled.json() == {"success": False, "messages": [], "agent_id": agent_id, "error_message": NOT_PROVEN}
    assert served.network.directory.agent("ana") is not None


async def test_a_command_for_another_agent_has_no_effect(served):
    """payload.agent_id is not who asks."""
    ana, bob = await served.join("ana"), await served.join("bob")
    await served.send("ana", ana, "bob")
    for command in ("poll_messages", "unregister_agent", "subscribe_events"):
        payload = {"agent_id": "bob", "event_patterns": ["*"]}
        answer = await served.send("ana", ana, event_name=f"system.{command}", event_id=command, payload=payload)
        assert (answer["success"], answer["data"]["code"]) == (False, "not_yourself")
    assert len((await served.poll("bob", bob))["messages"]) == 1


@pytest.mark.parametrize(
    "values",
    [
        *(
            {"event_name": name}
            for name in ("x", "a.b", "a..b", "Aa.bb", "aa.bb\n", "ѕystem.mod", "x" * 10_000, 5, [1])
        ),
        *({"payload": value} for value in (None, [], 5, "x")),
        *({"metadata": value} for value in (None, [], "x")),
        *({"visibility": value} for value in ("secret", 5, ["public"])),
        *({"allowed_agents": value} for value in ("bob", [5], {}, ["x"] * 1001)),
        *({"target_agent_id": value} for value in (5, ["bob"], "x" * 201)),
        *({"event_id": value} for value in (5, {}, "x" * 201)),
        *({"thread_name": 5}, {"response_to": []}, {"relevant_mod": {}}, {"text_representation": 5}),
    ],
)
async def test_a_malformed_event_is_refused_with_the_rule(served, values):
    """400 and a sentence, and never a failure of the server."""
    secret = await served.join("ana")
    body = {"event_name": "test.event", "source_id": "ana", "secret": secret, **values}
    answer = await served.http.post("/api/send_event", json=body)
    assert (answer.status_code, answer.json()["success"]) == (400, False)
    assert answer.json()["error_message"]
    assert served.network.taken == []


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        ("/api/send_event", {}, "event_name and source_id are required"),
        ("/api/send_event", {"event_name": "test.event"}, "event_name and source_id are required"),
        ("/api/send_event", {"event_name": "test.event", "source_id": ["ana"]}, "an agent's id is a text"),
        ("/api/unregister", {}, "agent_id is required"),
        ("/api/unregister", {"agent_id": 5}, "an agent's id is a text"),
    ],
)
async def test_what_is_missing_is_named(served, path, body, message):
    """As OpenAgents names it."""
    answer = await served.http.post(path, json=body)
    assert (answer.status_code, answer.json()["error_message"]) == (400, message)


async def test_a_poll_names_its_agent(served):
    """agent_id is a query parameter, once."""
    missing = await served.http.get("/api/poll")
    assert (missing.status_code, missing.json()["error_message"]) == (400, "agent_id query parameter is required")
    assert (await served.http.get("/api/poll?agent_id=a&agent_id=b")).status_code == 400


async def test_a_poll_wakes_at_once_when_an_event_comes(served):
    """It is held until then, up to its 20 s."""
    ana, bob = await served.join("ana"), await served.join("bob")
    polling = await served.polling("bob", bob)
    await served.send("ana", ana, "bob")
    assert [each["event_id"] for each in (await polling)["messages"]] == ["e1"]


async def test_a_poll_that_sees_nothing_ends_empty(serve, network):
    """After its hold."""
    async with serve(network, hold=0.01) as served:
        secret = await served.join("ana")
        assert await served.poll("ana", secret) == {"success": True, "agent_id": "ana", "messages": []}


async def test_a_second_poll_supersedes_the_first(served):
    """The first ends empty at once, the second gets the event."""
    ana, bob = await served.join("ana"), await served.join("bob")
    first = await served.polling("bob", bob)
    second = asyncio.create_task(served.poll("bob", bob))
    assert (await first)["messages"] == []
    await served.until(lambda: served.network.directory.agent("bob").outbox.awaited)
    await served.send("ana", ana, "bob")
    assert len((await second)["messages"]) == 1


@pytest.mark.parametrize("noticed", [True, False])
async def test_no_event_is_lost_when_a_poller_goes_away(served, noticed):
    """Whether the server had noticed when the event came, or had not yet read that the client hung up."""
    secret = await served.join("bob")
    outbox = served.network.directory.agent("bob").outbox
    for number in range(5):
        with socket.create_connection(("127.0.0.1", served.port)) as client:
            request = f"GET /api/poll?agent_id=bob&secret={secret} HTTP/1.1\r\nHost: 127.0.0.1:{served.port}\r\n\r\n"
            client.sendall(request.encode())
            await served.until(lambda: outbox.awaited)
        if noticed:
            await served.until(lambda: not outbox.awaited)
        event = Event(event_name="test.event", source_id="ana", destination_id="bob", event_id=f"e{number}")
        served.network.directory.deliver(event)
        await served.until(lambda: not outbox.awaited)
        assert [each["event_id"] for each in (await served.poll("bob", secret))["messages"]] == [f"e{number}"]


async def test_a_value_that_json_cannot_carry_loses_no_batch(served):
    """A mod delivers NaN between two ordinary events: all three arrive."""
    ana, bob = await served.join("ana"), await served.join("bob")

    async def spoil(event):
        event.payload = {"x": [float("nan"), 2**80, {1}]} if event.event_id == "e2" else event.payload

    served.network.on_event = spoil
    for number in (1, 2, 3):
        await served.send("ana", ana, "bob", event_id=f"e{number}")
    messages = (await served.poll("bob", bob))["messages"]
    assert [each["event_id"] for each in messages] == ["e1", "e2", "e3"]
    assert messages[1]["payload"] == {"x": [None, 2**80, [1]]}


async def test_an_answer_of_a_mod_comes_back(served):
    """success, message and data as the mod gave them."""
    secret = await served.join("ana")

    async def answer(event):
        return EventResponse(False, "no such page", {"page": 7})

    served.network.on_event = answer
    assert await served.send("ana", secret) == {
        "success": False,
        "message": "no such page",
        "data": {"page": 7},
        "event_id": "e1",
        "event_name": "test.event",
    }


async def test_an_event_without_an_id_gets_one(served):
    """OpenAgents fails there."""
    secret = await served.join("ana")
    assert len((await served.send("ana", secret, event_id=""))["event_id"]) == 32


async def test_unregistering_ends_a_held_poll_and_the_agent(served):
    """And its secret proves nothing any more."""
    secret = await served.join("ana")
    polling = await served.polling("ana", secret)
    left = await served.http.post("/api/unregister", json={"agent_id": "ana", "secret": secret})
    assert left.json() == {"success": True}
    assert (await polling)["messages"] == []
    assert (await served.poll("ana", secret))["success"] is False


async def test_polling_is_a_sign_of_life(served):
    """Over HTTP there is no other."""
    secret = await served.join("ana")
    agent = served.network.directory.agent("ana")
    agent.seen = -1e9
    polling = await served.polling("ana", secret)
    assert served.network.directory.is_connected(agent)
    served.network.directory.close()
    await polling


async def test_no_secret_is_in_any_log(served, caplog):
    """Neither those in bodies, nor in the query of a poll, nor in messages, at any level."""
    caplog.set_level(0)
    secret = await served.join("ana")
    await served.send("ana", secret)
    await served.send("bob", secret)
    async with served.agent("ana", secret=secret) as (_, told):
        assert told["resumed"]
    polling = await served.polling("ana", secret)
    served.network.directory.close()
    await polling
    said = [record.getMessage() for record in caplog.records if not record.name.startswith(_CLIENTS)]
    assert said
    assert not [line for line in said if secret in line]


async def test_a_refusal_in_the_log_names_a_client_of_this_machine(served, caplog):
    """By HTTP and by WebSocket: those of others are named by their addresses."""
    await served.http.get("/_dev/status")
    await served.join("ana")
    await served.http.post("/api/register", json={"agent_id": "ana"})
    async with served.agent("bob", metadata=[]):
        said = [record.getMessage() for record in caplog.records if record.name == "devserver.audit"]
    asked = ("GET /_dev/status", "register ana", "register bob")
    assert [each.rpartition(":")[0] for each in said] == [
        f"refused '{what}' to 'a client of this machine'" for what in asked
    ]


async def test_an_agent_of_this_machine_sends_files_of_some_megabytes(served):
    """What messaging takes as a file, 10 MiB in base64, comes in as one event."""
    secret = await served.join("ana")
    body = {"event_name": "file.upload", "source_id": "ana", "secret": secret, "payload": {"data": "x" * 14_000_000}}
    answer = await served.http.post("/api/send_event", json=body)
    assert (answer.status_code, answer.json()["success"]) == (200, True)


async def test_an_event_that_is_too_large_is_refused_in_words_that_clients_read(served):
    """With status 200, after all of it was sent; the connection goes on."""
    secret = await served.join("ana")
    body = {"event_name": "file.upload", "source_id": "ana", "secret": secret, "payload": {"data": "x" * 17_000_000}}
    answer = await served.http.post("/api/send_event", json=body)
    assert (answer.status_code, answer.json()["success"]) == (200, False)
    assert "dev.max_body" in answer.json()["message"]
    body["payload"] = {}
    assert (await served.http.post("/api/send_event", json=body)).json()["success"] is True


async def test_an_event_that_fails_inside_is_answered_and_logged(served, caplog):
    """Its line goes on, and the log says what failed."""

    async def fail(event):
        raise KeyError("column")

    served.network.on_event = fail
    secret = await served.join("ana")
    found = [await served.send("ana", secret) for _ in range(2)]
    assert [each["code"] for each in found] == ["internal", "internal"]
    told = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert [(each.getMessage(), each.exc_info[0]) for each in told] == [("POST '/api/send_event' failed", KeyError)] * 2
    # No other failure is allowed.
    caplog.clear()
