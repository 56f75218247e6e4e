"""What an engine owes to mods that fail half-way, change themselves, or are no concern of network.yaml."""

from __future__ import annotations

import asyncio
import math

import pytest
from doors import HEAD, Doors
from workspaces import Workspace, served, until

from devserver import Event
from devserver.model.change import ReloadAsked
from devserver.model.facts import Notice, PlanMade, Status
from devserver.model.principal import Kind, Principal, Scope
from devserver.reload import echoes
from devserver.sources.files import sources_now


async def test_a_load_that_failed_on_a_data_file_is_tried_again_when_that_changes(work: Workspace, at: str) -> None:
    """What a mod read before it failed to start belongs to the attempt."""
    body = """
        def initialize(self):
            import json, pathlib
            self.table = json.loads((pathlib.Path(__file__).parent / "table.json").read_text())
    """
    work.mod("echo", body)
    work.write("mods/table.json", "{broken")
    await work.start("mods.echo", home=at)
    assert work.running() == {}
    done = await work.save("mods/table.json", "{}")
    assert [each.status for each in done.outcomes] == [Status.APPLIED]


async def test_the_answer_to_a_reload_is_about_the_mod_that_was_named(work: Workspace, at: str) -> None:
    """Also where others are reloaded with it."""
    work.mod("aa", served("aa", 1), "import mods.wiki\n")
    work.mod("wiki", served("wiki", 1))
    await work.start("mods.aa", "mods.wiki", home=at)
    answer = await work.net.reload_mod("wiki")
    assert (answer.data or {})["mod_id"] == "wiki"
    assert answer.message == "Successfully reloaded mod: wiki"


CHANGES_ITSELF = """
    async def initialize(self):
        self.answer = await self.network.{call}
        return self.answer.success
"""


@pytest.mark.parametrize("call", ["load_mod('mods.other')", "reload_mod('echo')", "unload_mod('echo')"])
async def test_a_hook_that_asks_for_a_change_of_mods_is_refused_at_once(work: Workspace, at: str, call: str) -> None:
    """It would wait for a change that waits for it."""
    work.mod("echo", CHANGES_ITSELF.format(call=call))
    work.mod("other", served("other", 1))
    await work.start(home=at, dev={"limits": {"initialize": 30}})
    async with asyncio.timeout(60):
        answer = await work.net.load_mod("mods.echo")
    assert not answer.success
    assert (await work.net.load_mod("mods.other")).success


async def test_a_mod_that_owns_something_may_reload_itself(work: Workspace, at: str) -> None:
    """Its handler waits for the reload, so the reload does not wait for its handler."""
    body = """
        reload_mode = "exclusive"

        @mod_event_handler("change.mods")
        async def change(self, event):
            return {"changed": (await self.network.reload_mod("change")).success}
    """
    work.mod("change", body)
    await work.start("mods.change", home=at, dev={"limits": {"exclusive_drain": 30}})
    async with asyncio.timeout(60):
        assert (await work.ask("change.mods")).data == {"changed": True}


@pytest.mark.parametrize("how", ["fails in bind", "fails beside another"])
async def test_what_a_constructor_started_ends_with_a_generation_that_never_lived(
    work: Workspace, doors: Doors, how: str
) -> None:
    """Tasks and `on_close` of an instance that was made and not started."""
    body = """
        def __init__(self):
            super().__init__()
            self.on_close(lambda: doors.standing.append("closed"))
            self.create_task(doors.stand("task"), name="of the constructor")

        def bind_network(self, network):
            raise OSError("no")
    """
    work.mod("echo", body, HEAD)
    await work.start()
    assert not (await work.net.load_mod("mods.echo")).success
    assert doors.standing.count("closed") == 1
    assert [each.get_name() for each in asyncio.all_tasks() if each.get_name() == "of the constructor"] == []


async def test_a_mod_loaded_by_hand_outlives_saves_of_a_network_yaml_that_has_it_switched_off(
    work: Workspace, at: str
) -> None:
    """network.yaml takes away only what it has asked for."""
    work.mod("echo", served("echo", 1))
    off = {"name": "mods.echo", "enabled": False}
    await work.start(off, home=at)
    assert (await work.net.load_mod("mods.echo")).success
    for profile in ("one", "two", "three"):
        await work.save_yaml(off, profile={"name": profile})
        assert work.running() == {"echo": 1}


@pytest.mark.parametrize("requires", ["5", "['!!']", "[5]", "'mods.wiki and more'"])
async def test_requirements_that_are_none_are_refused_at_the_load(work: Workspace, at: str, requires: str) -> None:
    """A mod with a `requires` that cannot be read is not loaded, and says what is wrong."""
    work.mod("echo", f"requires = {requires} or ()")
    await work.start(home=at)
    answer = await work.net.load_mod("mods.echo")
    assert not answer.success
    assert "require" in answer.message


async def test_an_old_generation_that_is_started_again_serves_what_it_registers_then(work: Workspace, at: str) -> None:
    """After a failed exclusive reload its handlers are those of its second start."""
    body = """
        reload_mode = "exclusive"

        def initialize(self):
            resource = [self.state.setdefault("starts", 0)]
            self.state["starts"] += 1
            self.register_event_handler(lambda event: {"n": resource[0]}, "echo.get")
    """
    work.mod("echo", body)
    await work.start("mods.echo", home=at)
    assert (await work.ask("echo.get")).data == {"n": 0}
    work.mod("echo", body + "        raise OSError('no')\n")
    await work.net.submit(ReloadAsked(("echo",)))
    assert (await work.ask("echo.get")).data == {"n": 1}


@pytest.mark.parametrize("on_disk", ["def broken(:\n", None])
async def test_what_breaks_while_a_restart_is_under_way_keeps_running(work: Workspace, on_disk: str | None) -> None:
    """The sources of before run, with their state; the error is told at its line, and the repair serves."""
    helper = work.write("mods/text.py", "WORDS = 1\n")
    head = "from mods.text import WORDS\n"
    work.mod("wiki", served("wiki", 1), head)
    work.mod("board", served("board", 1), head)
    await work.start("mods.wiki", "mods.board")
    await work.version("wiki")
    await work.net.end_mods()
    helper.unlink() if on_disk is None else helper.write_text(on_disk)
    await work.net.initialize()
    outcome = next(each for each in work.outcomes()[2:] if each.mod_id == "wiki")
    assert (outcome.status, outcome.generation, outcome.note) == (Status.ROLLED_BACK, 2, "state kept (1 key)")
    where = None if outcome.error is None else outcome.error.where
    assert where is not None and (where.file, where.line) == (("mods/text.py", 1) if on_disk else ("mods/wiki.py", 4))
    assert (await work.ask("wiki.version.get")).data == {"version": 1, "asked": 2}
    assert work.running() == {"wiki": 2, "board": 2}
    assert work.net.engine.knowledge.newer_on_disk() == {"wiki": (helper,), "board": (helper,)}
    done = await work.save("mods/text.py", "WORDS = 2\n")
    assert [each.status for each in done.outcomes] == [Status.APPLIED] * 2
    assert (await work.ask("wiki.version.get")).data == {"version": 1, "asked": 3}


@pytest.mark.parametrize("place", ["mods/wiki.py", "mods/wiki/mod.py"])
async def test_a_mod_that_is_deleted_while_a_restart_is_under_way_keeps_running(work: Workspace, place: str) -> None:
    """As without a restart; its missing source is told, and serves once it is there again."""
    file = work.mod("wiki", served("wiki", 1))
    if place != "mods/wiki.py":
        work.write("mods/wiki/__init__.py", "")
        file = file.rename(work.folder / place)
    await work.start("mods.wiki")
    await work.version("wiki")
    text = file.read_text()
    await work.net.end_mods()
    file.unlink()
    await work.net.initialize()
    outcome = work.outcomes()[-1]
    assert (outcome.status, outcome.generation, outcome.note) == (Status.ROLLED_BACK, 2, "state kept (1 key)")
    assert outcome.error is not None and "mods.wiki" in outcome.error.message
    assert (await work.ask("wiki.version.get")).data == {"version": 1, "asked": 2}
    done = await work.save(place, text.replace('"version": 1', '"version": 2'))
    assert [(each.status, each.generation) for each in done.outcomes] == [(Status.APPLIED, 3)]
    assert (await work.ask("wiki.version.get")).data == {"version": 2, "asked": 3}


async def test_a_command_in_the_middle_of_a_restart_is_about_the_mods_of_before(work: Workspace) -> None:
    """Those that were loaded by hand come last: what is asked of one waits for it, as events do."""
    starts = "async def initialize(self):\n    import asyncio, pathlib\n    {}".format(
        "while not pathlib.Path(__file__).with_name('go').exists(): await asyncio.sleep(0.001)"
    )
    work.mod("listed", starts)
    work.mod("extra", served("extra", 1))
    go = work.write("mods/go", "")
    await work.start("mods.listed")
    await work.net.load_mod("mods.extra")
    await work.net.end_mods()
    go.unlink()
    starting = asyncio.create_task(work.net.initialize())
    await until(lambda: len(work.told(PlanMade)) == 3)
    event = Event(event_name="system.mod.unload", source_id="ana", payload={"mod_path": "mods.extra"})
    asked = asyncio.create_task(work.net.submit(ReloadAsked(("extra",))))
    told = asyncio.create_task(work.net.ingest(event, Principal(Kind.ADMIN, "ana", frozenset({Scope.ADMIN}))))
    await asyncio.sleep(0)
    go.write_text("")
    assert [each.status for each in (await asked).outcomes] == [Status.APPLIED]
    answer = await told
    assert answer.success, answer.message
    await starting
    assert work.running() == {"listed": 2}


async def test_a_file_that_changes_after_each_reload_ends_reloading(
    work: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that the mod starts at its top level writes it: that is told, with its name. A later change counts."""
    head = "import pathlib, subprocess\nWORD = (pathlib.Path(__file__).parent / 'word.txt').read_text()\n"
    head += "subprocess.run(['true'])\n"
    work.mod("wiki", served("wiki", 1), head)
    word = work.write("mods/word.txt", "0")
    await work.start("mods.wiki")
    monkeypatch.setattr(echoes, "_SOON", math.inf)
    for n in range(echoes.MOST):
        assert [each.status for each in (await work.save("mods/word.txt", f"{n + 1}")).outcomes] == [Status.APPLIED]
    (outcome,) = (await work.save("mods/word.txt", "again")).outcomes
    assert (outcome.status, outcome.generation) == (Status.SKIPPED, echoes.MOST + 1)
    assert outcome.reason.startswith("mods/word.txt changes after each reload"), outcome.reason
    assert work.net.engine.knowledge.newer_on_disk() == {"wiki": (word,)}
    assert sources_now([word]).items() <= work.net.engine.knowledge.sources().items()
    monkeypatch.setattr(echoes, "_SOON", 0.0)
    assert [each.status for each in (await work.save("mods/word.txt", "later")).outcomes] == [Status.APPLIED]
    assert work.net.engine.knowledge.newer_on_disk() == {}


async def test_a_change_without_a_caller_that_cannot_be_carried_out_is_told(
    work: Workspace, at: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault of ours, which no one else would hear of."""
    await work.start(home=at)

    async def fails(trigger: object) -> None:
        raise ValueError("a fault")

    monkeypatch.setattr(work.net.engine, "_carry_out", fails)
    work.net.engine.restart(("a reason",))
    told = Notice("a change could not be carried out: ValueError: a fault")
    await until(lambda: told in work.facts)
