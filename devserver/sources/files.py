"""Reads one file of a workspace: bounded, without waiting, and unnoticed by the record of what mods read."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from devserver.model.change import Digest, Sources

SOURCE_LIMIT = 4 * 1024 * 1024
"""The largest source in bytes that is read."""

recorder: ContextVar[Callable[[str], None] | None] = ContextVar("oa_dev_data_reads", default=None)
"""Called with every file that code in this context opens for reading; `loader/reads` sets it."""


@contextmanager
def unrecorded() -> Iterator[None]:
    """Open files without being noted: for the loader's own reading."""
    token = recorder.set(None)
    try:
        yield
    finally:
        recorder.reset(token)


def digest_of(data: bytes) -> Digest:
    """The SHA-256 of `data` in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def read_bytes(path: Path) -> bytes | None:
    """The bytes of a regular file, or None where there is none.

    Never waits (a FIFO named x.py is no source) and never reads more than SOURCE_LIMIT bytes.
    Raises OSError for a file that is there and cannot be read, also for one that is too large.
    """
    with unrecorded():
        try:
            handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | getattr(os, "O_CLOEXEC", 0))
        except (FileNotFoundError, NotADirectoryError):
            return None
        try:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                return None
            with os.fdopen(handle, "rb", closefd=False) as file:
                data = file.read(SOURCE_LIMIT + 1)
        finally:
            os.close(handle)
    if len(data) > SOURCE_LIMIT:
        raise OSError(27, f"larger than {SOURCE_LIMIT // 1024 // 1024} MiB", str(path))
    return data


def digest_on_disk(path: Path) -> Digest | None:
    """The digest of what a path holds now; None where there is no regular file. Raises OSError as `read_bytes`."""
    data = read_bytes(path)
    return None if data is None else digest_of(data)


def is_gone(path: Path) -> bool:
    """Whether there is no regular file any more. One that may not be looked at is not gone."""
    try:
        return not stat.S_ISREG(os.stat(path).st_mode)
    except PermissionError:
        return False
    except OSError:
        return True


def sources_now(paths: Iterable[Path]) -> Sources:
    """What is on disk at each path; unreadable files count as absent here, the attempt to load them says why."""
    found: dict[Path, Digest | None] = {}
    for path in paths:
        try:
            found[path] = digest_on_disk(path)
        except OSError:
            found[path] = None
    return found
