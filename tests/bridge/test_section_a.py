"""What is broken in openagents 0.8.6 is right here: one test for each defect that was measured there.

The mods are ours, so that these run without the package; for mods of the package `test_own_mods` and
`test_bundled_mods` show the same.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from workspaces import Workspace, served, until

from devserver.model.facts import LeftBehind, Status
from devserver.model.principal import ANONYMOUS, agent_principal

WAIT = """
@mod_event_handler("{name}.wait.begin")
async def wait(self, event):
    self.state["begun"] = self.state.get("begun", 0) + 1
    await self.state.setdefault("gate", asyncio.Event()).wait()
    return None
"""


async def load(work: Workspace, mod: str, **config: Any) -> dict[str, Any]:
    """Load a mod, which has to succeed; its data."""
    answer = await work.net.load_mod(mod, config)
    assert answer.success, answer
    return answer.data or {}


async def test_the_short_id_unloads(work: Workspace) -> None:
    """There `unload_mod("wiki")` says that it did and the mod goes on answering."""
    work.mod("wiki", served("wiki", 1))
    await work.start()
    await load(work, "mods.wiki")
    assert (await work.net.unload_mod("wiki")).success
    assert await work.version("wiki") is None
    assert work.running() == {}
    await load(work, "mods.wiki")
    assert await work.version("wiki") == 1


async def test_unload_and_load_serves_the_edited_code(work: Workspace) -> None:
    """There the first version runs for ever, because `sys.modules` is never cleaned."""
    work.mod("wiki", served("wiki", 1))
    await work.start()
    await load(work, "mods.wiki")
    await work.net.unload_mod("mods.wiki")
    assert [each for each in work.modules() if "wiki" in each] == []
    work.mod("wiki", served("wiki", 2))
    await load(work, "mods.wiki")
    assert await work.version("wiki") == 2


async def test_reload_serves_the_edited_code_at_once(work: Workspace) -> None:
    """There is no reload there."""
    work.mod("wiki", served("wiki", 1))
    await work.start("mods.wiki")
    assert (await work.save_mod("wiki", served("wiki", 2))).outcomes[0].status is Status.APPLIED
    assert await work.version("wiki") == 2


async def test_a_mod_that_does_not_exist_is_an_answer(work: Workspace) -> None:
    """Nothing is raised, and the answer names what was looked for."""
    await work.start()
    answer = await work.net.load_mod("mods.analytics")
    assert not answer.success and "analytics" in answer.message


@pytest.mark.parametrize(
    "body",
    ["return False", "raise RuntimeError('no')"],
)
async def test_a_mod_that_does_not_start_is_not_loaded(work: Workspace, body: str) -> None:
    """There the return value of `initialize()` is ignored and the mod answers."""
    work.mod("wiki", served("wiki", 1, f"\ndef initialize(self):\n    {body}\n"))
    await work.start()
    answer = await work.net.load_mod("mods.wiki")
    assert not answer.success and "initialize" in answer.message
    assert await work.version("wiki") is None and work.running() == {}
    work.mod("wiki", served("wiki", 2))
    await load(work, "mods.wiki")


async def test_a_mod_that_does_not_start_is_shut_down(work: Workspace) -> None:
    """There `shutdown()` is never called after half a start, and what the start took stays taken."""
    ended = work.folder / "ended"
    body = f"def initialize(self):\n    return False\n\ndef shutdown(self):\n    open({str(ended)!r}, 'w').close()\n"
    work.mod("wiki", body)
    await work.start()
    assert not (await work.net.load_mod("mods.wiki")).success
    assert ended.exists()


async def test_an_async_shutdown_is_awaited(work: Workspace) -> None:
    """There it becomes a coroutine that was never awaited, and its tasks leak."""
    ended = work.folder / "ended"
    body = f"async def shutdown(self):\n    await asyncio.sleep(0)\n    open({str(ended)!r}, 'w').close()\n"
    work.mod("wiki", body)
    await work.start("mods.wiki")
    assert (await work.net.unload_mod("wiki")).success
    await until(ended.exists)


async def test_a_handler_in_flight_ends_before_shutdown(work: Workspace) -> None:
    """There `shutdown()` runs under the handlers; here an unloaded mod finishes what it has begun, and is answered."""
    work.mod("wiki", WAIT.format(name="wiki") + "\ndef shutdown(self):\n    self.state['down'] = True\n")
    await work.start("mods.wiki")
    state = work.instance("wiki").state
    asked = asyncio.create_task(work.ask("wiki.wait.begin"))
    await until(lambda: "begun" in state)
    assert (await work.net.unload_mod("wiki")).success
    assert "down" not in state
    state["gate"].set()
    assert (await asked).success
    await until(lambda: "down" in state)


async def test_what_a_mod_started_ends_with_it(work: Workspace) -> None:
    """There the tasks of an unloaded mod run on."""
    body = "async def initialize(self):\n    self.task = asyncio.create_task(asyncio.Event().wait())\n"
    work.mod("wiki", body)
    await work.start("mods.wiki")
    task = work.instance("wiki").task
    await work.net.unload_mod("wiki")
    await until(task.cancelled)
    assert work.told(LeftBehind) == []


async def test_a_failing_shutdown_is_not_sticky(work: Workspace) -> None:
    """There a mod whose `shutdown()` raises can never be unloaded."""
    work.mod("wiki", served("wiki", 1, "\ndef shutdown(self):\n    raise RuntimeError('no')\n"))
    await work.start("mods.wiki")
    assert (await work.net.unload_mod("wiki")).success
    assert await work.version("wiki") is None
    await load(work, "mods.wiki")


async def test_mods_of_network_yaml_are_mods_like_all_others(work: Workspace) -> None:
    """There they are listed nowhere and can be neither unloaded nor loaded again."""
    work.mod("wiki", served("wiki", 1))
    await work.start("mods.wiki")
    assert list(work.net.running_mods()) == ["wiki"]
    assert work.net.get_network_stats()["dynamic_mods"]["count"] == 0
    assert (await work.net.unload_mod("wiki")).success
    assert (await load(work, "mods.wiki"))["mod_path"] == "mods.wiki"


async def test_loaded_mods_say_when_and_from_where(work: Workspace) -> None:
    """`get_loaded_mods()` and `dynamic_mods` have what the announcement promises."""
    work.mod("wiki", served("wiki", 1))
    await work.start()
    await load(work, "mods.wiki")
    info = work.net.get_loaded_mods()["wiki"]
    assert (info["mod_id"], info["mod_path"], type(info["loaded_at"])) == ("wiki", "mods.wiki", float)
    assert work.net.get_network_stats()["dynamic_mods"]["loaded"] == ["wiki"]


async def test_events_load_and_unload(work: Workspace) -> None:
    """`system.mod.load` from code in this process loads, and answers with what it loaded."""
    work.mod("wiki", served("wiki", 1))
    await work.start()
    loaded = await work.ask("system.mod.load", mod_path="mods.wiki", config={"public": True})
    assert loaded.success and loaded.data is not None and loaded.data["mod_id"] == "wiki"
    assert work.instance("wiki").config == {"public": True}
    assert (await work.ask("system.mod.unload", mod_path="wiki")).success
    assert work.running() == {}


async def test_nobody_loads_mods_without_being_allowed_to(work: Workspace) -> None:
    """There anyone who can reach the port imports any module, without having registered."""
    from devserver import Event

    work.mod("wiki", served("wiki", 1))
    await work.start()
    for principal in (ANONYMOUS, agent_principal("ana")):
        event = Event(event_name="system.mod.load", source_id=principal.id, payload={"mod_path": "mods.wiki"})
        assert not (await work.net.ingest(event, principal)).success
    assert work.running() == {} and work.modules() == []


async def test_agents_from_before_are_known_to_a_mod_that_is_loaded_later(work: Workspace) -> None:
    """There the mod knows only who comes after it, so that the others get nothing from it."""
    body = "def handle_register_agent(self, agent_id, metadata):\n    self.state[agent_id] = metadata\n"
    work.mod("wiki", body)
    await work.start()
    await work.net.register_agent("early", {"can": "wait"})
    await load(work, "mods.wiki")
    await work.net.register_agent("late")
    assert work.instance("wiki").state == {"early": {"can": "wait"}, "late": {}}


async def test_agents_are_told_about_loads_and_unloads(work: Workspace) -> None:
    """There no agent ever learns of either."""
    work.mod("wiki", served("wiki", 1))
    await work.start()
    agent = (await work.net.register_agent("ana")).agent
    await load(work, "mods.wiki")
    await work.net.reload_mod("wiki")
    await work.net.unload_mod("wiki")
    told = [(each.event.event_name, each.event.payload["mod_id"]) for each in agent.outbox.take_nowait()]
    assert told == [(f"system.notification.mod_{what}", "wiki") for what in ("loaded", "reloaded", "unloaded")]


async def test_nothing_fails_while_mods_come_and_go_under_it(work: Workspace) -> None:
    """There every event that waits in a mod while another is loaded or unloaded fails ("OrderedDict mutated")."""
    work.mod("slow", WAIT.format(name="slow"))
    work.mod(
        "last", served("slow", 1) + '\n@mod_event_handler("slow.wait.begin")\ndef end(self, event):\n    return {}\n'
    )
    work.mod("other", served("other", 1))
    await work.start("mods.slow", "mods.last")
    state = work.instance("slow").state
    asked = []
    for round_ in range(20):
        asked.append(asyncio.create_task(work.ask("slow.wait.begin")))
        await until(lambda wanted=round_ + 1: state.get("begun") == wanted)  # type: ignore[misc]
        await load(work, "mods.other")
        assert (await work.net.unload_mod("other")).success
    state["gate"].set()
    assert [(await each).success for each in asked] == [True] * 20


async def test_a_reload_keeps_the_place_in_the_order(work: Workspace) -> None:
    """There a mod that is loaded again is asked last, so that another one answers."""
    for name in ("first", "second"):
        work.mod(name, served("same", name))
    await work.start("mods.first", "mods.second")
    await work.net.reload_mod("first")
    assert await work.version("same") == "first"
    assert list(work.running()) == ["first", "second"]


async def test_two_mods_of_one_name_do_not_harm_each_other(work: Workspace) -> None:
    """There the second is half loaded and takes the first one's name with it when it is unloaded."""
    work.mod("wiki", served("wiki", 1))
    work.write("alt/__init__.py", "")
    work.write("alt/wiki.py", (work.folder / "mods/wiki.py").read_text())
    await work.start("mods.wiki")
    loaded = await work.net.load_mod("alt.wiki")
    unloaded = await work.net.unload_mod("alt.wiki")
    assert loaded.success == unloaded.success
    assert await work.version("wiki") == 1
    assert work.running() == {"wiki": 1}
    assert (await work.net.unload_mod("mods.wiki")).success


async def test_the_class_is_the_mods_own(work: Workspace) -> None:
    """There the first in the alphabet is taken, also an imported helper."""
    helper = "from devserver import BaseMod\n\n\nclass AaBase(BaseMod):\n    pass\n"
    work.write("helpers.py", helper)
    work.write("mods/wiki.py", "from helpers import AaBase\n\n\nclass Thing(AaBase):\n    pass\n")
    await work.start("mods.wiki")
    assert type(work.instance("wiki")).__name__ == "Thing"


async def test_the_end_of_the_network_shuts_every_mod_down(work: Workspace) -> None:
    """There `network.shutdown()` never calls a mod's."""
    ended = work.folder / "ended"
    work.mod("wiki", f"def shutdown(self):\n    open({str(ended)!r}, 'w').close()\n")
    await work.start("mods.wiki")
    await work.end()
    assert ended.exists()


async def test_what_is_reported_is_what_runs(work: Workspace) -> None:
    """There a disabled mod and one that failed to import are listed as if they ran."""
    work.mod("wiki", served("wiki", 1))
    work.mod("broken", "", "raise RuntimeError('no')")
    await work.start("mods.wiki", "mods.broken", {"name": "mods.wiki2", "enabled": False})
    assert [each["name"] for each in work.net.mods()] == ["mods.wiki"]


async def test_network_yaml_is_never_rewritten(work: Workspace) -> None:
    """There starting a network rewrites it, and its comments are lost."""
    work.mod("wiki", served("wiki", 1))
    file = work.yaml("mods.wiki")
    file.write_text("# a comment\n" + file.read_text())
    before = file.read_bytes(), file.stat().st_mtime_ns
    await work.run()
    await work.net.reload_mod("wiki")
    await work.end()
    assert (file.read_bytes(), file.stat().st_mtime_ns) == before


async def test_no_receiver_sees_the_senders_secret(work: Workspace) -> None:
    """There every polled event carries it."""
    from devserver import Event

    await work.start()
    await work.net.register_agent("ana")
    bob = (await work.net.register_agent("bob")).agent
    event = Event(event_name="note.for.bob", source_id="ana", destination_id="agent:bob", secret="s3cret")
    await work.net.ingest(event, agent_principal("ana"))
    got = bob.outbox.take_nowait()[0].event
    assert got.secret is None and "secret" not in got.to_dict()


async def test_loads_and_unloads_leave_no_task_and_no_module(work: Workspace) -> None:
    """There each of them can leak a task, and every module stays for ever."""
    work.mod("wiki", served("wiki", 1, "\nasync def initialize(self):\n    self.create_task(asyncio.Event().wait())\n"))
    await work.start()
    before = asyncio.all_tasks()
    modules = work.modules()
    for _ in range(100):
        await load(work, "mods.wiki")
        assert (await work.net.unload_mod("wiki")).success
    await until(lambda: asyncio.all_tasks() == before)
    assert work.modules() == modules
