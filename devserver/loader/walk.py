"""Finds the objects of a state, and remembers their contents so that they can be restored exactly.

The garbage collector's own view (`gc.get_referents`) leads from object to object: it is fast, knows
every container, also those of other packages, and runs no code of theirs. The nature of an object
is decided once for its class (`Kind`).

Two stretches. First the data of the mod: Python's containers and instances of the classes of mods;
its contents are remembered. Then the rest, in objects of other packages (a queue, a client): these
are searched too, but their contents belong to them, and they may change them at any time.

The search takes time, so it is done in steps before the gate is shut; `refresh` then repeats only
the changed parts.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import logging
import subprocess
import threading
import types
import weakref
from collections import ChainMap, OrderedDict, UserDict, UserList, UserString, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from contextvars import Context, ContextVar
from dataclasses import dataclass, field
from operator import is_
from typing import Any

from devserver.loader import raw
from devserver.loader.scope import scope_in
from devserver.loader.successor import Gone, is_code_type, is_watched, successor_class
from devserver.mod import BaseMod

MOST_OBJECTS = 200_000
"""The most objects of a state that are looked at."""

MOST_BEYOND = 20_000
"""The most objects of other packages, and in those, that are looked at."""

BLOCK = 256
STEP = 2048
"""The number of objects, and of those that they hold, in one step of about 1 ms."""

ATOMS = raw.ids(int, str, bytes, float, bool, complex, type(None), type(Ellipsis), range, bytearray, slice)
"""Data that cannot hold code, by the ids of its classes."""

_CLOSED = (
    types.CodeType,
    types.FrameType,
    types.TracebackType,
    Context,
    ContextVar,
    logging.Logger,
    asyncio.AbstractEventLoop,
    threading.local,
    BaseMod,
)
"""Objects that lead to everything else, and are not part of a state."""

_DATA = (
    dict, list, tuple, set, frozenset, deque, types.MappingProxyType, types.CellType, types.MethodType,
    functools.partial, UserDict, UserList, UserString, ChainMap, types.SimpleNamespace,
)  # fmt: skip
_RUNNING = (asyncio.Future, threading.Thread, types.CoroutineType, types.GeneratorType, types.AsyncGeneratorType)
_OWNED = (asyncio.Future, threading.Thread, subprocess.Popen)


@dataclass(slots=True, eq=False)
class Kind:
    """The nature of the instances of one class in a walk, and those of them that it has found.

    `target` is the class that replaced theirs, if one did (`gone` says why it cannot be told);
    `code`: they are functions, classes, modules or enum members; `running`: code of theirs may run
    just now; `data`: their contents are remembered, which `take` reads and `put` restores; `parts`
    gives the objects that they hold, if these are not the collector's.
    """

    cls: type
    opens: bool = False
    data: bool = False
    own: bool = False
    code: bool = False
    running: bool = False
    owned: bool = False
    target: type | None = None
    gone: str = ""
    parts: Callable[[Any], Iterable[Any]] | None = None
    body: Callable[[Any], dict[str, Any]] | None = None
    """Gives the dict of an instance that has nothing else."""
    take: Callable[[Any], Any] | None = None
    put: Callable[[Any, Any], None] | None = None
    things: list[Any] = field(default_factory=list)


_ATOM = Kind(object)


@dataclass(slots=True, eq=False)
class Block:
    """Some of the objects found, what they led to at the last look, and their contents then."""

    things: list[Any]
    refs: list[Any]
    saved: list[Any]


class Walk:
    """One walk through a state, from its dict; not into the objects of `leave_out`."""

    def __init__(self, root: dict[Any, Any], leave_out: Iterable[object] = ()) -> None:
        self.root = root
        self.cut = False
        self.blocks: list[Block] = []
        self.found: dict[int, Any] = {}
        self.kinds: dict[int, Kind] = dict.fromkeys(ATOMS, _ATOM)
        self._unmet: list[Any] = []
        """The objects that the last block holds and that are not taken in yet, from the end."""
        self._near: list[Any] = []
        self._far: list[Any] = []
        self._beyond = 0
        self._left_out = list(leave_out)
        for each in self._left_out:
            self.found[id(each)] = each
        self._meet([root])

    def kind(self, thing: object) -> Kind:
        cls = type(thing)
        known = self.kinds.get(id(cls))
        if known is None:
            known = self.kinds[id(cls)] = kind_of(cls)
        return known

    def step(self) -> bool:
        """Look at some more objects; False when all have been looked at."""
        if self._unmet:
            some = self._unmet[-STEP:]
            del self._unmet[-STEP:]
            with _no_collection():
                self._meet(reversed(some))
            return True
        near = bool(self._near)
        pending = self._near if near else self._far
        if not pending:
            return False
        block = Block(pending[-BLOCK:], [], [])
        del pending[-BLOCK:]
        self.blocks.append(block)
        with _no_collection():
            # Before the referents: reading attributes may give an instance a dict of its own.
            self._save(block)
            block.refs = self._referents(block.things)
        self._unmet = block.refs[::-1]
        if not near:
            self._beyond += len(block.things)
        if len(self.found) >= MOST_OBJECTS or self._beyond >= MOST_BEYOND:
            self.cut = True
            self._near.clear()
            self._far.clear()
        return True

    def meet(self, things: Iterable[Any]) -> None:
        """Look through these, too, though the root does not lead to them."""
        self._meet(things)

    def finish(self) -> None:
        """Look at all remaining objects."""
        while self.step():
            pass

    def refresh(self) -> None:
        """Look again at changed objects, and remember the contents of all that exist now."""
        self.finish()
        with _no_collection():
            for block in list(self.blocks):
                self._save(block)
                now = self._referents(block.things)
                if len(now) != len(block.refs) or not all(map(is_, now, block.refs)):
                    block.refs = now
                    self._meet(now)
        self.finish()

    def give_back(self) -> None:
        """Restore all data as of the last look."""
        for block in self.blocks:
            for thing, contents in zip(block.things, block.saved, strict=True):
                kind = self.kind(thing)
                if contents is not None and kind.put is not None:
                    kind.put(thing, contents)

    def of_kind(self, choose: Callable[[Kind], Any]) -> Iterator[tuple[Kind, Any]]:
        """Yield all objects of the chosen kinds."""
        for kind in list(self.kinds.values()):
            if choose(kind):
                for thing in kind.things:
                    yield kind, thing

    def keys_of(self, ids: set[int]) -> dict[int, str]:
        """Return the state's key under which each of these objects, given by id, is first found.

        A state that is no dict has no keys, and is named itself.
        """
        named: dict[int, str] = {}
        # An object in the data of a key is named after it, even if an object of another package
        # leads there too.
        is_dict = raw.derives(type(self.root), dict)
        items: list[tuple[Any, Any]] = list(dict.items(self.root)) if is_dict else [("self.state", self.root)]
        for whole in (False, True):
            seen = {id(self.root)} if is_dict else set()
            for key, value in items:
                level = [each for each in (key, value) if id(each) in self.found]
                while level and len(named) < len(ids):
                    fresh = {id(each): each for each in level if id(each) not in seen}
                    seen.update(fresh)
                    named.update({each: _key_name(key) for each in fresh if each in ids and each not in named})
                    opened = [
                        each for each in fresh.values() if self.kind(each).data or (whole and self.kind(each).opens)
                    ]
                    level = [each for each in self._referents(opened) if id(each) in self.found]
        return named

    def _save(self, block: Block) -> None:
        kinds = self.kinds
        block.saved = [
            kind.take(thing) if (kind := kinds[id(type(thing))]).take is not None else None for thing in block.things
        ]

    def _meet(self, things: Iterable[Any]) -> None:
        """Take in objects that were not found yet."""
        kinds, found, near, far = self.kinds, self.found, self._near, self._far
        for thing in things:
            kind = kinds.get(id(type(thing))) or self.kind(thing)
            if kind is _ATOM:
                continue
            key = id(thing)
            if key in found:
                continue
            found[key] = thing
            kind.things.append(thing)
            if kind.opens:
                (near if kind.data else far).append(thing)

    def referents(self, thing: Any) -> list[Any]:
        self.kind(thing)
        return self._referents([thing])

    def is_atom(self, thing: object) -> bool:
        """Return whether an object is data that holds nothing."""
        return self.kind(thing) is _ATOM

    def _referents(self, things: list[Any]) -> list[Any]:
        """Return all objects that some objects hold."""
        whole: list[Any] = []
        parts: list[Any] = []
        kinds = self.kinds
        for thing in things:
            kind = kinds[id(type(thing))]
            if kind.body is not None:
                # From Python 3.13 on the collector sees values of an instance in the instance, not
                # in its dict.
                parts.extend(dict.values(kind.body(thing)))
            elif kind.parts is None:
                whole.append(thing)
            else:
                parts += kind.parts(thing)
        return gc.get_referents(*whole) + parts


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    """Keep the collector from a full pass because of the many objects made here, which stay."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


def _key_name(key: object) -> str:
    return key if type(key) is str else f"{type(key).__name__} key" if id(type(key)) not in ATOMS else str(key)


def kind_of(cls: type) -> Kind:
    """Return the kind of the instances of a class."""
    if id(cls) in ATOMS:
        return _ATOM
    if is_code_type(cls):
        is_function = cls is types.FunctionType
        return Kind(cls, code=True, opens=is_function, data=is_function, parts=_cells if is_function else None)
    owned = raw.derives(cls, *_OWNED) or _is_socket(cls)
    if raw.derives(cls, *_RUNNING):
        return Kind(cls, running=True, owned=owned)
    if raw.derives(cls, *_CLOSED) or raw.module_of(cls).partition(".")[0] == "devserver":
        return Kind(cls)
    own = is_watched(cls)
    made = Kind(cls, opens=True, data=own or raw.derives(cls, *_DATA), own=own, owned=owned)
    made.parts = next((parts for base, parts in _PARTS if raw.derives(cls, base)), None)
    if own:
        _find_target(made)
    if made.data:
        made.take, made.put = contents_of(cls)
    if (
        own
        and not raw.slots_of(cls)
        and all(each is object or raw.flags_of(each) & raw.HEAP_TYPE for each in raw.mro(cls))
    ):
        made.body = raw.dict_getter(cls)
    return made


def _is_socket(cls: type) -> bool:
    return any(raw.module_of(each) == "socket" and raw.qualname_of(each) == "socket" for each in raw.mro(cls))


def _find_target(kind: Kind) -> None:
    try:
        found = successor_class(kind.cls)
    except Gone as reason:
        kind.gone = str(reason)
        return
    kind.target = found if found is not kind.cls else None


# What an object holds, where that is not all that the collector sees


def _cells(function: types.FunctionType) -> Iterable[Any]:
    """Return the closure of a function; its module, which it leads to, is not part of a state."""
    return (function.__closure__ or ()) if scope_in(function.__globals__) is not None else ()


def _with_referent(reference: weakref.ref[Any]) -> Iterable[Any]:
    return [*gc.get_referents(reference), weakref.ref.__call__(reference)]


_PARTS: tuple[tuple[type, Callable[[Any], Iterable[Any]]], ...] = (
    (types.MethodType, lambda method: (method.__self__,)),
    (weakref.ref, _with_referent),
)


# Contents, read and given back

_Take = Callable[[Any], Any]
_Put = Callable[[Any, Any], None]


def contents_of(cls: type) -> tuple[_Take | None, _Put | None]:
    """Return the functions that read and restore instances of a class; (None, None): unchanging."""
    ways = [way for base, way in _WAYS.items() if raw.derives(cls, base)][:1]
    if raw.flags_of(cls) & raw.HEAP_TYPE or cls is types.SimpleNamespace:
        getter, slots = raw.dict_getter(cls), [member for _, member in raw.slots_of(cls)]
        ways += [_attributes_way(getter)] if getter is not None else []
        ways += [_slots_way(slots)] if slots else []
    if len(ways) < 2:
        return ways[0] if ways else (None, None)

    def take(thing: Any) -> Any:
        return [each(thing) for each, _ in ways]

    def put(thing: Any, contents: Any) -> None:
        for (_, each), part in zip(ways, contents, strict=True):
            each(thing, part)

    return take, put


def _attributes_way(getter: Callable[[object], dict[str, Any]]) -> tuple[_Take, _Put]:
    def put(thing: Any, contents: dict[str, Any]) -> None:
        own = getter(thing)
        dict.clear(own)
        dict.update(own, contents)

    return lambda thing: dict.copy(getter(thing)), put


def _slots_way(slots: list[Any]) -> tuple[_Take, _Put]:
    def take(thing: Any) -> list[Any]:
        return [_slot(member, thing) for member in slots]

    def put(thing: Any, contents: list[Any]) -> None:
        for member, value in zip(slots, contents, strict=True):
            if value is not _slot(member, thing):
                if value is _UNSET:
                    member.__delete__(thing)
                else:
                    member.__set__(thing, value)

    return take, put


_UNSET = object()


def _slot(member: Any, thing: Any) -> Any:
    try:
        return member.__get__(thing)
    except AttributeError:
        return _UNSET


def _put_dict(thing: Any, contents: dict[Any, Any]) -> None:
    # From dict to dict no key is hashed or compared: each keeps the hash of its entry.
    dict.clear(thing)
    dict.update(thing, contents)


def items_of(thing: dict[Any, Any]) -> list[tuple[Any, Any]]:
    """Return the items of any dict; no key is hashed, and no method of a subclass is called."""
    return _items_of_ordered(thing) if raw.derives(type(thing), OrderedDict) else list(dict.items(thing))


def _items_of_ordered(thing: Any) -> list[tuple[Any, Any]]:
    values = {id(key): value for key, value in dict.items(thing)}
    return [(key, values[id(key)]) for key in OrderedDict.__iter__(thing)]


def _put_ordered(thing: Any, contents: list[tuple[Any, Any]]) -> None:
    now = _items_of_ordered(thing)
    if len(now) == len(contents) and all(a is c and b is d for (a, b), (c, d) in zip(now, contents, strict=True)):
        # An ordered dict hashes its keys: nothing is touched unless something has changed.
        return
    OrderedDict.clear(thing)
    for key, value in contents:
        OrderedDict.__setitem__(thing, key, value)


def _put_set(thing: Any, contents: set[Any]) -> None:
    set.clear(thing)
    set.update(thing, contents)


def _put_deque(thing: Any, contents: list[Any]) -> None:
    deque.clear(thing)
    deque.extend(thing, contents)


def _take_cell(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        # Not filled yet: a function that its outer one has not reached.
        return _UNSET


def _put_cell(cell: types.CellType, contents: Any) -> None:
    if contents is not _UNSET:
        cell.cell_contents = contents


def _put_defaults(thing: Any, contents: tuple[Any, dict[Any, Any]]) -> None:
    _FACTORY.__set__(thing, contents[0])
    _put_dict(thing, contents[1])


_FACTORY: Any = defaultdict.__dict__["default_factory"]

_WAYS: dict[type, tuple[_Take, _Put]] = {
    OrderedDict: (_items_of_ordered, _put_ordered),
    defaultdict: (lambda thing: (_FACTORY.__get__(thing), dict.copy(thing)), _put_defaults),
    dict: (dict.copy, _put_dict),
    list: (list.copy, lambda thing, contents: list.__setitem__(thing, slice(None), contents)),
    set: (set.copy, _put_set),
    deque: (lambda thing: list(deque.__iter__(thing)), _put_deque),
    types.CellType: (_take_cell, _put_cell),
}
