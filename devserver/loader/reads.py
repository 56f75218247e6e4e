"""Which data files a mod reads while it is imported or initialised, which it writes itself, and what it starts.

A prompt, a template or a table read then belongs to the mod's sources. A file that a mod writes is its data, and no
change to its sources, also when it read it first. Python's audit hook sees every open; it cannot be removed, so there
is one for the process, and it does nothing where no code of a mod runs.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from devserver.live.generation import running
from devserver.loader.changes import changes_of, recording_owner
from devserver.loader.scope import scope_in
from devserver.loader.started import EVENTS, Started, frames
from devserver.sources.files import recorder

_MADE_UP = ("/dev/", "/proc/", "/sys/")
"""Where no file lies that somebody could save."""
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND

_installed = False


class DataReads:
    """The data files that were opened for reading while `recording`."""

    def __init__(self) -> None:
        self._read: set[str] = set()

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Note every file opened for reading in this context, and what it starts, until the block ends."""
        with record_into(self._read.add):
            yield

    def paths(self) -> tuple[Path, ...]:
        """What was read."""
        return tuple(Path(each) for each in sorted(self._read))


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
    """See every open from now on; what mods write is noted in their generation (`Generation.written`)."""
    global _installed
    if not _installed:
        _installed = True
        sys.addaudithook(_on_audit)


def _on_audit(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open":
        _on_open(*arguments)
    elif event == "os.rename":
        _note_written(arguments[1])
    elif event in EVENTS:
        _on_start(event, arguments)


def _on_open(path: object, mode: object, flags: object) -> None:
    if isinstance(flags, int) and flags & _WRITING:
        _note_written(path)
        return
    note = recorder.get()
    if note is not None and isinstance(path, str | bytes | os.PathLike):
        name = os.path.abspath(os.fsdecode(path))
        if not name.startswith(_MADE_UP):
            note(name)


def _on_start(event: str, arguments: tuple[Any, ...]) -> None:
    owner = _starter()
    if owner is not None:
        owner.note(event, arguments)


def _starter() -> Started | None:
    """Whose code runs here, if it is a mod's. On a thread that a mod has started, the code on the stack tells."""
    owner, call = recording_owner(), running.get()
    if owner is None and call is not None:
        owner = changes_of(call.generation.instance)
    if owner is not None:
        return owner.started
    found = (scope_in(each.f_globals) for each in frames())
    return next((each.started for each in found if each is not None and each.started is not None), None)


def _note_written(path: object) -> None:
    call = running.get()
    if call is not None and isinstance(path, str | bytes | os.PathLike):
        call.generation.written.add(os.path.abspath(os.fsdecode(path)))


# Threads: Python tells of their start in an audit event from 3.12 on only

_real_start = threading.Thread.start
_watchers = 0


def watch_threads() -> None:
    """See every thread that is started by `threading` from now on."""
    global _watchers
    _watchers += 1
    threading.Thread.start = _start  # type: ignore[method-assign]


def leave_threads() -> None:
    """Undo `watch_threads`, once each who asked for it has asked for this."""
    global _watchers
    _watchers -= 1
    if _watchers == 0:
        threading.Thread.start = _real_start  # type: ignore[method-assign]


def _start(self: threading.Thread) -> None:
    owner = _starter()
    if owner is not None:
        owner.note_thread(self)
    _real_start(self)
