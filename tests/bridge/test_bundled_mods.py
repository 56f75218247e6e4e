"""The mods of the package openagents run here as they are, and lose nothing on reload, nor when unloaded and loaded."""

from __future__ import annotations

import asyncio
import os

import pytest

pytest.importorskip("openagents")

from bundled import KEPT, MODS, Bundled, inner, put, shown
from workspaces import Workspace, until

from devserver.model.facts import LeftBehind, ModError, Status
from devserver.replay.code import code_now
from devserver.replay.host import Host

each_mod = pytest.mark.parametrize("mod", MODS, ids=[each.mod_id for each in MODS])


async def start(work: Workspace, *mods: Bundled) -> None:
    """Run these mods, with two agents that were there before anything is put into them."""
    await work.start(*(each.row for each in mods))
    assert [each.status for each in work.outcomes()] == [Status.APPLIED] * len(mods)
    await work.net.register_agent("ana")
    await work.net.register_agent("bob")


def complaints(work: Workspace) -> list[object]:
    """What a mod did wrong or left behind, as it was told."""
    return [*work.told(ModError), *work.told(LeftBehind)]


async def test_all_of_them_load_from_network_yaml_in_order(work: Workspace) -> None:
    """network.yaml may list every one of them, and they are asked in its order."""
    await start(work, *MODS)
    assert list(work.running()) == [each.mod_id for each in MODS]


@each_mod
async def test_a_mod_loads_at_run_time_answers_and_unloads(work: Workspace, mod: Bundled) -> None:
    """`load_mod` brings a mod that answers its events, and `unload_mod` by its short name really ends it."""
    await start(work)
    loaded = await work.net.load_mod(mod.path, mod.config)
    assert loaded.success, loaded
    told = await put(work, mod)
    assert KEPT in await shown(work, mod, told)
    assert (await work.net.unload_mod(mod.mod_id)).success
    assert mod.mod_id not in work.running()
    if mod.show is not None:
        assert "no mod handles it" in (await work.ask(mod.show[0])).message
    assert complaints(work) == []


async def test_an_event_is_replayed_as_on_a_mod_that_has_just_started(work: Workspace) -> None:
    """In the replay process, which has the package as well; the mod that serves hears nothing of it."""
    messaging = next(each for each in MODS if each.mod_id == "messaging")
    await start(work, messaging)
    told = await put(work, messaging)
    before = await shown(work, messaging, told)
    host = Host(work.net.workspace, os.environ)
    event = {"event_name": "thread.channels.list", "source_id": "ana", "payload": {"action": "list_channels"}}
    try:
        asked = {"do": "run", "event": event, "seconds": 5.0}
        answer = await host.ask(code_now(work.net.engine), work.net.config, asked, 5.0)
    finally:
        await host.end()
    assert answer["seen"]["success"] and answer["seen"]["way"] == [["messaging", "answered"]]
    assert await shown(work, messaging, told) == before
    assert complaints(work) == []


async def survives(work: Workspace, mod: Bundled, reloads: int) -> None:
    """Reload a mod that holds something, so many times; all of it is still there."""
    await start(work, mod)
    told = await put(work, mod)
    before = await shown(work, mod, told)
    assert KEPT in before
    for _ in range(reloads):
        assert (await work.net.reload_mod(mod.mod_id)).success
    assert await shown(work, mod, told) == before
    assert work.running() == {mod.mod_id: reloads + 1}
    assert complaints(work) == []


@each_mod
async def test_a_mod_keeps_its_data_through_reloads(work: Workspace, mod: Bundled) -> None:
    """A reload of an installed mod loses nothing."""
    await survives(work, mod, 5)


@pytest.mark.slow
@each_mod
async def test_a_mod_keeps_its_data_through_fifty_reloads(work: Workspace, mod: Bundled) -> None:
    """Fifty reloads lose nothing either, and start nothing that stays."""
    tasks = len(asyncio.all_tasks())
    await survives(work, mod, 50)
    await work.end()
    assert len(asyncio.all_tasks()) == tasks


@each_mod
async def test_a_mod_that_is_unloaded_and_loaded_again_has_its_data(work: Workspace, mod: Bundled) -> None:
    """Unload and load, three times over, loses nothing: also where the mod's own `shutdown()` throws it away."""
    await start(work, mod)
    told = await put(work, mod)
    before = await shown(work, mod, told)
    for _ in range(3):
        assert (await work.net.unload_mod(mod.mod_id)).success
        assert (await work.net.load_mod(mod.path, mod.config)).success
        assert await shown(work, mod, told) == before
    assert complaints(work) == []


@each_mod
async def test_a_changed_configuration_starts_a_mod_anew_with_its_data(work: Workspace, mod: Bundled) -> None:
    """Another configuration in network.yaml reaches the mod, and what it holds stays."""
    await start(work, mod)
    told = await put(work, mod)
    before = await shown(work, mod, told)
    done = await work.save_yaml({"name": mod.path, "config": {**mod.config, "something_else": 7}})
    assert [each.status for each in done.outcomes] == [Status.APPLIED]
    assert inner(work, mod).config["something_else"] == 7
    assert await shown(work, mod, told) == before
    assert complaints(work) == []


async def test_messages_that_messaging_saved_survive_the_end_of_the_network(work: Workspace) -> None:
    """The mod's `shutdown()` overwrites its saved history with an empty one; here the file is as it was."""
    messaging = MODS[0]
    await start(work, messaging)
    await put(work, messaging)
    inner(work, messaging)._save_message_history()
    saved = sorted(each for each in work.folder.glob("mods/*/**/*.json") if KEPT in each.read_text())
    assert len(saved) == 1
    before = saved[0].read_text()
    await work.end()
    assert saved[0].read_text() == before


async def test_a_project_that_ran_when_its_mod_was_unloaded_runs_again(work: Workspace) -> None:
    """Project's `shutdown()` stops every project; loaded again they go on."""
    project = next(each for each in MODS if each.mod_id == "project")
    await start(work, project)
    await put(work, project)
    before = [each.status for each in inner(work, project).projects.values()]
    assert (await work.net.unload_mod("project")).success
    assert (await work.net.load_mod(project.path, project.config)).success
    assert [each.status for each in inner(work, project).projects.values()] == before


async def test_an_agent_that_left_while_a_mod_was_unloaded_has_left_for_the_mod(work: Workspace) -> None:
    """What a mod gets back says nothing of agents that are gone; those that came are introduced."""
    discovery = next(each for each in MODS if each.mod_id == "agent_discovery")
    await start(work, discovery)
    await put(work, discovery)
    await work.net.unload_mod("agent_discovery")
    await work.net.unregister_agent("bob")
    await work.net.register_agent("cem")
    await work.net.load_mod(discovery.path)
    listed = (await work.ask("discovery.agents.list")).data
    assert listed is not None
    known = {each["agent_id"]: each["capabilities"] for each in listed["agents"]}
    assert known == {"ana": {"can": KEPT}, "cem": {}}


async def test_channels_have_their_members_again_when_messaging_is_loaded_again(work: Workspace) -> None:
    """Messaging takes its channels with it when it ends, and brings them back with everyone who was in them."""
    messaging = MODS[0]
    await start(work, messaging)
    work.net.directory.add_channel_member("side", "ana")
    inner(work, messaging)._create_channel("side")
    before = {name: work.net.directory.channel_members(name) for name in work.net.directory.channels()}
    assert before["side"] == ("ana",) and set(before["general"]) == {"ana", "bob"}
    await work.net.unload_mod("messaging")
    await until(lambda: work.net.directory.channels() == ())
    await work.net.load_mod(messaging.path)
    assert {name: work.net.directory.channel_members(name) for name in work.net.directory.channels()} == before
