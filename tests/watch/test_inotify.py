"""Linux's notifications: what is told of directories, at once and together."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from workspaces import until

from devserver.sources.inotify import Identity, Inotify

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="inotify is Linux's")


def identity(directory: Path) -> Identity:
    found = directory.stat()
    return (str(directory), found.st_dev, found.st_ino)


def most_queued() -> int:
    return int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())


class Listening:
    """An inotify with everything that it told, call by call."""

    def __init__(self, source: Path | None = None) -> None:
        self.told: list[set[str]] = []
        self.missed = self.overflows = 0
        self.inotify = Inotify(self.told.append, self._miss, self._overflow, lambda path: path == str(source))

    def _miss(self) -> None:
        self.missed += 1

    def _overflow(self) -> None:
        self.overflows += 1

    @property
    def names(self) -> set[str]:
        return {os.path.basename(each) for call in self.told for each in call}


@pytest.fixture
async def listening() -> AsyncIterator[Listening]:
    made = Listening()
    yield made
    made.inotify.close()


@pytest.mark.parametrize("how", ["write", "rename", "delete", "chmod", "mkdir", "link"])
async def test_whatever_happens_to_an_entry_is_told_with_its_path(
    listening: Listening, tmp_path: Path, how: str
) -> None:
    """Reading is no happening."""
    file = tmp_path / "x"
    file.write_text("1")
    listening.inotify.watch(frozenset({identity(tmp_path)}))
    file.read_text()
    match how:
        case "write":
            file.write_text("2")
        case "rename":
            file.rename(tmp_path / "y")
        case "delete":
            file.unlink()
        case "chmod":
            file.chmod(0o600)
        case "mkdir":
            (tmp_path / "d").mkdir()
        case _:
            (tmp_path / "l").symlink_to(file)
    await until(lambda: bool(listening.told))
    expected = {"rename": {"x", "y"}, "mkdir": {"d"}, "link": {"l"}}.get(how, {"x"})
    assert listening.names == expected
    assert listening.told[0] == {str(tmp_path / each) for each in expected}


async def test_files_that_are_saved_together_are_told_together(listening: Listening, tmp_path: Path) -> None:
    """Also in several directories: one call for all of them."""
    folders = [tmp_path / name for name in "abc"]
    for each in folders:
        each.mkdir()
    listening.inotify.watch(frozenset(map(identity, folders)))
    for each in folders:
        (each / each.name).write_text("1")
    await until(lambda: listening.names == set("abc"))
    assert len(listening.told) == 1


async def test_a_source_is_told_at_once_when_it_is_whole(tmp_path: Path) -> None:
    """While it is written, and for other files, others are waited for."""
    source = tmp_path / "x.py"
    listening = Listening(source)
    listening.inotify.watch(frozenset({identity(tmp_path)}))
    (tmp_path / "y").write_text("1")
    with source.open("w") as file:
        listening.inotify._read()
        assert listening.told == []
        file.write("1")
    listening.inotify._read()
    listening.inotify.close()
    assert [each.name for each in map(Path, sorted(listening.told[0]))] == ["x.py", "y"]


async def test_what_is_watched_no_more_is_told_no_more(listening: Listening, tmp_path: Path) -> None:
    """Those that stay are told as before."""
    for name in "ab":
        (tmp_path / name).mkdir()
    both = frozenset({identity(tmp_path / "a"), identity(tmp_path / "b")})
    assert listening.inotify.watch(both) == both
    assert listening.inotify.watch(frozenset({identity(tmp_path / "b")})) == {identity(tmp_path / "b")}
    (tmp_path / "a" / "x").touch()
    (tmp_path / "b" / "y").touch()
    await until(lambda: bool(listening.told))
    assert listening.names == {"y"}


async def test_a_directory_that_is_gone_is_left_out(listening: Listening, tmp_path: Path) -> None:
    """The others are watched."""
    gone = (str(tmp_path / "gone"), 1, 1)
    assert listening.inotify.watch(frozenset({identity(tmp_path), gone})) == {identity(tmp_path)}


async def test_a_queue_that_has_run_over_is_told_as_such(listening: Listening, tmp_path: Path) -> None:
    """Its owner looks for itself: what the system has dropped is not known."""
    listening.inotify.watch(frozenset({identity(tmp_path)}))
    most = most_queued()
    one, other = tmp_path / "a", tmp_path / "b"
    one.touch()
    other.touch()
    # Without a pause in between, so that nothing of it is read meanwhile. Equal events one after the other are one.
    for _ in range(most // 2 + 10):
        os.utime(one)
        os.utime(other)
    await until(lambda: listening.missed > 0)
    assert listening.overflows == listening.missed


async def test_a_closed_one_leaves_no_descriptor_and_tells_nothing(tmp_path: Path) -> None:
    """Also what it was about to tell."""
    before = len(os.listdir("/proc/self/fd"))
    made = Listening()
    made.inotify.watch(frozenset({identity(tmp_path)}))
    (tmp_path / "x").touch()
    made.inotify._read()
    made.inotify.close()
    assert len(os.listdir("/proc/self/fd")) == before
    closed = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_later(0.05, closed.set_result, None)
    await closed
    assert made.told == []
