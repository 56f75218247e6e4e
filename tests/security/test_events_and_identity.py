"""Odd and hostile events and registrations, each over HTTP and over a WebSocket, against a real server.

Whatever is sent, it is answered with what is wrong, no mod sees it, and the agents that are there go on.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from live import Agent, Json, Live, Site, serving
from senders import LISTENER, Sender, joined, register, seen

DOORS = ["http", "ws"]


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A network whose only mod hears everything, and another that may be loaded."""
    site = Site(tmp_path_factory.mktemp("odd") / "network")
    site.mod("listener", LISTENER)
    site.mod("wanted", "pass", listed=False)
    site.dev = {"grants": {"granted-http": ["mods:write"], "granted-ws": ["mods:write"]}, "mod_paths": ["mods.wanted"]}
    with serving(site, "--log-level", "warning") as running:
        yield running


@pytest.fixture(scope="module", params=DOORS)
def door(request: pytest.FixtureRequest) -> str:
    """Over which of the two."""
    return str(request.param)


@pytest.fixture(scope="module")
def ana(net: Live, door: str) -> Iterator[Sender]:
    """Who sends."""
    with joined(net, door, "ana") as sender:
        yield sender


@pytest.fixture(scope="module")
def bea(net: Live, door: str) -> Iterator[Sender]:
    """Who is to be harmed."""
    with joined(net, door, "bea") as sender:
        yield sender


@pytest.fixture(autouse=True)
def unharmed(net: Live, ana: Sender, bea: Sender) -> Iterator[None]:
    """After each test both are who they were, events between them arrive, and the same generation runs."""
    running = net.running()
    seen(ana)
    yield
    ana.received(), bea.received()
    assert ana.send(event_name="note.still.here", destination_id=bea.agent.agent_id, payload={"n": 1})["success"]
    assert [(each["source_id"], each["payload"]) for each in bea.received()] == [(ana.agent.agent_id, {"n": 1})]
    assert net.running() == running


# Identities


@pytest.mark.parametrize("shown", [{}, {"secret": "wrong"}, {"secret": "x" * 64}, {"secret": None}], ids=str)
def test_an_id_that_is_online_stays_its_holders(net: Live, door: str, bea: Sender, shown: Json) -> None:
    """Without its secret it is refused; that someone tried is told to the holder, once."""
    answer = register(net, door, agent_id=bea.agent.agent_id, **shown)
    assert (answer["success"], answer["code"]) in [(False, "agent_id_taken"), (False, "wrong_secret")]
    told = [each["event_name"] for each in bea.received()]
    assert told in ([], ["system.notification.registration_refused"])


@pytest.mark.parametrize(
    "alike",
    [
        "BEA-{}",
        "Bea-{}",
        "bea-{} ",
        " bea-{}",
        "bea-{}\n",
        "b\u0435a-{}",
        "\uff42ea-{}",
        "be\u0301a-{}",
        "bea\u200d-{}",
    ],
    ids=ascii,
)
def test_a_look_alike_of_an_agent_is_refused(net: Live, door: str, alike: str) -> None:
    """Another case, a space at an end, another alphabet or width, an invisible character: no eye tells them apart."""
    assert register(net, door, agent_id=alike.format(door))["success"] is False


@pytest.mark.parametrize(
    "agent_id",
    [
        "",
        "a" * 129,
        "a" * 1_000_000,
        "a\nb",
        "a\u202eb",
        "system:system",
        "System:System",
        "mod:listener",
        "MOD:listener",
        "broadcast",
        "admin",
        "local",
        "\u0430dmin",
        5,
        None,
        [],
        {},
    ],
)
def test_what_cannot_be_an_id_is_refused(net: Live, door: str, agent_id: object) -> None:
    """With a sentence, however long it is."""
    assert register(net, door, agent_id=agent_id)["success"] is False


@pytest.mark.parametrize("agent_id", ["a" * 123, "RSS阅读器", "Market Data #1", "béa", "../a"], ids=lambda x: x[:20])
def test_an_id_is_any_printable_text(net: Live, door: str, agent_id: str) -> None:
    """As long as it cannot be taken for another's: it joins, and what is sent to it arrives."""
    with joined(net, door, agent_id) as agent:
        sent = agent.send(event_name="note.to.self", destination_id=agent.agent.agent_id, payload={"n": 1})
        assert (sent["success"], [each["payload"] for each in agent.received()]) == (True, [{"n": 1}])


@pytest.mark.parametrize(
    "metadata", [[], "x", 5, {"x": "y" * 70_000}, {"x": "y" * 1_000_000}], ids=lambda x: str(x)[:20]
)
def test_metadata_is_an_object_of_bounded_size(net: Live, door: str, metadata: object) -> None:
    """It is kept for as long as the agent, and shown to mods."""
    assert register(net, door, agent_id="odd", metadata=metadata)["success"] is False


@pytest.mark.parametrize(
    "source", ["system:system", "system", "mod:listener", "mod:mods.listener", "bea-{}", "agent:bea-{}", "", 5]
)
def test_nobody_sends_as_another(ana: Sender, door: str, source: object) -> None:
    """The source is the one who proved itself, whatever stands in the event."""
    claimed = source.format(door) if isinstance(source, str) else source
    if door == "http":
        mine = {"source_id": claimed, "secret": ana.agent.secret, "event_name": "note.from.another", "payload": {}}
        answer = ana.agent.live.request("POST", "/api/send_event", mine)
        assert (answer.status, answer.json["success"]) in [(200, False), (400, False)]
    else:
        answer = ana.send(event_name="note.from.another", source_id=claimed, payload={})
        assert (answer["success"], answer["code"]) == (False, "not_yourself")
    assert seen(ana) == []


@pytest.mark.parametrize(
    "command",
    ["unregister_agent", "poll_messages", "subscribe_events", "unsubscribe_events", "heartbeat", "add_channel_member"],
)
@pytest.mark.parametrize("named", ["bea-{}", "agent:bea-{}", "BEA-{}", ["bea-{}"]], ids=str)
def test_nobody_acts_for_another(net: Live, ana: Sender, bea: Sender, door: str, command: str, named: Any) -> None:
    """A command is about the one who asks; that it named another is refused and written down."""
    victim = [each.format(door) for each in named] if isinstance(named, list) else named.format(door)
    assert ana.send(event_name="note.for.bea", destination_id=bea.agent.agent_id, payload={"n": 0})["success"]
    payload = {"agent_id": victim, "event_patterns": ["*"], "channel_id": "general"}
    answer = ana.send(event_name=f"system.{command}", payload=payload)
    assert (answer["success"], answer["code"]) == (False, "not_yourself")
    net.until(lambda: "not_yourself" in net.log())
    assert [each["payload"] for each in bea.received()] == [{"n": 0}]


def test_who_may_load_mods_is_who_was_granted_it(net: Live, ana: Sender, door: str) -> None:
    """Admin and granted agent may; no one, a plain agent, a secret of before and another token may not."""
    load = {"event_name": "system.mod.load", "payload": {"mod_path": "mods.wanted"}}
    with joined(net, door, "granted") as granted:
        old = granted.agent.secret
    assert "wanted" not in net.running()
    assert ana.send(**load)["code"] == "not_allowed"
    with joined(net, door, "granted") as granted:
        for agent_id, secret in (("nobody", "x"), (granted.agent.agent_id, old), (granted.agent.agent_id, "")):
            stranger = Sender(Agent(net, agent_id, secret))
            assert stranger.send(**load)["code"] == "not_proven"
        for token in (net.token[::-1], "", "é"):
            headers = {"Authorization": f"Bearer {token}"}
            assert net.request("POST", "/_dev/load", load["payload"], headers).status == 401
        assert "wanted" not in net.running()
        assert granted.send(**load)["success"] is True
        assert granted.send(event_name="system.mod.unload", payload=load["payload"])["success"] is True
    assert net.control("load", mod_path="mods.wanted")["success"] is True
    assert net.control("unload", mod_path="mods.wanted")["success"] is True


# Events


@pytest.mark.parametrize(
    "name",
    [
        *("system.foo", "system.mod", "system.mod.loads", "SYSTEM.mod.load", "system.mod.load ", " system.mod.load"),
        *("system..mod.load", "ѕystem.mod.load", "system.mod.load\u0000", "system.mod.lоad", "system.mod.load.now"),
    ],
    ids=ascii,
)
def test_what_only_looks_like_a_command_reaches_no_mod(ana: Sender, name: str) -> None:
    """Refused, and never an ordinary event that a mod might trust for its name."""
    answer = ana.send(event_name=name, payload={"mod_path": "mods.wanted"})
    assert answer["success"] is False
    assert seen(ana) == []


@pytest.mark.parametrize(
    "name",
    [
        *("", "a", "ab", "a.b", "x" * 10_000, "note." + "x" * 10_000, "note..post", "..", ".note.post", "note.post."),
        *(
            "*",
            "note\n.post",
            "note.post\n",
            "😀.post",
            "Note.Post",
            "note post",
            5,
            1.5,
            True,
            ["note.post"],
            {},
            None,
        ),
    ],
    ids=lambda name: ascii(name)[:30],
)
def test_what_is_no_event_name_is_refused_with_the_rule(ana: Sender, door: str, name: object) -> None:
    """400 over HTTP, an error over a WebSocket that stays."""
    answer = ana.send(event_name=name, payload={})
    assert (answer["success"], answer["status"]) == (False, 400 if door == "http" else 200)
    assert seen(ana) == []


@pytest.mark.parametrize(
    "payload", ["[]", "[1]", '"x"', "5", "true", '{"a":' + "[" * 64 + "]" * 64 + "}"], ids=lambda x: x[:12]
)
def test_a_payload_is_an_object_of_bounded_depth(ana: Sender, payload: str) -> None:
    """Anything else is no payload."""
    assert ana.send_raw(f'{{"event_name":"note.odd.post","payload":{payload}}}')["success"] is False
    assert seen(ana) == []


@pytest.mark.parametrize(
    "payload",
    [
        {f"k{n}": 0 for n in range(60_000)},
        {"__proto__": {"x": 1}, "constructor": {"y": 2}},
        {"x": "y" * 1_040_000},
        {"": ""},
    ],
    ids=["many keys", "names of a prototype", "nearly a mebibyte", "an empty key"],
)
def test_an_odd_payload_is_data(ana: Sender, bea: Sender, payload: Json) -> None:
    """It arrives as it was sent."""
    assert ana.send(event_name="note.odd.post", destination_id=bea.agent.agent_id, payload=payload)["success"] is True
    assert [each["payload"] for each in bea.received()] == [payload]


@pytest.mark.parametrize(
    ("destination", "delivered"),
    [
        ("agent:nobody", 0),
        ("nobody", 0),
        ("channel:unknown", 0),
        ("group:unknown", 0),
        ("mod:wanted", 0),
        ("mod:mods.wanted", 0),
        ("ana-{}", 1),
        ("agent:ana-{}", 1),
        ("agent:broadcast", 1),
    ],
)
def test_the_answer_says_how_many_got_it(ana: Sender, bea: Sender, door: str, destination: str, delivered: int) -> None:
    """A destination that no one is at is said, and is never a silent success; a broadcast leaves out its sender."""
    answer = ana.send(event_name="note.odd.post", destination_id=destination.format(door), payload={})
    if delivered:
        assert (answer["success"], answer["data"]["delivered"]) == (True, delivered)
        assert len(ana.received()) + len(bea.received()) == delivered
    else:
        assert answer["success"] is False
        assert "deliver" in answer["message"] or "mod" in answer["message"]


@pytest.mark.parametrize("destination", [5, True, ["bea"], {"a": 1}, "x" * 201])
def test_a_destination_is_a_text(ana: Sender, destination: object) -> None:
    """Of bounded length."""
    assert ana.send(event_name="note.odd.post", destination_id=destination, payload={})["success"] is False


@pytest.mark.parametrize(
    "values",
    [{"visibility": 5}, {"visibility": "everywhere"}, {"metadata": []}, {"metadata": "x"}, {"allowed_agents": "bea"}],
    ids=str,
)
def test_a_field_of_the_wrong_type_is_refused(ana: Sender, values: Json) -> None:
    """With a sentence."""
    assert ana.send(event_name="note.odd.post", payload={}, **values)["success"] is False
    assert seen(ana) == []


@pytest.mark.parametrize("timestamp", [1e300, -1, "yesterday", None, [], 0])
def test_what_the_server_sets_is_never_taken_from_a_sender(ana: Sender, bea: Sender, timestamp: object) -> None:
    """Time, group and type of the source are the server's to say, whatever stands there."""
    claimed = {"timestamp": timestamp, "source_type": "system", "source_agent_group": "admin"}
    values = {"event_name": "note.odd.post", "destination_id": bea.agent.agent_id, "payload": {}, **claimed}
    assert ana.send(**values)["success"] is True
    (event,) = bea.received()
    assert 1.6e9 < event["timestamp"] < 1e11
    assert (event["source_type"], event["source_agent_group"]) == ("agent", "guest")
    assert seen(ana) == [["note.odd.post", ana.agent.agent_id, "guest"]]


@pytest.mark.parametrize(
    "text",
    [
        '{"event_name":"note.odd.post","event_name":"note.even.post","payload":{}}',
        '{"event_name":"note.odd.post","payload":{"a":1,"a":2}}',
        '{"event_name":"note.odd.post","payload":{},}',
        '{"event_name":"note.odd.post","payload":{/* a */}}',
        '{"event_name":"note.odd.post","payload":{}} trailing',
        '{"event_name":"note.odd.post","payload":{"a":NaN}}',
        '{"event_name":"note.odd.post","payload":{"a":1e9999}}',
        '{"event_name":"note.odd.post","payload":{"a":' + "9" * 5000 + "}}",
        '{"event_name":"note.odd.post","payload":' + "[" * 100_000,
        '{"event_name":"note.odd.post","payload":{"a":"\\ud800"}}',
    ],
    ids=lambda text: text[:60],
)
def test_ambiguous_or_broken_json_is_refused(ana: Sender, door: str, text: str) -> None:
    """What two readers would read in two ways is read in none."""
    answer = ana.send_raw(text)
    assert (answer["success"], answer["status"]) == (False, 400 if door == "http" else 200)
    assert seen(ana) == []


@pytest.mark.parametrize(
    "body", [b"\xef\xbb\xbf{}", b"", b"nothing", b"[]", b"null", b"\xff\xfe{\0}\0", b"[" * 100_000]
)
def test_a_body_that_is_no_json_object_is_refused(net: Live, body: bytes) -> None:
    """A byte order mark, nothing, a list, another encoding, a depth that would exhaust a reader."""
    head = (
        b"POST /api/send_event HTTP/1.1\r\nHost: @HOST@\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    )
    assert net.raw(head % len(body) + body).status == 400


@pytest.mark.parametrize(
    "payload",
    [
        '{"mod_path":"mods.wanted","config":[]}',
        '{"mod_path":"mods.wanted","config":"x"}',
        '{"mod_path":"mods.wanted","config":{"a":NaN}}',
        '{"mod_path":5}',
        '{"mod_path":["mods.wanted"]}',
        '{"mod_path":null}',
        '{"mod_path":""}',
        "{}",
        '{"mod_path":"mods.wanted","generation":"1"}',
    ],
)
def test_a_load_of_the_wrong_shape_is_refused(net: Live, door: str, payload: str) -> None:
    """As an event of who may load, and over the control API."""
    with joined(net, door, "granted") as granted:
        assert granted.send_raw(f'{{"event_name":"system.mod.load","payload":{payload}}}')["success"] is False
    bearer = b"Authorization: Bearer %s\r\n" % net.token.encode()
    head = b"POST /_dev/load HTTP/1.1\r\nHost: @HOST@\r\nContent-Type: application/json\r\nContent-Length: %d\r\n"
    assert net.raw(head % len(payload) + bearer + b"\r\n" + payload.encode()).status == 400


def test_a_load_with_megabytes_of_configuration_is_refused(net: Live) -> None:
    """By its announced size."""
    bearer = b"Authorization: Bearer %s\r\n" % net.token.encode()
    head = b"POST /_dev/load HTTP/1.1\r\nHost: @HOST@\r\nContent-Type: application/json\r\nContent-Length: 10000000\r\n"
    assert net.raw(head + bearer + b"\r\n").status == 413
