"""Proves that replaced code is gone, or finds its holder.

A build that is kept leaves weak references to the code that it replaced (`Remains`). Once the
generations that ran it are gone, one collection of garbage shows what is still alive. The search
for its holder goes from the code outwards, bounded, without running any code of the objects on the
way. Decides nothing about what follows.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
import typing
import weakref
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from types import AsyncGeneratorType, CodeType, CoroutineType, FrameType, GeneratorType, ModuleType
from typing import Any

from devserver.live import garbage
from devserver.live.generation import Call, Generation
from devserver.loader import raw
from devserver.loader.referrers import Ours, holders_of
from devserver.loader.scope import Scope, scope_in
from devserver.mod import BaseMod

_MOST = 4000
"""The most objects that are looked at for one holder."""
_WIDTH = 24
"""The most objects that are followed at a time: each call looks through the process."""
# Holders further away are seldom ones that a person can name, and each ring looks through the process.
_DEPTH = 14

STATE_KEY = "state key "
UNSEEN = "something that Python does not show, as code in C may"
LINGERING = "a generation that still finishes its handlers"


@dataclass(frozen=True, slots=True)
class Remains:
    """The replaced code of one module: weak references to its globals (their scope) and its classes."""

    module: str
    file: str
    _code: tuple[weakref.ref[Any], ...]

    def alive(self) -> list[Any]:
        """Return the code that is still alive."""
        return [each for ref in self._code if (each := ref()) is not None]


def remains_of(name: str, file: str, names: Mapping[str, Any]) -> Remains:
    """Return references to the code of a replaced module, from its globals. A function keeps the
    globals of its module, and these the scope; a class without methods keeps neither."""
    scope = scope_in(names)
    # Not `isinstance`, nor `each.__module__`: a mod's class or metaclass may answer these.
    own = [each for each in list(names.values()) if raw.derives(type(each), type) and raw.module_of(each) == name]
    return Remains(name, file, tuple(weakref.ref(each) for each in (scope, *own) if each is not None))


def collect() -> float:
    """Collect garbage, after caches that hold classes are emptied; return the seconds."""
    for clear in getattr(typing, "_cleanups", ()):
        # `Box[int]` keeps the class Box in this cache until 127 others have been written.
        clear()
    return garbage.collect()


def holder_of(remains: Remains, states: Iterable[Mapping[Any, Any]] = ()) -> str | None:
    """Find the holder of replaced code, in words that continue "is held by"; None if the code is
    gone or no holder is found.

    An object that lies in one of `states` (a task, a connection) belongs to that state, and is
    named by its key.
    """
    keys = {id(part): key for state in states for key, value in list(state.items()) for part in _within(value)}
    found = _first_holder(remains, keys)
    if found is None and gc.get_freeze_count():
        # Objects of the server's start are frozen and not found. In a network with few mods a
        # collection sees them from here on too, and takes longer.
        gc.unfreeze()
        found = _first_holder(remains, keys)
        garbage.freeze_again()
    if found is not None and found.startswith(STATE_KEY) and (base := _base_in_use(remains)) is not None:
        # Which tells more than the state alone: it lists its subclasses, these too.
        return f"the subclasses of {base}, through {found}"
    return found


def _base_in_use(remains: Remains) -> str | None:
    """Return a class, of another module that runs, with replaced classes as subclasses."""
    for each in remains.alive():
        for base in type.mro(each)[1:] if raw.derives(type(each), type) else ():
            module = sys.modules.get(raw.module_of(base))
            is_watched = module is not None and raw.module_of(base) != remains.module and scope_in(vars(module))
            if is_watched and vars(module).get(raw.qualname_of(base)) is base:
                return f"{raw.module_of(base)}.{raw.qualname_of(base)}"
    return None


def _first_holder(remains: Remains, keys: Mapping[int, Any]) -> str | None:
    found = (_Search(remains.module, keys).go(each) for each in remains.alive())
    return next((each for each in found if each is not None), None)


@dataclass(slots=True)
class _Ring:
    """The objects at one distance from the code, and words for those with a known name, ranked."""

    objects: Ours = field(default_factory=Ours)
    named: list[tuple[int, str]] = field(default_factory=list)


class _Search:
    """Searches from a piece of code outwards, by ring, to the first object with a name."""

    def __init__(self, module: str, keys: Mapping[int, Any]) -> None:
        self._module = module
        self._keys = keys
        self._seen: set[int] = set()
        self._namespaces = {id(vars(each)): (rank, name) for rank, (name, each) in enumerate(_modules())}

    def go(self, thing: Any) -> str | None:
        coming = [_Ring(Ours([thing]))]
        for _ in range(_DEPTH):
            objects = coming.pop(0).objects
            fresh = Ours({id(each): each for each in objects if id(each) not in self._seen}.values())
            self._seen.update(map(id, fresh))
            for start in range(0, len(fresh), _WIDTH):
                self._look(Ours(fresh[start : start + _WIDTH]), coming)
            if coming and coming[0].named:
                # Several modules may have one object: it belongs to the one that had it first.
                return min(coming[0].named)[1]
            if len(self._seen) > _MOST or not any(each.objects for each in coming):
                return None
        return None

    def _look(self, things: Ours, coming: list[_Ring]) -> None:
        """Add what holds these to the rings that follow: a tuple on the way is a ring of its own."""
        found, held = holders_of(things)
        coming += [_Ring() for _ in found[len(coming) :]]
        for ring, holders in zip(coming, found, strict=False):
            for each in holders:
                if id(each) in self._seen or id(type(each)) in _PASSED_BY or _is_ours(each):
                    continue
                ring.objects.append(each)
                words = self._words(each, held)
                if words is not None:
                    ring.named.append(words)

    def _words(self, holder: Any, held: Collection[int]) -> tuple[int, str] | None:
        """Return the words for a holder of objects with these ids, with a rank: the lowest is the best."""
        kind = type(holder)
        if id(holder) in self._keys:
            return -2, f'{STATE_KEY}"{self._keys[id(holder)]}"'
        if kind is dict and id(holder) in self._namespaces:
            rank, name = self._namespaces[id(holder)]
            return rank + (name == self._module) * len(self._namespaces), f"{name}.{_key(holder, held)}"
        words = None
        if raw.derives(kind, asyncio.Task):
            words = f'the task "{holder.get_name()}"'
        elif raw.derives(kind, threading.Thread):
            words = f'the thread "{holder.name}"'
        elif kind is Generation or kind is Call:
            words = LINGERING
        elif kind is FrameType:
            words = f"a call that runs at {holder.f_code.co_filename}:{holder.f_lineno}"
        elif kind is dict:
            words = _in_a_mod(holder, held)
        return None if words is None else (-1, words)


def _within(value: Any) -> list[Any]:
    """Yield a value of a state with its contents, a few steps deep."""
    found, level = [value], [value]
    for _ in range(_STATE_DEPTH):
        level = [
            each
            for thing in level
            if id(type(thing)) in _CONTAINERS
            for each in gc.get_referents(thing)
            if gc.is_tracked(each)
        ][:_MOST]
        found += level
    return found


# What lies in the containers of a state belongs to its key, as a task there.
_STATE_DEPTH = 3

_CONTAINERS = raw.ids(dict, list, tuple, set)
_PASSED_BY = raw.ids(weakref.ref, CodeType, Scope, Ours)


def _modules() -> list[tuple[str, ModuleType]]:
    return [(name, module) for name, module in list(sys.modules.items()) if raw.derives(type(module), ModuleType)]


def _key(table: dict[Any, Any], held: Collection[int]) -> str:
    return next((str(key) for key, value in list(table.items()) if id(value) in held and type(key) is str), "?")


def _in_a_mod(table: dict[Any, Any], held: Collection[int]) -> str | None:
    """Return the key of a mod's state, or the attribute of its instance."""
    for owner in holders_of(Ours([table]), nested=0)[0][0]:
        if raw.derives(type(owner), BaseMod) and owner.__dict__ is table:
            return f"self.{_key(table, held)} of {owner.mod_id}" if hasattr(owner, "mod_id") else None
        if type(owner) is dict:
            for instance in holders_of(Ours([owner]), nested=0)[0][0]:
                if raw.derives(type(instance), BaseMod) and vars(instance).get("state") is table:
                    return f'{STATE_KEY}"{_key(table, held)}"'
    return None


def _is_ours(thing: Any) -> bool:
    """Return whether the object belongs to the server, which searches or waits."""
    frame = thing
    for attribute in ("cr_frame", "gi_frame", "ag_frame"):
        if id(type(thing)) in _COROUTINES:
            frame = getattr(thing, attribute, None) or frame
    return type(frame) is FrameType and str(frame.f_globals.get("__name__")).startswith("devserver.")


_COROUTINES = raw.ids(CoroutineType, GeneratorType, AsyncGeneratorType)
