"""Moves what a state holds of replaced code to the code that replaced it, in place, and can undo that until commit.

Objects are treated as pickle treats them: classes, functions, modules and enum members by name, instances by their
class and attributes. Looked through are the containers of Python, and instances of the classes of mods; each object
once, without recursion. Objects of other packages are left alone, with what they hold.
"""

from __future__ import annotations

import functools
from collections import OrderedDict, defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import CellType, FunctionType, MethodType, SimpleNamespace
from typing import Any

from devserver.loader.fitting import Fit, fit, slots_of
from devserver.loader.scope import scope_in
from devserver.loader.successor import Gone, is_code, is_watched, successor, successor_class

MOST_OBJECTS = 200_000
"""How many objects of a state are looked at, at about a microsecond each."""

_ATOMS = frozenset({int, str, bytes, float, bool, complex, type(None), type(Ellipsis), range, bytearray})
_FROZEN = (tuple, frozenset, MethodType, functools.partial)


@dataclass(slots=True)
class Moving:
    """One pass over a state: `go`, then, where the hand-over is rolled back, `undo`.

    `stale` says by key what goes on running replaced code, and why; `lacks` by key which new attribute an instance
    could not be given; `cut` whether the state was too large to be looked through.
    """

    stale: dict[str, str] = field(default_factory=dict)
    lacks: dict[str, str] = field(default_factory=dict)
    cut: bool = False
    _found: dict[int, Any] = field(default_factory=dict)
    _keys: dict[int, str] = field(default_factory=dict)
    _old: dict[int, Any] = field(default_factory=dict)
    _new: dict[int, Any] = field(default_factory=dict)
    _fits: list[Fit] = field(default_factory=list)
    _settled: set[int] = field(default_factory=set)

    def go(self, state: dict[Any, Any], known: Iterable[tuple[object, object]] = ()) -> None:
        """Move what `state` holds. `known` are pairs of objects, the second of which takes the place of the first."""
        for old, new in known:
            self._note(old, new)
        self._discover(state)
        for thing in list(self._found.values()):
            self._replace(thing)
        if not (self._fits or any(old in self._found for old in self._new)):
            return
        for thing in self._things():
            if isinstance(thing, _FROZEN):
                self._thaw(thing)
        self._patch_all({old: self._latest(new) for old, new in self._new.items()})

    def undo(self) -> None:
        """Everything that was in the state before is in it again, as it was."""
        for each in reversed(self._fits):
            each.undo()
        self._patch_all({id(self._latest(new)): self._old[old] for old, new in self._new.items()})

    def _things(self) -> list[Any]:
        """All that was found, and the objects that took the place of instances of another layout."""
        return [*self._found.values(), *(each.after for each in self._fits if each.after is not each.before)]

    def _latest(self, thing: Any) -> Any:
        while id(thing) in self._new:
            thing = self._new[id(thing)]
        return thing

    # Finding

    def _discover(self, state: dict[Any, Any]) -> None:
        self._found[id(state)] = state
        # From the end, for the sake of the first keys: what several share is named after the first.
        pending = [(each, str(key)) for key, value in reversed(state.items()) for each in (value, key)]
        while pending:
            thing, key = pending.pop()
            if type(thing) in _ATOMS or id(thing) in self._found:
                continue
            if len(self._found) >= MOST_OBJECTS:
                self.cut = True
                return
            self._found[id(thing)] = thing
            self._keys[id(thing)] = key
            if id(thing) in self._new:
                # It has its successor already, and stays as it is.
                continue
            pending += [(each, key) for each in parts_of(thing) if type(each) not in _ATOMS]

    # Replacing

    def _replace(self, thing: Any) -> None:
        """Find what takes the place of a piece of code, or make an instance one of its new class."""
        if id(thing) in self._new:
            return
        try:
            if is_code(thing):
                self._note(thing, successor(thing))
            elif (target := successor_class(type(thing))) is not type(thing):
                self._fit(thing, target)
        except Gone as reason:
            self.stale.setdefault(self._keys.get(id(thing), ""), str(reason))

    def _fit(self, thing: Any, target: type) -> None:
        done = fit(thing, target)
        self._fits.append(done)
        self._note(thing, done.after)
        if done.lacks:
            self.lacks.setdefault(self._keys.get(id(thing), ""), ", ".join(done.lacks))

    def _note(self, old: Any, new: Any) -> None:
        if new is not old:
            self._old[id(old)], self._new[id(old)] = old, new

    def _thaw(self, top: Any) -> None:
        """Build what cannot be changed anew where a part of it has another in its place; the innermost first."""
        pending, opened = [top], set()
        while pending:
            thing = pending[-1]
            inner = [each for each in parts_of(thing) if isinstance(each, _FROZEN) and id(each) not in self._settled]
            if inner and id(thing) not in opened:
                opened.add(id(thing))
                pending += inner
                continue
            pending.pop()
            if id(thing) not in self._settled:
                self._settled.add(id(thing))
                if id(thing) not in self._new:
                    self._note(thing, self._rebuilt(thing))

    def _rebuilt(self, thing: Any) -> Any:
        if isinstance(thing, MethodType):
            return self._rebound(thing)
        if all(id(part) not in self._new for part in parts_of(thing)):
            return thing
        if isinstance(thing, functools.partial):
            keywords = {name: self._latest(each) for name, each in thing.keywords.items()}
            return type(thing)(self._latest(thing.func), *map(self._latest, thing.args), **keywords)
        parts = [self._latest(each) for each in thing]
        if isinstance(thing, tuple):
            return tuple.__new__(type(thing), parts)
        return type(thing)(parts)

    def _rebound(self, method: MethodType) -> Any:
        """A method of the same object as its class has it now."""
        owner = self._latest(method.__self__)
        found = getattr(owner, method.__name__, None)
        if getattr(found, "__func__", None) is method.__func__ and owner is method.__self__:
            return method
        if found is None:
            self.stale.setdefault(self._keys.get(id(method), ""), f"{method.__qualname__} is gone")
            return method
        return found

    def _patch_all(self, new: Mapping[int, Any]) -> None:
        for thing in self._things():
            if id(thing) not in self._new:
                _patch(thing, new)


def parts_of(thing: Any) -> Iterator[Any]:
    """What an object holds, as far as it is looked through."""
    if is_code(thing):
        yield from (thing.__closure__ or ()) if isinstance(thing, FunctionType) and scope_in(thing.__globals__) else ()
        return
    if isinstance(thing, dict):
        yield from list(thing)
        yield from list(thing.values())
        yield from (thing.default_factory,) if isinstance(thing, defaultdict) else ()
    elif isinstance(thing, list | tuple | set | frozenset | deque):
        yield from list(thing)
    elif isinstance(thing, MethodType):
        yield thing.__self__
    elif isinstance(thing, functools.partial):
        yield from (thing.func, *thing.args, *thing.keywords.values())
    elif isinstance(thing, CellType):
        yield from _cell(thing)
    if _has_attributes(thing):
        yield from list(vars(thing).values()) if hasattr(thing, "__dict__") else ()
        yield from (getattr(thing, name) for name in slots_of(thing))


def _cell(cell: CellType) -> list[Any]:
    try:
        return [cell.cell_contents]
    except ValueError:
        # Not filled yet: a function that its outer one has not reached.
        return []


def _has_attributes(thing: object) -> bool:
    return isinstance(thing, SimpleNamespace) or is_watched(type(thing))


def _patch(thing: Any, new: Mapping[int, Any]) -> None:
    """Put what takes the place of something there, wherever `thing` holds it."""
    if is_code(thing):
        return
    if isinstance(thing, dict):
        _patch_dict(thing, new)
    elif isinstance(thing, list):
        for place, each in enumerate(thing):
            if id(each) in new:
                list.__setitem__(thing, place, new[id(each)])
    elif isinstance(thing, deque | set):
        _patch_whole(thing, new)
    elif isinstance(thing, CellType):
        for each in _cell(thing):
            thing.cell_contents = new.get(id(each), each)
    if _has_attributes(thing):
        _patch_attributes(thing, new)


def _patch_dict(thing: dict[Any, Any], new: Mapping[int, Any]) -> None:
    if isinstance(thing, defaultdict) and id(thing.default_factory) in new:
        thing.default_factory = new[id(thing.default_factory)]
    items = list(thing.items())
    if all(type(key) in _ATOMS for key, _ in items):
        for key, value in items:
            if id(value) in new:
                dict.__setitem__(thing, key, new[id(value)])
        return
    # A key may have another hash since its class is another.
    kind: Any = OrderedDict if isinstance(thing, OrderedDict) else dict
    kind.clear(thing)
    for key, value in items:
        kind.__setitem__(thing, new.get(id(key), key), new.get(id(value), value))


def _patch_whole(thing: Any, new: Mapping[int, Any]) -> None:
    values = list(thing)
    if all(type(each) in _ATOMS for each in values):
        return
    kind: Any = set if isinstance(thing, set) else deque
    kind.clear(thing)
    (kind.update if kind is set else kind.extend)(thing, [new.get(id(each), each) for each in values])


def _patch_attributes(thing: Any, new: Mapping[int, Any]) -> None:
    own = getattr(thing, "__dict__", {})
    for name, value in list(own.items()):
        if id(value) in new:
            own[name] = new[id(value)]
    for name in list(slots_of(thing)):
        value = getattr(thing, name)
        if id(value) in new:
            object.__setattr__(thing, name, new[id(value)])
