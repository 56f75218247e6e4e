"""The control API: who may use it, and what it asks of the server."""

import hashlib
import hmac

import pytest

from devserver.model.change import LoadAsked, ReloadAsked, UnloadAsked
from devserver.model.facts import AgentsSeen, ErrorFacts, Frame, Held, Outcome, PlanDone, Status
from devserver.model.lifecycle import Action, Phase
from devserver.model.plan import Group, Hold, NotApplied, Plan, Step

PRIVILEGED = [
    ("GET", "/_dev/status"),
    ("GET", "/_dev/handlers"),
    ("GET", "/_dev/why"),
    ("POST", "/_dev/reload"),
    ("POST", "/_dev/load"),
    ("POST", "/_dev/unload"),
    ("POST", "/_dev/send"),
]


@pytest.fixture
def admin(served) -> dict:
    return {"Authorization": f"Bearer {served.token}"}


async def post(served, path, body, admin):
    return await served.http.post(f"/_dev/{path}", json=body, headers=admin)


@pytest.mark.parametrize(("method", "path"), PRIVILEGED)
async def test_nothing_is_done_without_the_token(served, method, path):
    """Neither with none, nor with a wrong one, nor with an agent's secret, nor with the token in the query."""
    secret = await served.join("ana")
    wrong = [{}, *({"Authorization": value} for value in ("Bearer x", f"Bearer {secret}", f"Basic {served.token}"))]
    for headers in wrong:
        body = {"mod_path": "mods.wiki", "event_name": "test.event"} if method == "POST" else None
        answer = await served.http.request(method, f"{path}?token={served.token}", json=body, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")
        assert answer.headers["www-authenticate"] == "Bearer"
    assert (served.control.triggers, served.control.sent) == ([], [])


async def test_the_server_proves_that_it_knows_the_token(served):
    """Before a client shows its own: the HMAC of the client's nonce."""
    answer = await served.http.post("/_dev/prove", json={"nonce": "n" * 32})
    assert answer.json() == {"proof": hmac.new(served.token.encode(), b"n" * 32, hashlib.sha256).hexdigest()}


@pytest.mark.parametrize("nonce", [None, "", "short", 5, "n" * 201])
async def test_a_nonce_is_a_text_of_some_length(served, nonce):
    """Anything else is no challenge."""
    assert (await served.http.post("/_dev/prove", json={"nonce": nonce})).status_code == 400


async def test_the_status_is_the_servers(served, admin):
    """As it is."""
    answer = await served.http.get("/_dev/status", headers=admin)
    assert answer.json() == {"mods": [{"mod_id": "wiki", "generation": 3}]}


@pytest.mark.parametrize(
    ("path", "body", "trigger"),
    [
        ("reload", {}, ReloadAsked((), "asked by a command")),
        ("reload", {"mods": ["wiki", "mods.echo"]}, ReloadAsked(("wiki", "mods.echo"), "asked by a command")),
        ("load", {"mod_path": "mods.x"}, LoadAsked("mods.x", {}, "asked by a command", trusted=False)),
        ("load", {"mod_path": "m.x", "config": {"a": 1}}, LoadAsked("m.x", {"a": 1}, "asked by a command", False)),
        ("unload", {"mod_path": "wiki"}, UnloadAsked("wiki", False, "asked by a command")),
        ("reload", {"mods": ["wiki"], "generation": 3}, ReloadAsked(("wiki",), "asked by a command", 3)),
        ("load", {"mod_path": "m.x", "generation": 0}, LoadAsked("m.x", {}, "asked by a command", False, 0)),
        ("unload", {"mod_path": "wiki", "generation": 2}, UnloadAsked("wiki", False, "asked by a command", 2)),
        ("unload", {"mod_path": "wiki", "force": True}, UnloadAsked("wiki", True, "asked by a command")),
    ],
)
async def test_a_request_becomes_a_trigger(served, admin, path, body, trigger):
    """One each, which the server's queue gets."""
    assert (await post(served, path, body, admin)).status_code == 200
    assert served.control.triggers == [trigger]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("reload", {"mods": "wiki"}),
        ("reload", {"mods": [5]}),
        ("reload", {"mods": ["x"] * 1001}),
        ("load", {}),
        ("load", {"mod_path": 5}),
        ("load", {"mod_path": "x", "config": []}),
        ("load", {"mod_path": "x" * 201}),
        ("unload", {"mod_path": None}),
        ("unload", {"mod_path": "wiki", "generation": "3"}),
        ("unload", {"mod_path": "wiki", "generation": -1}),
        ("load", {"mod_path": "wiki", "generation": True}),
        ("reload", {"generation": 3}),
        ("reload", {"mods": ["wiki", "echo"], "generation": 3}),
        ("unload", {"mod_path": "wiki", "force": "yes"}),
        ("send", {"event_name": "x"}),
        ("send", {"event_name": "test.event", "source_id": 5}),
        ("send", {"event_name": "test.event", "payload": []}),
    ],
)
async def test_a_request_of_the_wrong_shape_is_refused(served, admin, path, body):
    """400 and a sentence; the server is asked nothing."""
    answer = await post(served, path, body, admin)
    assert (answer.status_code, answer.json()["success"]) == (400, False)
    assert (served.control.triggers, served.control.sent) == ([], [])


async def test_each_field_that_does_not_fit_is_told_in_a_sentence(served, admin):
    """All at once, in the words of JSON."""
    answer = (await post(served, "unload", {"mod_path": 5, "force": "yes", "generation": -1}, admin)).json()
    assert answer["code"] == "bad_field"
    assert answer["message"].split("; ") == [
        '"mod_path" must be a text, not 5',
        '"generation" must be at least 0, not -1',
        '"force" must be true or false, not "yes"',
    ]


async def test_what_was_carried_out_is_answered_in_full(served, admin):
    """The plan with its reasons, each outcome in the form of the JSON lines, and the further facts for people."""
    step = Step(Action.RELOAD, "wiki", "mods.wiki", "mods/wiki/mod.py changed")
    error = ErrorFacts("NameError", "no x", Frame("mods/wiki/mod.py", 3, 5), trace="hidden-trace")
    outcome = Outcome(
        action=Action.RELOAD,
        mod_id="wiki",
        mod_path="mods.wiki",
        status=Status.ROLLED_BACK,
        phase=Phase.IMPORT,
        generation=3,
        duration_ms=4.5,
        error=error,
        agents=AgentsSeen(3, 0),
        held=Held(2, 9.0),
    )
    plan = Plan("asked", (Group((step,)),), (Hold(Action.LOAD, "x", "no"),), (NotApplied("network.port", 1, 2),))
    served.control.done = PlanDone(plan, (outcome,), 6.0, AgentsSeen(3, 0), Held(2, 9.0))
    answer = await post(served, "reload", {"mods": ["wiki"]}, admin)
    assert answer.json() == {
        "success": False,
        "cause": "asked",
        "steps": [{"action": "reload", "mod_id": "wiki", "reason": "mods/wiki/mod.py changed", "way": "in_place"}],
        "holds": [{"action": "load", "mod_id": "x", "reason": "no", "way": "in_place"}],
        "restart": None,
        "not_applied": [{"setting": "network.port", "running": 1, "wanted": 2}],
        "outcomes": [
            {
                "action": "reload",
                "mod_id": "wiki",
                "status": "rolled_back",
                "phase": "import",
                "generation": 3,
                "duration_ms": 4.5,
                "error": {"kind": "NameError", "message": "no x", "file": "mods/wiki/mod.py", "line": 3, "column": 5}
                | {"hint": None},
                "agents": {"connected": 3, "dropped": 0},
                "held": {"events": 2, "longest_ms": 9.0},
                "mod_path": "mods.wiki",
                "reason": "",
                "note": "",
                "way": "in_place",
                "stale_keys": [],
                "holders": [],
                "host": "",
                "phases": [],
            }
        ],
        "duration_ms": 6.0,
        "agents": {"connected": 3, "dropped": 0},
        "held": {"events": 2, "longest_ms": 9.0},
    }


async def test_a_plan_that_changed_nothing_succeeded(served, admin):
    """Asking for a reload of what is up to date is no failure."""
    assert (await post(served, "reload", {}, admin)).json()["success"] is True


@pytest.mark.parametrize("agent", [None, "ana"])
async def test_an_event_is_sent_as_an_agent_or_as_the_network(served, admin, agent):
    """`source_id` says as whom; the answer is that of the event."""
    body = {"event_name": "wiki.page.create", "destination_id": "mod:wiki", "payload": {"a": 1}, "source_id": agent}
    answer = (await post(served, "send", body, admin)).json()
    ((event, as_agent),) = served.control.sent
    assert (event.event_name, event.destination_id, event.payload) == ("wiki.page.create", "mod:wiki", {"a": 1})
    assert (event.source_id, as_agent) == (agent, agent)
    assert answer == {
        "success": True,
        "message": "sent",
        "data": {"n": 1},
        "event_id": event.event_id,
        "event_name": "wiki.page.create",
    }
