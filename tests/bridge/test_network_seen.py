"""What an openagents mod sees: events and answers in its own form, and the members of `network` that mods use there."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("openagents")

from workspaces import Workspace, served

from devserver import Event
from devserver.model.facts import Status

HEAD = """
from openagents.core.base_mod import BaseMod, mod_event_handler
from openagents.models.event import Event
from openagents.models.event_response import EventResponse


class {title}Mod(BaseMod):
"""


def mod(work: Workspace, name: str, *handlers: str) -> None:
    """Write `./<name>`, an openagents mod of these handlers; each is an event's name, an arrow, and statements."""
    lines = [HEAD.format(title=name.title())]
    for number, each in enumerate(handlers):
        event_name, body = each.split(" -> ", 1)
        lines.append(f"    @mod_event_handler({event_name!r})\n    async def handle_{number}(self, event):\n")
        lines += [f"        {line}\n" for line in body.split("; ")]
    work.write(f"mods/{name}/mod.py", "".join(lines))


async def start(work: Workspace, *mods: str) -> None:
    """Run these mods, all of which have to load."""
    await work.start(*mods)
    assert {each.status for each in work.outcomes()} == {Status.APPLIED}, work.outcomes()


def seen(work: Workspace, name: str) -> Any:
    """`self.network` of a mod."""
    return work.instance(name).inner.network


async def test_an_event_arrives_whole_as_theirs(work: Workspace) -> None:
    """Every field is the one that was sent, in an event of their class."""
    mod(work, "look", "look.at.this -> self.got = event; return EventResponse(success=True)")
    await start(work, "./look")
    sent = Event(
        event_name="look.at.this",
        source_id="ana",
        payload={"a": 1},
        metadata={"b": 2},
        thread_name="t",
        text_representation="text",
        allowed_agents=["ana"],
        visibility="restricted",
        requires_response=True,
    )
    await work.net.process_event(sent)
    got = work.instance("look").inner.got
    assert type(got).__module__ == "openagents.models.event"
    expected = {**sent.to_dict(), "allowed_agents": {"ana"}, "secret": None}
    assert got.model_dump() == expected
    assert got.parse_source().source_id == "ana" and got.matches_pattern("look.*")


@pytest.mark.parametrize(
    ("returned", "expected"),
    [
        ("EventResponse(success=True, message='m', data={'a': 1}, event_name='x.yy')", (True, "m", {"a": 1}, "x.yy")),
        ("EventResponse(success=False)", (False, "", None, None)),
        ("EventResponse(success=True, data=[1, 2])", (True, "", [1, 2], None)),
        ("True", (True, "", None, "look.at.this")),
        ("{'a': 1}", (True, "", {"a": 1}, "look.at.this")),
    ],
)
async def test_an_answer_comes_back_as_ours(work: Workspace, returned: str, expected: tuple[Any, ...]) -> None:
    """Whatever is not None ends the event's way, and is an answer."""
    mod(work, "look", f"look.at.this -> return {returned}")
    await start(work, "./look")
    answer = await work.ask("look.at.this")
    assert (answer.success, answer.message, answer.data, answer.event_name) == expected


async def test_changes_of_the_payload_reach_later_mods_and_the_receiver(work: Workspace) -> None:
    """Payload and metadata are the event's own; what is set on the event reaches later mods and no receiver."""
    mod(work, "first", "note.for.bob -> event.payload['one'] = 1; event.text_representation = 'set'; return None")
    mod(work, "second", "note.for.bob -> event.payload['text'] = event.text_representation; return None")
    await start(work, "./first", "./second")
    bob = (await work.net.register_agent("bob")).agent
    await work.ask("note.for.bob", to="agent:bob")
    got = bob.outbox.take_nowait()[0].event
    assert (got.payload, got.text_representation) == ({"one": 1, "text": "set"}, None)


async def test_bridged_mods_and_ours_stand_in_one_row(work: Workspace) -> None:
    """They are asked in the order of network.yaml, and may ask each other."""
    asks = "await self.network.process_event(Event(event_name='ours.version.get', source_id='mod:./theirs'))"
    mod(work, "theirs", f"ask.them.all -> answer = {asks}; return EventResponse(success=True, data=answer.data)")
    work.mod("ours", served("ours", 7))
    await start(work, "./theirs", "mods.ours")
    assert (await work.ask("ask.them.all")).data == {"version": 7, "asked": 1}


async def test_what_a_mod_sends_itself_without_a_source_is_from_it(work: Workspace) -> None:
    """And is not offered to it again."""
    sends = "await self.send_event(Event(event_name='note.for.bob', destination_id='agent:bob'))"
    mod(work, "theirs", f"send.it.now -> await {sends[6:]}; return EventResponse(success=True)")
    await start(work, "./theirs")
    bob = (await work.net.register_agent("bob")).agent
    await work.ask("send.it.now")
    assert [each.event.source_id for each in bob.outbox.take_nowait()] == ["mod:./theirs"]


async def test_the_network_has_what_mods_use_of_it(work: Workspace) -> None:
    """Ids, groups, registry and what openagents mods look for with a default."""
    mod(work, "look", "look.at.this -> return None")
    await start(work, "./look")
    await work.net.register_agent("ana", {"x": 1})
    network = seen(work, "look")
    assert (network.network_id, network.network_name) == (work.net.network_id, "Test")
    assert network.topology.agent_group_membership == {"ana": "guest"}
    assert network.topology.agent_group_membership.get("nobody") is None
    assert list(network.topology.agent_registry.keys()) == ["ana"]
    assert network.topology.agent_registry["ana"].metadata == {"x": 1}
    others = ("a2a_registry", "a2a_task_store", "model_provider")
    assert [getattr(network, each) for each in others] == [None, None, None]
    assert network.workspace_manager.get_mod_storage_path("./look") == work.folder / "mods" / "look"
    assert network.workspace_manager.get_mod_storage_path("a.b") == work.folder / "mods" / "a.b"


async def test_channels_are_the_networks(work: Workspace) -> None:
    """What a mod makes of them is what events to a channel follow."""
    mod(work, "look", "look.at.this -> return None")
    await start(work, "./look")
    bob = (await work.net.register_agent("bob")).agent
    gateway = seen(work, "look").event_gateway
    gateway.create_channel("talk")
    gateway.add_channel_member("talk", "bob")
    assert (gateway.list_channels(), gateway.get_channel_members("talk")) == (["talk"], ["bob"])
    assert (await work.ask("note.for.all", to="channel:talk")).data == {"delivered": 1}
    gateway.remove_channel_member("talk", "bob")
    assert gateway.get_channel_members("talk") == []
    gateway.remove_channel("talk")
    assert gateway.list_channels() == [] and gateway.get_channel_members("talk") == []
    assert len(bob.outbox.take_nowait()) == 1


async def test_events_go_straight_to_agents_where_a_mod_wants_that(work: Workspace) -> None:
    """To one agent, past all mods and with respect to its subscriptions; or to all."""
    from openagents.models.event import Event as TheirEvent

    mod(work, "look", "look.at.this -> return None")
    await start(work, "./look")
    bob = (await work.net.register_agent("bob")).agent
    network = seen(work, "look")
    note = TheirEvent(event_name="look.at.this", source_id="ana", payload={"n": 1}, visibility="mod_only")
    open_note = TheirEvent(event_name="look.at.this", source_id="ana", payload={"n": 2})
    assert not await network.event_gateway.deliver_to_agent(note, "bob")
    assert await network.event_gateway.deliver_to_agent(open_note, "bob")
    assert not await network.event_gateway.deliver_to_agent(open_note, "nobody")
    assert (await network.broadcast_event(note)).success
    assert (await network.send_event_to_agent("bob", note.model_copy(update={"event_id": "another"}))).success
    assert [each.event.payload["n"] for each in bob.outbox.take_nowait()] == [2, 1, 1]


async def test_a_handler_that_raises_is_told_and_names_its_file(work: Workspace) -> None:
    """The sender is answered, and the place is in the mod's own code."""
    from devserver.model.facts import ModError

    mod(work, "look", "look.at.this -> raise RuntimeError('no')")
    await start(work, "./look")
    answer = await work.ask("look.at.this")
    assert not answer.success and "RuntimeError: no" in answer.message
    (error,) = work.told(ModError)
    assert error.error.where is not None and error.error.where.file == "mods/look/mod.py"
