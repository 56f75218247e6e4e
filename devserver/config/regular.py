"""Reads people's files: regular ones only, without blocking, and up to a bound.

A FIFO waits for a writer, a device may never end, and a folder is not a file: each is opened only
to see its kind.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class NotRegular(OSError):
    """Not a regular file. `kind` says what it is, as in `a FIFO`."""

    def __init__(self, path: Path, kind: str) -> None:
        super().__init__(errno.EINVAL, f"it is {kind} and no regular file", str(path))
        self.kind = kind


class TooLarge(OSError):
    """A file with more bytes than are read. `size`: the size of the file, if known."""

    def __init__(self, path: Path, limit: int, size: int) -> None:
        unit, words = (1024 * 1024, "MiB") if limit >= 1024 * 1024 else (1024, "KiB")
        super().__init__(errno.EFBIG, f"larger than {limit // unit} {words}", str(path))
        self.size = size


def read_regular(path: Path, limit: int) -> bytes | None:
    """Read the bytes of a regular file; None if nothing is there. Raises NotRegular for anything
    but a file, TooLarge, and OSError for a file that cannot be read."""
    with open_regular(path) as handle:
        if handle is None:
            return None
        size = os.fstat(handle).st_size
        # One byte more than there is: the end is seen in the same call.
        data = piece = os.read(handle, min(size, limit) + 1)
        while piece and len(data) <= limit and len(data) != size:
            piece = os.read(handle, limit + 1 - len(data))
            data += piece
        if len(data) > limit:
            raise TooLarge(path, limit, max(size, len(data)))
    return data


@contextmanager
def open_regular(path: Path) -> Iterator[int | None]:
    """Open a regular file to read; return its descriptor or None. Raises as `read_regular`."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except (FileNotFoundError, NotADirectoryError):
        yield None
        return
    except OSError as error:
        if error.errno not in (errno.ENXIO, errno.ENODEV):
            raise
        # Sockets, and devices without a driver, cannot be opened.
        raise NotRegular(path, "a device or socket") from error
    try:
        mode = os.fstat(handle).st_mode
        if not stat.S_ISREG(mode):
            raise NotRegular(path, _kind(mode))
        yield handle
    finally:
        os.close(handle)


def _kind(mode: int) -> str:
    if stat.S_ISDIR(mode):
        return "a directory"
    return "a FIFO" if stat.S_ISFIFO(mode) else "a device or socket"
