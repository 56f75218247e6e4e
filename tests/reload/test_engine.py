"""Triggers in turn: what is told of each, what becomes of those that come together, and the end of a network."""

from __future__ import annotations

import asyncio

from doors import HEAD, Doors, slow
from workspaces import PATIENCE, Workspace, mod_text, served

from devserver.model.facts import ModError, Notice, PlanDone, Status


async def test_a_hundred_triggers_at_once_are_all_answered_in_turn(work: Workspace, at: str) -> None:
    """Loads, unloads and reloads of one mod from everywhere: each is answered, and one instance is left or none."""
    work.mod("echo", served("echo", 1))
    await work.start(home=at)
    calls = [
        *(work.net.load_mod("mods.echo") for _ in range(40)),
        *(work.net.reload_mod("echo") for _ in range(30)),
        *(work.net.unload_mod("echo") for _ in range(30)),
    ]
    answers = await asyncio.gather(*(calls[n * 37 % 100] for n in range(100)))
    loads = sum(each.message == "Successfully loaded mod: echo" for each in answers)
    unloads = sum(each.message == "Successfully unloaded mod: echo" for each in answers)
    assert len(work.running()) == loads - unloads
    assert sum(each.success for each in answers) > 0
    generations = [
        (each.data or {})["generation"] for each in answers if each.success and "unloaded" not in each.message
    ]
    assert len(generations) == len(set(generations))


async def test_a_double_load_makes_one_instance(work: Workspace, at: str) -> None:
    """Of two loads at once one succeeds; the other is told which generation runs."""
    work.mod("echo", served("echo", 1), "MADE = []\n")
    await work.start(home=at)
    for _ in range(20):
        one, other = await asyncio.gather(work.net.load_mod("mods.echo"), work.net.load_mod("mods.echo"))
        assert (one.success, other.success) == (True, False)
        assert "already loaded" in other.message
        assert (await work.net.unload_mod("echo")).success


async def test_a_reload_that_fails_leaves_other_groups_of_the_same_save_alone(work: Workspace, at: str) -> None:
    """Of two unrelated mods saved together the good one is reloaded."""
    for name in ("good", "wrong"):
        work.mod(name, served(name, 1))
    await work.start("mods.wrong", "mods.good", home=at)
    files = [work.mod("good", served("good", 2)), work.mod("wrong", "def broken(:")]
    done = await work.saved(*files)
    assert {each.mod_id: each.status for each in done.outcomes} == {
        "wrong": Status.ROLLED_BACK,
        "good": Status.APPLIED,
    }
    assert (await work.version("wrong"), await work.version("good")) == (1, 2)


async def test_a_failed_save_that_is_taken_back_is_forgotten(work: Workspace, at: str) -> None:
    """When the disk holds again what runs, nothing is reloaded and it is said."""
    file = work.mod("echo", served("echo", 1))
    text = file.read_text()
    await work.start("mods.echo", home=at)
    await work.save_mod("echo", "def broken(:")
    done = await work.saved(work.write("mods/echo.py", text))
    assert done.outcomes == ()
    assert [each.message for each in work.told(Notice)] == [
        "mods/echo.py matches echo v1 again, which kept running; nothing to reload"
    ]
    assert work.running() == {"echo": 1}


async def test_a_save_that_changes_nothing_reloads_nothing(work: Workspace, at: str) -> None:
    """What is loaded follows from contents alone."""
    file = work.mod("echo", served("echo", 1))
    await work.start("mods.echo", home=at)
    for _ in range(3):
        done = await work.saved(work.write("mods/echo.py", file.read_text()))
        assert done.plan.empty
    assert work.running() == {"echo": 1}


# The end


async def test_a_trigger_that_waits_when_the_network_ends_is_answered(work: Workspace, doors: Doors) -> None:
    """No one waits for a network that is gone."""
    body = "async def initialize(self):\n    await doors.stand('start')"
    work.mod("slow", body, HEAD)
    work.mod("echo", served("echo", 1))
    await work.start("mods.echo")
    first = asyncio.create_task(work.net.load_mod("mods.slow"))
    await doors.reached("start")
    second = asyncio.create_task(work.net.reload_mod("echo"))
    await asyncio.sleep(0)
    await work.net.shutdown()
    async with asyncio.timeout(PATIENCE):
        results = await asyncio.gather(first, second, return_exceptions=True)
    assert isinstance(results[0], BaseException)
    assert "the network has ended" in str(results[1])
    assert work.net.running_mods() == {}


async def test_the_end_of_a_network_shuts_every_mod_down_once(work: Workspace, doors: Doors, at: str) -> None:
    """Also those that linger; a `shutdown()` that fails is told and keeps nothing."""
    shut = "\ndef shutdown(self):\n    doors.standing.append('{0}')\n    raise OSError('{0}')\n"
    work.mod("echo", slow("echo", 1) + shut.format("first"), HEAD)
    work.mod("other", served("other", 1, shut.format("other")), HEAD)
    await work.start("mods.echo", "mods.other", home=at)
    in_flight = asyncio.create_task(work.ask("echo.slow.get"))
    await doors.reached("echo")
    await work.save_mod("echo", slow("echo", 2) + shut.format("second"), HEAD)
    await work.net.shutdown()
    assert sorted(set(doors.standing) - {"echo"}) == ["first", "other", "second"]
    assert len(doors.standing) == 4
    assert sorted(each.error.message for each in work.told(ModError)) == ["first", "other", "second"]
    in_flight.cancel()


async def test_what_was_told_of_a_plan_is_what_came_of_it(work: Workspace, at: str) -> None:
    """Each plan that does anything is told with its outcomes, in the order of the triggers."""
    work.mod("echo", served("echo", 1))
    await work.start("mods.echo", home=at)
    await work.save_mod("echo", served("echo", 2))
    await work.net.unload_mod("echo")
    told = [(each.plan.cause, [(o.action, o.status) for o in each.outcomes]) for each in work.told(PlanDone)]
    assert told == [
        ("start", [("load", "applied")]),
        ("mods/echo.py", [("reload", "applied")]),
        ("unload_mod", [("unload", "applied")]),
    ]


async def test_a_load_that_is_refused_answers_for_the_mod_that_was_asked_for(work: Workspace) -> None:
    """Another mod has its id: that one is named, and is not what the answer is about."""
    work.mod("wiki", served("wiki", 1))
    work.write("notes/wiki.py", mod_text("Wiki", served("wiki", 2)))
    await work.start("mods.wiki")
    answer = await work.net.load_mod("notes.wiki")
    assert answer.message == (
        "Failed to load mod wiki: the id wiki belongs to mods.wiki, which keeps running; unload that first"
    )
    assert answer.data is not None
    assert (answer.data["mod_path"], answer.data["generation"]) == ("notes.wiki", 0)
    assert work.running() == {"wiki": 1}
