"""Where the system gives too little, refuses, or holds too much: what is on disk is served all the same."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from process import Process, can, running
from watching import Watching, echo
from workspaces import Workspace, mod_text, served, until

MEBIBYTE = 1024 * 1024
NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")


def limited(limit: str, value: int) -> tuple[str, ...]:
    """The command that runs another one with a limit of its own on inotify."""
    return "unshare", "-Ur", "sh", "-c", f'echo {value} > /proc/sys/user/{limit} && exec "$@"', "sh"


needs_namespaces = pytest.mark.skipif(
    not can(*limited("max_inotify_watches", 10)), reason="this machine does not let us set limits of our own (unshare)"
)
needs_permissions = pytest.mark.skipif(
    os.getuid() == 0 and not can(*NOBODY, sys.executable, "-c", "import devserver"),
    reason="root may read everything, and another user cannot be had here, or cannot reach Python (setpriv)",
)


def many_mods(folder: Path, count: int) -> tuple[Workspace, list[str]]:
    workspace = Workspace(folder)
    names = [f"m{number:02}" for number in range(count)]
    for name in names:
        workspace.write(f"mods/{name}/mod.py", mod_text(name.title(), served(name, 0)))
    workspace.yaml(*(f"mods.{name}" for name in names))
    return workspace, names


@needs_namespaces
@pytest.mark.parametrize(("limit", "value"), [("max_inotify_watches", 10), ("max_inotify_instances", 0)])
async def test_an_exhausted_limit_is_told_with_its_setting_and_everything_is_seen(
    tmp_path: Path, limit: str, value: int
) -> None:
    """Twenty mods in twenty folders are polled, and each save is one reload."""
    workspace, names = many_mods(tmp_path, 20)
    async with running(tmp_path, *limited(limit, value)) as process:
        await process.until(lambda: bool(process.told("notice")))
        for name in names:
            workspace.write(f"mods/{name}/mod.py", mod_text(name.title(), served(name, 1)))
        await process.until(lambda: len(process.outcomes()) >= 20)
        outcomes = [(each["mod_id"], each["status"], each["generation"]) for each in process.outcomes()]
    assert sorted(outcomes) == [(name, "applied", 2) for name in names]
    (notice,) = [each["message"] for each in process.told("notice") if not each["message"].startswith("stopping")]
    setting = limit.replace("inotify_", "user_")
    assert notice == (
        f"watching by polling, because the limit fs.inotify.{setting} is reached;"
        " raise it with sysctl to be notified at once"
    )


@needs_namespaces
async def test_a_limit_that_is_reached_later_costs_nothing_but_the_notifications(tmp_path: Path) -> None:
    """A folder that comes with the eleventh watch turns to polling, and is seen."""
    workspace, _ = many_mods(tmp_path, 2)
    async with running(tmp_path, *limited("max_inotify_watches", 8)) as process:
        await process.watches(tmp_path)
        for number in range(8):
            workspace.write(f"mods/m00/parts/p{number}/part.txt", "x")
        await process.until(lambda: bool(process.told("notice")))
        workspace.write("mods/m00/mod.py", mod_text("M00", served("m00", 1)))
        await process.until(lambda: bool(process.outcomes()))
    assert [each["status"] for each in process.outcomes()] == ["applied"]
    assert "max_user_watches" in process.told("notice")[0]["message"]


@needs_namespaces
async def test_new_watches_are_placed_though_the_old_ones_leave_too_little_room(tmp_path: Path) -> None:
    """Both sets together are over the limit, the new one alone is not: no polling."""
    workspace, _ = many_mods(tmp_path, 4)
    async with running(tmp_path, *limited("max_inotify_watches", 8)) as process:
        await process.watches(tmp_path)
        workspace.write("mods/m00/part/words.txt", "x")
        await process.until(lambda: bool(process.told("ignored")))
        workspace.write("mods/m00/mod.py", mod_text("M00", served("m00", 1)))
        await process.until(lambda: bool(process.outcomes()))
    assert [each for each in process.told("notice") if not each["message"].startswith("stopping")] == []


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that everyone may reach, and that belongs to no one."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def give_away(folder: Path) -> None:
    if os.getuid() == 0:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, 65534, 65534)


def as_nobody() -> tuple[str, ...]:
    return NOBODY if os.getuid() == 0 else ()


async def assert_error_once_then_recovered(process: Process, taken: Path, mode: int, *unseen: str) -> None:
    os.chmod(taken, 0o000)
    await process.until(lambda: bool(process.outcomes()))
    os.chmod(taken, mode)
    back = " echo v1 again, which kept running; nothing to reload"
    await process.until(lambda: any(each["message"].endswith(back) for each in process.told("notice")))
    outcomes = [(each["status"], each["generation"]) for each in process.outcomes()]
    assert outcomes == [("rolled_back", 1)]
    others = [each["message"] for each in process.told("notice") if not each["message"].endswith(back)]
    assert others == [f"{name} may not be read; changes in it are not seen" for name in unseen]


@needs_permissions
@pytest.mark.parametrize(("taken", "mode"), [("mods/echo/mod.py", 0o644), ("mods/echo", 0o755), ("mods", 0o755)])
async def test_what_may_not_be_read_is_an_error_once_and_recovers_by_itself(
    open_folder: Path, taken: str, mode: int
) -> None:
    """Without another edit; and the next edit is a reload."""
    workspace = Workspace(open_folder)
    file = workspace.write("mods/echo/mod.py", echo(0))
    workspace.yaml("mods.echo")
    give_away(open_folder)
    async with running(open_folder, *as_nobody()) as process:
        await process.watches(open_folder)
        unseen = [] if taken.endswith(".py") else [taken]
        await assert_error_once_then_recovered(process, open_folder / taken, mode, *unseen)
        file.write_text(echo(1))
        await process.until(lambda: len(process.outcomes()) == 2)
        assert (process.outcomes()[1]["status"], process.outcomes()[1]["generation"]) == ("applied", 2)


@needs_permissions
async def test_a_mod_that_may_not_be_read_at_the_start_is_an_error_once(open_folder: Path) -> None:
    """And it is loaded when it may be."""
    workspace = Workspace(open_folder)
    file = workspace.write("mods/echo/mod.py", echo(0))
    workspace.yaml("mods.echo")
    give_away(open_folder)
    file.chmod(0o000)
    async with running(open_folder, *as_nobody()) as process:
        await process.watches(open_folder)
        assert [each["status"] for each in process.told("outcome")] == ["failed"]
        file.chmod(0o644)
        await process.until(lambda: len(process.told("outcome")) == 2)
    assert process.told("outcome")[1]["status"] == "applied"


async def test_a_folder_of_mods_that_may_not_be_reached_is_as_one_that_is_not_there(
    desk: Watching, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python says of a path in a closed folder that it is refused; the others are watched."""
    desk.write("mods/echo/mod.py", echo(0))
    await desk.begin()
    closed, stat = str(desk.folder / "closed" / "more"), os.stat

    def refused(path: Any, **how: Any) -> os.stat_result:
        if str(path) == closed:
            raise PermissionError(13, "Permission denied", closed)
        return stat(path, **how)

    monkeypatch.setattr(os, "stat", refused)
    monkeypatch.setattr(desk.watch, "_folders", lambda: ["mods", "closed/more"])
    assert desk.watch.watched() == ("mods/", "network.yaml")


async def test_ignored_trees_are_not_entered(desk: Watching) -> None:
    """However much is in them: no directory of theirs is watched."""
    desk.write("mods/echo/mod.py", echo(0))
    desk.write(".gitignore", "build/\n")
    for top in ("mods/node_modules", "mods/.venv", "mods/.git", "mods/build", "mods/__pycache__"):
        for number in range(20):
            desk.write(f"{top}/d{number}/x.py", "")
    desk.write("mods/env/pyvenv.cfg", "")
    desk.write("mods/env/lib/x.py", "")
    await desk.begin()
    assert desk.watch._ground.directories == {str(desk.folder / each) for each in ("mods", "mods/echo")} | {
        str(desk.folder)
    }


@pytest.mark.slow
async def test_fifty_thousand_ignored_files_cost_next_to_nothing(tmp_path: Path) -> None:
    """Neither much time at the start nor 30 MiB of memory."""
    bare, full = tmp_path / "bare", tmp_path / "full"
    for folder in (bare, full):
        many_mods(folder, 3)
    for top in ("node_modules", ".venv", ".git"):
        for number in range(170):
            directory = full / "mods" / top / f"d{number}"
            directory.mkdir(parents=True)
            for name in range(100):
                (directory / f"f{name}.py").touch()
    found = []
    for folder in (bare, full):
        async with running(folder) as process:
            await process.watches(folder)
            found.append((process.told("ready")[0]["ready_ms"], process.memory()))
    (bare_ms, bare_memory), (full_ms, full_memory) = found
    assert full_memory - bare_memory < 30 * MEBIBYTE
    assert full_ms < 3 * bare_ms


@pytest.mark.slow
async def test_five_thousand_watched_files_cost_little_while_nothing_happens(tmp_path: Path) -> None:
    """About 1.2 % of a core where nothing else runs, and on a busy machine at most 2.5 %."""
    workspace, _ = many_mods(tmp_path, 2)
    for number in range(5000):
        workspace.write(f"mods/m00/p{number // 10:03}/x{number}.txt", str(number))
    head = "from pathlib import Path\nALL = [each.read_text() for each in Path(__file__).parent.glob('p*/*.txt')]"
    workspace.write("mods/m00/mod.py", mod_text("M00", served("m00", 0), head))
    used = []
    for more in ((), ("--no-watch",)):
        async with running(tmp_path, more=more) as process:
            if not more:
                await process.watches(tmp_path)
            used.append(await _idle_use(process))
    assert used[0] - used[1] < 0.025, used


async def _idle_use(process: Process, seconds: float = 10.0) -> float:
    """The share of a core that it uses; what the start left to do has five seconds to end."""
    await asyncio.sleep(5)
    before = process.processor_seconds()
    await asyncio.sleep(seconds)
    return (process.processor_seconds() - before) / seconds


async def test_the_end_of_a_watch_leaves_no_thread_and_no_descriptor(desk: Watching) -> None:
    """What it started has ended soon after."""
    desk.write("mods/echo/mod.py", echo(0))
    await desk.start("mods.echo")
    await until(lambda: not _watch_threads())
    before = len(os.listdir("/proc/self/fd"))
    desk.attach()
    await desk.placed()
    desk.write("mods/echo/part/x.txt", "")
    await desk.seen()
    await desk.end()
    await until(lambda: not _watch_threads() and len(os.listdir("/proc/self/fd")) <= before)


def _watch_threads() -> list[str]:
    return [each.name for each in threading.enumerate() if each.name == "oa-dev watch"]
