"""Changes by the code of mods in other modules: functions, classes, tables and objects.

In a library these are the entries that the code names. In another module of mods they are every
table that can be reached: an app, a hub, a list behind a decorator.

Every library also changes itself: it fills caches, and makes objects at their first use. So a
change counts as a mod's only if the mod's code shows it (`Evidence`): it has put an object of its
own there, or names the entry. Reads code and modules; changes nothing.
"""

from __future__ import annotations

import _abc  # type: ignore[import-not-found]  # the only way to what was registered
import dis
import gc
import os
import sys
from abc import ABCMeta
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from types import BuiltinFunctionType, CellType, CodeType, FrameType, FunctionType, MappingProxyType, ModuleType
from typing import Any
from weakref import WeakKeyDictionary

from devserver.loader import raw
from devserver.loader.contents import content_places, is_iterator, is_of_python
from devserver.loader.places import (
    MISSING,
    MODULES,
    Place,
    Table,
    attribute_place,
    by_identity,
    by_occurrence,
    dict_place,
    list_place,
    slot_place,
)
from devserver.loader.scope import scope_of
from devserver.loader.successor import origin

_HEAP_TYPE = 1 << 9
_MOST_ENTRIES = 20_000
"""Larger tables are data, and too slow to copy."""
_NOT_HERE = frozenset({"builtins", "sys"})
"""Modules that `places` looks at."""
_DICTS = (dict, OrderedDict, defaultdict, Counter)
_TABLES = raw.ids(*_DICTS, list, set, deque)


def names_in(code: CodeType) -> frozenset[str]:
    """Yield every name that code, and what is in it, uses: variables, attributes, modules."""
    return frozenset().union(*(each.co_names for each in _with_inner(code)))


def modules_named(names: Iterable[str]) -> frozenset[str]:
    """Return the imported modules that these names may stand for, or be parts of.

    Other objects that some programs put into Python's table are left out.
    """
    wanted = frozenset(names)
    found = {each: sys.modules[each] for each in wanted & sys.modules.keys()}
    found = {each: module for each, module in found.items() if raw.derives(type(module), ModuleType)}
    # A module of a mod that is not a package has no modules as its parts.
    whole = [each for each in found.values() if "__path__" in vars(each) or scope_of(each) is None]
    parts = [vars(module).get(name) for module in whole for name in wanted & vars(module).keys()]
    # A package has a module as an attribute only after its first execution.
    packages = [name for name, each in found.items() if "__path__" in vars(each) and scope_of(each) is not None]
    parts += [sys.modules.get(f"{package}.{name}") for package in packages for name in wanted]
    return frozenset(found).union(
        each.__name__ for each in parts if each is not None and raw.derives(type(each), ModuleType)
    )


def places_named(names: frozenset[str], but: str, walked: set[int]) -> Iterator[Place]:
    """Return the places outside `but`, its own module, that code with these names may change.

    `walked` remembers which modules of mods have been looked through; negative, with their
    attributes.
    """
    if "sys" in names and "modules" in names:
        yield MODULES
    yield from places_in(modules_named(names) - _NOT_HERE - {but}, names, but, walked)


def places_in(modules: Iterable[str], names: frozenset[str], but: str, walked: set[int]) -> Iterator[Place]:
    """Return the same for code that uses `names` of these modules."""
    running = sys.modules.get(but)
    sets = "setattr" in names or (running is not None and _sets_attributes(running))
    for name in modules:
        module = sys.modules.get(name)
        if module is None or not raw.derives(type(module), ModuleType):
            continue
        if scope_of(module) is not None:
            if -id(module) in walked or (id(module) in walked and not sets):
                continue
            attributes = sets or _sets_attributes(module)
            walked.update({id(module)} if not attributes else {id(module), -id(module)})
            yield from registries_in(name, module, attributes=attributes)
            continue
        if name.startswith("devserver"):
            continue
        own = vars(module)
        yield from _places_of(module, name, own)
        for each in names & own.keys():
            yield from _parts(f"{name}.{each}", own[each])


def _places_of(owner: Any, name: str, attributes: Mapping[str, Any]) -> list[Place]:
    """Return the attributes of a module or class, and the tables among them. Remembered as long as
    the tables are the same: looking through a module takes longer than executing most mods."""
    count, tables, places = _known.get(owner, (-1, {}, []))
    if count != len(attributes) or any(attributes.get(each) is not table for each, table in tables.items()):
        tables = {each: value for each, value in list(attributes.items()) if id(type(value)) in _TABLES}
        places = [
            attribute_place("attribute", owner, ("__warningregistry__",), which=name, is_shared=True),
            *_containers(name, tables),
        ]
        _known[owner] = (len(attributes), tables, places)
    return places


_known: WeakKeyDictionary[Any, tuple[int, dict[str, Any], list[Place]]] = WeakKeyDictionary()


def _parts(name: str, value: Any) -> Iterator[Place]:
    """Yield the parts of a class, or of an object with attributes, that code names."""
    if raw.derives(type(value), ModuleType) or origin(value) is not None:
        return
    if value is os.environ:
        # `places` writes it as the process has it, for C and for child processes, too.
        return
    if raw.derives(type(value), type):
        if raw.flags_of(value) & _HEAP_TYPE and raw.lookup(type(value), "__hash__") is object.__hash__:
            yield from _places_of(value, name, vars(value))
            yield from _abstract_places(value, name)
        return
    # Not `vars`: that asks the object, which may be a proxy that answers for another one.
    try:
        own = object.__getattribute__(value, "__dict__")
    except AttributeError:
        return
    if type(own) is dict:
        yield from _dispatch_places(value, name, "entry")
        yield dict_place("attribute", own, which=name, is_shared=True)
        yield from _containers(name, own)


def _containers(name: str, attributes: Any) -> Iterator[Place]:
    for key, value in list(attributes.items()):
        if not raw.is_special(key):
            yield from container_places(f"{name}.{key}", value)


def container_places(name: str, value: Any, word: str = "entry", *, is_of_mods: bool = False) -> Iterator[Place]:
    """Return the entries of a table that a library or another module keeps; or nothing."""
    kind, which = type(value), (name, id(value))
    if id(kind) not in _TABLES or len(value) > _MOST_ENTRIES:
        return
    if kind in (list, deque):
        yield list_place(word, lambda: value, which=which, is_shared=True, is_of_mods=is_of_mods)
    elif kind is set:
        yield _set_place(word, value, which=which, is_shared=True, is_of_mods=is_of_mods)
    else:
        yield dict_place(word, value, which=which, is_shared=True, is_of_mods=is_of_mods)


# Where modules of mods register with each other


# Registries lie near their module (an app, its router, a table in that); what lies deeper is data.
_DEPTH = 6
_MOST_OBJECTS = 3000
_ATOMS = raw.ids(str, bytes, int, float, bool, complex, type(None), CodeType)


def registries_in(name: str, module: ModuleType, *, attributes: bool = True) -> Iterator[Place]:
    """Return the tables, up to a bound, that a module of mods, its objects or functions hold.

    With `attributes` also those of itself, of its classes and of its objects: for many modules that
    takes long.
    """
    seen: set[int] = {id(vars(module))}
    if attributes:
        yield attribute_place("registration", module, which=(name, ""), is_of_mods=True)
    level = [value for key, value in list(vars(module).items()) if not raw.is_special(key)]
    near, theirs = set(map(id, level)), set[int]()
    for _ in range(_DEPTH):
        below: list[Any] = []
        for thing in level:
            kind, which = type(thing), id(thing)
            if id(kind) in _ATOMS or which in seen or len(seen) > _MOST_OBJECTS:
                continue
            seen.add(which)
            if which in theirs:
                pass
            elif id(kind) in _TABLES:
                yield from container_places(name, thing, "registration", is_of_mods=True)
                # An iterator is no table.
                below += inside(thing, name)
                continue
            elif kind is not tuple and kind is not CellType:
                yield from _derived_places(thing, name)
                yield from _own_places(thing, name)
                for place in _attributes_of(thing, name, near, theirs) if attributes else ():
                    yield replace(place, which=(name, id(thing), place.which), is_of_mods=not place.is_shared)
            below += inside(thing, name) if not is_iterator(kind) else ()
        level = below


def _own_places(thing: Any, name: str) -> Iterator[Place]:
    """Return the registrations with an object itself that lie in no table."""
    if type(thing) is FunctionType:
        # Most things are functions without either.
        if vars(thing):
            yield from _dispatch_places(thing, name, "registration", is_of_mods=True)
        if not thing.__closure__:
            return
    elif raw.derives(type(thing), ABCMeta):
        yield from _abstract_places(thing, name, is_of_mods=True)
    yield from content_places(thing, name)


def _derived_places(thing: Any, name: str) -> Iterator[Place]:
    """Return the entries of an object whose class derives from a dict or list, past what that class
    does on the way; nothing for others."""
    flags = raw.flags_of(type(thing))
    if not flags & (_DERIVES_DICT | _DERIVES_LIST):
        return
    base: Any = list if flags & _DERIVES_LIST else OrderedDict if raw.derives(type(thing), OrderedDict) else dict
    if base.__len__(thing) > _MOST_ENTRIES:
        return

    def put(key: Any, now: Any, value: Any) -> None:
        if base is list:
            found = list(list.__iter__(thing))
            last = max((n for n, each in enumerate(found) if each is now), default=None)
            left = [each for n, each in enumerate(found) if n != last] if value is MISSING else [*found, value]
            list.__setitem__(thing, slice(None), left)
        elif value is MISSING:
            base.pop(thing, key, None)
        else:
            base.__setitem__(thing, key, value)

    read = (lambda: by_occurrence(list(list.__iter__(thing)))) if base is list else lambda: dict(base.items(thing))
    yield Place(word="registration", read=read, put=put, which=(name, id(thing)), is_shared=True, is_of_mods=True)


_DERIVES_LIST, _DERIVES_DICT = 1 << 25, 1 << 29
"""Flags of classes (Python/C API, Py_TPFLAGS_LIST_SUBCLASS and its like)."""


def _abstract_places(cls: Any, name: str, *, is_of_mods: bool = False) -> Iterator[Place]:
    """Return an abstract class's registrations, which `abc` hides; nothing for others."""
    if not raw.derives(type(cls), ABCMeta) or "_abc_impl" not in raw.names_of(cls):
        return

    def registered() -> list[type]:
        return [each for reference in _abc._get_dump(cls)[0] if (each := reference()) is not None]

    def put(key: Any, now: Any, value: Any) -> None:
        kept = [each for each in registered() if each is not now]
        _abc._reset_registry(cls)
        _abc._reset_caches(cls)
        for each in kept if value is MISSING else (*kept, value):
            # It also clears the caches of all other abstract classes.
            _abc._abc_register(cls, each)

    which = (name, raw.qualname_of(cls), "registered")
    read = lambda: by_identity(registered())  # noqa: E731
    yield Place(
        word="registered class", read=read, put=put, which=which, owner=cls, is_shared=True, is_of_mods=is_of_mods
    )


def _dispatch_places(function: Any, name: str, word: str, *, is_of_mods: bool = False) -> Iterator[Place]:
    """Return a `functools.singledispatch` function's table, with its cache; or nothing."""
    own = vars(function) if type(function) is FunctionType else {}
    registry, forget = own.get("registry"), own.get("_clear_cache")
    if type(registry) is not MappingProxyType or not callable(forget):
        return
    table = next(each for each in gc.get_referents(registry) if type(each) is dict)

    def put(key: Any, now: Any, value: Any) -> None:
        if value is MISSING:
            table.pop(key, None)
        else:
            table[key] = value
        forget()

    place = dict_place(word, table, which=(name, id(table)), is_shared=True, is_of_mods=is_of_mods)
    yield replace(place, put=put)


def _sets_attributes(module: ModuleType) -> bool:
    """Return whether a module of mods sets attributes of an object, or globals in its functions; so may the
    methods of its objects, whose classes other modules of mods have."""
    kinds = {id(kind): kind for kind in map(type, list(vars(module).values()))}.values()
    bases = {id(base): base for kind in kinds for base in raw.mro(kind)}.values()
    homes = [sys.modules.get(each) for each in set(map(raw.module_of, bases)) - {"builtins"}]
    texts = [
        getattr(getattr(each.__spec__, "loader", None), "executed", None)
        for each in (module, *(each for each in homes if type(each) is ModuleType and scope_of(each) is not None))
    ]
    return any(text is None or _sets(text.code) for text in texts)


@lru_cache(maxsize=256)
def _sets(code: CodeType) -> bool:
    return any(
        not (_SETTING.isdisjoint(part.co_code[::2]) and _SETTERS.isdisjoint(part.co_names))
        for part in _with_inner(code)
    )


_SETTING = frozenset(dis.opmap[each] for each in ("STORE_ATTR", "DELETE_ATTR", "STORE_GLOBAL", "DELETE_GLOBAL"))
_SETTERS = frozenset({"setattr", "delattr", "__setattr__", "__delattr__", "cached_property", "__dict__", "vars"})


def _attributes_of(thing: Any, module: str, near: set[int], theirs: set[int]) -> Iterator[Place]:
    """Return the attributes of a module's own class or function, or of an object that is a global or
    a part of one, as an app; `near` has these, and gets the parts of those of mods. `theirs` gets the
    tables of attributes of the others, which libraries change.

    Objects in containers are data: there may be many.
    """
    if type(thing) is FunctionType:
        if thing.__module__ == module:
            yield _function_place(thing)
    elif raw.derives(type(thing), type):
        if _module_of(thing) == module:
            yield attribute_place("registration", thing)
    elif id(thing) in near and not raw.derives(type(thing), ModuleType):
        home, attributes = sys.modules.get(raw.module_of(type(thing))), raw.dict_getter(type(thing))
        if type(home) is not ModuleType or scope_of(home) is None:
            # A library changes its own objects: what code of mods sets there counts.
            if attributes is not None and is_of_python(type(thing)):
                theirs.add(id(attributes(thing)))
                yield dict_place("attribute", attributes(thing), is_shared=True)
            return
        near.update(id(value) for _, value in raw.attributes(thing))
        if attributes is not None:
            yield dict_place("registration", attributes(thing))
        if raw.slots_of(type(thing)):
            yield slot_place("registration", thing, which="slots")


def _function_place(function: FunctionType) -> Place:
    """Return the attributes of a function, with those that decide what it does."""
    own = vars(function)

    def read() -> Table:
        named = tuple((function.__kwdefaults__ or {}).items())
        return {**own, **{each: getattr(function, each) for each in _OF_A_FUNCTION}, "__kwdefaults__": named}

    def is_as(table: Table) -> bool:
        # Most functions have nothing of their own, and many are looked at.
        is_plain = not own and len(table) == len(_OF_A_FUNCTION) + 1 and not table["__kwdefaults__"]
        return (
            is_plain
            and not function.__kwdefaults__
            and function.__code__ is table["__code__"]
            and function.__defaults__ is table["__defaults__"]
            and function.__doc__ is table["__doc__"]
        )

    def put(key: Any, now: Any, value: Any) -> None:
        if key == "__kwdefaults__":
            function.__kwdefaults__ = dict(value)
        elif key in _OF_A_FUNCTION:
            setattr(function, key, value)
        elif value is MISSING:
            own.pop(key, None)
        else:
            own[key] = value

    return Place(word="registration", read=read, put=put, is_as=is_as)


_OF_A_FUNCTION = ("__code__", "__defaults__", "__doc__")
"""Python's own members: to ask for them runs no code of mods."""


def inside(thing: Any, module: str) -> list[Any]:
    """Yield the contents of an object, without asking it; nothing if it is not its module's own."""
    kind = type(thing)
    if kind is FunctionType:
        return [*(thing.__closure__ or ()), *(thing.__defaults__ or ())]
    if id(kind) in _ENTERED:
        too_many = kind is not tuple and kind is not CellType and len(thing) > _MOST_OBJECTS
        return [] if too_many or (kind is dict and "__builtins__" in thing) else gc.get_referents(thing)
    if id(kind) in _NOT_ENTERED or raw.derives(kind, ModuleType):
        return []
    if raw.derives(kind, type):
        return (
            [
                value
                for key, value in vars(thing).items()
                if not raw.is_special(key) or type(value) is FunctionType or key == "__annotations__"
            ]
            if _module_of(thing) == module
            else []
        )
    if str(_module_of(kind)).startswith(("devserver", "asyncio")):
        return []
    return gc.get_referents(thing)


def _module_of(cls: type) -> Any:
    return type.__getattribute__(cls, "__dict__").get("__module__")


_ENTERED = _TABLES | raw.ids(tuple, CellType)
_NOT_ENTERED = _ATOMS | raw.ids(FrameType, BuiltinFunctionType)


def leads_to(value: Any, module: str, *, depth: int = _DEPTH) -> bool:
    """Return whether a value is code of a module, or holds some within a few steps."""
    seen: set[int] = set()
    level = [value]
    for _ in range(depth):
        below: list[Any] = []
        for thing in level:
            if id(thing) in seen or len(seen) > _FEW:
                continue
            seen.add(id(thing))
            if id(type(thing)) not in _ATOMS and origin(thing) == module:
                return True
            below += inside(thing, module)
        level = below
    return False


_FEW = 300


def is_value(thing: Any) -> bool:
    """Return whether an object cannot have got data: an immutable one, a class, a function."""
    kind = type(thing)
    if id(kind) in _ATOMS or kind is FunctionType or kind is BuiltinFunctionType or raw.derives(kind, type):
        return True
    return (kind is tuple or kind is frozenset) and len(thing) <= _FEW and all(map(is_value, thing))


def is_table(thing: Any) -> bool:
    """Return whether an object is a dict, list or set of Python."""
    return id(type(thing)) in _TABLES


def _set_place(word: str, target: set[Any], **more: Any) -> Place:
    def put(key: Any, now: Any, value: Any) -> None:
        if value is MISSING:
            target.discard(now)
        else:
            target.add(value)

    return Place(word=word, read=lambda: by_identity(target), put=put, **more)


# Whose change it is


@dataclass(frozen=True, slots=True)
class Evidence:
    """Evidence in modules' code for their changes: attributes that it sets, and constants."""

    attributes: frozenset[str] = field(default_factory=frozenset)
    constants: frozenset[str | bytes | int | float] = field(default_factory=frozenset)
    module: str = ""

    def shows_registration(self, before: Any, after: Any) -> bool:
        """Return whether an entry in a table of another module of mods leads to the code, or is an
        immutable value.

        Such a value holds no data that was added since; a container may, and stays with its module.
        """
        there = [each for each in (after, before) if each is not MISSING]
        return all(map(is_value, there)) or any(leads_to(each, self.module) for each in there)

    def says(self, key: Any, before: Any, after: Any) -> bool:
        """Return whether the code names an entry, or says its text or number; of other values always."""
        return any(self.has(each) for each in (before, after) if each is not MISSING) or (
            type(key) is str and self.has(key)
        )

    def has(self, value: Any) -> bool:
        """Return whether the code has a text or number of more than one digit; True for other objects."""
        kind = type(value)
        if kind is tuple or kind is frozenset:
            return any(map(self.has, value))
        if kind is int or kind is float:
            # Every code has small ones.
            return not -10 < value < 10 and value in self.constants
        if kind is str or kind is bytes:
            return value == self.module or self.names(value)
        return id(kind) not in _ATOMS

    def shows(self, key: Any, before: Any, after: Any) -> bool:
        """Return whether a change of this entry comes from the code."""
        return self.names(key) or self._is_own(after) or self._is_own(before)

    def names(self, key: Any) -> bool:
        """Return whether code sets an attribute of this name, or has it as a constant."""
        return (type(key) is str or type(key) is bytes) and (
            key in self.attributes or (len(key) > 1 and (key in self.constants or _decoded(key) in self.constants))
        )

    def _is_own(self, value: Any) -> bool:
        if type(value) is str:
            return len(value) > 1 and value in self.constants
        return origin(value) is not None


def evidence_in(codes: Iterable[CodeType], module: str) -> Evidence:
    """Return the evidence in the code of a module and of those that it needs."""
    found = [_evidence_of(each) for each in codes]
    return Evidence(
        frozenset().union(*(each.attributes for each in found)),
        frozenset().union(*(each.constants for each in found)),
        module,
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
    plain = {each for part in inner for constant in part.co_consts for each in _plain(constant)}
    return Evidence(frozenset(stores), frozenset(plain))


def _plain(constant: Any) -> Iterator[str | bytes | int | float]:
    if isinstance(constant, str | bytes | int | float):
        yield constant
    elif isinstance(constant, tuple | frozenset):
        for each in constant:
            yield from _plain(each)


def _decoded(key: str | bytes) -> str:
    return key if isinstance(key, str) else key.decode("utf-8", "surrogateescape")


def _with_inner(code: CodeType) -> Iterator[CodeType]:
    pending = [code]
    while pending:
        yield (each := pending.pop())
        pending += [inner for inner in each.co_consts if isinstance(inner, CodeType)]
