"""State of mods as JSON with tags, and back: a file on disk is data, and never executed.

A value without a form in JSON becomes `{"$": kind, "of": …}`. `encode` takes exactly the types of
the table and names others; `shown` takes anything, for people and comparisons, and is not read
back.
"""

from __future__ import annotations

import base64
import math
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import PosixPath, PurePosixPath
from typing import Any
from uuid import UUID

from devserver.loader import raw

MOST_VALUES = 200_000
"""The most values of one state that are written."""

_DEEPEST = 90
_MOST_LEVELS = 100
_SHOWN_TEXT = 200
_FACTORIES: dict[str, Callable[[], Any]] = {
    each.__name__: each for each in (dict, list, set, int, float, str, bool, tuple, deque, Counter)
}


def is_too_deep(value: Any) -> bool:
    """Return whether a value of JSON has more than 100 levels, without recursion: a file may have any."""
    level = [value]
    for _ in range(_MOST_LEVELS + 1):
        lists = [list(each.values()) if isinstance(each, dict) else each for each in level]
        level = [inner for each in lists if isinstance(each, list) for inner in each]
        if not level:
            return False
    return True


class NotPlain(ValueError):
    """A value that has no plain form. The text names its key and its type."""


class _Writer:
    """Writes one value; `strict` refuses values that cannot be read back."""

    def __init__(self, *, strict: bool) -> None:
        self._strict = strict
        self._left = MOST_VALUES
        self._met: dict[int, object] = {}
        """The containers so far, none of which may be met again: sharing would be lost."""

    def write(self, value: Any, where: str, depth: int = 0) -> Any:
        kind = type(value)
        self._left -= 1
        if self._left < 0 or depth > _DEEPEST:
            return self._odd(value, where, "is too large" if self._left < 0 else "is too deep")
        if kind in (str, int, bool, type(None)):
            return value
        if kind is float:
            return value if math.isfinite(value) else _tagged("float", repr(value))
        if kind in _ATOMS:
            zone = getattr(value, "tzinfo", None)
            if zone is not None and type(zone) is not timezone:
                return self._odd(value, where, f"holds a time of {_name(type(zone))}")
            name, write, _ = _ATOMS[type(value)]
            return _tagged(name, write(value))
        if kind in _CONTAINERS:
            if id(value) in self._met:
                return self._odd(value, where, f"holds one {kind.__name__} twice")
            self._met[id(value)] = value
            written = self._container(value, where, depth)
            if not self._strict:
                # Shown twice is fine; only a circle never ends.
                del self._met[id(value)]
            return written
        return self._odd(value, where, f"holds {_name(kind)}")

    def _container(self, value: Any, where: str, depth: int) -> Any:
        kind = type(value)
        if issubclass(kind, dict):
            return self._mapping(value, where, depth)
        inside = [self.write(each, where, depth + 1) for each in value]
        if kind is list:
            return inside
        if kind is deque:
            return _tagged("deque", inside, most=value.maxlen)
        if kind in (set, frozenset):
            inside.sort(key=repr)
        return _tagged(kind.__name__, inside)

    def _mapping(self, value: Any, where: str, depth: int) -> Any:
        kind = type(value)
        named = all(type(key) is str for key in value) and "$" not in value
        if named:
            inside: Any = {
                key: self.write(each, f"{where}.{key}" if where else key, depth + 1) for key, each in value.items()
            }
        else:
            inside = [
                [self.write(key, where, depth + 1), self.write(each, f"{where}[{key!r}]", depth + 1)]
                for key, each in value.items()
            ]
        if kind is dict:
            return inside if named else _tagged("dict", inside)
        if kind is not defaultdict:
            return _tagged(kind.__name__, inside)
        factory: Any = value.default_factory
        name = getattr(factory, "__name__", "") if factory is not None else None
        if name is not None and _FACTORIES.get(name) is not factory:
            return self._odd(value, where, "holds a defaultdict with a function of its own")
        return _tagged("defaultdict", inside, factory=name)

    def _odd(self, value: Any, where: str, why: str) -> Any:
        if self._strict:
            key = where.partition(".")[0]
            raise NotPlain(f"key {key!r} {why}" if key else why)
        if self._left < 0 or id(value) in self._met:
            return _tagged("…", _name(type(value)))
        self._met[id(value)] = value
        # Without code of the object: showing a state runs nothing of a mod.
        inside = {name: self.write(each, name, 0) for name, each in raw.attributes(value)}
        if not inside:
            inside = {"repr": _repr(value)} if type(value).__module__ in _SAFE_REPR else {}
        del self._met[id(value)]
        return _tagged("object", inside, cls=_name(type(value)))


def encode(value: Any) -> Any:
    """Return a value as JSON has it. Raises NotPlain where `decode` would change it."""
    return _Writer(strict=True).write(value, "")


def shown(value: Any) -> Any:
    """Return any value as JSON has it; an object as its class and attributes."""
    return _Writer(strict=False).write(value, "")


def decode(form: Any) -> Any:
    """Return the value that `encode` has written. Raises ValueError for any other form."""
    try:
        return _read(form)
    except (KeyError, TypeError, ValueError, ArithmeticError, AttributeError, RecursionError) as error:
        raise ValueError(f"no form of a value ({type(error).__name__}: {error})") from error


def _read(form: Any) -> Any:
    if isinstance(form, list):
        return [_read(each) for each in form]
    if not isinstance(form, Mapping):
        return form
    if "$" not in form:
        return {key: _read(each) for key, each in form.items()}
    kind, inside = form["$"], form["of"]
    if kind in _BY_NAME:
        return _BY_NAME[kind](inside)
    if kind == "deque":
        return deque(_read(inside), form["most"])
    if kind in ("tuple", "set", "frozenset"):
        return {"tuple": tuple, "set": set, "frozenset": frozenset}[kind](_read(inside))
    items = inside.items() if isinstance(inside, Mapping) else ((_read(key), each) for key, each in inside)
    pairs = {key: _read(each) for key, each in items}
    if kind == "defaultdict":
        factory = form["factory"]
        return defaultdict(None if factory is None else _FACTORIES[factory], pairs)
    return {"dict": dict, "OrderedDict": OrderedDict, "Counter": Counter}[kind](pairs)


def _tagged(kind: str, of: Any, **more: Any) -> dict[str, Any]:
    return {"$": kind, "of": of, **more}


def _name(kind: type) -> str:
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _repr(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN_TEXT else text[: _SHOWN_TEXT - 1] + "…"


_SAFE_REPR = frozenset({"builtins", "_thread", "threading", "asyncio", "re", "functools", "types"})
"""Modules of Python whose objects may be asked for their repr."""

_ATOMS: dict[type, tuple[str, Callable[[Any], Any], Callable[[Any], Any]]] = {
    bytes: ("bytes", lambda value: base64.b64encode(value).decode(), base64.b64decode),
    bytearray: (
        "bytearray",
        lambda value: base64.b64encode(value).decode(),
        lambda text: bytearray(base64.b64decode(text)),
    ),
    datetime: ("datetime", datetime.isoformat, datetime.fromisoformat),
    date: ("date", date.isoformat, date.fromisoformat),
    time: ("time", time.isoformat, time.fromisoformat),
    timedelta: ("timedelta", lambda v: [v.days, v.seconds, v.microseconds], lambda parts: timedelta(*parts)),
    Decimal: ("Decimal", str, Decimal),
    UUID: ("UUID", str, UUID),
    PosixPath: ("Path", str, PosixPath),
    PurePosixPath: ("PurePath", str, PurePosixPath),
}
"""Types without parts: their names, and their forms."""

_BY_NAME: dict[str, Callable[[Any], Any]] = {"float": float, **{name: read for name, _, read in _ATOMS.values()}}
_CONTAINERS = frozenset({dict, list, tuple, set, frozenset, deque, OrderedDict, defaultdict, Counter})
