"""What the code of mods installs in the process, noted while it is imported and initialised, and taken back at its end.

    modules      what importing one installed goes when the module is replaced, forgotten, or fails
    generations  what `initialize()` installed goes after `shutdown()`

Taken back means: what was there before is there again, if what was installed still is. Exit callbacks are taken out,
not called. Threads get a SystemExit where they are daemons that run code of mods; other threads of theirs, processes
and bound sockets are named. Nothing here knows when a module or a generation ends.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Collection, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from types import FrameType, FunctionType
from typing import Any

from devserver.loader.interrupt import interrupt
from devserver.loader.named import modules_named
from devserver.loader.places import MISSING, PLACES, Place, Table, patches_in, signals_from_anywhere
from devserver.loader.scope import scope_in
from devserver.loader.successor import origin


@dataclass(slots=True)
class Change:
    """Something that was installed: where, and what was there before."""

    place: Place
    key: Any
    before: Any
    after: Any


@dataclass(slots=True, eq=False, weakref_slot=True)
class Leftovers:
    """What one module or generation has installed, and the threads, processes and sockets that it has started."""

    changes: list[Change] = field(default_factory=list)
    threads: weakref.WeakKeyDictionary[threading.Thread, str] = field(default_factory=weakref.WeakKeyDictionary)
    processes: weakref.WeakSet[subprocess.Popen[Any]] = field(default_factory=weakref.WeakSet)
    sockets: weakref.WeakKeyDictionary[Any, str] = field(default_factory=weakref.WeakKeyDictionary)
    failed: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        _all.add(self)

    def take_back(self) -> None:
        """Put back what was there before, and tell threads to end."""
        for change in reversed(self.changes):
            try:
                _take_back(change)
            except Exception as error:
                self.failed.append(f"{change.place.word} {change.key!r}, which cannot be taken back: {error}")
        self.changes.clear()
        for thread in self._to_end():
            interrupt(thread.ident or 0, SystemExit)

    def _to_end(self) -> list[threading.Thread]:
        return [each for each in list(self.threads) if each.is_alive() and each.daemon and runs_code_of_mods(each)]

    def alive(self) -> list[str]:
        """What is still there of what was installed and started, each in words."""
        threads = [(each, where) for each, where in list(self.threads.items()) if each.is_alive()]
        return [
            *self.failed,
            *(f"thread {each.name!r} started at {where}" for each, where in threads if runs_code_of_mods(each)),
            *(f"process {each.pid} ({_command(each)})" for each in list(self.processes) if _runs(each)),
            *(f"socket on {where}" for each, where in list(self.sockets.items()) if each.fileno() != -1),
        ]

    def wait(self, until: float) -> None:
        """Wait until threads that were told to end have ended, at most until that time (monotonic). Blocks."""
        for thread in self._to_end():
            thread.join(max(0.0, until - time.monotonic()))


_all: weakref.WeakSet[Leftovers] = weakref.WeakSet()


def _take_back(change: Change) -> None:
    place, key = change.place, change.key
    now = place.read().get(key, MISSING)
    if _same(now, change.after):
        place.write(key, change.after, change.before)
        return
    # Somebody else has put something over it, who shall not bring this back one day.
    for other in [each for leftovers in _all for each in leftovers.changes]:
        if other.place.word == place.word and other.key == key and _same(other.before, change.after):
            other.before = change.before


def _same(one: Any, other: Any) -> bool:
    return one is other or (isinstance(one, str | int) and one == other)


# Whose they are, and their end

_of: weakref.WeakKeyDictionary[object, Leftovers] = weakref.WeakKeyDictionary()
_ended: list[Leftovers] = []


def leftovers_of(instance: object) -> Leftovers:
    """What an instance of a mod has installed since it began to be made."""
    return _of.setdefault(instance, Leftovers())


def adopt(instance: object, leftovers: Leftovers) -> None:
    """Let what was installed while an instance was made be its own."""
    _of[instance] = leftovers


def end(leftovers: Leftovers) -> None:
    """Take back what somebody has installed whose end has come."""
    with _unnoted():
        leftovers.take_back()
    if leftovers.failed or leftovers.threads or leftovers.processes or leftovers.sockets:
        _ended.append(leftovers)


def left_behind(seconds: float) -> tuple[str, ...]:
    """What is still there of all whose end has come since this was last asked. Waits for threads, and blocks."""
    until = time.monotonic() + seconds
    ended = [_ended.pop() for _ in range(len(_ended))]
    for each in ended:
        each.wait(until)
    return tuple(words for each in ended for words in each.alive())


def has_to_wait() -> bool:
    """Whether `left_behind` would wait for a thread."""
    return any(each._to_end() for each in _ended)


# Noting


@dataclass(slots=True)
class _Interval:
    """Code that runs now, and how the process was when it began to."""

    owner: Leftovers
    places: tuple[Place, ...]
    before: list[Table] = field(default_factory=list)
    over: bool = False

    def begin(self) -> None:
        self.before = [each.read() for each in self.places]

    def end(self) -> None:
        for place, before in zip(self.places, self.before, strict=True):
            after = place.read()
            for key in [*after, *(each for each in before if each not in after)]:
                was, is_ = before.get(key, MISSING), after.get(key, MISSING)
                if not _same(was, is_) and not (place.word == "function" and was is MISSING):
                    self._note(Change(place, key, was, is_))

    def _note(self, change: Change) -> None:
        for known in self.owner.changes:
            if known.place.word == change.place.word and known.key == change.key:
                known.after = change.after
                return
        self.owner.changes.append(change)


_current: ContextVar[_Interval | None] = ContextVar("oa_dev_installing", default=None)


@contextlib.contextmanager
def installing(owner: Leftovers, imports: Collection[str] = ()) -> Iterator[None]:
    """Note what is installed until the block ends as the owner's, but for what a block inside it notes.

    `imports` names the modules in which exchanged functions are looked for.
    """
    outer = _current.get()
    if outer is not None and outer.over:
        # A task that was started in it, and that still carries its context.
        outer = None
    if outer is not None:
        outer.end()
    interval = _Interval(owner, (*PLACES, patches_in(imports)))
    with signals_from_anywhere():
        interval.begin()
        token = _current.set(interval)
        try:
            yield
        finally:
            _current.reset(token)
            interval.end()
            interval.over = True
            if outer is not None:
                outer.begin()


@contextlib.contextmanager
def _unnoted() -> Iterator[None]:
    """Change the process on nobody's behalf."""
    interval = _current.get()
    if interval is None or interval.over:
        yield
        return
    interval.end()
    try:
        yield
    finally:
        interval.begin()


def named_by(name: str) -> frozenset[str]:
    """The modules that the code of a loaded module, and of those that it was made from, names."""
    spec = getattr(sys.modules.get(name), "__spec__", None)
    names = getattr(getattr(spec, "loader", None), "names", None)
    return frozenset() if names is None else modules_named(names())


def installer() -> Leftovers | None:
    """Whose code is being imported or initialised here."""
    interval = _current.get()
    return None if interval is None else interval.owner


def note_started(owner: Leftovers, event: str, arguments: tuple[Any, ...]) -> None:
    """Note a process or socket from the audit event that tells of it."""
    if event == "subprocess.Popen":
        owner.processes.update(_making(subprocess.Popen))
    else:
        owner.sockets[arguments[0]] = _address(arguments[1])


STARTS = frozenset({"subprocess.Popen", "socket.bind"})
"""The audit events that `note_started` understands."""


def note_thread(owner: Leftovers, thread: threading.Thread) -> None:
    """Note a thread that is about to be started, with the line of a mod that starts it."""
    owner.threads[thread] = _place_of_mods()


def _frames() -> Iterator[FrameType]:
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        yield frame
        frame = frame.f_back


def _making(cls: type) -> list[Any]:
    """The object whose constructor runs, further out on the stack."""
    found = (frame.f_locals.get("self") for frame in _frames())
    return next(([each] for each in found if isinstance(each, cls)), [])


def _place_of_mods() -> str:
    """The line of a mod that runs, as file:line."""
    for frame in _frames():
        if scope_in(frame.f_globals) is not None:
            file = os.path.relpath(frame.f_code.co_filename)
            return f"{frame.f_code.co_filename if file.startswith('..') else file}:{frame.f_lineno}"
    return "an unknown place"


# Threads


def runs_code_of_mods(thread: threading.Thread) -> bool:
    """Whether a thread's work is a function of a mod, or its class is one of a mod's."""
    target = getattr(thread, "_target", None)
    if target is None:
        run = type(thread).run
        return isinstance(run, FunctionType) and origin(run) is not None
    return origin(target) is not None


# What still runs, in words


def _address(address: object) -> str:
    return f"{address[0]}:{address[1]}" if isinstance(address, tuple) and len(address) > 1 else str(address)


def _command(process: subprocess.Popen[Any]) -> str:
    words = process.args
    return str(words[0] if isinstance(words, list | tuple) and words else words)


def _runs(process: subprocess.Popen[Any]) -> bool:
    """Whether a process runs; asked so that whoever waits for it still learns how it ended."""
    if process.returncode is not None:
        return False
    try:
        return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
    except ChildProcessError:
        return False
