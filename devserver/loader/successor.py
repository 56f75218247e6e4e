"""The successors of replaced code: found by name, as pickle finds classes and functions.

Looks things up; changes no object, and runs no code of an object that it looks at (`raw`).
"""

from __future__ import annotations

import enum
import functools
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import _lru_cache_wrapper
from types import CodeType, CoroutineType, FunctionType, GeneratorType, MethodType, ModuleType, UnionType
from typing import Any

from devserver.loader import raw
from devserver.loader.scope import scope_in, scope_of

_LOCALS = "<locals>"


class Gone(LookupError):
    """Code without a successor. The text names it, in a few words."""


def is_code_type(cls: type) -> bool:
    """Return whether instances of a class are code that has a name of its own, rather than data."""
    return raw.derives(cls, type, FunctionType, ModuleType, _lru_cache_wrapper, enum.Enum)


def successor(code: Any) -> Any:
    """Return the object with the name of `code` now; `code` itself if not replaced. Raises Gone."""
    cls = type(code)
    if raw.derives(cls, ModuleType):
        return _of_module(code)
    if raw.derives(cls, enum.Enum):
        return _of_member(code)
    if raw.derives(cls, type):
        return successor_class(code)
    return _of_function(code)


def successor_class(cls: type) -> type:
    """Return the class of that name now; `cls` itself if it was not replaced. Raises Gone."""
    if not is_watched(cls) or not _is_past_class(cls):
        return cls
    name = raw.qualname_of(cls)
    found: Any = _attribute(sys.modules.get(raw.module_of(cls)), name)
    if found is None or not raw.derives(type(found), type):
        raise Gone(f"class {name} is gone")
    return found  # type: ignore[no-any-return]


def _is_past_class(cls: type) -> bool:
    """Return whether a class was made by a module that has been replaced, or is gone."""
    own = next(_globals_of(cls), None)
    if own is not None:
        return is_past(own)
    # A class without functions, as a named tuple. Python gives it the very text that its module has for a name,
    # and each execution of a module has one of its own (`finder`).
    home, name = sys.modules.get(raw.module_of(cls)), raw.names_of(cls).get("__module__")
    is_module = home is not None and raw.derives(type(home), ModuleType)
    return not (is_module and len(str(name)) > 1 and _namespace(home).get("__name__") is name)  # type: ignore[arg-type]


def is_watched(cls: type) -> bool:
    """Return whether a class is code of mods, of any build. A class whose module is gone was."""
    if not raw.flags_of(cls) & raw.HEAP_TYPE:
        return False
    module = sys.modules.get(raw.module_of(cls))
    return module is None or scope_of(module) is not None


def origin(thing: object) -> str | None:
    """Return the watched module that an object, or its class, is code of; else None."""
    cls = type(thing)
    if raw.derives(cls, functools.partial):
        return origin(functools.partial.func.__get__(thing))
    if cls is MethodType:
        return origin(thing.__func__)  # type: ignore[attr-defined]
    if cls is _lru_cache_wrapper:
        return origin(_wrapped(thing))
    if cls is FunctionType:
        globals = thing.__globals__  # type: ignore[attr-defined]
        return str(globals.get("__name__")) if scope_in(globals) is not None else None
    if raw.derives(cls, ModuleType):
        module: Any = thing
        return str(_namespace(module).get("__name__")) if scope_in(_namespace(module)) is not None else None
    made: Any = thing if raw.derives(cls, type) else cls
    return raw.module_of(made) if is_watched(made) else None


def is_past(globals: Mapping[str, Any]) -> bool:
    """Return whether these are a replaced or gone module's globals: not in Python's table."""
    scope = scope_in(globals)
    return scope is not None and scope.own is not None


def running_code(work: object) -> str | None:
    """Return the replaced function that a coroutine runs, or what it awaits, or None."""
    while (kind := type(work)) is CoroutineType or kind is GeneratorType:
        step: Any = work
        is_coroutine = kind is CoroutineType
        frame = step.cr_frame if is_coroutine else step.gi_frame
        if frame is not None and is_past(frame.f_globals):
            return str(step.__qualname__)
        work = step.cr_await if is_coroutine else step.gi_yieldfrom
    return None


def let_recognise(module: ModuleType) -> None:
    """Let the code of a replaced module that still runs accept instances of a class's successor.

    The objects that it shares with its successor, above all the state, have been moved to the new
    classes.
    """
    names = _namespace(module)
    names.setdefault("isinstance", _isinstance)
    names.setdefault("issubclass", _issubclass)


def alias_enums(modules: Iterable[ModuleType], enums: Iterable[tuple[type, type]], held: Iterable[object]) -> None:
    """Let replaced modules find the successors of these enums under their names: `state["mode"] is
    Mode.FAST`.

    Not if their running code `held` members from before, which it would not recognise any more, nor
    if a member is gone.
    """
    kept = {id(type(each)) for each in held if raw.derives(type(each), enum.Enum)}
    # By identity: a class of a mod may have a hash of its own.
    chosen = {id(old): new for old, new in enums if id(old) not in kept and _has_all_members(old, new)}
    for module in modules if chosen else ():
        names = _namespace(module)
        for name, value in list(names.items()):
            if raw.derives(type(value), type) and id(value) in chosen:
                names[name] = chosen[id(value)]
            elif id(type(value)) in chosen:
                with suppress(Gone):  # a value of several flags, which have other values now
                    names[name] = _of_member(value)


def _has_all_members(old: Any, new: Any) -> bool:
    return set(raw.lookup(old, "_member_map_") or ()) <= set(raw.lookup(new, "_member_map_") or ())


def _isinstance(thing: object, classes: Any, /) -> bool:
    return isinstance(thing, (classes, _latest(classes)))


def _issubclass(cls: Any, classes: Any, /) -> bool:
    return issubclass(cls, (classes, _latest(classes)))


def _latest(classes: Any) -> Any:
    """Return the argument of `isinstance` with the successor of each class that was replaced."""
    parts = classes.__args__ if type(classes) is UnionType else classes
    if type(parts) is tuple:
        return tuple(map(_latest, parts))
    if not raw.derives(type(classes), type):
        return ()
    try:
        return successor_class(classes)
    except Gone:
        return ()


_namespace: Callable[[ModuleType], dict[str, Any]] = ModuleType.__dict__["__dict__"].__get__  # type: ignore[index]


def _of_module(module: ModuleType) -> ModuleType:
    names = _namespace(module)
    if not is_past(names):
        return module
    found = sys.modules.get(str(names.get("__name__")))
    if found is None:
        raise Gone(f"module {names.get('__name__')} is gone")
    return found


def _of_member(member: enum.Enum) -> enum.Enum:
    cls = type(member)
    target: Any = successor_class(cls)
    if target is cls:
        return member
    known = dict(raw.attributes(member))
    name, value = known.get("_name_"), known.get("_value_")
    members = raw.lookup(target, "_member_map_") or {}
    try:
        # A flag that is made of several has no name of its own in some versions of Python.
        return members[name] if name in members else target(value)  # type: ignore[no-any-return]
    except Exception:
        # A value is looked up by the equality of its own class, which may raise anything.
        raise Gone(f"{raw.qualname_of(cls)}.{name} is gone") from None


def _of_function(function: Any) -> Any:
    """Return the function of that name, or its global name, or its body in an outer function."""
    past = [each for each in _globals_along(function) if is_past(each)]
    if not past:
        return function
    home = sys.modules.get(str(past[-1].get("__name__")))
    found = _attribute(sys.modules.get(function.__module__ or ""), function.__qualname__)
    if found is None:
        found = _attribute(home, next((name for name, value in list(past[-1].items()) if value is function), ""))
    if found is None and type(function) is FunctionType:
        found = _inner(function, home)
    if found is None:
        raise Gone(f"{function.__qualname__} is gone")
    return found


def _wrapped(function: Any) -> Any:
    """Return the function that a function says it wraps (`functools.wraps`)."""
    return dict(raw.attributes(function)).get("__wrapped__")


def _globals_along(function: Any) -> Iterator[Mapping[str, Any]]:
    """Yield the globals of a function and of those that it wraps."""
    seen: set[int] = set()
    while ((kind := type(function)) is FunctionType or kind is _lru_cache_wrapper) and id(function) not in seen:
        seen.add(id(function))
        if kind is FunctionType:
            yield function.__globals__
        function = _wrapped(function)


def _inner(function: FunctionType, module: ModuleType | None) -> FunctionType | None:
    """Return a function with the new body on its closure, if an outer one still makes it."""
    top, *path = function.__qualname__.split(f".{_LOCALS}.")
    code: CodeType | None = getattr(_attribute(module, top), "__code__", None)
    for name in path:
        code = _only(code, name) if code is not None else None
    if code is None or code.co_freevars != function.__code__.co_freevars:
        return None
    assert module is not None
    made = FunctionType(code, _namespace(module), function.__name__, function.__defaults__, function.__closure__)
    made.__kwdefaults__ = function.__kwdefaults__
    made.__dict__.update(vars(function))
    return made


def _only(outer: CodeType, name: str) -> CodeType | None:
    found = [each for each in outer.co_consts if type(each) is CodeType and each.co_name == name]
    return found[0] if len(found) == 1 else None


def _attribute(module: ModuleType | None, qualname: str) -> Any:
    """Return the value of a dotted name in a module and its classes, not in a replacement."""
    first, *rest = qualname.split(".")
    found: Any = _namespace(module).get(first) if raw.derives(type(module), ModuleType) else None  # type: ignore[arg-type]
    for name in rest:
        found = raw.lookup(found, name) if found is not None and raw.derives(type(found), type) else None
        if type(found) is staticmethod or type(found) is classmethod:
            found = found.__func__
    return found


def _globals_of(cls: type) -> Iterator[Mapping[str, Any]]:
    """Return the globals of the first function of a class; nothing without an own one."""
    for each in list(raw.names_of(cls).values()):
        if type(each) is FunctionType and each.__globals__.get("__name__") == raw.module_of(cls):
            yield each.__globals__
            return
