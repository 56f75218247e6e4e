"""What is on disk is served also where no notification comes, whatever the clocks say."""

from __future__ import annotations

import os

import pytest
from watching import Watching, echo
from workspaces import until

from devserver.model.facts import Status
from devserver.sources import settle


async def test_a_save_that_nobody_was_notified_of_is_found_by_the_next_sweep(desk: Watching) -> None:
    """Also a new file where one was looked for in vain, and a deleted one."""
    head = "try:\n    from mods.echo.words import ALL\nexcept ImportError:\n    ALL = 0"
    file = desk.write("mods/echo/mod.py", echo(0, head))
    await desk.begin()
    desk.never_notify()
    file.write_text(echo(1, head))
    await desk.serves(1)
    words = desk.write("mods/echo/words.py", "ALL = 1\n")
    await until(lambda: len(desk.reloads()) == 2)
    words.unlink()
    await until(lambda: len(desk.reloads()) == 3)
    desk.assert_reloaded(3)


async def test_a_new_directory_that_nobody_was_notified_of_is_watched_after_the_next_sweep(desk: Watching) -> None:
    """One that took another's place is another one."""
    file = desk.write("mods/echo/mod.py", echo(0))
    await desk.begin()
    notified, desk.watch._notifier._woken = desk.watch._notifier._woken, lambda paths: None
    file.parent.rename(desk.folder / "aside")
    desk.write("mods/echo/mod.py", echo(1))
    await desk.serves(1)
    await until(lambda: desk.watch._notifier._coming is None and not desk.watch._has_missed)
    desk.watch._notifier._woken = notified
    desk.never_sweep()
    file.write_text(echo(2))
    await desk.serves(2)
    desk.assert_reloaded(2)


@pytest.mark.parametrize("stamp", [0, 10**9, 4 * 10**18], ids=["1970", "2001", "2096"])
async def test_times_of_files_mean_nothing(desk: Watching, stamp: int) -> None:
    """A save whose time lies before that of the last one, or in the future, is a save."""
    file = desk.write("mods/echo/mod.py", echo(0))
    os.utime(file, ns=(3 * 10**18, 3 * 10**18))
    await desk.begin()
    for version in range(1, 4):
        file.write_text(echo(version))
        os.utime(file, ns=(stamp, stamp))
        await desk.serves(version)
    await desk.seen()
    desk.assert_reloaded(3)


async def test_saves_of_equal_length_within_one_second_are_each_served(desk: Watching) -> None:
    """Stamps and sizes are the same: only the content tells."""
    file = desk.write("mods/echo/mod.py", echo(1000))
    os.utime(file, ns=(10**18, 10**18))
    await desk.begin()
    for version in range(1001, 1011):
        file.write_text(echo(version))
        os.utime(file, ns=(10**18, 10**18))
        await desk.serves(version)
    desk.assert_reloaded(10)


async def test_a_second_save_within_a_tick_of_a_coarse_clock_is_found_without_a_notification(
    desk: Watching, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some file systems stamp to two seconds; a fresh save is looked at once more when they have passed."""
    monkeypatch.setattr(settle, "signature", lambda path: (0, 0, 1, 1) if path.is_file() else None)
    file = desk.write("mods/echo/mod.py", echo(0))
    await desk.begin()
    file.write_text(echo(1))
    await desk.serves(1)
    desk.never_notify()
    file.write_text(echo(2))
    await desk.serves(2)


async def test_what_was_loaded_from_another_content_than_was_seen_is_loaded_again(desk: Watching) -> None:
    """A reload by hand has read a save that was taken back before the watch looked."""
    file = desk.write("mods/echo/mod.py", echo(0))
    await desk.begin()
    desk.never_notify()
    file.write_text(echo(1))
    assert (await desk.net.reload_mod("echo")).success
    assert await desk.version("echo") == 1
    file.write_text(echo(0))
    await desk.serves(0)
    assert {each.status for each in desk.reloads()} == {Status.APPLIED}


async def test_a_save_before_the_watches_are_placed_is_seen(desk: Watching) -> None:
    """Between the loading of a mod and the first notification nothing is lost."""
    file = desk.write("mods/echo/mod.py", echo(0))
    await desk.start("mods.echo")
    file.write_text(echo(1))
    desk.attach()
    await desk.serves(1)
    file.write_text(echo(2))
    await desk.serves(2)
    await desk.placed()
    desk.assert_reloaded(2)


async def test_a_fault_of_ours_in_one_change_does_not_end_the_watch(desk: Watching) -> None:
    """It is told, and the next save is seen; a later fault is told, too."""
    told = "a change could not be followed: RuntimeError: no plan"
    file = desk.write("mods/echo/mod.py", echo(0))
    await desk.begin()

    async def broken(changed: object, texts: object) -> None:
        raise RuntimeError("no plan")

    whole, desk.watch._on_change = desk.watch._on_change, broken
    file.write_text(echo(1))
    await until(lambda: desk.notices() == [told])
    desk.watch._on_change = whole
    file.write_text(echo(2))
    await desk.serves(2)
    desk.watch._on_change = broken
    file.write_text(echo(3))
    await until(lambda: desk.notices() == [told] * 2)
