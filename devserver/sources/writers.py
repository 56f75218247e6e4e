"""Other writers of a workspace: git, which locks it, and this process's own output."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from devserver.sources.files import read_bytes


def git_lock(workspace: Path) -> Path | None:
    """Return the file that git holds while it changes a folder's working tree; else None."""
    for folder in (workspace, *workspace.parents):
        found = folder / ".git"
        if found.is_dir():
            return found / "index.lock"
        if found.is_file():
            return _linked(found) / "index.lock"
    return None


def _linked(file: Path) -> Path:
    """Return the folder that a further working tree's `.git` leads to (gitrepository-layout)."""
    try:
        data = read_bytes(file) or b""
    except OSError:
        return file.parent
    return file.parent / os.fsdecode(data).removeprefix("gitdir:").strip()


Identity = tuple[int, int]
"""A file's device and inode, by whatever name."""


def own_output() -> frozenset[Identity]:
    """Return the files that this process writes its own lines to, as in `oa-dev run > out.log`."""
    found = (_of_descriptor(each) for each in (1, 2))
    return frozenset(each for each in found if each is not None)


def _of_descriptor(number: int) -> Identity | None:
    try:
        found = os.fstat(number)
    except OSError:
        return None
    return (found.st_dev, found.st_ino) if stat.S_ISREG(found.st_mode) else None


def identity_of(path: str) -> Identity | None:
    """Return the identity of the file at a path; None without one."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino
