"""Directories that come, go, are swapped and are checked out by git: what is on disk is serving, as one change."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from watching import Watching, echo
from workspaces import until


def git(folder: Path, *arguments: str) -> None:
    who = ("-c", "user.name=ana", "-c", "user.email=ana@example.org", "-c", "init.defaultBranch=main")
    subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.mark.parametrize("top", ["mods/echo", "mods"])
async def test_a_directory_replaced_by_rename_is_one_reload_and_is_watched_on(desk: Watching, top: str) -> None:
    """The watches of the old directory are of no use any more: edits in the new one are seen as fast as ever."""
    file = desk.write("mods/echo/mod.py", echo(0))
    await desk.begin()
    desk.never_sweep()
    aside = desk.folder.parent / "aside"
    for version in range(1, 6):
        shutil.copytree(desk.folder / top, aside)
        (aside / file.relative_to(desk.folder / top)).write_text(echo(f"swapped {version}"))
        shutil.rmtree(desk.folder / top)
        aside.rename(desk.folder / top)
        await desk.serves(f"swapped {version}")
        await until(lambda: desk.watch._notifier._coming is None and not desk.watch._has_missed)
        file.write_text(echo(version))
        await desk.serves(version)
    await desk.seen()
    desk.assert_reloaded(10)


async def test_a_directory_swapped_for_another_is_one_reload(desk: Watching) -> None:
    """Both have been there all the time; only their names have changed."""
    desk.write("mods/echo/mod.py", echo(0))
    desk.write("other/mod.py", echo(1))
    await desk.begin()
    (desk.folder / "mods/echo").rename(desk.folder / "aside")
    (desk.folder / "other").rename(desk.folder / "mods/echo")
    await desk.serves(1)
    await desk.seen()
    desk.assert_reloaded(1)


READS_DEEP = """
from pathlib import Path
try:
    TEXT = Path(__file__).parents[2].joinpath("data/a/b/c/d/words.txt").read_text()
except FileNotFoundError:
    TEXT = "none"
"""


async def test_a_file_in_directories_made_with_it_is_seen(desk: Watching) -> None:
    """A place where something was looked for in vain is watched, though there is no directory yet."""
    file = desk.write("mods/echo/mod.py", echo(0, READS_DEEP))
    file.write_text(file.read_text().replace('"version": 0', '"version": TEXT'))
    await desk.begin()
    assert await desk.version("echo") == "none"
    for text in ("one", "two", "three"):
        desk.write("data/a/b/c/d/words.txt", text)
        await desk.serves(text)
    await desk.seen()
    desk.assert_reloaded(3)
    shutil.rmtree(desk.folder / "data")
    await desk.serves("none")
    desk.write("data/a/b/c/d/words.txt", "four")
    await desk.serves("four")


async def test_a_package_in_directories_made_with_it_is_seen(desk: Watching) -> None:
    """A helper that an import looked for in vain, with the folders that it is in."""
    head = "try:\n    from helpers.deep.words import ALL\nexcept ImportError:\n    ALL = 0"
    file = desk.write("mods/echo/mod.py", echo(0, head))
    file.write_text(file.read_text().replace('"version": 0', '"version": ALL'))
    await desk.begin()
    aside = desk.folder.parent / "aside"
    (aside / "deep").mkdir(parents=True)
    for path, text in (("__init__.py", ""), ("deep/__init__.py", ""), ("deep/words.py", "ALL = 1\n")):
        (aside / path).write_text(text)
    aside.rename(desk.folder / "helpers")
    await desk.serves(1)
    desk.write("helpers/deep/words.py", "ALL = 2\n")
    await desk.serves(2)
    await desk.seen()
    desk.assert_reloaded(2)


async def test_a_mod_in_directories_made_with_it_is_loaded_when_it_is_listed(desk: Watching) -> None:
    """A first mod, where there was no folder for mods yet."""
    await desk.begin("mods.echo")
    assert desk.running() == {}
    desk.write("mods/echo/mod.py", echo(1))
    await desk.serves(1)


async def test_a_checkout_of_a_hundred_files_is_one_plan(desk: Watching) -> None:
    """There and back, though the files are written one by one."""
    names = [f"m{number:03}" for number in range(99)]
    imports = "from mods.echo import " + ", ".join(names)
    folder = desk.folder
    for version in (0, 1):
        desk.write("mods/echo/mod.py", echo(version, f"{imports}\nassert m098.VALUE == m000.VALUE == {version}"))
        for name in names:
            desk.write(f"mods/echo/{name}.py", f"VALUE = {version}\n")
        if version == 0:
            git(folder, "init")
        else:
            git(folder, "checkout", "-b", "one")
        git(folder, "add", "mods")
        git(folder, "commit", "-m", f"version {version}")
    git(folder, "checkout", "main")
    await desk.begin()
    for version, branch in ((1, "one"), (0, "main"), (1, "one")):
        git(folder, "checkout", branch)
        await desk.serves(version)
    await desk.seen()
    desk.assert_reloaded(3)
    assert [len(each) for each in desk.reported] == [100, 100, 100]


async def test_a_lock_that_git_left_behind_delays_one_save_and_no_more(desk: Watching) -> None:
    """Git was killed, or waits for someone to write a message."""
    file = desk.write("mods/echo/mod.py", echo(0))
    desk.write(".git/index.lock", "")
    await desk.begin()
    for version in range(1, 11):
        file.write_text(echo(version))
        await desk.serves(version)
    assert desk.watch._stale_lock is not None
    desk.assert_reloaded(10)


async def test_the_lock_of_a_further_working_tree_is_found(desk: Watching) -> None:
    """Its `.git` is a file that says where git keeps it; the workspace may lie deeper in the tree."""
    file = desk.write("mods/echo/mod.py", echo(0))
    above = desk.folder.parent
    (above / "kept").mkdir()
    (above / ".git").write_text("gitdir: kept\n")
    await desk.begin()
    lock = above / "kept" / "index.lock"
    lock.touch()
    file.write_text(echo(1))
    await until(lambda: desk.watch._woken.is_set() or not desk.watch._notified)
    lock.unlink()
    await desk.serves(1)
    desk.assert_reloaded(1)


async def test_a_large_tree_of_links_is_walked_once(desk: Watching) -> None:
    """Links to the folder itself, to each other and to the root lead nowhere; the link to a helper is followed."""
    desk.write("mods/echo/mod.py", echo(0, "from mods.echo import words"))
    real = desk.write("shared/words.py", "")
    folder = desk.folder / "mods/echo"
    (folder / "words.py").symlink_to("../../shared/words.py")
    for name, target in (("a", "b"), ("b", "a"), ("here", "."), ("up", ".."), ("all", "/")):
        (folder / name).symlink_to(target)
    await desk.begin()
    directories = {str(desk.folder / each) for each in (".", "mods", "mods/echo", "shared")}
    assert desk.watch._ground.directories == {each.removesuffix("/.") for each in directories}
    real.write_text("ALL = 1\n")
    await until(lambda: len(desk.reloads()) == 1)
    await desk.seen()
    desk.assert_reloaded(1)


async def test_a_link_that_is_led_elsewhere_is_a_change(desk: Watching) -> None:
    """`ln -sfn`: no one has written to any file."""
    for version in (0, 1):
        desk.write(f"versions/v{version}/mod.py", echo(version))
    (desk.folder / "mods").mkdir()
    link = desk.folder / "mods" / "echo"
    link.symlink_to("../versions/v0")
    await desk.begin()
    fresh = link.with_name("fresh~")
    fresh.symlink_to("../versions/v1")
    fresh.replace(link)
    await desk.serves(1)
    desk.write("versions/v1/mod.py", echo(2))
    await desk.serves(2)
    await desk.seen()
    desk.assert_reloaded(2)
