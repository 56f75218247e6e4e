"""Objects that code of a mod has made in another module of mods.

`client = helper.client("v1")` leaves a client in the helper, which is not executed again when the mod
is saved. It holds data of others too, so it is not taken back. It is out of date as soon as the lines
that made it say something else: a fresh start would make another one.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

from devserver.loader import raw
from devserver.loader.libraries import inside, is_table, is_value
from devserver.loader.places import MISSING, Place
from devserver.loader.tables import Change
from devserver.sources.effects import lines_for

_DEPTH = 5
_MOST = 300
_MOST_DATA = 3000
_SAID = raw.ids(str, bytes, int, float, bool)
_CONTAINERS = raw.ids(dict, list, set, tuple)


@dataclass(frozen=True, slots=True)
class Made:
    """An object in a module of mods, with the lines that made it and the values that they used."""

    module: str
    place: Place
    key: Any
    thing: Any
    said: Hashable

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

    def outdated(self, name: str, said: Hashable) -> str:
        """Return what is wrong with it if the module of that name says this now, or ""."""
        return "" if said == self.said else f"{self.shown} was made by lines of {name} that have changed since"


def said_by(name: str, source: bytes, module: str) -> Hashable:
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


def made_by(name: str, source: bytes, changes: Iterable[Change]) -> Iterator[Made]:
    """Yield the objects that code has left behind in other modules of mods."""
    said: dict[str, Hashable] = {}
    for each in changes:
        if raw.derives(type(each.after), weakref.ref):
            # It keeps nothing, and goes with what it leads to.
            continue
        if each.after is not MISSING and each.module not in ("", name):
            if each.module not in said:
                said[each.module] = said_by(name, source, each.module)
            yield Made(each.module, each.place, each.key, each.after, said[each.module])


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
