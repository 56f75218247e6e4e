"""The data files that a module names in its source, and that no audit event shows.

Code in C opens files unseen, and no event tells of a question whether a file exists. So the names in
a source count as sources too, once the module has run. What the module found there is known from a
look just before it ran: a file that was written since may have been read before or after that, and
its digest is one that matches nothing on disk.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from devserver.model.change import Digest, Sources
from devserver.sources.files import sources_now
from devserver.sources.imports import file_names

_TICK = 10_000_000
"""Nanoseconds that the time stamps of a file system may be behind the clock."""

Stamp = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Before:
    """The files that a source names, as they were before it ran: their stamps, and the digests of
    those whose stamp may stay the same at the next write."""

    stamps: Mapping[Path, Stamp | None]
    digests: Sources

    def now(self, known: Sources) -> dict[Path, Digest | None]:
        """Return the digest of each file as the source found it; one that matches nothing for a
        file that was written since.

        `known`: the digests of the version before. Who writes the same content at each import is
        executed once more, and not for ever.
        """
        found = sources_now(self.stamps)
        again = {path for path, each in found.items() if path in known and known[path] in (each, _unsure(each))}
        return {
            path: each if path in again or self._is_same(path, each) else _unsure(each) for path, each in found.items()
        }

    def _is_same(self, path: Path, digest: Digest | None) -> bool:
        if path in self.digests:
            return self.digests[path] == digest
        return self.stamps[path] == _stamp(path)


def _unsure(digest: Digest | None) -> Digest:
    return f"written while it was read: {digest}"


def look(source: bytes, file: Path, workspace: Path) -> Before | None:
    """Return the named files of a source that is about to run; None for a source that names none."""
    named = file_names(source)
    if not named:
        return None
    folders = [file.parent, workspace]
    folders += [each for folder in folders for each in _named_folders(folder, source)]
    stamps = {folder / name: _stamp(folder / name) for name in sorted(named) for folder in folders}
    fresh = time.time_ns() - _TICK
    return Before(stamps, sources_now(path for path, found in stamps.items() if found is not None and found[3] > fresh))


def _stamp(path: Path) -> Stamp | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _named_folders(folder: Path, source: bytes) -> Iterator[Path]:
    """Yield the folders in a folder whose names are literals in a source."""
    try:
        inside = [each.name for each in os.scandir(folder) if each.is_dir()]
    except OSError:
        return
    yield from (folder / each for each in inside if any(q + os.fsencode(each) + q in source for q in (b"'", b'"')))
