"""What now stands where a piece of replaced code stood: found by name, as pickle finds classes and functions.

Looks things up; changes no object.
"""

from __future__ import annotations

import enum
import functools
import sys
from collections.abc import Iterator, Mapping
from functools import _lru_cache_wrapper
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

from devserver.loader.scope import scope_in, scope_of

_HEAP_TYPE = 1 << 9
_LOCALS = "<locals>"


class Gone(LookupError):
    """Nothing has taken the place of a piece of code. The text says of what, in a few words."""


def is_code(value: object) -> bool:
    """Whether a value is code that has a name of its own, rather than data."""
    return isinstance(value, type | FunctionType | ModuleType | _lru_cache_wrapper | enum.Enum)


def successor(code: Any) -> Any:
    """What has the name of `code` now; `code` itself where nothing took its place. Raises Gone."""
    if isinstance(code, ModuleType):
        return _of_module(code)
    if isinstance(code, enum.Enum):
        return _of_member(code)
    if isinstance(code, type):
        return successor_class(code)
    return _of_function(code)


def successor_class(cls: type) -> type:
    """The class of that name as it now is; `cls` itself where it was not replaced. Raises Gone."""
    if not is_watched(cls) or any(not _is_past(each) for each in _globals_of(cls)):
        return cls
    found = _attribute(sys.modules.get(cls.__module__), cls.__qualname__)
    if not isinstance(found, type):
        raise Gone(f"class {cls.__qualname__} is gone")
    return found


def is_watched(cls: type) -> bool:
    """Whether a class is code of mods, whichever build of it. One whose module is gone was."""
    module = sys.modules.get(cls.__module__)
    return bool(cls.__flags__ & _HEAP_TYPE) and (module is None or scope_of(module) is not None)


def origin(thing: object) -> str | None:
    """The watched module that a thing is code of, or an instance of whose class; None for what no mod has written."""
    if isinstance(thing, functools.partial):
        return origin(thing.func)
    if isinstance(thing, MethodType):
        return origin(thing.__func__)
    if isinstance(thing, _lru_cache_wrapper):
        return origin(thing.__wrapped__)
    if isinstance(thing, FunctionType):
        return str(thing.__globals__.get("__name__")) if scope_in(thing.__globals__) is not None else None
    if isinstance(thing, ModuleType):
        return thing.__name__ if scope_of(thing) is not None else None
    cls = thing if isinstance(thing, type) else type(thing)
    return cls.__module__ if is_watched(cls) else None


def _is_past(globals: Mapping[str, Any]) -> bool:
    """Whether these are the globals of a watched module that was replaced or is gone."""
    module = sys.modules.get(str(globals.get("__name__")))
    return scope_in(globals) is not None and (module is None or vars(module) is not globals)


def _of_module(module: ModuleType) -> ModuleType:
    if scope_of(module) is None:
        return module
    found = sys.modules.get(module.__name__)
    if found is None:
        raise Gone(f"module {module.__name__} is gone")
    return found


def _of_member(member: enum.Enum) -> enum.Enum:
    cls = type(member)
    target: Any = successor_class(cls)
    if target is cls:
        return member
    try:
        # A flag that is made of several has no name of its own in every version of Python.
        return target[member.name] if member.name in target.__members__ else target(member.value)  # type: ignore[no-any-return]
    except (ValueError, KeyError, TypeError):
        raise Gone(f"{cls.__qualname__}.{member.name} is gone") from None


def _of_function(function: Any) -> Any:
    """The function of that name, or of the global name that it was bound to, or its body among an outer function's."""
    past = [each for each in _globals_along(function) if _is_past(each)]
    if not past:
        return function
    home = sys.modules.get(str(past[-1].get("__name__")))
    found = _attribute(sys.modules.get(function.__module__ or ""), function.__qualname__)
    if found is None:
        found = _attribute(home, next((name for name, value in past[-1].items() if value is function), ""))
    if found is None and isinstance(function, FunctionType):
        found = _inner(function, home)
    if found is None:
        raise Gone(f"{function.__qualname__} is gone")
    return found


def _globals_along(function: Any) -> Iterator[Mapping[str, Any]]:
    """The globals of a function and of those that it wraps."""
    seen: set[int] = set()
    while function is not None and id(function) not in seen:
        seen.add(id(function))
        own = getattr(function, "__globals__", None)
        if isinstance(own, dict):
            yield own
        function = getattr(function, "__wrapped__", None)


def _inner(function: FunctionType, module: ModuleType | None) -> FunctionType | None:
    """A function of the same closure with the new body, where an outer function still makes one of its name."""
    top, *path = function.__qualname__.split(f".{_LOCALS}.")
    code: CodeType | None = getattr(_attribute(module, top), "__code__", None)
    for name in path:
        code = _only(code, name) if code is not None else None
    if code is None or code.co_freevars != function.__code__.co_freevars:
        return None
    made = FunctionType(code, vars(module), function.__name__, function.__defaults__, function.__closure__)
    made.__kwdefaults__ = function.__kwdefaults__
    made.__dict__.update(vars(function))
    return made


def _only(outer: CodeType, name: str) -> CodeType | None:
    found = [each for each in outer.co_consts if isinstance(each, CodeType) and each.co_name == name]
    return found[0] if len(found) == 1 else None


def _attribute(module: ModuleType | None, qualname: str) -> Any:
    found: Any = module
    for name in qualname.split("."):
        found = getattr(found, name, None)
    return found


def _globals_of(cls: type) -> Iterator[Mapping[str, Any]]:
    """The globals that the first function of a class sees; nothing for a class without any of its own module."""
    for each in vars(cls).values():
        if isinstance(each, FunctionType) and each.__globals__.get("__name__") == cls.__module__:
            yield each.__globals__
            return
