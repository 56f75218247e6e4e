"""Files that go, come back, cannot be read, or are something else for a while: what runs keeps running."""

from __future__ import annotations

import asyncio
import shutil

import pytest
from watching import Watching, echo
from workspaces import served, until

from devserver.model.facts import ConfigRefused, Status
from devserver.sources import watch as watch_module


async def test_a_file_that_comes_back_within_a_second_was_never_gone(desk: Watching) -> None:
    """A branch switch there and back reloads nothing and tells of nothing."""
    file = desk.write("mods/echo/mod.py", echo(0))
    await desk.begin()
    away = desk.folder / "away"
    for _ in range(3):
        file.rename(away)
        await desk.seen()
        assert desk.watch._memory._known[file].missing_since is not None
        away.rename(file)
        await desk.seen()
    assert (desk.reloads(), desk.reported, desk.notices()) == ([], [], [])


async def test_a_file_that_comes_back_changed_is_one_reload(desk: Watching) -> None:
    """Deleted, looked for, and written again."""
    file = desk.write("mods/echo/mod.py", echo(0))
    await desk.begin()
    file.unlink()
    await desk.seen()
    file.write_text(echo(1))
    await desk.serves(1)
    await desk.seen()
    desk.assert_reloaded(1)


async def test_a_source_that_is_gone_is_held_and_said_once(desk: Watching) -> None:
    """After a second; the generation that was made from it keeps serving, and the file's return is a reload."""
    file = desk.write("mods/echo/mod.py", echo(0))
    await desk.begin()
    file.unlink()
    await until(lambda: len(desk.plans()) == 1)
    (outcome,) = desk.reloads()
    reason = "source missing: mods/echo/mod.py; echo v1 keeps running"
    assert (outcome.status, outcome.generation, outcome.error, outcome.reason) == (Status.SKIPPED, 1, None, reason)
    assert await desk.version("echo") == 0
    sweeps = desk.watch._sweeps.due
    await until(lambda: desk.watch._sweeps.due > sweeps)
    await desk.seen()
    assert len(desk.plans()) == 1
    file.write_text(echo(1))
    await desk.serves(1)
    assert [each.status for each in desk.reloads()] == [Status.SKIPPED, Status.APPLIED]


async def test_a_missing_file_that_comes_back_as_it_was_is_told_of_and_reloads_nothing(desk: Watching) -> None:
    """What runs is what is on disk again."""
    file = desk.write("mods/echo/mod.py", echo(0))
    await desk.begin()
    instance = desk.instance("echo")
    file.unlink()
    await until(lambda: len(desk.plans()) == 1)
    file.write_text(echo(0))
    await until(
        lambda: desk.notices() == ["mods/echo/mod.py matches echo v1 again, which kept running; nothing to reload"]
    )
    assert desk.instance("echo") is instance
    assert [each.status for each in desk.reloads()] == [Status.SKIPPED]


async def test_a_folder_of_a_mod_that_is_moved_away_is_one_line_and_its_return_another(desk: Watching) -> None:
    """Its package, its module and its helper are gone at once; nothing is tried, nothing is rolled back."""
    desk.write("mods/echo/__init__.py", "")
    desk.write("mods/echo/words.py", "")
    file = desk.write("mods/echo/mod.py", echo(0, "from mods.echo import words"))
    await desk.begin()
    away = file.parent.rename(desk.folder / "away")
    await until(lambda: len(desk.plans()) == 1)
    await desk.seen()
    assert [each.reason for each in desk.reloads()] == ["source missing: mods/echo/mod.py; echo v1 keeps running"]
    away.rename(file.parent)
    await until(
        lambda: desk.notices() == ["the sources on disk match echo v1 again, which kept running; nothing to reload"]
    )
    await desk.seen()
    assert len(desk.reloads()) == 1
    file.write_text(echo(1, "from mods.echo import words"))
    await desk.serves(1)


async def test_a_helper_that_is_gone_is_named_as_gone(desk: Watching) -> None:
    """Who imports it still cannot be reloaded: the error is the one of a fresh start, and what runs runs on."""
    desk.write("mods/echo/mod.py", echo(0, "from mods.echo import words"))
    words = desk.write("mods/echo/words.py", "")
    await desk.begin()
    words.unlink()
    await until(lambda: len(desk.plans()) == 1)
    (outcome,) = desk.reloads()
    assert (outcome.status, outcome.generation) == (Status.ROLLED_BACK, 1)
    assert outcome.reason == "mods/echo/words.py is gone, imported by echo"
    assert outcome.error is not None and outcome.error.where is not None
    assert (outcome.error.where.file, outcome.error.where.line) == ("mods/echo/mod.py", 4)
    assert await desk.version("echo") == 0


async def test_mods_that_share_a_changed_module_wait_together_for_a_source_that_is_gone(desk: Watching) -> None:
    """All of them get what was saved meanwhile, when it is back; a mod that shares nothing waits for no one."""
    head = "from lib.words import WORD"
    desk.write("lib/words.py", "WORD = 1\n")
    file = desk.write("mods/echo/mod.py", echo(0, head))
    desk.mod("other", served("other", 1, "def word(self): return WORD"), head + "\n")
    desk.mod("alone", "")
    await desk.begin("mods.echo", "mods.other", "mods.alone")
    text = file.read_text()
    file.unlink()
    await until(lambda: len(desk.reloads()) == 1)
    desk.write("lib/words.py", "WORD = 2\n")
    await until(lambda: len(desk.reloads("other")) == 1)
    desk.mod("alone", "x = 1")
    await until(lambda: desk.running() == {"echo": 1, "other": 1, "alone": 2})
    assert desk.reloads("other")[0].reason == (
        "it shares lib/words.py with echo, which is held; other v1 keeps running"
    )
    file.write_text(text)
    await until(lambda: desk.running() == {"echo": 2, "other": 2, "alone": 2})
    assert desk.instance("other").word() == 2
    # It runs from the commit on, and is told once the old one is closed.
    await until(lambda: [each.status for each in desk.reloads()] == [Status.SKIPPED, Status.APPLIED])


async def test_mods_that_were_held_with_one_are_reloaded_when_network_yaml_drops_it(desk: Watching) -> None:
    """Its source is gone for good, and so is what they have waited for."""
    head = "from lib.words import WORD"
    desk.write("lib/words.py", "WORD = 1\n")
    file = desk.write("mods/echo/mod.py", echo(0, head))
    desk.mod("other", served("other", 1, "def word(self): return WORD"), head + "\n")
    await desk.begin("mods.echo", "mods.other")
    file.unlink()
    await until(lambda: len(desk.reloads()) == 1)
    desk.write("lib/words.py", "WORD = 2\n")
    await until(lambda: len(desk.reloads("other")) == 1)
    desk.yaml("mods.other")
    await until(lambda: desk.running() == {"other": 2})
    assert desk.instance("other").word() == 2
    await until(lambda: [each.status for each in desk.reloads("other")] == [Status.SKIPPED, Status.APPLIED])


async def test_a_reload_that_is_asked_for_says_that_the_source_is_missing(desk: Watching) -> None:
    """Each time that it is asked for; the mod keeps running."""
    file = desk.write("mods/echo/mod.py", echo(0))
    await desk.begin()
    file.unlink()
    for _ in range(2):
        answer = await desk.net.reload_mod("echo")
        assert not answer.success
        assert answer.message == ("Failed to reload mod echo: source missing: mods/echo/mod.py; echo v1 keeps running")
    assert await desk.version("echo") == 0


async def test_a_helper_that_is_renamed_with_its_importer_is_one_reload(desk: Watching) -> None:
    """Where it was is no source any more when its second has passed."""
    file = desk.write("mods/echo/mod.py", echo(0, "from mods.echo import old"))
    old = desk.write("mods/echo/old.py", "")
    await desk.begin()
    old.rename(old.with_name("new.py"))
    file.write_text(echo(1, "from mods.echo import new"))
    await desk.serves(1)
    sweeps = desk.watch._sweeps.due
    await until(lambda: desk.watch._sweeps.due > sweeps + watch_module.SWEEP)
    await desk.seen()
    desk.assert_reloaded(1)


async def test_a_source_that_is_a_directory_for_a_while_is_a_missing_one(desk: Watching) -> None:
    """Its return is seen, with what it then holds."""
    file = desk.write("mods/echo/mod.py", echo(0, "from mods.echo import words"))
    words = desk.write("mods/echo/words.py", "")
    await desk.begin()
    words.unlink()
    words.mkdir()
    await until(lambda: len(desk.plans()) == 1)
    assert await desk.version("echo") == 0
    words.rmdir()
    words.write_text("ALL = 1\n")
    file.write_text(echo(1, "from mods.echo.words import ALL"))
    await desk.serves(1)


async def test_a_module_that_becomes_a_package_and_back_is_served_as_it_is(desk: Watching) -> None:
    """Python prefers the package; without it the module is what a fresh start imports."""
    desk.write("mods/echo.py", echo(0))
    await desk.begin()
    desk.write("mods/echo/__init__.py", echo(1))
    await desk.serves(1)
    shutil.rmtree(desk.folder / "mods/echo")
    await desk.serves(0)
    assert {each.status for each in desk.reloads()} == {Status.APPLIED}


async def test_network_yaml_may_go_and_come_back_with_a_change(desk: Watching) -> None:
    """The last good one stays in force, that is said once, and then the change is applied."""
    desk.write("mods/echo/mod.py", echo(0))
    desk.mod("other", "")
    await desk.begin()
    file = desk.folder / "network.yaml"
    file.unlink()
    await until(lambda: bool(desk.told(ConfigRefused)))
    assert list(desk.running()) == ["echo"]
    desk.yaml("mods.echo", "mods.other")
    await until(lambda: list(desk.running()) == ["echo", "other"])
    await desk.seen()
    assert [str(each.errors[0]) for each in desk.told(ConfigRefused)] == [
        "ConfigError: the file cannot be read: No such file or directory at network.yaml:1"
    ]
    assert desk.reloads() == []


async def test_a_network_yaml_that_is_emptied_before_it_is_written_is_read_once(desk: Watching) -> None:
    """The half of it that was there for a moment is no error."""
    desk.write("mods/echo/mod.py", echo(0))
    desk.mod("other", "")
    await desk.begin()
    text = desk.yaml("mods.echo", "mods.other").read_text()
    desk.yaml("mods.echo")
    await desk.seen()
    with (desk.folder / "network.yaml").open("w") as file:
        file.flush()
        await asyncio.to_thread(file.write, text)
    await until(lambda: list(desk.running()) == ["echo", "other"])
    assert desk.told(ConfigRefused) == []


async def test_a_mod_that_did_not_load_at_the_start_is_not_tried_again_until_it_is_saved(desk: Watching) -> None:
    """Neither when the watch begins nor at any sweep."""
    file = desk.write("mods/echo/mod.py", "def broken(:\n")
    await desk.begin()
    sweeps = desk.watch._sweeps.due
    await until(lambda: desk.watch._sweeps.due > sweeps)
    await desk.seen()
    assert [each.status for each in desk.outcomes()] == [Status.FAILED]
    file.write_text(echo(1))
    await desk.serves(1)
    assert [each.status for each in desk.outcomes()] == [Status.FAILED, Status.APPLIED]


@pytest.mark.parametrize("missing", ["mods/echo/mod.py", "mods/echo/words.py"])
async def test_what_was_missing_at_the_start_is_seen_when_it_comes(desk: Watching, missing: str) -> None:
    """The mod itself, or a module that it needs; also when its folder comes with it."""
    texts = {"mods/echo/mod.py": echo(1, "from mods.echo import words"), "mods/echo/words.py": ""}
    for path in texts.keys() - {missing}:
        desk.write(path, texts[path])
    await desk.begin()
    assert desk.running() == {}
    desk.write(missing, texts[missing])
    await desk.serves(1)
