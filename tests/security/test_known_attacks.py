"""V1 to V11: what openagents 0.8.6 lets through over HTTP fails here, against a real server."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from live import Live, Site, serving

LOAD = {"event_name": "system.mod.load", "payload": {"mod_path": "mods.evil"}}
FROM_A_PAGE = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}
WRITES = [
    ("/api/register", {"agent_id": "page"}),
    ("/api/send_event", {**LOAD, "source_id": "page"}),
    ("/api/unregister", {"agent_id": "ana"}),
    ("/_dev/load", {"mod_path": "mods.evil"}),
    ("/_dev/reload", {"mods": []}),
    ("/_dev/unload", {"mod_path": "mods.echo"}),
    ("/_dev/send", LOAD),
    ("/_dev/prove", {"nonce": "n" * 16}),
]


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "application/json"])
def test_v1_a_page_loads_no_mod(live: Live, loaded: Path, content_type: str) -> None:
    """Neither with the simple POST that every page may send, nor with one that a browser would have asked about."""
    for source in ("admin", "system:system"):
        headers = {**FROM_A_PAGE, "Content-Type": content_type}
        answer = live.request("POST", "/api/send_event", {**LOAD, "source_id": source}, headers)
        assert (answer.status, answer.json["success"]) == (403, False)
    assert not loaded.exists()
    assert list(live.running()) == ["echo"]


def test_v2_a_connected_id_cannot_be_stolen(live: Live) -> None:
    """Registering it again changes nothing for its holder, who is told of the attempt."""
    ana = live.join("v2-ana")
    for attempt in ({}, {"secret": "wrong"}, {"secret": ""}, {"password_hash": "x" * 64}):
        answer = live.post("/api/register", agent_id="v2-ana", **attempt)
        assert answer["success"] is False
        assert "secret" not in answer
    assert live.post("/api/register", agent_id="V2-ANA")["success"] is False
    assert ana.send("echo.say.get")["data"]["source"] == "v2-ana"
    assert [each["event_name"] for each in ana.taken()] == ["system.notification.registration_refused"]


@pytest.mark.parametrize("source", ["system:system", "system", "mod:echo", "mod:mods.echo", "mod", "agent:v3-bea", ""])
def test_v3_a_source_is_not_believed(live: Live, loaded: Path, source: str) -> None:
    """Without a secret and with one's own, an event from someone else goes nowhere."""
    mal = live.join(f"v3-mal-{source.replace(':', '-')}")
    for secret in ({}, {"secret": mal.secret}):
        answer = live.request("POST", "/api/send_event", {**LOAD, "source_id": source, **secret}).json
        assert answer["success"] is False
    assert not loaded.exists()


def test_v4_nobody_unregisters_another(live: Live) -> None:
    """Neither through the route nor through the event."""
    ana, mal = live.join("v4-ana"), live.join("v4-mal")
    assert live.post("/api/unregister", agent_id="v4-ana", secret=mal.secret)["success"] is False
    assert live.post("/api/unregister", agent_id="v4-ana")["success"] is False
    for name in ("v4-ana", "agent:v4-ana", ["v4-ana"], {"id": "v4-ana"}):
        assert mal.send("system.unregister_agent", {"agent_id": name})["success"] is False
    assert ana.send("echo.say.get")["success"] is True


def test_v5_nobody_drains_anothers_queue(live: Live) -> None:
    """What waits for an agent stays there until it comes itself."""
    ana, mal = live.join("v5-ana"), live.join("v5-mal")
    assert mal.send("note.for.ana", {"n": 1}, to="v5-ana")["data"]["delivered"] == 1
    assert mal.send("system.poll_messages", {"agent_id": "v5-ana"})["success"] is False
    for secret in (mal.secret, "", "wrong"):
        answer = live.request("GET", f"/api/poll?agent_id=v5-ana&secret={secret}").json
        assert (answer["success"], answer["messages"]) == (False, [])
    assert [each["payload"] for each in ana.poll()] == [{"n": 1}]


@pytest.mark.parametrize("name", ["admin", "Admin", "local", "anonymous", "agent:admin"])
def test_v6_an_agent_has_no_name_by_which_the_log_means_another(live: Live, name: str) -> None:
    """An audit line about it would read as one about the person at the terminal."""
    assert live.post("/api/register", agent_id=name)["code"] == "bad_agent_id"


@pytest.mark.parametrize("name", ["root", "administrator", "owner"])
def test_v6_a_name_makes_no_admin(live: Live, loaded: Path, name: str) -> None:
    """Who is called so may do what everyone may, also when it says that it is of the admins' group."""
    agent = live.join(name)
    for command in ("mod.load", "mod.unload", "mod.reload"):
        answer = agent.send(f"system.{command}", {"mod_path": "mods.evil"}, source_agent_group="admin")
        assert answer["data"]["code"] == "not_allowed"
    assert live.request("GET", "/_dev/status", None, {"Authorization": f"Bearer {agent.secret}"}).status == 401
    assert live.post("/api/unregister", agent_id=name, secret=agent.secret)["success"] is True
    assert not loaded.exists()


@pytest.mark.parametrize(("path", "values"), WRITES)
@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost:1", "file://"])
def test_v7_no_page_of_another_origin_writes(live: Live, path: str, values: dict[str, str], origin: str) -> None:
    """Also with the right token: a page that got hold of it may still not use it. No answer can be read."""
    for headers in ({}, {"Authorization": f"Bearer {live.token}"}):
        answer = live.request("POST", path, values, {"Origin": origin, **headers})
        assert answer.status == 403
        assert not [name for name, _ in answer.headers if name.startswith("access-control")]
    asked = {"Origin": origin, "Access-Control-Request-Method": "POST"}
    assert live.request("OPTIONS", path, None, asked).status == 403


def test_v8_a_repeated_event_is_handled_and_delivered_once(live: Live) -> None:
    """The repeat gets the first answer; of another sender the same id is another event."""
    ana, bea = live.join("v8-ana"), live.join("v8-bea")
    first = ana.send("echo.say.get", event_id="one")
    assert [ana.send("echo.say.get", event_id="one") for _ in range(3)] == [first] * 3
    assert bea.send("echo.say.get", event_id="one")["data"]["asked"] == first["data"]["asked"] + 1
    for _ in range(3):
        assert ana.send("note.for.bea", {"n": 1}, to="v8-bea", event_id="two")["success"] is True
    assert [each["event_id"] for each in bea.taken()] == ["two"]


def test_v9_a_value_that_is_no_json_loses_no_batch(live: Live) -> None:
    """An agent cannot send one; of a mod's event the rest arrives, and everything before and after it."""
    ana, bea = live.join("v9-ana"), live.join("v9-bea")
    ana.send("note.for.bea", {"n": 1}, to="v9-bea")
    for number in ("NaN", "Infinity", "-Infinity", "1e400", "9" * 5000):
        values = json.dumps({"event_name": "note.for.bea", "source_id": "v9-ana", "secret": ana.secret, "payload": {}})
        body = values.replace('"payload": {}', f'"payload": {{"n": {number}}}').encode()
        head = b"POST /api/send_event HTTP/1.1\r\nHost: @HOST@\r\nContent-Type: application/json\r\n"
        assert live.raw(head + b"Content-Length: %d\r\n\r\n" % len(body) + body).status == 400
    assert ana.send("echo.nan.post")["success"] is True
    ana.send("note.for.bea", {"n": 2}, to="v9-bea")
    first, odd, last = bea.poll()
    assert (first["payload"], last["payload"]) == ({"n": 1}, {"n": 2})
    assert (odd["payload"]["nan"], odd["payload"]["inf"]) == (None, None)


ODD = [None, True, 5, -1, 1.5, "", "x" * 100_000, "é", "\x00", "\ud800", [], [1], {}, {"a": []}, {"__proto__": 1}]


def test_v10_odd_input_is_refused_and_shows_no_inside(live: Live) -> None:
    """Whatever stands in whichever field: never a 500, never a traceback, a path or an exception's name."""
    ana = live.join("v10-ana")
    good = {"event_name": "note.to.nobody", "source_id": "v10-ana", "secret": ana.secret, "payload": {}}
    fields = [*good, "event_id", "target_agent_id", "destination_id", "visibility", "metadata", "timestamp"]
    fields += ["allowed_agents", "relevant_mod", "text_representation", "requires_response", "source_agent_group"]
    for name in fields:
        for value in ODD:
            answer = live.request("POST", "/api/send_event", {**good, name: value})
            assert answer.status in (200, 400), (name, value, answer)
            for inside in (b"Traceback", b".py", b"Error:", str(live.site.folder).encode()):
                assert inside not in answer.body, (name, value, answer)
    for value in ODD:
        for path in ("/api/register", "/api/unregister"):
            assert live.request("POST", path, {"agent_id": value, "metadata": value}).status in (200, 400, 429)
    assert ana.send("echo.say.get")["success"] is True


def test_v10_the_token_may_be_any_bytes(live: Live) -> None:
    """A credential that is no ASCII is a wrong one."""
    for token in (b"\xc3\xa9", b"\xff\xfe", b"", b"x" * 60_000, live.token[:-1].encode(), live.token.encode() + b"x"):
        request = b"GET /_dev/status HTTP/1.1\r\nHost: @HOST@\r\nAuthorization: Bearer %s\r\n\r\n" % token
        assert live.raw(request).status == 401


def test_v11_strangers_come_at_a_bounded_rate(tmp_path: Path) -> None:
    """64 in a minute, and then those who are here go on as if nothing had happened."""
    site = Site(tmp_path / "network")
    site.mod("echo", "pass")
    with serving(site) as live:
        ana = live.join("ana")
        answers = [live.request("POST", "/api/register", {"agent_id": f"a{n}"}) for n in range(100)]
        assert [each.status for each in answers] == [200] * 63 + [429] * 37
        assert ana.send("note.for.me", {}, to="ana")["data"]["delivered"] == 1
        assert live.post("/api/register", agent_id="ana", secret=ana.secret)["resumed"] is True
