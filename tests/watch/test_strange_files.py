"""Files that are no files, names that are no text, and sources in places where no one expects them."""

from __future__ import annotations

import os
import socket

import pytest
from watching import Watching, echo, named
from workspaces import mod_text, served, until

from devserver.model.facts import Status


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("kind", ["fifo", "socket", "device", "directory", "loop"])
async def test_what_is_no_regular_file_is_never_opened_and_counts_as_missing(
    desk: Watching, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No one waits for a writer, nothing is read for ever, and the file that comes back is loaded."""
    file = desk.write("mods/echo/mod.py", echo(0))
    await desk.begin()
    before = open_descriptors()
    file.unlink()
    monkeypatch.chdir(file.parent)  # a socket's path is short
    with socket.socket(socket.AF_UNIX) as listener:
        match kind:
            case "fifo":
                os.mkfifo(file)
            case "socket":
                listener.bind(file.name)
            case "device":
                file.symlink_to("/dev/zero")
            case "directory":
                file.mkdir()
            case _:
                file.symlink_to(file.name)
        await until(lambda: len(desk.reloads()) == 1)
    assert await desk.version("echo") == 0
    file.rmdir() if kind == "directory" else file.unlink()
    file.write_text(echo(1))
    await desk.serves(1)
    assert [each.status for each in desk.reloads()] == [Status.SKIPPED, Status.APPLIED]
    await until(lambda: open_descriptors() <= before)


async def test_strange_things_beside_a_mod_disturb_nobody(desk: Watching) -> None:
    """Whatever their names; edits of the mod are seen as ever."""
    file = desk.write("mods/echo/mod.py", echo(0))
    os.mkfifo(file.with_name("pipe.py"))
    file.with_name("zero.py").symlink_to("/dev/zero")
    await desk.begin()
    os.mkfifo(file.with_name("later.py"))
    file.with_name("again.py").symlink_to("again.py")
    file.write_text(echo(1))
    await desk.serves(1)
    await desk.seen()
    desk.assert_reloaded(1)
    assert desk.explained() == {}


@pytest.mark.parametrize(
    "name", [b"new\nline.txt", b"\x1b[31mred.txt", b"caf\xc3\xa9.txt", b"caf\xe9.txt", b" .txt", b"*"]
)
async def test_a_name_may_be_anything(desk: Watching, name: bytes) -> None:
    """It is told as it is where it is text; what is none breaks nothing."""
    file = desk.write("mods/echo/mod.py", echo(0))
    await desk.begin()
    desk.never_sweep()
    for version in (1, 2, 3):
        named(file.parent, name).write_text(str(version))
        file.write_text(echo(version))
        await desk.serves(version)
    await desk.seen()
    desk.assert_reloaded(3)
    is_text = name != b"caf\xe9.txt"
    assert [each for each in desk.explained() if not each.startswith("mods/echo/")] == []
    assert not is_text or f"mods/echo/{name.decode()}" in desk.explained()
    assert desk.notices() == []


async def test_a_directory_whose_name_is_no_text_keeps_nobody_from_watching(desk: Watching) -> None:
    """The others are notified of; a source in it is seen by the sweeps."""
    folder = named(desk.folder, b"mods/caf\xe9")
    folder.mkdir(parents=True)
    (folder / "words.txt").write_text("one")
    head = f"from pathlib import Path\nTEXT = Path({str(folder)!r}, 'words.txt').read_text()"
    file = desk.write("mods/echo/mod.py", echo(0, _ascii(head)))
    await desk.begin()
    assert desk.watch.kind == "notifications"
    file.write_text(echo(1, _ascii(head)))
    await desk.serves(1)
    (folder / "words.txt").write_text("two")
    await until(lambda: len(desk.reloads()) == 2)
    desk.assert_reloaded(2)


def _ascii(source: str) -> str:
    """A source in which surrogates are written as escapes."""
    return "".join(each if each.isascii() else f"\\u{ord(each):04x}" for each in source)


async def test_a_name_in_another_case_is_another_file(desk: Watching) -> None:
    """And the rename back is a change as well."""
    file = desk.write("mods/echo/mod.py", echo(0))
    await desk.begin()
    file.rename(file.with_name("Mod.py"))
    await until(lambda: len(desk.reloads()) == 1)
    assert await desk.version("echo") == 0
    file.with_name("Mod.py").write_text(echo(1))
    file.with_name("Mod.py").rename(file)
    await desk.serves(1)


async def test_sources_outside_of_the_workspace_are_watched(desk: Watching, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mod from a folder on the import path, edited and saved in every way."""
    outside = desk.folder.parent / "outside"
    file = outside / "far" / "mod.py"
    file.parent.mkdir(parents=True)
    file.write_text(mod_text("Far", served("far", 0)))
    monkeypatch.syspath_prepend(str(outside))
    await desk.begin("far")
    desk.never_sweep()
    for version in (1, 2, 3):
        beside = file.with_name("mod.py~")
        beside.write_text(mod_text("Far", served("far", version)))
        beside.replace(file)
        await desk.serves(version, "far")
    await desk.seen()
    desk.assert_reloaded(3, "far")


async def test_a_file_that_goes_by_two_names_is_seen_by_either(desk: Watching) -> None:
    """The system notifies of only one of them."""
    for name in ("one", "two"):
        desk.write(f"mods/{name}/mod.py", mod_text(name.title(), served(name, 0), "from mods.one.shared import WORDS"))
    real = desk.write("mods/one/shared.py", "WORDS = 0\n")
    (desk.folder / "mods/alias").symlink_to("one")
    desk.write("mods/two/mod.py", mod_text("Two", served("two", 0), "from mods.alias.shared import WORDS"))
    await desk.begin("mods.one", "mods.two")
    desk.never_sweep()
    for version, folder in ((1, "one"), (2, "alias")):
        (desk.folder / "mods" / folder / "shared.py").write_text(f"WORDS = {version}\n")
        await until(lambda wanted=version: all(each == wanted + 1 for each in desk.running().values()))
    assert real.read_text() == "WORDS = 2\n"
    await desk.seen()
    desk.assert_reloaded(2, "one")
    desk.assert_reloaded(2, "two")


async def test_thousands_of_files_in_one_notification_are_one_look(desk: Watching) -> None:
    """What is no source costs no plan, and the one that is one is loaded."""
    file = desk.write("mods/echo/mod.py", echo(0))
    await desk.begin()
    folder = desk.folder.parent / "many"
    folder.mkdir()
    for number in range(3000):
        (folder / f"n{number:04}.txt").touch()
    folder.rename(file.with_name("many"))
    file.write_text(echo(1))
    desk.watch._wake({str(file.parent / "many" / f"n{number:04}.txt") for number in range(3000)})
    await desk.serves(1)
    await desk.seen()
    desk.assert_reloaded(1)
    assert list(desk.explained()) == ["mods/echo/many/n0000.txt and 2999 more"]
