"""Reads one file of a workspace: bounded, not blocking, unseen by the record of mods' reads.

The names in a folder may be a source too: its path is that of the folder and LISTING, as in
`mods/prompts/*`.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING

from devserver.config.regular import NotRegular, open_regular, read_regular

if TYPE_CHECKING:
    from devserver.model.change import Digest, Sources

SOURCE_LIMIT = 4 * 1024 * 1024
"""The largest source in bytes that is read."""

DATA_LIMIT = 64 * 1024 * 1024
"""The largest data file in bytes that is compared by content; others by size and last write."""

LISTING = "*"
"""The name that stands for the names of all entries of a folder."""

_NAMES_LIMIT = 64 * 1024
_PIECE = 1024 * 1024

recorder: ContextVar[Callable[[str], None] | None] = ContextVar("oa_dev_data_reads", default=None)
"""Called with every file that code in this context opens for reading; `loader/reads` sets it."""


held: dict[Path, bytes] = {}
"""Sources that count as on disk, whatever is there: a process runs another's sources."""


@contextmanager
def unrecorded() -> Iterator[None]:
    """Open files without recording it: for the loader's own reading."""
    token = recorder.set(None)
    try:
        yield
    finally:
        recorder.reset(token)


def digest_of(data: bytes) -> Digest:
    """Return the SHA-256 of `data` in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def read_bytes(path: Path) -> bytes | None:
    """Read the bytes of a regular file; None if it is missing.

    Never blocks (a FIFO named x.py is not a source) and never reads more than SOURCE_LIMIT bytes.
    Raises OSError for a file that cannot be read, or is too large.
    """
    if held and path in held:
        return held[path]
    with unrecorded(), suppress(NotRegular):
        return read_regular(path, SOURCE_LIMIT)
    return None


def digest_on_disk(path: Path) -> Digest | None:
    """Return the digest of the content of a path; None without a regular file, or a folder to list.
    Raises OSError as `read_bytes` for sources in Python; data files may have any size."""
    if path.name == LISTING:
        try:
            with unrecorded():
                names = sorted(each for each in os.listdir(path.parent) if is_listed(each))
        except OSError:
            return None
        text = "/".join(names)
        return text if len(text) <= _NAMES_LIMIT else digest_of(text.encode("utf-8", "surrogateescape"))
    if path.suffix == ".py":
        data = read_bytes(path)
        return None if data is None else digest_of(data)
    with unrecorded(), suppress(NotRegular):
        return _digest_of_data(path)
    return None


def _digest_of_data(path: Path) -> Digest | None:
    with open_regular(path) as handle:
        if handle is None:
            return None
        found = os.fstat(handle)
        if found.st_size > DATA_LIMIT:
            return f"{found.st_size} bytes, written {found.st_mtime_ns}"
        summed = hashlib.sha256()
        # A file that grows meanwhile is not followed for ever.
        for _ in range(DATA_LIMIT // _PIECE + 1):
            piece = os.read(handle, _PIECE)
            if not piece:
                break
            summed.update(piece)
        return summed.hexdigest()


def names_of(digest: Digest | None) -> frozenset[str]:
    """Return the names that the digest of a listing consists of."""
    return frozenset(digest.split("/")) if digest else frozenset()


def is_listed(name: str) -> bool:
    """Return whether a name in a folder may be that of a person's file."""
    return not name.startswith((".", "__pycache__", "#")) and not name.endswith(("~", ".tmp", ".swp", ".pyc", "4913"))


def is_gone(path: Path) -> bool:
    """Return whether no regular file is there any more; an unreadable one is not gone."""
    try:
        return not stat.S_ISREG(os.stat(path).st_mode)
    except PermissionError:
        return False
    except OSError:
        return True


def sources_now(paths: Iterable[Path]) -> Sources:
    """Return the digests on disk at each path; unreadable files count as absent here."""
    found: dict[Path, Digest | None] = {}
    for path in paths:
        try:
            found[path] = digest_on_disk(path)
        except OSError:
            found[path] = None
    return found
