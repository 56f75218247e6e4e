"""Moves a state's references from replaced code to its successors; undoable until commit.

Objects are treated as pickle treats them: classes, functions, modules and enum members by name,
instances by their class. Instances stay the same objects and change their class; if their layout
does not allow that, and for everything else that is replaced by a new object, each holder of the
old object gets the new one.

First everything is worked out beside the state; then slots of the interpreter that cannot fail
carry it out. The exception is a table whose keys have another hash now: the new one is made beside
it, and if that fails, everything is restored and the state stays with the old code, which is told.
"""

from __future__ import annotations

import asyncio
import enum
import functools
import sys
import threading
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import CellType, FunctionType, MappingProxyType, MethodType, ModuleType
from typing import Any

from devserver.loader import raw
from devserver.loader.fitting import Fit
from devserver.loader.successor import Gone, is_code_type, is_past, is_watched, running_code, successor, successor_class
from devserver.loader.walk import Kind, Walk, contents_of, items_of

_FROZEN = (tuple, frozenset, MethodType, functools.partial)
_TABLES = (dict, set)
_FIXED = raw.ids(tuple, frozenset)
_PLAIN = _FIXED | raw.ids(list, set)


@dataclass(slots=True)
class _Change:
    """Instances that change their class, all in one way, with their individual needs."""

    fit: Fit
    things: list[Any] = field(default_factory=list)
    others: list[tuple[Any, Any, Callable[[], None]]] = field(default_factory=list)
    """Those that need more: the instance, its replacement, and the function that makes it that."""


def _is_replaced(cls: type) -> bool:
    try:
        return successor_class(cls) is not cls
    except Gone:
        return True


MOST_REMEMBERED = 20_000
"""The most objects of a state whose contents are kept for an undo."""


@dataclass(frozen=True, slots=True)
class Remembered:
    """The contents of a state, in objects that exist now.

    `give_back` restores them. `own` are the instances of classes of mods among these objects;
    `holds_code`, whether the contents name functions or classes.
    """

    root: dict[Any, Any]
    contents: tuple[tuple[Any, Any], ...]
    own: tuple[Any, ...] = ()
    holds_code: bool = False

    def give_back(self) -> None:
        """Restore these contents of the state."""
        for thing, contents in self.contents:
            # By its current class: the object that can fill an instance holds its class, and with
            # that all of a module.
            _, put = contents_of(type(thing))
            if put is not None:
                put(thing, contents)

    def as_it_was(self) -> dict[Any, Any]:
        """Return a copy of the state with these contents; objects without contents are shared."""
        kept = {id(thing): (thing, contents) for thing, contents in self.contents}
        made: dict[int, Any] = {}

        def copied(value: Any) -> Any:
            if id(value) in made:
                return made[id(value)]
            if id(value) not in kept:
                return type(value)(map(copied, value)) if id(type(value)) in _FIXED else value
            thing, contents = kept[id(value)]
            cls: Any = type(thing)
            twin = made[id(value)] = cls.__new__(cls)
            _, put = contents_of(cls)
            if put is not None:
                put(twin, inside(contents))
            return twin

        def inside(contents: Any) -> Any:
            # What was read of an object is not an object of the state itself.
            if id(contents) in kept:
                return copied(contents)
            if raw.derives(type(contents), dict):
                return {copied(key): copied(each) for key, each in contents.items()}
            if id(type(contents)) in _PLAIN:
                return type(contents)(map(inside, contents))
            return contents

        found: dict[Any, Any] = copied(self.root)
        return found

    def holds_replaced(self) -> bool:
        """Return whether code that was replaced meanwhile lives on in it."""
        kinds = {id(type(each)): type(each) for each in self.own}
        return self.holds_code or any(_is_replaced(cls) for cls in kinds.values())


class StateMove:
    """The move of one state: `look` in steps, `go`, then, if the hand-over is rolled back, `undo`.

    `stale` says by key which replaced code keeps running, and why; `lacks` by key which new
    attributes an instance could not be given. `pairs` are objects, of which the second replaces the
    first.
    """

    def __init__(
        self, state: dict[Any, Any], pairs: Iterable[tuple[object, object]] = (), earlier: Iterable[Remembered] = ()
    ) -> None:
        self._pairs = list(pairs)
        self._earlier = list(earlier)
        self.walk = Walk(state, leave_out=[old for old, _ in self._pairs])
        self.stale: dict[str, str] = {}
        self.lacks: dict[str, str] = {}
        self._old: dict[int, Any] = {}
        self._new: dict[int, Any] = {}
        self._named: dict[int, str] = {}
        self._lacking: dict[int, str] = {}
        self._changes: list[_Change] = []
        self._undo: list[Callable[[], object]] = []
        self._settled: set[int] = set()

    @property
    def cut(self) -> bool:
        """Whether the state was too large to be searched completely."""
        return self.walk.cut

    def look(self) -> bool:
        """Look at some of the state, while it is in use; False when all was seen. Last come objects
        that only an undo would bring back."""
        return self.walk.step() or self._meet_earlier()

    def _meet_earlier(self) -> bool:
        if not self._earlier:
            return False
        self.walk.meet(each for each in self._earlier.pop().own if id(each) not in self.walk.found)
        return True

    def latest(self, thing: Any) -> Any:
        """Return an object, or what has replaced it."""
        while id(thing) in self._new:
            thing = self._new[id(thing)]
        return thing

    def owned(self) -> list[Any]:
        """Return the tasks, threads, processes and sockets that the state holds."""
        return [thing for _, thing in self.walk.of_kind(lambda kind: kind.owned)]

    def enums(self) -> list[tuple[type, type]]:
        """Return the enums of replaced code with members in the state, and their successors."""
        members = (old for old in self._old.values() if raw.derives(type(old), enum.Enum))
        pairs = {id(type(old)): (type(old), type(self.latest(old))) for old in members}
        return list(pairs.values())

    def go(self) -> None:
        """Move the contents of the state. Raises nothing: what cannot be moved is in `stale`."""
        while self._meet_earlier():
            pass
        self.walk.refresh()
        if self._is_plain():
            return
        self._prepare()
        try:
            self._carry_out()
        except Exception as error:
            # Only the code of keys runs here; if it fails, the state is unchanged.
            self.undo()
            self._named = {id(thing): f"its keys cannot be entered: {error!r:.80}" for thing in self._moved()}
            self._name()

    def _is_plain(self) -> bool:
        """Return whether there is nothing to move: most states are plain data."""
        kinds = self.walk.kinds.values()
        if any(each.things and (each.own or each.code or each.running) for each in kinds):
            return False
        paired = {id(old) for old, _ in self._pairs}
        return all(paired.isdisjoint(map(id, block.refs)) for block in self.walk.blocks)

    def undo(self) -> None:
        """Restore the state, including changes by others."""
        while self._undo:
            self._undo.pop()()
        self.walk.give_back()

    def remembered(self) -> Remembered | None:
        """Return the contents before the move, in the objects after it; None if not exactly.

        That is so for a state which is too large, or in which objects were replaced.
        """
        if self.cut or len(self.walk.found) > MOST_REMEMBERED or any(not each.fit.in_place for each in self._changes):
            return None
        kept, holds_code = [], False
        for block in self.walk.blocks:
            for thing, saved in zip(block.things, block.saved, strict=True):
                if raw.derives(type(thing), *_FROZEN):
                    holds_code = holds_code or self._names_code(self.walk.referents(thing))
                if saved is None or self.walk.kind(thing).put is None or type(thing) is CellType:
                    # The cells of a closure belong to code, which may have been replaced.
                    continue
                inside = self.walk.referents(saved)
                if not self._new.keys().isdisjoint(map(id, inside)):
                    saved = self._renewed(saved)
                if saved is None:
                    return None
                holds_code = holds_code or self._names_code(inside)
                kept.append((thing, saved))
        own = tuple(thing for _, thing in self.walk.of_kind(lambda kind: kind.own))
        return Remembered(self.walk.root, tuple(kept), own, holds_code)

    def _names_code(self, things: Iterable[Any]) -> bool:
        return any(self.walk.kind(each).code for each in things)

    def _renewed(self, saved: Any) -> Any:
        """Return contents with the present objects; None for more than a list or plain dict."""
        if type(saved) is list and not any(id(type(each)) in _PLAIN or type(each) is dict for each in saved):
            return [self.latest(each) for each in saved]
        if type(saved) is dict and all(self.walk.is_atom(key) for key in saved):
            return {key: self.latest(value) for key, value in saved.items()}
        return None

    # Working it out

    def _prepare(self) -> None:
        for old, new in self._pairs:
            self._note(old, new)
        for _, thing in self.walk.of_kind(lambda kind: kind.code):
            if id(thing) not in self._new:
                try:
                    self._note(thing, successor(thing))
                except Gone as reason:
                    self._named[id(thing)] = str(reason)
        for _, thing in self.walk.of_kind(lambda kind: kind.running):
            goes_on = _running(thing)
            if goes_on is not None:
                self._named[id(thing)] = goes_on
        for kind in list(self.walk.kinds.values()):
            if kind.things and (kind.target is not None or kind.gone):
                self._prepare_kind(kind)
        self._name()

    def _prepare_kind(self, kind: Kind) -> None:
        things = [each for each in kind.things if id(each) not in self._new] if self._new else kind.things
        if not things:
            return
        try:
            if kind.target is None:
                raise Gone(kind.gone)
            change = _Change(Fit(kind.cls, kind.target, things[0]))
        except Gone as reason:
            self._named.update(dict.fromkeys(map(id, things), str(reason)))
            return
        fit = change.fit
        self._changes.append(change)
        if fit.is_trivial:
            change.things = things
        else:
            self._prepare_each(change, things)
        if fit.lacks:
            words = ", ".join(f"{raw.qualname_of(fit.new)}.{name}" for name in fit.lacks)
            self._lacking.update(dict.fromkeys(map(id, things), words))

    def _prepare_each(self, change: _Change, things: Iterable[Any]) -> None:
        for thing in things:
            try:
                after, make = change.fit.prepared(thing)
            except Exception as error:
                # A default factory of the new class.
                self._named[id(thing)] = f"a new default of {raw.qualname_of(change.fit.new)} fails: {error!r:.80}"
                continue
            change.others.append((thing, after, make))
            self._note(thing, after)

    def _note(self, old: Any, new: Any) -> None:
        if new is not old:
            self._old[id(old)], self._new[id(old)] = old, new

    def _moved(self) -> Iterator[Any]:
        for change in self._changes:
            yield from change.things
            yield from (thing for thing, _, _ in change.others)

    def _name(self) -> None:
        """Find the keys of objects that have to be named."""
        if self._named or self._lacking:
            keys = self.walk.keys_of({*self._named, *self._lacking})
            for key, reason in self._in_order(keys, self._named):
                self.stale.setdefault(key, reason)
            for key, names in self._in_order(keys, self._lacking):
                self.lacks.setdefault(key, names)

    @staticmethod
    def _in_order(keys: Mapping[int, str], named: Mapping[int, str]) -> list[tuple[str, str]]:
        return [(key, named[each]) for each, key in keys.items() if each in named]

    # Carrying it out

    def _carry_out(self) -> None:
        for change in self._changes:
            self._undo.append(functools.partial(_take_old_class, change))
            for thing in change.things:
                raw.set_class(thing, change.fit.new)
            for thing, _, make in change.others:
                if change.fit.is_exception:
                    trace = BaseException.__dict__["__traceback__"]
                    self._undo.append(functools.partial(trace.__set__, thing, trace.__get__(thing)))
                make()
        rehash = any(change.fit.hash_differs for change in self._changes)
        if not (rehash or any(each in self.walk.found for each in self._new)):
            return
        for _, thing in list(self.walk.of_kind(lambda kind: raw.derives(kind.cls, *_FROZEN))):
            self._thaw(thing, rehash)
        holders = list(self._holders())
        closed = [each for each in holders if id(each) in self.walk.found and not _takes_others(type(each))]
        if closed:
            self._named = {id(each): f"held by a {type(each).__name__}" for each in closed}
            self._name()
        for thing in holders:
            self._patch(thing, rehash=False)
        if rehash:
            for _, thing in list(self.walk.of_kind(lambda kind: raw.derives(kind.cls, *_TABLES))):
                if id(thing) not in self._new:
                    self._patch(thing, rehash=True)

    def _holders(self) -> Iterator[Any]:
        """Return the holders of objects that were replaced."""
        for change in self._changes:
            yield from (after for thing, after, _ in change.others if after is not thing)
        for block in self.walk.blocks:
            if self._new.keys().isdisjoint(map(id, block.refs)):
                continue
            for thing in block.things:
                if id(thing) not in self._new and self._holds_replaced(thing):
                    yield thing

    def _holds_replaced(self, thing: Any) -> bool:
        return any(id(each) in self._new for each in self.walk.referents(thing))

    def _thaw(self, top: Any, rehash: bool) -> None:
        """Build immutable objects again if a part of them was replaced; the innermost first."""
        pending, opened = [top], set()
        while pending:
            thing = pending[-1]
            inner = [
                each
                for each in self.walk.referents(thing)
                if id(each) not in self._settled and raw.derives(type(each), *_FROZEN)
            ]
            if inner and id(thing) not in opened:
                opened.add(id(thing))
                pending += inner
                continue
            pending.pop()
            if id(thing) not in self._settled:
                self._settled.add(id(thing))
                if id(thing) not in self._new:
                    self._note(thing, self._rebuilt(thing, rehash))

    def _rebuilt(self, thing: Any, rehash: bool) -> Any:
        cls = type(thing)
        if raw.derives(cls, MethodType):
            return self._rebound(thing)
        is_set = raw.derives(cls, frozenset)
        if not self._holds_replaced(thing) and not (is_set and rehash):
            return thing
        if raw.derives(cls, functools.partial):
            func, args, keywords = (functools.partial.__dict__[each].__get__(thing) for each in _PARTIAL)
            new = {name: self.latest(each) for name, each in keywords.items()}
            return functools.partial.__new__(cls, self.latest(func), *map(self.latest, args), **new)
        if is_set:
            made: Any = frozenset.__new__(cls, [self.latest(each) for each in frozenset.__iter__(thing)])
        else:
            made = tuple.__new__(cls, [self.latest(each) for each in tuple.__iter__(thing)])
        for name, value in raw.attributes(thing) if raw.flags_of(cls) & raw.HEAP_TYPE else ():
            raw.set_attribute(made, name, self.latest(value))
        return made

    def _rebound(self, method: MethodType) -> Any:
        """Return a method of the same object, of its class now."""
        function, owner = method.__func__, self.latest(method.__self__)
        if type(function) is not FunctionType or not is_past(function.__globals__):
            return method if owner is method.__self__ else MethodType(function, owner)
        is_class = raw.derives(type(owner), type)
        found = raw.lookup(owner if is_class else type(owner), function.__name__)
        found = found.__func__ if type(found) is classmethod else found
        if type(found) is not FunctionType:
            self._named[id(method)] = f"{function.__qualname__} is gone"
            self._name()
            return method
        return MethodType(found, owner)

    def _patch(self, thing: Any, *, rehash: bool) -> None:
        """Put the replacement of an object in its place, wherever `thing` holds it."""
        cls, kind = type(thing), self.walk.kind(thing)
        if not kind.data:
            # Data is restored as found; of all else, only the changes made here are undone.
            take, put = contents_of(cls)
            if take is not None and put is not None:
                self._undo.append(functools.partial(put, thing, take(thing)))
        if raw.derives(cls, dict):
            self._patch_dict(thing, rehash)
        elif raw.derives(cls, list):
            for place, each in enumerate(list.__iter__(thing)):
                if id(each) in self._new:
                    list.__setitem__(thing, place, self.latest(each))
        elif raw.derives(cls, set):
            self._patch_set(thing, rehash)
        elif raw.derives(cls, deque):
            values = [self.latest(each) for each in deque.__iter__(thing)]
            deque.clear(thing)
            deque.extend(thing, values)
        elif cls is CellType:
            thing.cell_contents = self.latest(thing.cell_contents)
        if raw.flags_of(cls) & raw.HEAP_TYPE or not raw.derives(cls, *_BUILT):
            for name, value in raw.attributes(thing):
                if id(value) in self._new:
                    raw.set_attribute(thing, name, self.latest(value))

    def _patch_dict(self, thing: dict[Any, Any], rehash: bool) -> None:
        if raw.derives(type(thing), defaultdict):
            factory = defaultdict.__dict__["default_factory"]
            factory.__set__(thing, self.latest(factory.__get__(thing)))
        ordered = raw.derives(type(thing), OrderedDict)
        items = items_of(thing)
        if all(self.walk.is_atom(key) for key, _ in items):
            for key, value in items:
                if id(value) in self._new:
                    (OrderedDict if ordered else dict).__setitem__(thing, key, self.latest(value))
            return
        if not rehash and not any(id(each) in self._new for pair in items for each in pair):
            return
        fresh: dict[Any, Any] = {}
        for key, value in items:
            fresh[self.latest(key)] = self.latest(value)
        _assert_all(fresh, items)
        if ordered:
            OrderedDict.clear(thing)
            for key, value in fresh.items():
                OrderedDict.__setitem__(thing, key, value)
        else:
            dict.clear(thing)
            dict.update(thing, fresh)

    def _patch_set(self, thing: set[Any], rehash: bool) -> None:
        values = list(set.__iter__(thing))
        if all(self.walk.is_atom(each) or (not rehash and id(each) not in self._new) for each in values):
            return
        fresh = {self.latest(each) for each in values}
        _assert_all(fresh, values)
        set.clear(thing)
        set.update(thing, fresh)


_PARTIAL = ("func", "args", "keywords")
_BUILT = (dict, list, set, deque, CellType)


def sentinels(old: Mapping[str, ModuleType]) -> Iterator[tuple[object, object]]:
    """Return the bare objects at the top level of replaced modules (`UNSET = object()`), each with
    that of the same name now.

    An instance of a class of the module counts if it has no attributes: its identity is its
    meaning.
    """
    for name, module in old.items():
        found = sys.modules.get(name)
        now = vars(found) if found is not None and raw.derives(type(found), ModuleType) else {}
        for variable, value in list(vars(module).items()):
            after = now.get(variable)
            if after is not value and _is_bare(value) and _is_bare(after) and _same_name(type(value), type(after)):
                yield value, after


def _is_bare(value: object) -> bool:
    cls = type(value)
    if cls is object:
        return True
    is_plain = raw.flags_of(cls) & raw.HEAP_TYPE and all(
        base is object or raw.flags_of(base) & raw.HEAP_TYPE for base in raw.mro(cls)
    )
    return bool(is_plain) and is_watched(cls) and not is_code_type(cls) and not any(raw.attributes(value))


def _same_name(one: type, other: type) -> bool:
    return raw.qualname_of(one) == raw.qualname_of(other) and raw.module_of(one) == raw.module_of(other)


def _take_old_class(change: _Change) -> None:
    for thing in change.things:
        raw.set_class(thing, change.fit.old)
    for thing, after, _ in change.others:
        if after is thing:
            raw.set_class(thing, change.fit.old)


def _takes_others(cls: type) -> bool:
    """Return whether an object of this class can be given another object for one that it holds."""
    known = raw.derives(cls, *_BUILT, *_FROZEN, MappingProxyType)
    return known or raw.dict_getter(cls) is not None or bool(raw.slots_of(cls))


def _assert_all(fresh: Any, items: Any) -> None:
    if len(fresh) != len(items):
        raise ValueError("two keys have become equal")


def _running(thing: Any) -> str | None:
    """Return the replaced code that a task or thread still runs, in words; None for none."""
    cls = type(thing)
    if raw.derives(cls, asyncio.Task):
        name = None if asyncio.Task.done(thing) else running_code(asyncio.Task.get_coro(thing))
        return f"task {name} goes on" if name is not None else None
    if raw.derives(cls, threading.Thread):
        target = dict(raw.attributes(thing)).get("_target") or raw.lookup(cls, "run")
        function = target.__func__ if type(target) is MethodType else target
        is_old = type(function) is FunctionType and is_past(function.__globals__)
        return f"thread {function.__qualname__} goes on" if is_old and threading.Thread.is_alive(thing) else None
    name = running_code(thing)
    return f"{name} goes on" if name is not None else None
