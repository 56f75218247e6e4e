"""The places of a process in which code can install something: what is there, and how to put something else there.

Each place is read as a table; a key that is missing in it means that nothing is there. Remembers nothing.
"""

from __future__ import annotations

import asyncio
import atexit
import builtins
import contextlib
import logging
import os
import re
import signal
import sys
import threading
import warnings
import weakref
from collections.abc import Callable, Collection, Hashable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from types import BuiltinFunctionType, FunctionType
from typing import Any

from devserver.loader.scope import scope_of

Table = dict[Hashable, Any]

MISSING = object()
"""What stands for nothing in a place."""

_PATIENCE = 5.0


@dataclass(frozen=True, slots=True)
class Place:
    """One place: `word` for people, how it is read, and how a key gets a value, or MISSING, instead of `was`."""

    word: str
    read: Callable[[], Table]
    write: Callable[[Any, Any, Any], None]


def _by_identity(things: Collection[Any]) -> Table:
    return {id(each): each for each in things}


def _list_place(word: str, current: Callable[[], list[Any]], changed: Callable[[], None] = lambda: None) -> Place:
    """A place that is a list: what was added to it can be taken out again."""

    def write(key: Any, was: Any, value: Any) -> None:
        if value is MISSING:
            current().remove(was)
            changed()

    return Place(word, lambda: _by_identity(current()), write)


def _environment() -> Table:
    return {name: value for name, value in os.environ.items()}  # noqa: C416  # a table of another type


def _write_environment(key: str, was: Any, value: Any) -> None:
    if value is MISSING:
        os.environ.pop(key, None)
    else:
        os.environ[key] = value


# Functions that Python calls


class _Spy:
    """Equal to nothing. `atexit.unregister` compares each callback with what it is given, and so names them all."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def __eq__(self, other: object) -> bool:
        self.seen.append(other)
        return False

    __hash__ = None  # type: ignore[assignment]


def _exit_callbacks() -> Table:
    spy = _Spy()
    atexit.unregister(spy)  # type: ignore[arg-type]
    return _by_identity(spy.seen)


def _write_exit_callback(key: Any, was: Any, value: Any) -> None:
    # Not called: it is there for the end of the process, which is not now.
    if value is MISSING:
        atexit.unregister(was)


# What `signal.getsignal` wraps: to look the handlers of sixty signals up in an enumeration takes longer than all else.
_handler_of: Callable[[int], Any] = getattr(sys.modules.get("_signal"), "getsignal", signal.getsignal)


def _signal_handlers() -> Table:
    return {number: _handler_of(number) for number in _SIGNALS}


def _write_signal(number: int, was: Any, value: Any) -> None:
    on_main_thread(signal.signal, number, signal.SIG_DFL if value is None else value)


_SIGNALS = tuple(int(each) for each in signal.valid_signals() if each not in (signal.SIGKILL, signal.SIGSTOP))


# Logging, modules, the loop


def _log_handlers() -> Table:
    found = {("root", id(each)): each for each in logging.root.handlers}
    # A logger that nobody has asked for yet has a place holder in the table, and no handlers.
    for name, logger in list(logging.root.manager.loggerDict.items()):
        for each in getattr(logger, "handlers", ()):
            found[name, id(each)] = each
    return dict(found)


def _write_log_handler(key: tuple[str, int], was: Any, value: Any) -> None:
    if value is MISSING:
        logging.getLogger(None if key[0] == "root" else key[0]).removeHandler(was)
        was.close()


def _builtins() -> Table:
    return {name: value for name, value in vars(builtins).items() if name != "_"}


def _write_attribute(owner: Any, name: str, value: Any) -> None:
    if value is MISSING:
        delattr(owner, name)
    else:
        setattr(owner, name, value)


def _loop_handler() -> Table:
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return {}
    return {weakref.ref(loop): loop.get_exception_handler()}


def _write_loop_handler(key: weakref.ref[asyncio.AbstractEventLoop], was: Any, value: Any) -> None:
    loop = key()
    if loop is not None and not loop.is_closed():
        loop.set_exception_handler(value)


def _umask() -> Table:
    """The mask of new files. Asking the system for it sets it, so that it is read where Linux shows it."""
    try:
        file = os.open("/proc/self/status", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return {}
    try:
        found = _UMASK.search(os.read(file, _STATUS_HEAD))
    finally:
        os.close(file)
    return {} if found is None else {"umask": int(found[1], 8)}


_UMASK = re.compile(rb"^Umask:\s*([0-7]+)$", re.MULTILINE)
_STATUS_HEAD = 512
"""How many bytes at the head of that file surely hold it: it comes second, after a name of at most 64."""


def patches_in(modules: Collection[str]) -> Place:
    """The functions and classes of modules that belong to nobody's mod, as a place where they are exchanged."""

    def read() -> Table:
        found = ((name, sys.modules[name]) for name in modules if name in sys.modules)
        found = ((name, module) for name, module in found if scope_of(module) is None)
        return {
            (name, attribute): value
            for name, module in found
            for attribute, value in list(vars(module).items())
            if isinstance(value, FunctionType | BuiltinFunctionType | type)
        }

    def write(key: tuple[str, str], was: Any, value: Any) -> None:
        if key[0] in sys.modules and value is not MISSING:
            setattr(sys.modules[key[0]], key[1], value)

    return Place("function", read, write)


PLACES = (
    Place("environment variable", _environment, _write_environment),
    Place("working directory", lambda: {"": os.getcwd()}, lambda key, was, value: os.chdir(value)),
    Place("umask", _umask, lambda key, was, value: None if value is MISSING else (os.umask(value), None)[1]),
    Place("signal handler", _signal_handlers, _write_signal),
    Place("exit callback", _exit_callbacks, _write_exit_callback),
    Place("log handler", _log_handlers, _write_log_handler),
    Place("builtin", _builtins, lambda key, was, value: _write_attribute(builtins, key, value)),
    Place("exception handler of the loop", _loop_handler, _write_loop_handler),
    _list_place("entry of sys.path", lambda: sys.path),
    _list_place("finder in sys.meta_path", lambda: sys.meta_path),
    _list_place("hook in sys.path_hooks", lambda: sys.path_hooks),
    _list_place("warnings filter", lambda: warnings.filters, lambda: getattr(warnings, "_filters_mutated", int)()),  # type: ignore[arg-type,return-value]
)
"""All places that are looked at."""


# The main thread, where alone Python lets signal handlers be set

_main_loop: weakref.ref[asyncio.AbstractEventLoop] | None = None
_real_signal = signal.signal
_guests = 0
_guests_lock = threading.Lock()


def note_main_loop() -> None:
    """Remember the running loop, where it is the main thread's."""
    global _main_loop
    if threading.current_thread() is threading.main_thread():
        _main_loop = weakref.ref(asyncio.get_running_loop())


def on_main_thread(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function on the main thread, through its loop; here, where no loop runs there."""
    loop = _main_loop() if _main_loop is not None else None
    if threading.current_thread() is threading.main_thread() or loop is None or not loop.is_running():
        return function(*arguments)
    done: Future[Any] = Future()

    def call() -> None:
        try:
            done.set_result(function(*arguments))
        except Exception as error:
            done.set_exception(error)

    loop.call_soon_threadsafe(call)
    return done.result(_PATIENCE)


@contextlib.contextmanager
def signals_from_anywhere() -> Iterator[None]:
    """Let `signal.signal` work on any thread meanwhile, as it does where a program imports its modules itself."""
    global _guests
    with _guests_lock:
        _guests += 1
        signal.signal = _signal_on_main_thread
    try:
        yield
    finally:
        with _guests_lock:
            _guests -= 1
            if _guests == 0 and signal.signal is _signal_on_main_thread:
                signal.signal = _real_signal


def _signal_on_main_thread(signalnum: Any, handler: Any) -> Any:
    return on_main_thread(_real_signal, signalnum, handler)
