"""Reads files when their writers are done: never half a file, never a gap between a delete and a rename.

Knows files and time; knows nothing of mods.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from devserver.model.change import Digest
from devserver.reload.loader.shelf import digest_on_disk

if sys.platform != "win32":
    import fcntl

QUIET = 0.005
"""How long, in seconds, a file has to stay the same where nothing tells that its writer is done."""

PATIENCE = 1.5
"""How long, in seconds, a file that goes on changing is waited for; then it is read as it is."""

_F_SETSIG = 10

Signature = tuple[int, int, int, int]


def signature(path: Path) -> Signature | None:
    """What a cheap look tells of a file: it changes with every write, rename, touch and chmod. None: no file."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino


def is_being_written(path: Path) -> bool:
    """Whether somebody has the file open for writing. False where the system cannot tell.

    Linux grants a read lease only on a file that nobody has open for writing (fcntl(2), F_SETLEASE).
    """
    if not hasattr(fcntl, "F_SETLEASE"):
        return False
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        # A writer that comes while we hold the lease makes the kernel signal us; SIGURG is ignored unless asked for.
        fcntl.fcntl(handle, _F_SETSIG, signal.SIGURG)
        fcntl.fcntl(handle, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(handle, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(handle)
    return False


async def settled(paths: Iterable[Path]) -> dict[Path, Digest | None]:
    """The digest of each file once it is whole; None for one that is not there.

    A file that cannot be read counts as it stands: its digest says so, and the attempt to load it says why.
    """
    found: dict[Path, Digest | None] = {}
    for path in paths:
        found[path] = await _settled(path)
    return found


async def _settled(path: Path) -> Digest | None:
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        before = signature(path)
        if before is not None and is_being_written(path):
            await asyncio.sleep(QUIET)
            continue
        digest = _digest(path)
        if signature(path) != before:
            continue
        if before is None or before[2] != 0 or await _stays_empty(path, before):
            return digest
    return _digest(path)


async def _stays_empty(path: Path, before: Signature) -> bool:
    """An empty file is often one that is about to be written: it counts when it stays so."""
    for _ in range(10):
        await asyncio.sleep(QUIET)
        if signature(path) != before:
            return False
    return True


def _digest(path: Path) -> Digest | None:
    with contextlib.suppress(OSError):
        return digest_on_disk(path)
    return f"unreadable {signature(path)}"
