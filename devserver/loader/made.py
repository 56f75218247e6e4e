"""Objects that code of a mod has made in another module of mods.

`client = helper.client("v1")` leaves a client in the helper, which is not executed again when the mod
is saved. It holds data of others too, so it is not taken back. It is out of date as soon as the lines
that made it say something else: a fresh start would make another one.
"""

from __future__ import annotations

import sys
import weakref
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from types import CodeType, ModuleType
from typing import Any, Protocol

from devserver.loader import raw
from devserver.loader.libraries import inside, is_table, is_value
from devserver.loader.places import MISSING, Place, fill
from devserver.loader.tables import Change
from devserver.sources.effects import lines_for

_DEPTH = 5
_MOST = 300
_MOST_DATA = 3000
_NEAR = 50
_SAID = raw.ids(str, bytes, int, float, bool)
_CONTAINERS = raw.ids(dict, list, set, tuple)


class Source(Protocol):
    """The code that runs while changes are noted, with that of the modules that it needs."""

    name: str
    """The module that runs."""

    def names(self) -> frozenset[str]: ...
    def code(self) -> Iterable[CodeType]: ...
    def codes(self) -> Iterable[CodeType]: ...
    def text(self) -> bytes: ...


Said = tuple[tuple[str, ...], frozenset[Any]]
"""Lines of a module, and the values that they used."""


@dataclass(frozen=True, slots=True)
class Made:
    """An object in a module of mods, with the lines that made it and the values that they used."""

    module: str
    place: Place
    key: Any
    thing: Any
    said: Said
    is_sure: bool
    """Whether no other code ran meanwhile, which may have made it."""
    content: int
    """What it held when it came into its list."""

    def is_inside(self, now: Any) -> bool:
        """Return whether another object in its place now leads to it, as the next head of a linked list does."""
        level, seen = [now], {id(self.thing)}
        while level and level[0] is not self.thing:
            below = [each for one in level for each in inside(one, self.module)]
            if any(each is self.thing for each in below):
                return True
            level = [each for each in {id(each): each for each in below}.values() if id(each) not in seen]
            seen.update(map(id, level))
            if len(seen) > _MOST:
                break
        return False

    @property
    def shown(self) -> str:
        """What people know it by: a global of its module, or that module."""
        which = self.place.which
        owner = which[1] if isinstance(which, tuple) else None
        names = vars(sys.modules[self.module]) if self.module in sys.modules else {}
        key = self.key if owner == "" else next((key for key, each in list(names.items()) if id(each) == owner), "")
        return f"{self.module}.{key}" if key else f"an object of {self.module}"

    @property
    def is_own(self) -> bool:
        """Whether the code made it: no other ran, or its lines lead to that module."""
        return self.is_sure or any(self.module.rpartition(".")[2] in each for each in self.said[0])

    def outdated(self, name: str, said: Said) -> str:
        """Return what is wrong with it if the module of that name says this now, or ""."""
        return "" if said == self.said else f"{self.shown} was made by lines of {name} that have changed since"


def said_by(name: str, source: bytes, module: str) -> Said:
    """Return what a module says where it makes objects in another one: lines and their values."""
    lines, used = lines_for(source, module)
    own = vars(sys.modules[name]) if name in sys.modules else {}
    spaces = [own, *(vars(own[each]) for each in used & own.keys() if raw.derives(type(own[each]), ModuleType))]
    values = {(each, *value) for space in spaces for each in used & space.keys() for value in _values(space[each])}
    return lines, frozenset(values)


def _values(thing: Any) -> Iterator[tuple[type, Any]]:
    """Yield the texts and numbers in an object, a few steps deep in containers alone."""
    seen: set[int] = set()
    level = [thing]
    for _ in range(_DEPTH):
        below: list[Any] = []
        for each in level:
            if id(type(each)) in _SAID:
                yield type(each), each
            elif id(type(each)) in _CONTAINERS and id(each) not in seen and len(seen) < _MOST:
                seen.add(id(each))
                below += inside(each, "")
        level = below


def made_by(source: Source, changes: Iterable[Change], *, is_sure: bool) -> Iterator[Made]:
    """Yield the objects that code has left behind in other modules of mods."""
    said: dict[str, Said] = {}
    for each in changes:
        if raw.derives(type(each.after), weakref.ref):
            # It keeps nothing, and goes with what it leads to.
            continue
        if each.after is not MISSING and each.module not in ("", source.name):
            if each.module not in said:
                said[each.module] = said_by(source.name, source.text(), each.module)
            content = content_of(each.after) if each.place.list_of is not None else 0
            yield Made(each.module, each.place, each.key, each.after, said[each.module], is_sure, content)


def take_over(
    left: Iterable[Made], fresh: Iterable[Made], ends: Callable[[str], bool]
) -> tuple[list[Made], list[Made]]:
    """Let a list that has got objects like its old ones have the new ones in their places.

    A version that adds an item to a helper's list adds another one when it is executed again. `left` is what the
    former version has left there; `ends(module)` is whether what will end it may take it out of that module. Returns
    what of that stays, and what of this a new object of its class stands for: a fresh start would have one.
    """
    new: dict[tuple[Hashable, int], list[Made]] = {}
    for each in fresh:
        if each.place.list_of is not None and each.is_own:
            new.setdefault((each.place.which, id(type(each.thing))), []).append(each)
    stays, twice, pairs = list[Made](), list[Made](), dict[Hashable, list[tuple[Made, Made]]]()
    may_go = cache(ends)
    there = list(left)
    # With a list, the first one may have been kept as the default, or under its name.
    kept = {id(each.thing) for each in there if each.place.list_of is None}
    for each in there:
        others = new.get((each.place.which, id(type(each.thing))), [])
        if not others or not each.is_own or may_go(each.module):
            stays.append(each)
            continue
        # Made in the same order, as a rule.
        near = others[:_NEAR]
        alike = list[bool | None]()
        while len(alike) < len(near) and True not in alike[-1:]:
            alike.append(is_alike(near[len(alike)].thing, each.thing))
        if True in alike and id(each.thing) not in kept:
            pairs.setdefault(each.place.which, []).append((each, others.pop(alike.index(True))))
            continue
        stays.append(each)
        # One that differed from the beginning is an entry of its own, as a line of a log is.
        is_doubled = True in alike or None in alike or content_of(each.thing) != each.content
        if is_doubled and each.is_sure and any(other.is_sure for other in near):
            twice.append(each)
    for found in pairs.values():
        _replace(found)
    return stays, twice


def names_of_module(module: str) -> set[str]:
    """Return the names by which code gets to a module and what it has."""
    own = list(vars(sys.modules[module]).items()) if module in sys.modules else []
    return {*module.split("."), *(key for key, each in own if type(each) is not ModuleType)}


def _replace(pairs: list[tuple[Made, Made]]) -> None:
    place = pairs[0][0].place
    assert place.list_of is not None
    new, moved = {old.key: twin.thing for old, twin in pairs}, {twin.key for _, twin in pairs}
    table = place.read()
    if moved <= table.keys():
        fill(place.list_of(None), [new.get(key, thing) for key, thing in table.items() if key not in moved])


def is_alike(one: Any, other: Any) -> bool | None:
    """Return whether two objects hold the same, to the last value, as far as that shows without running their code.

    None if they hold parts of which nothing shows, as locks, and the rest is the same.
    """
    pending, seen, result = [(one, other)], set[tuple[int, int]](), True
    for a, b in pending:
        if a is b or (id(a), id(b)) in seen:
            continue
        seen.add((id(a), id(b)))
        if type(a) is not type(b) or len(pending) > _MOST_DATA:
            return False
        value, parts = _parts(a)
        its_value, its_parts = _parts(b)
        if value != its_value or len(parts) != len(its_parts):
            return False
        result = result and value is not _HIDDEN
        pending += zip(parts, its_parts, strict=True)
    return result or None


def content_of(thing: Any) -> int:
    """Return a hash of what an object holds, by which it is known to be as it was; of a large one, its first part."""
    found, places, pending = list[Hashable](), dict[int, int](), [thing]
    for each in pending:
        if id(each) in places:
            found.append(places[id(each)])
            continue
        places[id(each)] = len(places)
        value, parts = _parts(each)
        found += [id(type(each)), id(each) if value is _HIDDEN else value, len(parts)]
        pending += parts
        if len(pending) > _MOST_DATA:
            break
    return hash(tuple(found))


def _parts(thing: Any) -> tuple[Hashable, list[Any]]:
    """Return the value of an object, and its parts in order; _HIDDEN if it has more than shows."""
    kind = type(thing)
    if id(kind) in _SAID:
        return thing, []
    if kind is dict:
        return None, [part for entry in thing.items() for part in entry]
    if kind is list or kind is deque or (raw.derives(kind, tuple) and not _NAMES(kind)):
        return None, list(tuple.__iter__(thing) if isinstance(thing, tuple) else thing)
    if (kind is set or kind is frozenset) and all(id(type(each)) in _SAID for each in thing):
        return frozenset(thing), []
    # The rest of its memory is that of code in C.
    plain = len(raw.slots_of(kind)) + (_WEAK(kind) > 0) + (_NAMES(kind) > 0)
    if raw.derives(kind, type) or _SIZE(kind) > _SIZE(object) + 8 * plain:
        return _HIDDEN, []
    return None, [part for entry in raw.attributes(thing) for part in entry]


_HIDDEN = object()
_SIZE, _NAMES, _WEAK = (
    type.__dict__[name].__get__ for name in ("__basicsize__", "__dictoffset__", "__weakrefoffset__")
)


def of_new_table(
    change: Change, shown: list[Change], *, leads: bool, is_said: bool, is_mixed: bool
) -> tuple[list[Change], list[Change]]:
    """Return what is taken back of a table that has come into a module of mods, and what stays there.

    `leads`: it leads to the code that ran; `is_said`: that shows all of its entries. A list then goes entry by
    entry, and is itself that of all that register in it. Other tables go as a whole, from a list too; or they
    stay: a helper has made them once for all, as settings that were read at the first call.
    """
    if is_said and (leads or not raw.derives(type(change.after), dict)):
        return [replace(change, once_empty=True), *shown], []
    goes = (leads or is_said or change.place.list_of is not None) and not is_mixed
    whole = data_in(change.after, objects=leads) if goes else None
    return [] if whole is None else [replace(change, whole=whole)], [change]


def data_in(thing: Any, *, objects: bool) -> tuple[Any, ...] | None:
    """Return all that tables within tables hold, by which they are known to be as they were; None if that is
    much, or other objects than values where these are not allowed."""
    found: list[Any] = []
    pending = [thing]
    for each in pending:
        kind = type(each)
        if is_table(each):
            entries = list(each.items()) if raw.derives(kind, dict) else list(each)
            pending += [part for entry in entries for part in entry] if raw.derives(kind, dict) else entries
            found.append((id(each), len(entries)))
        elif objects or is_value(each):
            found.append(each if id(kind) in _SAID else id(each))
        else:
            return None
        if len(pending) > _MOST_DATA:
            return None
    return tuple(found)
