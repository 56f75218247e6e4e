"""Reads and changes objects without running any code of theirs.

Only slots of the interpreter are used: `type()`, identity, the descriptors of `type` and `object`,
members of a class's own dict. No `==`, hash, truth value, `isinstance` (it asks an object for its
`__class__`), property or `__getattr__`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from types import GetSetDescriptorType, MemberDescriptorType
from typing import Any

HEAP_TYPE = 1 << 9
"""The flag of a class that a `class` statement (or its like) has made."""

mro: Callable[[type], tuple[type, ...]] = type.__dict__["__mro__"].__get__
names_of: Callable[[type], Mapping[str, Any]] = type.__dict__["__dict__"].__get__
flags_of: Callable[[type], int] = type.__dict__["__flags__"].__get__
qualname_of: Callable[[type], str] = type.__dict__["__qualname__"].__get__
set_class: Callable[[object, type], None] = object.__dict__["__class__"].__set__

_STANDARD = frozenset(sys.stdlib_module_names) | {"builtins"}


def ids(*classes: type) -> frozenset[int]:
    """Return a table of classes, asked by `id(cls) in …`: a metaclass may have no hash, or one that runs code."""
    return frozenset(map(id, classes))


def derives(cls: type, *bases: type) -> bool:
    """Return whether a class is one of `bases` or derives from one."""
    # Loops, not `any`: this is asked of every object that is looked through.
    for each in mro(cls):
        for base in bases:
            if each is base:
                return True
    return False


def lookup(cls: type, name: str) -> Any:
    """Return a class's definition under a name, unbound, or None."""
    for each in mro(cls):
        if name in (names := names_of(each)):
            return names[name]
    return None


def module_of(cls: type) -> str:
    """Return the name of the module that a class was made in."""
    if not flags_of(cls) & HEAP_TYPE:
        return "builtins"
    found = names_of(cls).get("__module__")
    return found if type(found) is str else ""


def is_special(name: object) -> bool:
    """Return whether a name begins with two underscores: it belongs to Python, or the library that made a class."""
    return type(name) is str and name.startswith("__")


def is_standard(cls: type) -> bool:
    """Return whether a class belongs to Python or its standard library."""
    return is_standard_name(module_of(cls))


def is_standard_name(module: str) -> bool:
    """Return whether a module belongs to Python or its standard library."""
    return module.partition(".")[0] in _STANDARD


def dict_getter(cls: type) -> Callable[[object], dict[str, Any]] | None:
    """Return a function that reads the attributes of an instance of `cls`; None if it has none."""
    for each in mro(cls):
        found = names_of(each).get("__dict__")
        if type(found) is GetSetDescriptorType or type(found) is MemberDescriptorType:
            return found.__get__
    return None


def own(thing: object, name: str) -> Any:
    """Return an attribute that an object or its class has; None without it. A `__getattr__` is not asked."""
    try:
        return object.__getattribute__(thing, name)
    except AttributeError:
        return None


def slots_of(cls: type) -> list[tuple[str, Any]]:
    """Return the slots of a class with their descriptors, those of its bases too."""
    return [
        (name, member)
        for each in mro(cls)
        if "__slots__" in names_of(each)
        for name, member in list(names_of(each).items())
        if type(member) is MemberDescriptorType and name not in ("__dict__", "__weakref__")
    ]


def attributes(thing: object) -> Iterator[tuple[str, Any]]:
    """Yield the attributes that an instance itself has, with their values."""
    getter = dict_getter(type(thing))
    if getter is not None:
        yield from list(dict.items(getter(thing)))
    yield from slots_in(thing)


def slots_in(thing: object) -> Iterator[tuple[str, Any]]:
    """Yield the slots of an instance that have a value, with their values."""
    for name, member in slots_of(type(thing)):
        try:
            yield name, member.__get__(thing)
        except AttributeError:
            # A slot without a value.
            continue


def set_attribute(thing: object, name: str, value: object) -> None:
    """Set an attribute past any `__setattr__`; nothing if the class has no place for it."""
    for found, member in slots_of(type(thing)):
        if found == name:
            member.__set__(thing, value)
            return
    getter = dict_getter(type(thing))
    if getter is not None:
        dict.__setitem__(getter(thing), name, value)
