"""Reads files when their writers are done, and remembers what they held: never half a file, never a gap in a rename.

Knows files and time; knows nothing of mods. Reading blocks: it is to be done on a thread that nobody waits for.
"""

from __future__ import annotations

import math
import os
import signal
import stat
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path

from devserver.model.change import Digest, Sources
from devserver.sources.files import digest_of, digest_on_disk, read_bytes

if sys.platform != "win32":
    import fcntl

QUIET = 0.005
"""How long, in seconds, a file has to stay the same where the system cannot tell that its writer is done."""

QUIET_WHEN_EMPTY = 0.05
"""The same for an empty file, which is often one that is about to be written."""

PATIENCE = 1.5
"""How long, in seconds, a file that goes on changing is waited for; then it is read as it is."""

UNREADABLE: Digest = "unreadable"
"""Stands for the digest of a file that is there and cannot be read; the attempt to load it says why."""

_F_SETSIG = 10

Signature = tuple[int, int, int, int]
"""Times of the last write and of the last change in nanoseconds, size in bytes, inode."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What a file held, and its signature at that time; both None where there is no regular file."""

    digest: Digest | None
    signature: Signature | None


def signature(path: Path) -> Signature | None:
    """What a cheap look tells of a file: it changes with every write, rename, touch and chmod. None: no regular file.

    Two writes within one tick of the file system's clock can have the same one.
    """
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return (found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino) if stat.S_ISREG(found.st_mode) else None


def moved(expected: Mapping[Path, Signature | None]) -> set[Path]:
    """The files whose signature is another one than expected."""
    return {path for path, before in expected.items() if signature(path) != before}


def settled(paths: Iterable[Path], patience: float = PATIENCE) -> dict[Path, Reading]:
    """Each file once it is whole; those that still change after `patience` seconds as they are then."""
    until = time.monotonic() + patience
    waiting = {path: _Settling(path) for path in paths}
    found: dict[Path, Reading] = {}
    while waiting:
        is_late = time.monotonic() >= until
        found.update((path, reading) for path, each in waiting.items() if (reading := each.look(is_late)) is not None)
        waiting = {path: each for path, each in waiting.items() if path not in found}
        if waiting:
            time.sleep(QUIET)
    return found


@dataclass(frozen=True, slots=True)
class Kept:
    """Whether a file is kept from writers: False where one has it open already, None where the system cannot tell."""

    is_whole: bool | None = None
    inode: int = 0


def read_whole(path: Path, patience: float = PATIENCE) -> bytes | None:
    """The bytes of a file when its writer is done, or after `patience` seconds; None where there is no regular file.

    Raises OSError as `read_bytes`.
    """
    until = time.monotonic() + patience
    while True:
        digest = settled([path], until - time.monotonic())[path].digest
        data = read_bytes(path)
        # Between the two somebody may have begun to save again.
        if digest == (None if data is None else digest_of(data)) or time.monotonic() >= until:
            return data


class _Settling:
    """One file that is waited for."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._last: Reading | None = None
        self._since = 0.0

    def look(self, is_late: bool) -> Reading | None:
        """What the file holds, when it is whole or there is no time left."""
        with kept_from_writers(self._path) as kept:
            reading = None if kept.is_whole is False and not is_late else _read(self._path, is_late)
        if reading is None or is_late:
            return reading
        if reading != self._last:
            self._last, self._since = reading, time.monotonic()
        return reading if time.monotonic() - self._since >= _quiet(reading, kept) else None


def _quiet(reading: Reading, kept: Kept) -> float:
    if reading.signature is None:
        return 0.0
    _, _, size, inode = reading.signature
    if size == 0:
        return QUIET_WHEN_EMPTY
    # A file that took the place of the one that was kept may still be on its way.
    return 0.0 if kept.is_whole and inode == kept.inode else QUIET


def _read(path: Path, even_if_changing: bool) -> Reading | None:
    """What a file holds; None where it changed meanwhile."""
    before = signature(path)
    if before is None:
        return Reading(None, None)
    try:
        digest = digest_on_disk(path)
    except OSError:
        digest = UNREADABLE
    return Reading(digest, before) if even_if_changing or signature(path) == before else None


@contextmanager
def kept_from_writers(path: Path) -> Iterator[Kept]:
    """Keep everybody from opening a file for writing while the block runs.

    Linux grants a read lease only on a file that nobody has open for writing, and lets who opens it then wait until the
    lease is given back (fcntl(2), F_SETLEASE).
    """
    handle = _open_regular(path)
    if handle is None:
        yield Kept()
        return
    try:
        yield Kept(_lease(handle), os.fstat(handle).st_ino)
    finally:
        # Closing gives a lease back.
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
        # A writer that comes while we hold the lease makes the kernel signal us; SIGURG is ignored unless asked for.
        fcntl.fcntl(handle, _F_SETSIG, signal.SIGURG)
        fcntl.fcntl(handle, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except BlockingIOError:
        return False
    except OSError:
        # The file is somebody else's, or its file system knows no leases.
        return None
    return True


# What was read


GONE_AFTER = 1.0
"""Seconds that a source has to be missing before it counts as deleted: a branch switch brings it back sooner."""

_COARSE = 2.0
"""Seconds that the coarsest stamps of file systems in use stay the same (FAT)."""

_SAME_SAVE = 10_000_000
"""Nanoseconds in which what an editor does to a file (permissions, attributes) belongs to the save before."""


class Verdict(Enum):
    """What a look at a source has shown."""

    NEWS = auto()
    SAVED_THE_SAME = auto()
    NOTHING = auto()


class Memory:
    """What each source held when it was last looked at. Reads no file and has no clock: times are in seconds."""

    def __init__(self) -> None:
        self._loaded: dict[Path, Digest | None] = {}
        self._seen: dict[Path, Digest | None] = {}
        self._signatures: dict[Path, Signature | None] = {}
        self._missing: dict[Path, float] = {}
        self._fresh: dict[Path, float] = {}
        self.unproven: set[Path] = set()

    def learn(self, loaded: Sources) -> bool:
        """Take in what everything is made from now; whether that are other files than before."""
        gone = self._loaded.keys() - loaded.keys()
        is_other = bool(gone) or len(self._loaded) != len(loaded)
        for path in gone:
            self._forget(path)
        for path, digest in loaded.items():
            self.expect(path, digest)
        return is_other

    def expect(self, path: Path, digest: Digest | None) -> None:
        """Take in what one source was loaded from, or last tried with.

        When that is news, the source is remembered as it was loaded, and is `unproven` until it has been compared with
        the disk.
        """
        if path in self._loaded and self._loaded[path] == digest:
            return
        self._loaded[path] = digest
        seen = self._seen.get(path)
        # An attempt on a file that cannot be read leaves no digest behind.
        if path not in self._seen or (seen != digest and not (digest is None and seen == UNREADABLE)):
            self._seen[path] = digest
            self.unproven.add(path)

    def _forget(self, path: Path) -> None:
        for each in (self._loaded, self._seen, self._signatures, self._missing, self._fresh):
            each.pop(path, None)
        self.unproven.discard(path)

    def take(self, path: Path, reading: Reading, now: float) -> Verdict:
        """Take in what a source holds; what that means against what it held before."""
        seen, before = self._seen.get(path), self._signatures.get(path)
        was_proven = path not in self.unproven
        self.unproven.discard(path)
        if self._is_briefly_gone(path, reading.digest, now):
            return Verdict.NOTHING
        self._signatures[path] = reading.signature
        self._fresh.pop(path, None)
        if _is_nothing(reading.digest) and _is_nothing(seen):
            return Verdict.NOTHING
        if reading.digest == seen:
            is_saved = was_proven and _is_another_save(before, reading.signature)
            return Verdict.SAVED_THE_SAME if is_saved else Verdict.NOTHING
        self._seen[path] = reading.digest
        self._fresh[path] = now
        return Verdict.NEWS

    def _is_briefly_gone(self, path: Path, digest: Digest | None, now: float) -> bool:
        is_gone = digest is None and not _is_nothing(self._seen.get(path))
        if is_gone and now - self._missing.setdefault(path, now) < GONE_AFTER:
            return True
        self._missing.pop(path, None)
        return False

    def signatures(self, *, absent: bool = True) -> dict[Path, Signature | None]:
        """The signature of each source that has been looked at; without those that were `absent` on demand."""
        return {path: each for path, each in self._signatures.items() if absent or each is not None}

    def due(self) -> float:
        """When a source is to be looked at again, though nothing may have happened."""
        return min((*(each + GONE_AFTER for each in self._missing.values()), *self._second_looks()), default=math.inf)

    def overdue(self, now: float) -> set[Path]:
        """The sources for which that time has come."""
        gone = {path for path, since in self._missing.items() if now >= since + GONE_AFTER}
        return gone | {path for path, since in self._fresh.items() if now >= since + _COARSE}

    def _second_looks(self) -> Iterator[float]:
        """A second save within one tick of a coarse clock leaves no trace but the content."""
        return (each + _COARSE for each in self._fresh.values())


def _is_nothing(digest: Digest | None) -> bool:
    return digest is None or digest == UNREADABLE


def _is_another_save(before: Signature | None, now: Signature | None) -> bool:
    if before is None or now is None or before == now:
        return False
    return abs(now[1] - before[1]) > _SAME_SAVE


# Who else writes


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
        named = file.read_text(encoding="utf-8", errors="surrogateescape").removeprefix("gitdir:").strip()
    except OSError:
        return file.parent
    return file.parent / named


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
