"""Who else writes into a workspace: git, which locks it, and this process, whose own lines may lie there."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from devserver.sources.files import read_bytes


def git_lock(workspace: Path) -> Path | None:
    """The file that git holds while it changes the working tree that a folder lies in; None where there is no git."""
    for folder in (workspace, *workspace.parents):
        found = folder / ".git"
        if found.is_dir():
            return found / "index.lock"
        if found.is_file():
            return _linked(found) / "index.lock"
    return None


def _linked(file: Path) -> Path:
    """Where the `.git` of a further working tree leads (gitrepository-layout(5))."""
    try:
        data = read_bytes(file) or b""
    except OSError:
        return file.parent
    return file.parent / os.fsdecode(data).removeprefix("gitdir:").strip()


Identity = tuple[int, int]
"""A file's device and inode, by whatever name."""


def own_output() -> frozenset[Identity]:
    """The regular files that this process writes its own lines to, as in `oa-dev run > out.log`."""
    found = (_of_descriptor(each) for each in (1, 2))
    return frozenset(each for each in found if each is not None)


def _of_descriptor(number: int) -> Identity | None:
    try:
        found = os.fstat(number)
    except OSError:
        return None
    return (found.st_dev, found.st_ino) if stat.S_ISREG(found.st_mode) else None


def identity_of(path: str) -> Identity | None:
    """What a path leads to; None where that is nothing."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino
