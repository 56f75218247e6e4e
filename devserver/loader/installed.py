"""Code of no mod: installed packages, compiled extensions, zips, and `devserver` itself.

Tells which of it differs on disk from what was loaded. Such code is never swapped; a restart
applies it.
"""

from __future__ import annotations

import hashlib
import math
import os
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

_MOST_READ = 512 * 1024
"""Larger files (compiled extensions) are compared by time and size alone."""
_STDLIB = tuple(os.path.realpath(sysconfig.get_path(name)) + os.sep for name in ("stdlib", "platstdlib"))
_INSTALLED = frozenset({"site-packages", "dist-packages"})


class _Stamp(NamedTuple):
    """The properties of a file at a look."""

    changed_ns: int
    size: int
    digest: bytes | None


def changed_since(began: float) -> bool:
    """Return whether a loaded module is newer on disk, or packages were installed since.

    `began`: seconds since 1970.
    """
    began_ns = began * 1e9
    folders = (each for each in sys.path if not _INSTALLED.isdisjoint(Path(each).parts) and os.path.isdir(each))
    return any(_touched_ns(each) > began_ns for each in (*_named_files(), *folders))


def _touched_ns(file: str) -> float:
    """Return when a file became what it is here: what is moved keeps its time of writing."""
    try:
        found = os.stat(file)
    except OSError:
        within = _container(file)
        return math.inf if within == file else _touched_ns(within)
    return max(found.st_mtime_ns, found.st_ctime_ns)


class InstalledCode:
    """The files behind loaded modules that no mod owns.

    `is_watched` says whose changes are seen elsewhere; `began` is when this image began to import,
    in seconds since 1970. Not safe for threads; one thread calls `changed`, which blocks, again and
    again.
    """

    def __init__(self, is_watched: Callable[[Path], bool], began: float) -> None:
        self._is_watched = is_watched
        self._began_ns: float | None = began * 1e9
        self._known: dict[str, _Stamp | None] = {}
        self._differing: dict[str, _Stamp | None] = {}
        self._seen: set[str] = set()
        """The names of the files of modules that were looked at, those of mods too."""

    def holds(self, path: Path) -> bool:
        """Return whether modules were loaded from this file, and no mod owns it."""
        # Also before the first look: a save may come at once.
        return str(path) in self._known or str(path) in set(_files())

    def changed(self) -> tuple[str, ...]:
        """Return the changes since the load, in words; each once, when stable for one call.

        A file that is being written is therefore not reported before it is complete.
        """
        self._add_new()
        found, differing = {}, {}
        for file, before in self._known.items():
            now = _stamp(file, before)
            if _is_same(now, before):
                continue
            if file in self._differing and self._differing[file] == now:
                found[file] = now
            else:
                differing[file] = now
        self._differing = differing
        self._known.update(found)
        return tuple(dict.fromkeys(_words(each) for each in found))

    def _add_new(self) -> None:
        fresh = [each for each in _named_files() if each not in self._seen]
        self._seen.update(fresh)
        for file in map(_container, fresh):
            is_pythons = file.startswith(_STDLIB) and _INSTALLED.isdisjoint(Path(file).parts)
            is_of_mods = file.endswith(".py") and self._is_watched(Path(file))
            if not is_pythons and not is_of_mods and file not in self._known:
                # The stamp of a file at its first look, shortly after it was
                # loaded; a file written since counts as changed.
                found = _stamp(file, None)
                # A time in the future is that of another clock, and says nothing.
                began, now = self._began_ns, time.time_ns()
                late = found is not None and began is not None and began < found.changed_ns <= now
                self._known[file] = _Stamp(0, 0, None) if late else found
        self._began_ns = None


def _files() -> Iterator[str]:
    """Yield the files of all loaded modules; of one in a zip, the zip."""
    # Only names are kept while the disk is asked, which takes seconds on a busy machine: a replaced
    # module that was held so long would count as code that cannot end, and cost a restart.
    yield from map(_container, _named_files())


def _named_files() -> list[str]:
    files = []
    for module in tuple(sys.modules.values()):
        # Not by attribute access: it may be any object.
        if not issubclass(type(module), ModuleType):
            continue
        file = object.__getattribute__(module, "__dict__").get("__file__")
        if type(file) is str and file:
            files.append(file)
    return files


def _container(file: str) -> str:
    if os.path.exists(file):
        return file
    for folder in Path(file).parents:
        if os.path.isfile(folder):  # which never raises, where a folder may not be looked into
            return str(folder)
    return file


def _stamp(file: str, before: _Stamp | None) -> _Stamp | None:
    """Return a file's stamp, or None; it is read only if time or size differ from `before`."""
    try:
        found = os.stat(file)
        if before is not None and (found.st_mtime_ns, found.st_size) == before[:2]:
            return before
        data = Path(file).read_bytes() if found.st_size <= _MOST_READ else None
    except OSError:
        return None
    return _Stamp(found.st_mtime_ns, found.st_size, None if data is None else hashlib.sha256(data).digest())


def _is_same(now: _Stamp | None, before: _Stamp | None) -> bool:
    if now is None or before is None:
        return now is before
    return now == before or (now.digest is not None and now.digest == before.digest)


def _words(file: str) -> str:
    path = Path(file)
    own = Path(__file__).parents[1]
    if path.is_relative_to(own):
        return f"oa-dev itself has changed ({path.relative_to(own.parent)})"
    for place, part in enumerate(path.parts):
        if part in _INSTALLED:
            return f"the installed package {Path(path.parts[place + 1]).stem} has changed"
    return f"{path.name} has changed, which was imported and belongs to no mod"
