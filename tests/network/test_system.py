"""The commands that a network answers itself."""

import logging

import pytest

from devserver.model.config import NetworkConfig
from devserver.model.event import Event, EventResponse
from devserver.model.principal import ADMIN, ANONYMOUS, LOCAL, Scope, agent_principal
from devserver.network.agents import Directory
from devserver.network.system import COMMANDS, run_system


class Context:
    """A network of nothing but a directory, which remembers what was asked of its mods."""

    def __init__(self) -> None:
        self.directory = Directory(NetworkConfig(name="test"))
        self.asked: list[tuple] = []

    def mods(self) -> list[dict]:
        return [
            {"name": "mods.wiki", "mod_id": "wiki", "version": "1.2", "description": "Pages", "config": {"key": "k"}}
        ]

    def get_network_stats(self, *, described=True) -> dict:
        return {"network_id": "n1", "agent_count": 2, "is_running": True, "dynamic_mods": {"count": 1}}

    async def load_mod(self, mod_path, config=None, *, trusted=True, generation=None):
        self.asked.append(("load", mod_path, config, trusted))
        return EventResponse(True, "loaded", {"mod_id": "wiki", "mod_path": mod_path, "generation": 1})

    async def unload_mod(self, mod, *, force=False, cascade=False, generation=None):
        self.asked.append(("unload", mod, *(["cascade"] if cascade else []), *(["force"] if force else [])))
        return EventResponse(True, "unloaded", {"mod_id": mod})

    async def reload_mod(self, mod, *, generation=None):
        self.asked.append(("reload", mod))
        return EventResponse(False, "broken", {"mod_id": mod})

    async def register_agent(self, agent_id, metadata, **keywords):
        return self.directory.register(agent_id, metadata, **keywords)

    async def unregister_agent(self, agent_id):
        return self.directory.unregister(agent_id)


@pytest.fixture
def context() -> Context:
    made = Context()
    for agent_id in ("ana", "bob"):
        made.directory.register(agent_id, {"name": agent_id.title(), "token": "hidden"})
    return made


ANA = agent_principal("ana")


async def ask(context, command, payload=None, principal=ANA, source="ana"):
    event = Event(event_name=f"system.{command}", source_id=source, payload=payload or {})
    return await run_system(context, event, principal)


async def test_an_answer_says_what_it_answers(context):
    """Its type, the command, and the request_id of who asked."""
    response = await ask(context, "list_channels", {"request_id": "r1"})
    assert response.data == {"type": "system_response", "command": "list_channels", "request_id": "r1", "channels": []}


async def test_an_unknown_command_is_refused(context):
    """No principal may send one; it never becomes an ordinary event."""
    for principal in (ANA, ADMIN, LOCAL, ANONYMOUS):
        response = await ask(context, "no_such_thing", principal=principal)
        assert (response.success, response.data["code"]) == (False, "unknown_command")


@pytest.mark.parametrize("command", sorted(COMMANDS))
async def test_anonymous_callers_may_join_and_ask_for_health_alone(context, command):
    """Everything else needs a proven agent or a token."""
    response = await ask(context, command, {"agent_id": "new"}, ANONYMOUS, source=None)
    allowed = command in ("register_agent", "health_check")
    assert (response.data.get("code") == "not_allowed") is not allowed
    assert response.success is allowed


@pytest.mark.parametrize("command", [name for name, each in sorted(COMMANDS.items()) if each.scope is Scope.SELF])
@pytest.mark.parametrize("victim", ["bob", "agent:bob", 5, ["ana"], "anA"])
async def test_an_agent_acts_for_itself_alone(context, command, victim):
    """A payload that names another is refused before the command runs."""
    response = await ask(context, command, {"agent_id": victim, "channel_id": "c"})
    assert (response.success, response.data["code"]) == (False, "not_yourself")
    assert {each.agent_id for each in context.directory.agents()} == {"ana", "bob"}
    assert context.directory.channels() == ()


async def test_a_forged_source_is_refused_and_written_down(context, caplog):
    """Identity is the connection's, not the event's."""
    with caplog.at_level(logging.WARNING, "devserver.audit"):
        response = await ask(context, "poll_messages", source="bob", principal=agent_principal("mallory"))
    assert response.data["code"] == "not_yourself"
    assert "system.poll_messages" in caplog.text and "mallory" in caplog.text


async def test_the_audit_log_cannot_be_forged_or_flooded(context, caplog):
    """A name with a line break stays on its line, and a hundred refusals are not a hundred lines."""
    with caplog.at_level(logging.WARNING, "devserver.audit"):
        for _ in range(100):
            await ask(context, "mod.load", {"mod_path": "x"}, agent_principal("flood\n[ERROR] fake"))
    lines = [record.getMessage() for record in caplog.records if "flood" in record.getMessage()]
    assert 1 <= len(lines) < 10
    assert all("\n" not in line for line in lines)


@pytest.mark.parametrize(
    ("principal", "trusted"),
    [(LOCAL, True), (ADMIN, False), (agent_principal("ana", ("mods:write",)), False)],
)
async def test_who_may_loads_mods(context, principal, trusted):
    """Only code in this process is trusted beyond the allow list."""
    response = await ask(context, "mod.load", {"mod_path": "mods.wiki", "config": {"a": 1}}, principal)
    assert context.asked == [("load", "mods.wiki", {"a": 1}, trusted)]
    assert response.success and response.message == "loaded"
    assert response.data["generation"] == 1 and response.data["command"] == "mod.load"


@pytest.mark.parametrize("command", ["mod.load", "mod.unload", "mod.reload"])
@pytest.mark.parametrize("principal", [ANA, ANONYMOUS, agent_principal("ana", ("read", "errors:read"))])
async def test_a_plain_agent_changes_no_mods(context, command, principal):
    """Without the scope nothing is asked of the network."""
    response = await ask(context, command, {"mod_path": "mods.wiki"}, principal)
    assert response.data["code"] == "not_allowed"
    assert context.asked == []


@pytest.mark.parametrize(
    "payload",
    [{}, {"mod_path": 5}, {"mod_path": None}, {"mod_path": ["x"]}, {"mod_path": "x", "config": []}, {"mod_path": ""}],
)
async def test_a_load_of_the_wrong_shape_is_refused(context, payload):
    """Path is a text, config an object."""
    response = await ask(context, "mod.load", payload, LOCAL)
    assert (response.success, response.data["code"], context.asked) == (False, "bad_payload", [])


async def test_a_failing_reload_passes_its_answer_on(context):
    """Unload and reload answer as the methods do."""
    assert (await ask(context, "mod.reload", {"mod_path": "wiki"}, LOCAL)).message == "broken"
    assert (await ask(context, "mod.unload", {"mod_path": "wiki"}, ADMIN)).success
    assert (await ask(context, "mod.unload", {"mod_path": "wiki", "cascade": True}, ADMIN)).success
    assert not (await ask(context, "mod.unload", {"mod_path": "wiki", "force": 1}, ADMIN)).success
    assert context.asked == [("reload", "wiki"), ("unload", "wiki"), ("unload", "wiki", "cascade")]


async def test_an_agent_sees_ids_and_no_metadata_of_others(context):
    """Who may read sees more."""
    plain = (await ask(context, "list_agents", {"agent_id": "ana"})).data["agents"]
    assert plain[1] == {"agent_id": "bob", "name": "bob", "connected": True, "metadata": {}}
    full = (await ask(context, "list_agents", principal=ADMIN)).data["agents"]
    assert (full[1]["name"], full[1]["metadata"]["token"]) == ("Bob", "hidden")


async def test_mods_are_listed_with_what_unmodified_clients_need(context):
    """Name, version and the rest of the row, but no configuration."""
    (mod,) = (await ask(context, "list_mods")).data["mods"]
    assert mod == {
        "name": "mods.wiki",
        "version": "1.2",
        "description": "Pages",
        "requires_adapter": False,
        "capabilities": [],
        "implementation": "mods.wiki",
    }


async def test_a_manifest_is_found_by_path_or_id(context):
    """And its absence is said."""
    for name in ("mods.wiki", "wiki"):
        manifest = (await ask(context, "get_mod_manifest", {"mod_name": name})).data["manifest"]
        assert (manifest["mod_name"], manifest["version"]) == ("mods.wiki", "1.2")
    assert (await ask(context, "get_mod_manifest", {"mod_name": "none"})).data["code"] == "unknown_mod"


async def test_health_is_brief_for_those_who_may_not_read(context):
    """Numbers only."""
    assert "dynamic_mods" not in (await ask(context, "health_check")).data
    assert (await ask(context, "health_check", principal=ADMIN)).data["dynamic_mods"] == {"count": 1}


async def test_registering_through_a_command_gives_a_secret(context):
    """The command behind the transports."""
    data = (await ask(context, "register_agent", {"agent_id": "cy"}, ANONYMOUS, source=None)).data
    assert context.directory.authenticate("cy", data["secret"]).group == data["assigned_group"] == "guest"
    taken = await ask(context, "register_agent", {"agent_id": "cy"}, ANONYMOUS, source=None)
    assert (taken.success, taken.data["code"]) == (False, "agent_id_taken")


async def test_polling_takes_what_waits(context):
    """As the events are on the wire."""
    context.directory.deliver(Event(event_name="test.event", source_id="bob", destination_id="ana", secret="s"))
    (message,) = (await ask(context, "poll_messages", {"request_id": 1})).data["messages"]
    assert message["event_name"] == "test.event" and "secret" not in message
    assert (await ask(context, "poll_messages")).data["messages"] == []


@pytest.mark.parametrize("command", ["ping_agent", "heartbeat"])
async def test_a_heartbeat_is_a_sign_of_life(context, command):
    """And answered as a ping, with the time it was given."""
    agent = context.directory.agent("ana")
    agent.seen = -1.0
    assert (await ask(context, command, {"timestamp": 7})).data == {
        "type": "system_response",
        "command": "ping_agent",
        "timestamp": 7,
    }
    assert agent.seen > -1.0


async def test_subscriptions_come_and_go(context):
    """The id that subscribing gives ends it; none ends all."""
    made = (await ask(context, "subscribe_events", {"event_patterns": ["wiki.*"], "channels": None})).data
    assert (made["agent_id"], made["event_patterns"], made["channels"]) == ("ana", ["wiki.*"], [])
    unknown = await ask(context, "unsubscribe_events", {"subscription_id": "x"})
    assert unknown.data["code"] == "unknown_subscription"
    await ask(context, "subscribe_events", {"event_patterns": ["wiki.*"]})
    assert (await ask(context, "unsubscribe_events", {"subscription_id": made["subscription_id"]})).success
    assert len(context.directory.agent("ana").subscriptions) == 1
    assert (await ask(context, "unsubscribe_events", {})).success
    assert context.directory.agent("ana").subscriptions == {}


async def test_an_agent_joins_and_leaves_channels_by_itself(context):
    """Members see members, others do not; a channel that does not exist is not made by joining."""
    assert (await ask(context, "add_channel_member", {"channel_id": "general"})).data["code"] == "unknown_channel"
    context.directory.create_channel("general")
    hidden = await ask(context, "get_channel_members", {"channel_id": "general"})
    assert hidden.data["code"] == "not_allowed"
    assert (await ask(context, "add_channel_member", {"channel_id": "channel:general", "agent_id": "ana"})).success
    assert (await ask(context, "get_channel_members", {"channel_id": "general"})).data["members"] == ["ana"]
    assert (await ask(context, "remove_channel_member", {"channel_id": "general"})).success
    assert context.directory.channel_members("general") == ()


async def test_a_trusted_caller_acts_for_the_agent_it_names(context):
    """Code in this process and the admin may; the agent must exist."""
    assert (await ask(context, "unregister_agent", {"agent_id": "bob"}, LOCAL, source=None)).success
    assert context.directory.agent("bob") is None
    gone = await ask(context, "unregister_agent", {"agent_id": "bob"}, ADMIN, source=None)
    assert gone.data["code"] == "unknown_agent"
    assert (await ask(context, "poll_messages", {}, LOCAL, source=None)).data["code"] == "no_agent"


async def test_a_refusal_by_the_network_is_an_answer(context):
    """Codes of EventRefused arrive as data."""
    context.directory.unregister("ana")
    response = await ask(context, "subscribe_events", {"event_patterns": ["*"]})
    assert (response.success, response.data["code"]) == (False, "unknown_agent")
