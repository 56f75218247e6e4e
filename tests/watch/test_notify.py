"""Notifications come from the directories that are asked for, whatever becomes of these."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from watching import named
from workspaces import until

from devserver.sources import notify
from devserver.sources.ignore import Rules
from devserver.sources.notify import Notifier, survey


def most_queued() -> int:
    """How many notifications the system keeps."""
    return int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())


class Told:
    """What a notifier told."""

    def __init__(self) -> None:
        self.paths: set[str] = set()
        self.placed = 0
        self.notices: list[str] = []
        self.notifier = Notifier(self.paths.update, self._placed, self.notices.append)

    def _placed(self) -> None:
        self.placed += 1

    async def watch(self, *directories: Path) -> None:
        """Watch, and return when that is so."""
        before = self.placed
        self.notifier.watch(str(each) for each in directories)
        await until(lambda: self.placed > before and self.notifier._coming is None)


@pytest.fixture
async def told() -> AsyncIterator[Told]:
    """A notifier, stopped after the test."""
    made = Told()
    yield made
    made.notifier.stop()


async def test_what_happens_in_a_directory_is_told_and_what_happens_below_is_not(told: Told, tmp_path: Path) -> None:
    """Those below are asked for by themselves."""
    (tmp_path / "below").mkdir()
    await told.watch(tmp_path)
    (tmp_path / "below" / "x").touch()
    (tmp_path / "y").touch()
    await until(lambda: bool(told.paths))
    assert told.paths == {str(tmp_path / "y")}


@pytest.mark.skipif(sys.platform != "linux", reason="inotify is Linux's")
async def test_an_overflow_is_told_in_one_line_for_a_whole_storm(told: Told, tmp_path: Path) -> None:
    """And its owner is told to look for itself, each time."""
    await told.watch(tmp_path)
    files = [tmp_path / "a", tmp_path / "b"]
    most = most_queued()
    for each in files:
        each.touch()
    for _ in range(2):
        placed = told.placed
        # Without a pause in between, so that nothing of it is read meanwhile. Equal events in a row are one.
        for number in range(most + 20):
            os.utime(files[number % 2])
        await until(lambda before=placed: told.placed > before)
    assert [each.partition(",")[0] for each in told.notices] == ["too much changed at once"]
    assert "max_queued_events" in told.notices[0]


async def test_nothing_is_missed_while_the_set_of_directories_changes(told: Told, tmp_path: Path) -> None:
    """The watches of before stay until the new ones are placed."""
    await told.watch(tmp_path)
    for number in range(30):
        folder = tmp_path / f"d{number}"
        folder.mkdir()
        told.notifier.watch([str(tmp_path), str(folder)])
        (tmp_path / f"x{number}").touch()
    wanted = {str(tmp_path / f"x{number}") for number in range(30)}
    await until(lambda: wanted <= told.paths)
    assert told.notices == []


async def test_a_directory_that_took_anothers_place_is_watched_anew(told: Told, tmp_path: Path) -> None:
    """Its name is the same; the watch of before was of the other one."""
    folder = tmp_path / "folder"
    folder.mkdir()
    await told.watch(folder)
    folder.rename(tmp_path / "aside")
    folder.mkdir()
    await told.watch(folder)
    (folder / "x").touch()
    await until(lambda: str(folder / "x") in told.paths)


async def test_the_same_directories_are_watched_once(told: Told, tmp_path: Path) -> None:
    """Nothing is placed again for them."""
    await told.watch(tmp_path)
    placed = told.placed
    told.notifier.watch([str(tmp_path)])
    (tmp_path / "x").touch()
    await until(lambda: str(tmp_path / "x") in told.paths)
    assert told.placed == placed


async def test_directories_that_are_not_there_or_have_no_text_for_a_name_are_left_out(
    told: Told, tmp_path: Path
) -> None:
    """The others are watched, and no one polls."""
    odd = named(tmp_path, b"caf\xe9")
    odd.mkdir()
    await told.watch(tmp_path, odd, tmp_path / "gone")
    (tmp_path / "x").touch()
    await until(lambda: str(tmp_path / "x") in told.paths)
    assert (told.notifier.kind, told.notices) == ("notifications", [])


async def test_a_directory_that_goes_while_it_is_being_watched_is_asked_for_again(
    told: Told, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its owner is told to look again; that is no reason to poll."""
    monkeypatch.setattr("devserver.sources.notify._identity", lambda path: (path, 1, 1))
    await told.watch(tmp_path, tmp_path / "gone")
    await told.watch(tmp_path)
    (tmp_path / "x").touch()
    await until(lambda: str(tmp_path / "x") in told.paths)
    assert (told.notifier.kind, told.notices) == ("notifications", [])


async def test_a_file_name_that_is_no_text_is_survived(told: Told, tmp_path: Path) -> None:
    """What was missed with it is to be looked for, and what comes after it is told."""
    await told.watch(tmp_path)
    placed = told.placed
    named(tmp_path, b"caf\xe9.txt").touch()
    await until(lambda: told.placed > placed)
    (tmp_path / "x").touch()
    await until(lambda: str(tmp_path / "x") in told.paths)


@pytest.mark.parametrize(("asked", "kind"), [("1", "polling"), ("false", "notifications")])
async def test_polling_can_be_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: str, kind: str) -> None:
    """By the variable that watchfiles knows; what happens is told all the same."""
    monkeypatch.setenv("WATCHFILES_FORCE_POLLING", asked)
    told = Told()
    await told.watch(tmp_path)
    (tmp_path / "x").touch()
    await until(lambda: str(tmp_path / "x") in told.paths)
    told.notifier.stop()
    assert told.notifier.kind == kind


async def test_on_wsl_files_are_polled_without_being_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its system does not notify of saves by programs of Windows."""
    monkeypatch.delenv("WATCHFILES_FORCE_POLLING", raising=False)
    monkeypatch.setattr("platform.release", lambda: "5.15.90.1-microsoft-standard-WSL2")
    told = Told()
    await told.watch(tmp_path)
    told.notifier.stop()
    assert told.notifier.kind == "polling"


def test_a_place_in_a_directory_that_is_not_there_is_watched_above_it(tmp_path: Path) -> None:
    """From the nearest one that is."""
    (tmp_path / "a").mkdir()
    found = survey([tmp_path / "a" / "b" / "c" / "x.py"], [], Rules(tmp_path))
    assert found.directories == {str(tmp_path / "a")}


def test_a_source_behind_a_link_is_known_by_its_real_name_too(tmp_path: Path) -> None:
    """Through a link to a directory, and through a link to a file."""
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "x.py").touch()
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "real" / "y.py").symlink_to("x.py")
    sources = [tmp_path / "link" / "x.py", tmp_path / "real" / "y.py"]
    found = survey(sources, [], Rules(tmp_path))
    assert found.aliases == {str(tmp_path / "real" / "x.py"): tuple(sources)}
    assert found.directories == {str(tmp_path / "real")}


async def test_a_directory_that_was_made_again_is_watched_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file system may give the new one the number of the old one; its watch has gone with that."""
    monkeypatch.setattr(notify, "_identity", lambda path: (path, 1, 1))
    told: set[str] = set()
    notifier = Notifier(told.update, lambda: None, lambda words: None)
    folder = tmp_path / "mods"
    folder.mkdir()
    try:
        notifier.watch([str(folder)])
        inotify = notifier._inotify
        if inotify is None:
            pytest.skip("this system has no inotify")
        shutil.rmtree(folder)
        folder.mkdir()
        await until(lambda: inotify.lost)
        notifier.watch([str(folder)])
        (folder / "a.py").write_text("1")
        await until(lambda: any(each.endswith("a.py") for each in told))
    finally:
        notifier.stop()
