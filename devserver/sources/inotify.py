"""Linux's notifications, inotify(7): told at once, and free while nothing happens.

watchfiles polls its own every few milliseconds, which takes as long as half a small reload and over
one per cent of a core. Decides nothing: the callers know the meaning of a notification, and the
fallback.
"""

from __future__ import annotations

import asyncio
import ctypes
import errno
import math
import os
import struct
import sys
from collections.abc import Callable, Iterator
from typing import Any

from devserver.sources.ignore import is_text

QUIET = 0.001
"""Seconds without another notification before it is told: files saved together come together. A source
that is whole is told at once: reading it takes as long, and those that come meanwhile follow it."""
AT_MOST = 0.02
"""Seconds after which it is told in any case."""

_MODIFY, _ATTRIB, _CLOSE_WRITE, _MOVED_FROM, _MOVED_TO, _CREATE, _DELETE = 0x2, 0x4, 0x8, 0x40, 0x80, 0x100, 0x200
_SELF = 0x400 | 0x800  # it was deleted, or moved
_ONLY_DIRECTORIES = 0x1000000
# Each write, too: a file that is still being written belongs to the same change.
_WHOLE = _CLOSE_WRITE | _MOVED_TO
_MASK = _MODIFY | _ATTRIB | _WHOLE | _MOVED_FROM | _CREATE | _DELETE | _SELF | _ONLY_DIRECTORIES
_OVERFLOW, _IGNORED = 0x4000, 0x8000
_HEAD = struct.Struct("iIII")
_BUFFER = 64 * 1024
_GONE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.ELOOP})

Identity = tuple[str, int, int]
"""A directory's path, device and inode: a directory that took another one's place is different."""


class Inotify:
    """A set of watched directories, in the loop that it is made in.

    Arguments: `told`, called with the paths that something happened to; `missed`, called if some
    may be missing from them; `overflowed`, called before that if the system dropped some of too
    many; `is_source`, whether a file is told at once when it is whole.

    Raises OSError if the system has no inotify (ENOSYS), or no more of it (EMFILE).
    """

    def __init__(
        self,
        told: Callable[[set[str]], None],
        missed: Callable[[], None],
        overflowed: Callable[[], None],
        is_source: Callable[[str], bool] = lambda path: False,
    ) -> None:
        self._told = told
        self._missed = missed
        self._overflowed = overflowed
        self._is_source = is_source
        self._library = _library()
        self._handle = _checked(self._library.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
        self._directories: dict[int, Identity] = {}
        self.lost = False
        """Whether a watched directory has gone since `watch`: another one may have its name and number."""
        self._found: set[str] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._latest = 0.0
        self._at_once_until = 0.0
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._handle, self._read)

    def watch(self, wanted: frozenset[Identity]) -> frozenset[Identity]:
        """Watch these directories and no others; those that exist and may be read. Directories that
        stay are watched without a gap. Raises OSError at a limit (ENOSPC)."""
        self.lost = False
        watched = set(self._directories.values())
        for number, each in list(self._directories.items()):
            if each not in wanted:
                del self._directories[number]
                # It fails for a directory that has gone, and with it its watch.
                self._library.inotify_rm_watch(self._handle, number)
        for each in wanted - watched:
            try:
                number = _checked(self._library.inotify_add_watch(self._handle, os.fsencode(each[0]), _MASK))
            except OSError as error:
                if error.errno not in _GONE:
                    raise
            else:
                self._directories[number] = each
        return frozenset(self._directories.values())

    def close(self) -> None:
        """Stop watching."""
        self._loop.remove_reader(self._handle)
        os.close(self._handle)
        if self._timer is not None:
            self._timer.cancel()

    def _read(self) -> None:
        try:
            data = os.read(self._handle, _BUFFER)
        except BlockingIOError:  # woken without news
            return
        for number, mask, name in _events(data):
            self._take(number, mask, name)
        if self._found:
            now = self._loop.time()
            if self._timer is None:
                self._latest = now + AT_MOST
            else:
                self._timer.cancel()
            if now < self._at_once_until:
                self._at_once_until = now + QUIET
                self._tell()
            else:
                self._timer = self._loop.call_at(min(now + QUIET, self._latest), self._tell)

    def _take(self, number: int, mask: int, name: str) -> None:
        if mask & _OVERFLOW:
            self._overflowed()
        if mask & _OVERFLOW or not is_text(name):
            self._missed()
        elif mask & _IGNORED:
            self.lost |= self._directories.pop(number, None) is not None
        elif number in self._directories:
            folder = self._directories[number][0]
            path = os.path.join(folder, name) if name else folder
            self._found.add(path)
            if mask & _WHOLE and self._is_source(path):
                self._at_once_until = math.inf

    def _tell(self) -> None:
        self._timer = None
        found, self._found = self._found, set()
        self._told(found)


def _events(data: bytes) -> Iterator[tuple[int, int, str]]:
    """Yield the number of the directory, the mask and the name of each event."""
    at = 0
    while at < len(data):
        number, mask, _, length = _HEAD.unpack_from(data, at)
        at += _HEAD.size
        yield number, mask, os.fsdecode(data[at : at + length].rstrip(b"\0"))
        at += length


def _library() -> Any:
    library = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
    if not hasattr(library, "inotify_init1"):
        raise OSError(errno.ENOSYS, "there is no inotify here")
    return library


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
