"""Names and words that code and documentation of OpenAgents rely on hold for our network, too."""

from __future__ import annotations

import importlib.util

import pytest
from workspaces import Workspace, served

from devserver import AgentNetwork, Event
from devserver.errors import EventRefused

needs_openagents = pytest.mark.skipif(
    importlib.util.find_spec("openagents") is None, reason="the package openagents is not installed here"
)


async def test_mods_is_a_mapping_of_instances_by_path_that_can_be_called(work: Workspace) -> None:
    """KnowledgeFlow and upstream's documentation read it as a mapping; called, it describes each mod."""
    work.mod("wiki", served("wiki", 1))
    await work.start("mods.wiki")
    assert list(work.net.mods) == ["mods.wiki"]
    assert type(work.net.mods["mods.wiki"]).__name__ == "WikiMod"
    assert [each["name"] for each in work.net.mods()] == ["mods.wiki"]
    assert work.net.mods.get("mods.none") is None


async def test_only_what_was_loaded_at_run_time_counts_as_dynamic(work: Workspace) -> None:
    """A mod that network.yaml lists is in `running_mods`, and not in `get_loaded_mods`."""
    work.mod("wiki", served("wiki", 1))
    work.mod("extra", served("extra", 1))
    await work.start("mods.wiki")
    assert (await work.net.load_mod("mods.extra")).success
    assert list(work.net.get_loaded_mods()) == ["extra"]
    assert list(work.net.running_mods()) == ["wiki", "extra"]
    assert work.net.get_network_stats()["dynamic_mods"]["count"] == 1


async def test_a_network_says_whether_it_runs(work: Workspace) -> None:
    """`is_running`, before, between and after."""
    network = AgentNetwork.load(work.yaml())
    seen = [network.is_running]
    await network.initialize()
    seen.append(network.is_running)
    await network.shutdown()
    assert [*seen, network.is_running] == [False, True, False]


async def test_a_network_loads_from_a_workspace_path_with_another_port(work: Workspace) -> None:
    """`load(workspace_path=…, port=…)` finds the file there."""
    work.yaml()
    network = AgentNetwork.load(workspace_path=str(work.folder), port=9999)
    assert (network.workspace, network.config.port) == (work.folder.resolve(), 9999)
    with pytest.raises(ValueError, match="name a network"):
        AgentNetwork.load()
    with pytest.raises(TypeError, match="create_from_config"):
        AgentNetwork.load(network.config)  # type: ignore[arg-type]


async def test_the_statistics_know_agents_and_groups(work: Workspace) -> None:
    """`agents`, `groups` and `group_config` have the shapes that OpenAgents gives."""
    await work.start()
    await work.net.register_agent("ana", {"capabilities": ["x"]})
    stats = work.net.get_network_stats()
    assert stats["agents"]["ana"]["capabilities"] == ["x"]
    assert stats["groups"] == {"guest": ["ana"]}
    assert [(each["name"], each["agent_count"], each["has_password"]) for each in stats["group_config"]] == [
        ("guest", 1, False)
    ]
    assert work.net.topology.agent_group_membership["ana"] == "guest"
    work.net.event_gateway.create_channel("news")
    assert "news" in work.net.event_gateway.list_channels()


async def test_an_event_from_this_process_carries_the_group_of_its_sender(work: Workspace) -> None:
    """`process_event` fills `source_agent_group`, whatever the event said."""
    work.mod("wiki", served("wiki", 1))
    await work.start("mods.wiki")
    await work.net.register_agent("ana")
    event = Event(event_name="wiki.version", source_id="agent:ana", source_agent_group="admins")
    await work.net.process_event(event)
    assert event.source_agent_group == "guest"


@pytest.mark.parametrize("agent_id", ["RSS阅读器", "数据加载智能体", "Market Data #1", "é", "a/b", "x" * 128])
async def test_an_agent_may_have_any_printable_name(work: Workspace, agent_id: str) -> None:
    """Agents of public repositories are called so."""
    await work.start()
    made = await work.net.register_agent(agent_id)
    assert work.net.directory.authenticate(f"agent:{agent_id}", made.secret) is made.agent


@pytest.mark.parametrize("agent_id", ["a\u202eb", "a\nb", "e\u0301", "\ud800", "x" * 129, " a"])
async def test_a_name_that_does_not_print_is_refused(work: Workspace, agent_id: str) -> None:
    """Control characters, reversed text, surrogates, and forms that only look the same."""
    await work.start()
    with pytest.raises(EventRefused, match="agent id"):
        await work.net.register_agent(agent_id)


async def test_the_readme_is_the_profiles_or_the_file_beside_network_yaml(work: Workspace) -> None:
    """Studio shows it."""
    await work.start()
    assert work.net.get_network_stats()["readme"] == ""
    work.write("README.md", "# Hello")
    assert work.net.get_network_stats()["readme"] == "# Hello"


async def test_what_is_no_event_is_refused_by_its_type(work: Workspace) -> None:
    """An event is ours or that of openagents."""
    await work.start()
    with pytest.raises(TypeError, match="not dict"):
        await work.net.process_event({"event_name": "x"})  # type: ignore[arg-type]


SDK_MOD = """
from openagents.sdk.base_mod import BaseMod, mod_event_handler
from openagents.models.event_response import EventResponse


class NewMod(BaseMod):
    @mod_event_handler("new.greet")
    async def greet(self, event):
        return EventResponse(success=True, message="hello from the sdk")
"""


@needs_openagents
async def test_a_mod_of_the_newer_layout_is_bridged(work: Workspace) -> None:
    """`openagents.sdk.base_mod` alone is enough, as the documentation of 0.9 writes mods."""
    pytest.importorskip("openagents.sdk.base_mod", reason="this version of openagents has no openagents.sdk")
    work.write("mods/new/__init__.py", "")
    work.write("mods/new/mod.py", SDK_MOD)
    await work.start("mods.new")
    answer = await work.net.process_external_event(Event(event_name="new.greet", source_id="agent:admin"))
    assert (answer.success, answer.message) == (True, "hello from the sdk")


@needs_openagents
async def test_an_event_of_openagents_is_answered_in_kind(work: Workspace) -> None:
    """Their Event is taken wherever ours is, and the answer is their EventResponse."""
    from openagents.models.event import Event as TheirEvent
    from openagents.models.event_response import EventResponse as TheirResponse

    work.mod("wiki", served("wiki", 1))
    await work.start("mods.wiki")
    for name in ("wiki.version", "system.mod.list"):
        event = TheirEvent(event_name=name, source_id="agent:admin")
        answer = await work.net.process_external_event(event)  # type: ignore[arg-type]
        assert isinstance(answer, TheirResponse)
