"""The places of a process that code of mods changes: how each is read and written.

Each place is read as a table; a missing key means that nothing is there. Remembers nothing. These
are settings of the process; `libraries` adds the modules and classes that code names.
"""

from __future__ import annotations

import asyncio
import atexit
import builtins
import contextlib
import gc
import logging
import os
import re
import signal
import socket
import sys
import threading
import time
import warnings
import weakref
from collections import deque
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, MutableMapping
from concurrent.futures import Future
from dataclasses import dataclass
from operator import is_
from types import ModuleType
from typing import Any

from devserver.loader import raw

Table = dict[Any, Any]

MISSING = object()
"""Stands for nothing in a place."""

_PATIENCE = 5.0


# Not frozen: that takes three times as long, and thousands are made beside a helper of many objects.
@dataclass(slots=True, kw_only=True, eq=False)
class Place:
    """One place. `word` is for people; `which` tells apart places of one word.

    `is_as(table)` is whether it still is as that table says, where this is known at less cost than a
    new table. `put(key, now, value)` replaces `now` by a value, or MISSING. `sort` gives a list the order
    of these keys. `list_of` gives the list that an
    entry is in, if its order counts. `close` ends a value that was taken out for good. `is_shared`:
    others change it all the time, so that a change counts as a mod's only if its code shows it.
    `is_late`: the value has no effect before the process ends, and cannot be restored exactly.
    `is_of_mods`: it belongs to another module of mods, where only values that lead to the running
    code are its changes.
    """

    word: str
    read: Callable[[], Table]
    put: Callable[[Any, Any, Any], None]
    which: Hashable = ""
    owner: Any = None
    is_as: Callable[[Table], bool] | None = None
    list_of: Callable[[Any], Any] | None = None
    sort: Callable[[Iterable[Any]], None] | None = None
    close: Callable[[Any], None] | None = None
    is_shared: bool = False
    is_late: bool = False
    is_of_mods: bool = False


def by_identity(things: Collection[Any]) -> Table:
    """Return a table of objects that may have no hash, or one that runs code of mods."""
    return {id(each): each for each in things}


def by_occurrence(things: Collection[Any]) -> Table:
    """Return a table of a list, in which one object may occur several times."""
    found: Table = {(id(each), 0): each for each in things}
    if len(found) == len(things):
        return found
    found, counts = {}, dict[int, int]()
    for each in things:
        count = counts[id(each)] = counts.get(id(each), -1) + 1
        found[id(each), count] = each
    return found


def fill(target: list[Any] | deque[Any], things: list[Any]) -> None:
    """Let a list have these things and no others."""
    if type(target) is deque:
        target.clear()
        target.extend(things)
    else:
        target[:] = things  # type: ignore[index]


def list_place(
    word: str, current: Callable[[], Any], changed: Callable[[], object] = lambda: None, **more: Any
) -> Place:
    def put(key: Any, now: Any, value: Any) -> None:
        found = current()
        if value is MISSING:
            last = max((n for n, each in enumerate(found) if each is now), default=None)
            fill(found, [each for n, each in enumerate(found) if n != last])
        elif type(found) is not deque or found.maxlen is None or len(found) < found.maxlen:
            found.append(value)
        changed()

    def sort(keys: Iterable[Any]) -> None:
        ranks = {key: rank for rank, key in enumerate(keys)}
        things = sorted(by_occurrence(current()).items(), key=lambda each: ranks.get(each[0], len(ranks)))
        fill(current(), [each for _, each in things])
        changed()

    def is_as(table: Table) -> bool:
        found = current()
        return len(found) == len(table) and all(map(is_, found, table.values()))

    read = lambda: by_occurrence(current())  # noqa: E731
    return Place(word=word, read=read, put=put, is_as=is_as, sort=sort, list_of=lambda key: current(), **more)


def dict_place(word: str, target: MutableMapping[Any, Any], **more: Any) -> Place:
    def put(key: Any, now: Any, value: Any) -> None:
        if value is MISSING:
            target.pop(key, None)
        else:
            target[key] = value

    def is_as(table: Table) -> bool:
        same = len(target) == len(table) and all(map(is_, target.values(), table.values()))
        return same and all(map(is_, target, table))

    return Place(word=word, read=lambda: dict(target), put=put, is_as=is_as, **more)


def slot_place(word: str, thing: Any, **more: Any) -> Place:
    """Return the slots of an object, read and set without running code of its class."""
    members = dict(raw.slots_of(type(thing)))

    def put(key: Any, now: Any, value: Any) -> None:
        if value is MISSING:
            members[key].__delete__(thing)
        else:
            members[key].__set__(thing, value)

    return Place(word=word, read=lambda: dict(raw.slots_in(thing)), put=put, **more)


def attribute_place(word: str, owner: Any, hidden: Collection[str] = (), **more: Any) -> Place:
    """Return the attributes that a module or class has itself."""

    def read() -> Table:
        found = dict(vars(owner))
        for name in hidden:
            found.pop(name, None)
        return found

    # Not `setattr`: that would run code of a metaclass or of the module's own class.
    base: Any = type if isinstance(owner, type) else object

    def put(key: Any, now: Any, value: Any) -> None:
        if value is MISSING:
            base.__delattr__(owner, key)
        else:
            base.__setattr__(owner, key, value)

    return Place(word=word, read=read, put=put, owner=owner, **more)


# Settings that are one value each


def _umask() -> int:
    """Return new files' mask. Asking for it sets it, so it is read where Linux shows it."""
    try:
        file = os.open("/proc/self/status", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return -1
    try:
        found = _UMASK.search(os.read(file, _STATUS_HEAD))
    finally:
        os.close(file)
    return -1 if found is None else int(found[1], 8)


_UMASK = re.compile(rb"^Umask:\s*([0-7]+)$", re.MULTILINE)
_STATUS_HEAD = 512
"""The bytes at the head of that file that surely contain it: it follows a name of at most 64."""


def _stack_size() -> int:
    """Return the stack size of new threads. Asking for it resets it."""
    size = threading.stack_size()
    threading.stack_size(size)
    return size


_TIMERS = (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF) if hasattr(signal, "setitimer") else ()
_stopped: dict[int, tuple[float, float]] = {}
"""Timers that were stopped, as they were."""


def _timer(which: int) -> tuple[bool, float]:
    """Return whether a timer runs, and its interval: the rest of its time is always another one."""
    left, interval = signal.getitimer(which)
    return left > 0, interval


def _set_timer(which: int, now: Any, value: tuple[bool, float]) -> None:
    runs, interval = value
    if runs:
        signal.setitimer(which, *_stopped.pop(which, (interval, interval)))
    else:
        _stopped[which] = signal.setitimer(which, 0)


def _working_directory() -> str:
    try:
        return os.getcwd()
    except FileNotFoundError:
        return ""


_SETTINGS: dict[str, tuple[Callable[[], Any], Callable[[Any], object]]] = {
    "working directory": (_working_directory, lambda value: os.chdir(value) if value else None),
    "umask": (_umask, lambda value: os.umask(value) if value >= 0 else None),
    "recursion limit": (sys.getrecursionlimit, sys.setrecursionlimit),
    "switch interval": (sys.getswitchinterval, sys.setswitchinterval),
    "socket timeout": (socket.getdefaulttimeout, socket.setdefaulttimeout),
    "stack size of threads": (_stack_size, threading.stack_size),
    "garbage collector": (gc.isenabled, lambda value: gc.enable() if value else gc.disable()),
    "thresholds of the garbage collector": (gc.get_threshold, lambda value: gc.set_threshold(*value)),
    "logging below a level": (
        lambda: logging.root.manager.disable,
        lambda value: setattr(logging.root.manager, "disable", value),
    ),
    "warnings as log records": (
        lambda: getattr(logging, "_warnings_showwarning", None) is not None,
        logging.captureWarnings,
    ),
    "digits of an integer": (sys.get_int_max_str_digits, sys.set_int_max_str_digits),
    "length of a csv field": (
        lambda: sys.modules["_csv"].field_size_limit() if "_csv" in sys.modules else None,
        lambda value: sys.modules["_csv"].field_size_limit(value) if value is not None else None,
    ),
    "default context of decimal": (lambda: _decimal_default(), lambda value: _set_decimal_default(value)),
}


# These modules are asked only where they were imported: what was read as None was not there.


def _decimal_default() -> tuple[Any, ...] | None:
    decimal = sys.modules.get("decimal")
    if decimal is None:
        return None
    # Its pickled form: to ask for each attribute takes longer than most other places do.
    *values, _flags, trapped = decimal.DefaultContext.__reduce__()[1]
    return (*values, tuple(trapped))


def _set_decimal_default(value: tuple[Any, ...] | None) -> None:
    if value is None:
        return
    default = sys.modules["decimal"].DefaultContext
    for name, each in zip(_OF_A_CONTEXT, value, strict=False):
        setattr(default, name, each)
    for signal_class in default.traps:
        default.traps[signal_class] = signal_class in value[-1]


_OF_A_CONTEXT = ("prec", "rounding", "Emin", "Emax", "capitals", "clamp")


def _csv_dialects() -> Table:
    csv: Any = sys.modules.get("_csv")
    return {} if csv is None else {name: csv.get_dialect(name) for name in csv.list_dialects()}


def _write_csv_dialect(key: str, now: Any, value: Any) -> None:
    csv: Any = sys.modules["_csv"]
    if value is MISSING:
        csv.unregister_dialect(key)
    else:
        csv.register_dialect(key, value)


def _write_environment(key: bytes | str, now: Any, value: Any) -> None:
    name = os.fsdecode(key)
    if value is MISSING:
        os.environ.pop(name, None)
    else:
        os.environ[name] = os.fsdecode(value)
    if name == "TZ":
        time.tzset()


# The storage of `os.environ`: decoding every variable takes longer than reading all other places.
_variables: dict[Any, Any] = getattr(os.environ, "_data", None) or dict(os.environ)


# Functions that Python calls


class _Spy:
    """Equal to nothing: `atexit.unregister` compares each callback with it, and shows all."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def __eq__(self, other: object) -> bool:
        self.seen.append(other)
        return False

    __hash__ = None  # type: ignore[assignment]


def _exit_callbacks() -> Table:
    spy = _Spy()
    atexit.unregister(spy)  # type: ignore[arg-type]
    return by_identity(spy.seen)


def _write_exit_callback(key: Any, now: Any, value: Any) -> None:
    # Not called: it is for the end of the process.
    if value is MISSING:
        atexit.unregister(now)


# Wrapped by `signal.getsignal`: looking up the handlers of sixty signals in an enumeration takes
# longer than all else.
_handler_of: Callable[[int], Any] = getattr(sys.modules.get("_signal"), "getsignal", signal.getsignal)


def _signal_handlers() -> Table:
    return {number: _handler_of(number) for number in _SIGNALS}


def _write_signal(number: int, now: Any, value: Any) -> None:
    on_main_thread(signal.signal, number, signal.SIG_DFL if value is None else value)


_SIGNALS = tuple(int(each) for each in signal.valid_signals() if each not in (signal.SIGKILL, signal.SIGSTOP))


# Logging


def _loggers() -> Iterator[tuple[str, logging.Logger]]:
    yield "root", logging.root
    for name, logger in list(logging.root.manager.loggerDict.items()):
        # A logger that was never asked for has a place holder in the table.
        if isinstance(logger, logging.Logger):
            yield name, logger


def _logger(name: str) -> logging.Logger:
    return logging.getLogger(None if name == "root" else name)


def _log_handlers() -> Table:
    return {(name, id(each)): each for name, logger in _loggers() for each in (*logger.handlers, *logger.filters)}


def _write_log_handler(key: tuple[str, int], now: Any, value: Any) -> None:
    logger, thing = _logger(key[0]), now if value is MISSING else value
    found: list[Any] = _log_list(key, thing)
    if value is MISSING:
        found[:] = [each for each in found if each is not now]
    else:
        found.append(value)
    logger.manager._clear_cache()  # type: ignore[attr-defined]


def _log_list(key: tuple[str, int], thing: Any) -> list[Any]:
    logger: Any = _logger(key[0])
    is_filter = any(each is thing for each in logger.filters) or not isinstance(thing, logging.Handler)
    return logger.filters if is_filter else logger.handlers  # type: ignore[no-any-return]


def _log_settings() -> Table:
    """Yield the settings of loggers, without the defaults of a new one."""
    found: Table = {}
    for name, logger in _loggers():
        if logger.level:
            found[name, "level"] = logger.level
        if not logger.propagate:
            found[name, "propagate"] = False
        if logger.disabled:
            found[name, "disabled"] = True
    return found


_NEW_LOGGER = {"level": 0, "propagate": True, "disabled": False}


def _write_log_setting(key: tuple[str, str], now: Any, value: Any) -> None:
    name, setting = key
    value = _NEW_LOGGER[setting] if value is MISSING else value
    if setting == "level":
        _logger(name).setLevel(value)
    else:
        setattr(_logger(name), setting, value)


# The loop


_OF_A_LOOP = ("exception_handler", "task_factory", "debug")


def _loop_settings() -> Table:
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return {}
    return {(weakref.ref(loop), each): getattr(loop, f"get_{each}")() for each in _OF_A_LOOP}


def _write_loop_setting(key: tuple[weakref.ref[asyncio.AbstractEventLoop], str], now: Any, value: Any) -> None:
    loop = key[0]()
    if loop is not None and not loop.is_closed() and value is not MISSING:
        getattr(loop, f"set_{key[1]}")(value)


def _modules_without_source() -> Table:
    """Return the modules that code has made and put into Python's table itself."""
    return {
        name: module
        for name, module in list(sys.modules.items())
        if type(module) is ModuleType and vars(module).get("__spec__") is None and name != "__main__"
    }


def _write_module(name: str, value: Any) -> None:
    if value is MISSING:
        sys.modules.pop(name, None)
    else:
        sys.modules[name] = value


MODULES = Place(
    word="module in sys.modules",
    read=_modules_without_source,
    put=lambda key, now, value: _write_module(key, value),
    is_shared=True,
)
"""Looked at where code names it: to go through the table takes longer than all else."""

PLACES = (
    Place(word="environment variable", read=lambda: dict(_variables), put=_write_environment),
    Place(
        word="setting",
        read=lambda: {name: read() for name, (read, _) in _SETTINGS.items()},
        put=lambda key, now, value: None if value is MISSING else (_SETTINGS[key][1](value), None)[1],
    ),
    Place(word="signal handler", read=_signal_handlers, put=_write_signal),
    # After their handlers, so that they are stopped before these are gone: no handler means the end.
    Place(word="timer of signals", read=lambda: {each: _timer(each) for each in _TIMERS}, put=_set_timer),
    Place(word="exit callback", read=_exit_callbacks, put=_write_exit_callback, is_late=True),
    Place(
        word="log handler",
        read=_log_handlers,
        put=_write_log_handler,
        list_of=lambda key: _logger(key[0]).handlers,
        close=lambda handler: handler.close() if isinstance(handler, logging.Handler) else None,
    ),
    Place(word="log setting", read=_log_settings, put=_write_log_setting),
    attribute_place("builtin", builtins, ("_",)),
    attribute_place("attribute of sys", sys, ("last_type", "last_value", "last_traceback", "last_exc")),
    Place(word="setting of the loop", read=_loop_settings, put=_write_loop_setting),
    Place(word="csv dialect", read=_csv_dialects, put=_write_csv_dialect, is_shared=True),
    list_place("entry of sys.path", lambda: sys.path),
    list_place("finder in sys.meta_path", lambda: sys.meta_path),
    list_place("hook in sys.path_hooks", lambda: sys.path_hooks),
    list_place("warnings filter", lambda: warnings.filters, getattr(warnings, "_filters_mutated", int)),
)
"""The places that are always read."""


# The main thread, the only one where Python lets signal handlers be set

_main_loop: weakref.ref[asyncio.AbstractEventLoop] | None = None
_real_signal = signal.signal
_guests = 0
_guests_lock = threading.Lock()


def note_main_loop() -> None:
    """Remember the running loop, if it is the main thread's."""
    global _main_loop
    if threading.current_thread() is threading.main_thread():
        _main_loop = weakref.ref(asyncio.get_running_loop())


def on_main_thread(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function on the main thread, through its loop; here, if no loop runs there."""
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
    """Let `signal.signal` work on any thread, as where a program imports its modules."""
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
