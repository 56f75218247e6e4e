"""However a person saves: one reload each, of what was saved, and never an error on the way."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from watching import Watching, echo

REPEATS = 20

Save = Callable[[Path, str], None]


def truncate_and_write(file: Path, text: str) -> None:
    file.write_text(text)


def rename_over(file: Path, text: str) -> None:
    beside = file.with_name(f".{file.name}.new~")
    beside.write_text(text)
    beside.replace(file)


def rename_from_outside(file: Path, text: str) -> None:
    outside = file.parents[3] / "saved-elsewhere"
    outside.write_text(text)
    outside.replace(file)


def vim_with_backup(file: Path, text: str) -> None:
    """`backupcopy=no`: try whether the folder may be written to, rename the file away, write it again."""
    probe = file.with_name("4913")
    probe.touch()
    probe.unlink()
    backup = file.with_name(f"{file.name}~")
    file.rename(backup)
    file.write_text(text)
    file.chmod(0o644)
    backup.unlink()


def vim_with_copy(file: Path, text: str) -> None:
    """`backupcopy=yes`: copy, then write over the file."""
    backup = file.with_name(f"{file.name}~")
    shutil.copy2(file, backup)
    file.write_text(text)
    backup.unlink()


def jetbrains(file: Path, text: str) -> None:
    new, old = file.with_name(f"{file.name}___jb_tmp___"), file.with_name(f"{file.name}___jb_old___")
    new.write_text(text)
    file.rename(old)
    new.rename(file)
    old.unlink()


def emacs(file: Path, text: str) -> None:
    lock = file.with_name(f".#{file.name}")
    lock.symlink_to("ana@host.1234:5678")
    auto = file.with_name(f"#{file.name}#")
    auto.write_text(text)
    file.write_text(text)
    auto.unlink()
    lock.unlink()


def write_without_truncating(file: Path, text: str) -> None:
    with file.open("r+b") as open_file:
        open_file.write(text.encode())
        open_file.truncate()


def sed(file: Path, text: str) -> None:
    quoted = text.replace("\\", "\\\\").replace("\n", "\\n").replace("/", "\\/").replace("&", "\\&")
    subprocess.run(["sed", "-i", "-z", f"s/.*/{quoted}/", str(file)], check=True)


def tee(file: Path, text: str) -> None:
    subprocess.run(["tee", str(file)], input=text.encode(), stdout=subprocess.DEVNULL, check=True)


def rsync_like(file: Path, text: str) -> None:
    """A hidden copy with the times of the original, renamed into place."""
    beside = file.with_name(f".{file.name}.a1b2c3")
    beside.write_text(text)
    os.utime(beside, ns=(10**18, 10**18))
    beside.replace(file)


SAVES: tuple[Save, ...] = (
    truncate_and_write,
    rename_over,
    rename_from_outside,
    vim_with_backup,
    vim_with_copy,
    jetbrains,
    emacs,
    write_without_truncating,
    sed,
    tee,
    rsync_like,
)


@pytest.mark.parametrize("save", SAVES, ids=lambda each: each.__name__)
async def test_each_save_is_one_reload_of_what_was_saved(desk: Watching, save: Save) -> None:
    """Twenty saves in the way of an editor are twenty reloads, none of which failed."""
    file = desk.write("mods/echo/mod.py", echo(0))
    await desk.begin()
    for version in range(1, REPEATS + 1):
        save(file, echo(version))
        await desk.serves(version)
    await desk.seen()
    desk.assert_reloaded(REPEATS)
    assert file.read_text() == echo(REPEATS)
    assert desk.explained() == {}
