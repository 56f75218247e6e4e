"""What code of mods changes in modules that are not its own: in their functions, classes, tables and objects.

Every library also changes itself: it fills caches, and makes when it is first used what it needs. So a change counts as
a mod's only where the mod's code shows it (`Evidence`): it has put something of its own there, or names the entry.
Reads code and modules; changes nothing.
"""

from __future__ import annotations

import dis
import sys
from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from types import CodeType, ModuleType
from typing import Any
from weakref import WeakKeyDictionary

from devserver.loader import raw
from devserver.loader.places import MISSING, Place, attribute_place, by_identity, dict_place, list_place
from devserver.loader.scope import scope_of
from devserver.loader.successor import origin

_HEAP_TYPE = 1 << 9
_MOST_ENTRIES = 20_000
"""Larger tables are data, and too slow to copy."""
_NOT_HERE = frozenset({"builtins", "sys", "__main__"})
"""Modules that `places` looks at."""
_DICTS = (dict, OrderedDict, defaultdict)
_TABLES = frozenset({*_DICTS, list, set})


def names_in(code: CodeType) -> frozenset[str]:
    """Every name that code, and the functions and classes in it, use: of variables, attributes and imported modules."""
    return frozenset().union(*(each.co_names for each in _with_inner(code)))


def modules_named(names: Iterable[str]) -> frozenset[str]:
    """The modules, imported by now, that these names may stand for: by their own name, or as a part of another one.

    What else some programs put into Python's table is passed by.
    """
    wanted = frozenset(names)
    found = {each: module for each in wanted if raw.derives(type(module := sys.modules.get(each)), ModuleType)}
    parts = (vars(module).get(name) for module in found.values() for name in wanted & vars(module).keys())
    return frozenset(found).union(
        each.__name__ for each in parts if each is not None and raw.derives(type(each), ModuleType)
    )


def library_places(names: frozenset[str]) -> Iterator[Place]:
    """Where code that uses these names may change what belongs to no mod."""
    for name in modules_named(names) - _NOT_HERE:
        module = sys.modules.get(name)
        if module is None or not raw.derives(type(module), ModuleType):
            continue
        if name.startswith("devserver") or scope_of(module) is not None:
            continue
        own = vars(module)
        yield from _places_of(module, name, own)
        for each in names & own.keys():
            yield from _parts(f"{name}.{each}", own[each])


def _places_of(owner: Any, name: str, attributes: Mapping[str, Any]) -> list[Place]:
    """The attributes of a module or class, and the tables among them.

    Remembered for as long as the tables are the same: to look through a module takes longer than to execute most mods.
    """
    count, tables, places = _known.get(owner, (-1, {}, []))
    if count != len(attributes) or any(attributes.get(each) is not table for each, table in tables.items()):
        tables = {each: value for each, value in list(attributes.items()) if type(value) in _TABLES}
        places = [
            attribute_place("attribute", owner, ("__warningregistry__",), which=name, is_shared=True),
            *_containers(name, tables),
        ]
        _known[owner] = (len(attributes), tables, places)
    return places


_known: WeakKeyDictionary[Any, tuple[int, dict[str, Any], list[Place]]] = WeakKeyDictionary()


def _parts(name: str, value: Any) -> Iterator[Place]:
    """What a class, or an object with attributes, that code names holds."""
    if raw.derives(type(value), ModuleType) or origin(value) is not None:
        return
    if raw.derives(type(value), type):
        if raw.flags_of(value) & _HEAP_TYPE and raw.lookup(type(value), "__hash__") is object.__hash__:
            yield from _places_of(value, name, vars(value))
        return
    # Not `vars`: that asks the object, which may be a proxy that answers for another one.
    try:
        own = object.__getattribute__(value, "__dict__")
    except AttributeError:
        return
    if type(own) is dict:
        yield dict_place("attribute", own, which=name, is_shared=True)
        yield from _containers(name, own)


def _containers(name: str, attributes: Any) -> Iterator[Place]:
    for key, value in list(attributes.items()):
        if not (isinstance(key, str) and key.startswith("__")):
            yield from container_places(f"{name}.{key}", value)


def container_places(name: str, value: Any) -> Iterator[Place]:
    """The entries of a table, list or set that a library keeps; nothing for anything else."""
    kind = type(value)
    if kind in _DICTS and len(value) <= _MOST_ENTRIES:
        yield dict_place("entry", value, which=(name, id(value)), is_shared=True)
    elif kind is list and len(value) <= _MOST_ENTRIES:
        yield list_place("entry", lambda: value, which=(name, id(value)), is_shared=True)
    elif kind is set and len(value) <= _MOST_ENTRIES:
        yield _set_place(name, value)


def _set_place(name: str, target: set[Any]) -> Place:
    def put(key: Any, now: Any, value: Any) -> None:
        if value is MISSING:
            target.discard(now)
        else:
            target.add(value)

    return Place(word="entry", which=(name, id(target)), read=lambda: by_identity(target), put=put, is_shared=True)


# Whose change it is


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the code of some modules shows of the changes that it makes: the attributes it sets, and its constants."""

    attributes: frozenset[str] = field(default_factory=frozenset)
    constants: frozenset[str | bytes] = field(default_factory=frozenset)

    def shows(self, key: Any, before: Any, after: Any) -> bool:
        """Whether a change of this entry comes from the code."""
        return self.names(key) or self._is_own(after) or self._is_own(before)

    def names(self, key: Any) -> bool:
        """Whether code sets an attribute of this name, or has it as a constant."""
        return type(key) in (str, bytes) and (
            key in self.attributes or (len(key) > 1 and (key in self.constants or _decoded(key) in self.constants))
        )

    def _is_own(self, value: Any) -> bool:
        if type(value) is str:
            return len(value) > 1 and value in self.constants
        return origin(value) is not None


def evidence_in(codes: Iterable[CodeType]) -> Evidence:
    """What these modules' code shows."""
    found = [_evidence_of(each) for each in codes]
    return Evidence(
        frozenset().union(*(each.attributes for each in found)),
        frozenset().union(*(each.constants for each in found)),
    )


@lru_cache(maxsize=256)
def _evidence_of(code: CodeType) -> Evidence:
    inner = list(_with_inner(code))
    stores = {
        str(each.argval)
        for part in inner
        for each in dis.get_instructions(part)
        if each.opname in ("STORE_ATTR", "DELETE_ATTR")
    }
    texts = {each for part in inner for constant in part.co_consts for each in _texts(constant)}
    return Evidence(frozenset(stores), frozenset(texts))


def _texts(constant: Any) -> Iterator[str | bytes]:
    if isinstance(constant, str | bytes):
        yield constant
    elif isinstance(constant, tuple | frozenset):
        for each in constant:
            yield from _texts(each)


def _decoded(key: str | bytes) -> str:
    return key if isinstance(key, str) else key.decode("utf-8", "surrogateescape")


def _with_inner(code: CodeType) -> Iterator[CodeType]:
    yield code
    for each in code.co_consts:
        if isinstance(each, CodeType):
            yield from _with_inner(each)
