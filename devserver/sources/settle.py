"""Reads files when their writers are done: never half a file.

Knows files and time; knows nothing of mods. These calls block: run them on a worker thread.
"""

from __future__ import annotations

import os
import signal
import stat
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from devserver.model.change import Digest
from devserver.sources.files import LISTING, digest_of, digest_on_disk, read_bytes

if sys.platform != "win32":
    import fcntl

QUIET = 0.005
"""Seconds that a file has to stay the same if the system cannot tell that its writer is done."""

QUIET_WHEN_EMPTY = 0.05
"""The same for an empty file, which is often about to be written."""

PATIENCE = 1.5
"""Seconds after which a file that keeps changing is read unfinished."""

QUIET_WHEN_OPEN = 0.2
"""The same for a file that a process keeps open for writing: its saves are never closed."""

UNREADABLE: Digest = "unreadable"
"""Stands for the digest of a file that cannot be read; the attempt to load it says why."""

_F_SETSIG = 10

Signature = tuple[int, int, int, int]
"""Times of the last write and of the last change in nanoseconds, size in bytes, inode."""


@dataclass(frozen=True, slots=True)
class Reading:
    """The content of a file, and its signature at that time; both None without a regular file.

    `data` are the bytes of the digest, if it could be read; `is_open`: some process had it open for
    writing all the time.
    """

    digest: Digest | None
    signature: Signature | None
    data: bytes | None = field(default=None, compare=False, repr=False)
    is_open: bool = field(default=False, compare=False)


def signature(path: Path) -> Signature | None:
    """Return a file's signature, which every write, rename and chmod changes; None without one.

    Two writes within one tick of the file system's clock can have the same one.
    """
    is_listing = path.name == LISTING
    try:
        found = os.stat(path.parent if is_listing else path)
    except (OSError, ValueError):
        return None
    is_right = stat.S_ISDIR(found.st_mode) if is_listing else stat.S_ISREG(found.st_mode)
    return (found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino) if is_right else None


def moved(expected: Mapping[Path, Signature | None]) -> set[Path]:
    """Return the files whose signature is not the expected one."""
    return {path for path, before in expected.items() if signature(path) != before}


def settled(paths: Iterable[Path], patience: float = PATIENCE) -> dict[Path, Reading]:
    """Yield each file once it is whole; those that change after `patience` seconds as they are."""
    waiting = {path: Settling(path, patience) for path in paths}
    found: dict[Path, Reading] = {}
    while waiting:
        found |= take_whole(waiting, patience)
    return found


def take_whole(waiting: dict[Path, Settling], seconds: float) -> dict[Path, Reading]:
    """Take the whole files out of `waiting`: when all are whole, or after this time."""
    until = time.monotonic() + seconds
    found: dict[Path, Reading] = {}
    while waiting:
        found.update((path, reading) for path, each in waiting.items() if (reading := each.look()) is not None)
        for path in found.keys() & waiting.keys():
            del waiting[path]
        if not waiting or time.monotonic() >= until:
            break
        time.sleep(QUIET)
    return found


@dataclass(frozen=True, slots=True)
class Kept:
    """Whether writers are kept from a file: False if one has it open, None if it is unknown."""

    is_whole: bool | None = None
    inode: int = 0


def read_whole(path: Path, patience: float = PATIENCE) -> bytes | None:
    """Read a regular file when its writer is done, or after `patience` seconds; None without one.

    Raises OSError as `read_bytes`.
    """
    until = time.monotonic() + patience
    while True:
        digest = settled([path], until - time.monotonic())[path].digest
        data = read_bytes(path)
        # A new save may have begun between the two.
        if digest == (None if data is None else digest_of(data)) or time.monotonic() >= until:
            return data


class Settling:
    """One file that is waited for, for at most `patience` seconds from now.

    Arguments: `known`, its known content: that may be taken at once; `was_open`, whether a process
    kept it open for writing at the last reading.
    """

    def __init__(
        self, path: Path, patience: float = PATIENCE, *, known: Digest | None = None, was_open: bool = False
    ) -> None:
        self._path = path
        self._known = known
        self.was_open = was_open
        self._until = time.monotonic() + patience
        self._last: Reading | None = None
        self._since = 0.0

    def look(self) -> Reading | None:
        """Return the content of the file, when it is whole or no time is left."""
        is_late = time.monotonic() >= self._until
        with kept_from_writers(self._path) as kept:
            is_open = kept.is_whole is False
            waits = is_open and not is_late and not self.was_open
            reading = None if waits else _read(self._path, is_late, is_open)
        if reading is None or is_late or (reading.digest == self._known and not is_open):
            return reading
        if reading != self._last:
            self._last, self._since = reading, time.monotonic()
        return reading if time.monotonic() - self._since >= _quiet(reading, kept) else None


def _quiet(reading: Reading, kept: Kept) -> float:
    if reading.signature is None:
        return 0.0
    if reading.is_open:
        return QUIET_WHEN_OPEN
    _, _, size, inode = reading.signature
    if size == 0:
        return QUIET_WHEN_EMPTY
    # A file that took the place of the kept one may not be complete.
    return 0.0 if kept.is_whole and inode == kept.inode else QUIET


def _read(path: Path, even_if_changing: bool, is_open: bool) -> Reading | None:
    """Return the content of a file; None if it changed meanwhile."""
    before = signature(path)
    if before is None:
        return Reading(None, None)
    data = None
    try:
        if path.suffix == ".py":
            data = read_bytes(path)
            digest = None if data is None else digest_of(data)
        else:
            # Only sources are executed from these bytes; a large data file is not kept.
            digest = digest_on_disk(path)
    except OSError:
        data, digest = None, UNREADABLE
    reading = Reading(digest, before, data=data, is_open=is_open)
    return reading if even_if_changing or signature(path) == before else None


@contextmanager
def kept_from_writers(path: Path) -> Iterator[Kept]:
    """Prevent every process from opening a file for writing while the block runs.

    Linux grants a read lease only on a file that no process has open for writing, and lets a
    process that opens it then wait until the lease is given back (fcntl(2), F_SETLEASE).
    """
    handle = _open_regular(path)
    if handle is None:
        yield Kept()
        return
    try:
        yield Kept(_lease(handle), os.fstat(handle).st_ino)
    finally:
        # Closing gives a lease back, unless a mod has forked meanwhile: its child has the file open, too.
        with suppress(OSError):
            fcntl.fcntl(handle, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        os.close(handle)


def _open_regular(path: Path) -> int | None:
    if not hasattr(fcntl, "F_SETLEASE") or signature(path) is None:
        return None
    try:
        return os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None


def _lease(handle: int) -> bool | None:
    try:
        # A writer that comes during the lease makes the kernel send SIGURG, which is ignored.
        fcntl.fcntl(handle, _F_SETSIG, signal.SIGURG)
        fcntl.fcntl(handle, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except BlockingIOError:  # a writer has it open
        return False
    except OSError:
        # The file belongs to another user, or its file system has no leases.
        return None
    return True
