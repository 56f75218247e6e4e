"""Records the files and folders that a mod reads during its import or `initialize()`, those it
writes, and what it starts.

A prompt, a template, a table or a folder that is read belongs to the mod's sources. A file that a
mod writes, on any thread, is its data, and no change to its sources, even if it read it first.
Python's audit hook sees every open; it cannot be removed, so there is one for the process, and it
does nothing outside of code of mods.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import partial
from importlib.util import source_from_cache
from itertools import islice, takewhile
from pathlib import Path
from typing import Any

from devserver.live.generation import Generation, running
from devserver.loader.changes import changes_of, recording_owner, source_of
from devserver.loader.raw import is_standard_name
from devserver.loader.scope import scope_in
from devserver.loader.started import EVENTS, Started, frames
from devserver.model.change import Digest
from devserver.model.names import module_of
from devserver.sources.files import LISTING, is_listed, recorder, sources_now, unrecorded

_MADE_UP = ("/dev/", "/proc/", "/sys/")
"""Folders without files that a person could save."""
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND

_LISTS = frozenset({"os.listdir", "os.scandir"})
_HEARD = frozenset({"open", "os.rename", "os.mkdir", "sqlite3.connect"}) | _LISTS | EVENTS
_SQLITE_BESIDE = ("", "-journal", "-wal", "-shm")
_PASSED_BY = ("linecache", "tokenize", "devserver.")
"""Modules whose own reading belongs to no mod: the lines of tracebacks, and our own files."""

_MOST_NOTED = 10_000

on_bound: ContextVar[Callable[[str], None] | None] = ContextVar("oa_dev_on_bound", default=None)
"""Told of an object about to be made in this context and bound to one thread; may raise."""

_installed = False
_written: set[str] = set()
_served: dict[str, tuple[str, str]] = {}
"""The files that handlers have opened for reading, each with the mod, and the command that lets go of
whatever was made of it."""


class DataReads:
    """The data files that were opened for reading while `recording`, of those that are `wanted`.

    `found` has the digest of each as it was before it was first opened: what was written since is
    not what was read.
    """

    def __init__(self, wanted: Callable[[Path], bool]) -> None:
        self._wanted = wanted
        self._seen: set[str] = set()
        self.found: dict[Path, Digest | None] = {}

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Note the files that are read here, and by what is started here, until the block ends."""
        with record_into(self._note):
            yield

    def _note(self, name: str) -> None:
        path = Path(name)
        if name not in self._seen:
            self._seen.add(name)
            if self._wanted(path):
                self.found |= sources_now([path])


@contextmanager
def record_into(add: Callable[[str], None]) -> Iterator[None]:
    """Call `add` with every file opened for reading in this context, until the block ends."""
    install()
    token = recorder.set(add)
    try:
        yield
    finally:
        recorder.reset(token)


def install() -> None:
    """See every open from now on; writes of mods are noted (`Generation.written`)."""
    global _installed
    if not _installed:
        _installed = True
        sys.addaudithook(_on_audit)


def _on_audit(event: str, arguments: tuple[Any, ...]) -> None:
    # First: nearly every event is another one, as `builtins.id`.
    if event not in _HEARD:
        return
    if event == "open":
        _on_open(arguments[0], arguments[2])
    elif event in _LISTS:
        _note_read(os.getcwd() if arguments[0] is None else arguments[0], LISTING)
    elif event == "os.rename":
        _note_written(arguments[1])
    elif event == "os.mkdir":
        # It changes the list of the folder that it is in, which the mod may have asked for.
        _note_written(arguments[0])
    elif event == "sqlite3.connect":
        if (refuse := on_bound.get()) is not None:
            refuse("sqlite3 connection")
        _note_database(arguments[0])
    else:
        owner = _starter()
        if owner is not None:
            owner.note(event, arguments)


def _on_open(path: object, flags: object) -> None:
    if isinstance(flags, int) and flags & _WRITING:
        _note_written(path)
        return
    _note_read(path)


def _note_read(path: object, *inside: str) -> None:
    """Note a read: by the import or initialize() that runs here, or by a handler."""
    note, call = recorder.get(), running.get()
    if (note is None and call is None) or not isinstance(path, str | bytes | os.PathLike):
        return
    name = os.path.join(os.path.abspath(os.fsdecode(path)), *inside)
    # An import lists the folders that it searches; the files that it opens, by any loader, belong
    # to the mod.
    if name.startswith(_MADE_UP) or _is_passed_by(_PASSED_BY if not inside else (*_PASSED_BY, "importlib")):
        return
    if note is not None:
        note(_source_of(name))
        for each in _weighed(name) if inside else ():
            note(each)
    elif call is not None and call.event is not None and name not in _served and len(_served) < _MOST_NOTED:
        _served[name] = call.generation.mod_id, _cure(call.generation)


def _cure(reader: Generation) -> str:
    """Return the command after which nothing keeps what this code reads: a helper or a library that it
    is read through may have kept it, and a reload of the mod executes neither."""
    package = reader.code or module_of(reader.mod_path)
    names = (str(each.f_globals.get("__name__")) for each in frames())
    way = takewhile(lambda name: not name.startswith("devserver."), (name for name in names if name != __name__))
    is_own = all(f"{name}.".startswith(f"{package}.") or is_standard_name(name) for name in way)
    return f"oa-dev reload {reader.mod_id}" if is_own else "oa-dev restart"


def _weighed(listing: str) -> list[str]:
    """Return the files in a folder that code lists, if it asks for sizes: no event tells of which."""
    scopes = (each.f_globals for each in frames() if scope_in(each.f_globals) is not None)
    source = next((source_of(str(each.get("__name__"))) for each in scopes), None)
    if source is None or _SIZES.isdisjoint(source.names()):
        return []
    with unrecorded(), suppress(OSError):
        found = sorted(each.path for each in os.scandir(os.path.dirname(listing)) if each.is_file())
        return [each for each in found if is_listed(os.path.basename(each))][:_MOST_WEIGHED]
    return []


_SIZES = frozenset({"st_size", "getsize"})
_MOST_WEIGHED = 1000


def _is_passed_by(modules: tuple[str, ...] = _PASSED_BY) -> bool:
    """Return whether the nearest code outside of this file belongs to these modules."""
    names = (each.f_globals.get("__name__") for each in islice(frames(), 8))
    nearest = next((each for each in names if each != __name__), None)
    return isinstance(nearest, str) and nearest.startswith(modules)


def _source_of(name: str) -> str:
    """Return the source that a compiled file was made from, which may be read; others unchanged."""
    if not name.endswith(".pyc"):
        return name
    try:
        return source_from_cache(name)
    except ValueError:
        return name


def written_by_threads() -> frozenset[str]:
    """Return the files that code on mods' threads opened for writing, but of known handlers."""
    return frozenset(_written.copy())


def read_by(path: str) -> tuple[str, str] | None:
    """Return the mod (id) whose handlers have opened a file for reading, and the command that brings
    the file as it is."""
    return _served.get(path)


def _starter() -> Started | None:
    """Return the generation whose code runs here, or None; on a mod's thread, by its stack."""
    owner, call = recording_owner(), running.get()
    if owner is None and call is not None:
        owner = changes_of(call.generation.instance)
    if owner is not None:
        return owner.started
    found = (scope_in(each.f_globals) for each in frames())
    return next((each.started for each in found if each is not None and each.started is not None), None)


def _note_database(database: object) -> None:
    """Note a database: SQLite opens files in C, the named one and those beside it."""
    if not isinstance(database, str | bytes | os.PathLike) or os.fsdecode(database) in ("", ":memory:"):
        return
    name, _, options = os.fsdecode(database).removeprefix("file:").partition("?")
    if "mode=ro" in options or "immutable=1" in options:
        _note_read(name)
        return
    for ending in _SQLITE_BESIDE:
        _note_written(name + ending)


def _note_written(path: object) -> None:
    if not isinstance(path, str | bytes | os.PathLike):
        return
    call = running.get()
    if call is not None:
        call.generation.written.add(os.path.abspath(os.fsdecode(path)))
    elif threading.current_thread() is not threading.main_thread() and not _is_passed_by():
        # The other threads belong to mods: their loop, its executor, the threads they have started.
        # We write on none of these.
        if len(_written) >= _MOST_NOTED:
            _written.intersection_update([each for each in _written.copy() if os.path.exists(each)])
        _written.add(os.path.abspath(os.fsdecode(path)))


# Threads: Python tells of their start in an audit event from 3.12 on only

_real_start = threading.Thread.start
_watchers = 0


def watch_threads() -> None:
    """See every thread that is started by `threading` from now on."""
    global _watchers
    _watchers += 1
    threading.Thread.start = _start  # type: ignore[method-assign]


def leave_threads() -> None:
    """Undo `watch_threads`, when each of its callers has called this."""
    global _watchers
    _watchers -= 1
    if _watchers == 0:
        threading.Thread.start = _real_start  # type: ignore[method-assign]


def _start(self: threading.Thread) -> None:
    owner = _starter()
    if owner is not None:
        owner.note_thread(self)
    note = recorder.get()
    if note is not None:
        # Files that are read on the way to a module or an instance are read for it, on any thread.
        self.run = partial(_run_recorded, self, note)  # type: ignore[method-assign]
    _real_start(self)


def _run_recorded(thread: threading.Thread, note: Callable[[str], None]) -> None:
    del thread.run
    recorder.set(note)
    thread.run()
