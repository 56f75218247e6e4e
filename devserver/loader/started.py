"""Threads, processes and sockets that mods' code starts and does not end, with the line.

Daemon threads that run code of mods get a SystemExit, and timers are cancelled; other threads of
mods, processes and bound sockets are named.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from types import FrameType, FunctionType
from typing import Any

from devserver.loader import raw
from devserver.loader.scope import scope_in
from devserver.loader.successor import origin

_BEGINS = frozenset({"subprocess.Popen", "os.system", "os.posix_spawn", "os.fork"})
EVENTS = _BEGINS | {"socket.bind"}
"""The audit events that `Started.note` understands."""
_begun = 0


@dataclass(slots=True, eq=False, weakref_slot=True)
class Started:
    """The threads, processes and sockets that one module or generation has started."""

    threads: weakref.WeakKeyDictionary[threading.Thread, str] = field(default_factory=weakref.WeakKeyDictionary)
    processes: weakref.WeakSet[subprocess.Popen[Any]] = field(default_factory=weakref.WeakSet)
    sockets: weakref.WeakKeyDictionary[Any, str] = field(default_factory=weakref.WeakKeyDictionary)
    has_ended: bool = False

    def __post_init__(self) -> None:
        _everything.add(self)

    def __bool__(self) -> bool:
        return bool(self.threads or self.processes or self.sockets)

    def note(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Note a process or socket from the audit event that tells of it."""
        if event in _BEGINS:
            global _begun
            _begun += 1
            self.processes.update(_making(subprocess.Popen))
        else:
            self.sockets[arguments[0]] = _address(arguments[1])

    def note_thread(self, thread: threading.Thread) -> None:
        """Note a thread that is about to be started, with the line of a mod that starts it. A timer
        of code that has ended never fires."""
        self.threads[thread] = place_of_mods()
        if self.has_ended and isinstance(thread, threading.Timer):
            thread.cancel()

    def end(self) -> None:
        """Tell threads to end."""
        self.has_ended = True
        for thread in self.to_end():
            if isinstance(thread, threading.Timer):
                # It waits in C, where no exception reaches it.
                thread.cancel()
            else:
                interrupt(thread.ident or 0, SystemExit)

    def to_end(self) -> list[threading.Thread]:
        return [each for each in list(self.threads) if each.is_alive() and each.daemon and runs_code_of_mods(each)]

    def wait(self, seconds: float) -> None:
        """Wait until threads that were told to end have ended, at most so long. Blocks."""
        until = time.monotonic() + seconds
        for thread in self.to_end():
            thread.join(max(0.0, until - time.monotonic()))

    def alive(self) -> list[str]:
        """Return the things that still run, each in words."""
        threads = [(each, where) for each, where in list(self.threads.items()) if each.is_alive()]
        return [
            *(f"thread {each.name!r} started at {where}" for each, where in threads if runs_code_of_mods(each)),
            *(f"process {each.pid} ({_command(each)})" for each in list(self.processes) if _runs(each)),
            *(f"socket on {where}" for each, where in list(self.sockets.items()) if each.fileno() != -1),
        ]


def processes_begun() -> int:
    """Return the number of processes that code of mods has started so far."""
    return _begun


_everything: weakref.WeakSet[Started] = weakref.WeakSet()


@dataclass(frozen=True, slots=True)
class TakenOut:
    """A started thing without an owner: the `Started` that has it, and the line of its begin."""

    owner: Started
    thing: Any
    where: str

    def note_in(self, owner: Started) -> None:
        """Let it belong to `owner`."""
        if raw.derives(type(self.thing), threading.Thread):
            owner.threads[self.thing] = self.where
        elif raw.derives(type(self.thing), subprocess.Popen):
            owner.processes.add(self.thing)
        else:
            owner.sockets[self.thing] = self.where


def take_out(things: Collection[Any]) -> list[TakenOut]:
    """Take threads, processes and sockets from their generations, and let them go on."""
    found = []
    for owner in list(_everything) if things else ():
        for thing in things:
            kind = type(thing)
            if raw.derives(kind, threading.Thread):
                where = owner.threads.pop(thing, None)
            elif raw.derives(kind, subprocess.Popen):
                where = "" if thing in owner.processes else None
                owner.processes.discard(thing)
            else:
                where = owner.sockets.pop(thing, None) if not raw.derives(kind, asyncio.Future) else None
            if where is not None:
                found.append(TakenOut(owner, thing, where))
    return found


def interrupt(thread: int, reason: type[BaseException]) -> None:
    """Raise `reason` at a thread's next Python instruction (PyThreadState_SetAsyncExc).

    Code that waits in C (a sleep, a read without a timeout) is interrupted when it returns to
    Python.
    """
    import ctypes  # rarely needed, and no start should wait for it

    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(reason))


def runs_code_of_mods(thread: threading.Thread) -> bool:
    """Return whether a thread runs a function of a mod: as its target, in its class, or further in.
    A timer and a worker of a pool begin in Python's own code, and call the mod's from there."""
    own = [value for name, value in list(vars(thread).items()) if name in ("_target", "function")]
    run = type(thread).run
    if any(origin(each) is not None for each in own) or (isinstance(run, FunctionType) and origin(run) is not None):
        return True
    frame = sys._current_frames().get(thread.ident or 0)
    while frame is not None:
        if scope_in(frame.f_globals) is not None:
            return True
        frame = frame.f_back
    return False


def frames() -> Iterator[FrameType]:
    """Yield the frames of the caller and of what called it, innermost first."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        yield frame
        frame = frame.f_back


def _making(cls: type) -> list[Any]:
    """Return the object whose constructor runs, further out on the stack."""
    found = (frame.f_locals.get("self") for frame in frames())
    return next(([each] for each in found if raw.derives(type(each), cls)), [])


def place_of_mods() -> str:
    """Return the line of a mod that runs, as file:line."""
    for frame in frames():
        scope = scope_in(frame.f_globals)
        if scope is not None:
            return scope.place(frame.f_code.co_filename, frame.f_lineno)
    return "an unknown place"


def _address(address: object) -> str:
    return f"{address[0]}:{address[1]}" if isinstance(address, tuple) and len(address) > 1 else str(address)


def _command(process: subprocess.Popen[Any]) -> str:
    words = process.args
    return str(words[0] if isinstance(words, list | tuple) and words else words)


def _runs(process: subprocess.Popen[Any]) -> bool:
    """Return whether a process runs; asked so that its exit code is still there for its owner."""
    if process.returncode is not None:
        return False
    try:
        return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
    except ChildProcessError:
        return False
