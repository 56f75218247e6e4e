"""Changes of places: their tables compared, and put together, without running code of what is in them."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from operator import is_
from typing import Any

from devserver.loader import raw
from devserver.loader.places import MISSING, Place, Table


@dataclass(slots=True)
class Change:
    """A change: its place, and the value before."""

    place: Place
    key: Any
    before: Any
    after: Any
    once_empty: bool = False
    """Whether it is a table that others register in too: it is removed when it is empty."""
    whole: tuple[Any, ...] | None = None
    """What a table held that goes as a whole, if it still holds the same: half of it would be worse."""

    @property
    def name(self) -> Any:
        """Its name in code: a variable, an attribute, a logger."""
        return self.key[0] if type(self.key) is tuple and not self.place.is_shared else self.key

    @property
    def module(self) -> str:
        """The module of mods that it is in; "" for others."""
        which = self.place.which
        return str(which[0]) if self.place.is_of_mods and isinstance(which, tuple) else ""

    @property
    def library(self) -> str:
        """The library that it is in; "" for a setting of the process that few mods change."""
        which = self.place.which
        name = str(which[0] if isinstance(which, tuple) and which else which).partition(".")[0]
        return name or _LIBRARIES.get(self.place.word, "")

    @property
    def at(self) -> Hashable:
        """Its entry: two changes of one have the same."""
        return self.place.word, self.place.which, key_of(self.key)

    def is_at(self, other: Change) -> bool:
        """Return whether another change is one of the same entry."""
        return self.at == other.at


_LIBRARIES = {"environment variable": "os", "log handler": "logging", "log setting": "logging"}
"""The library of settings of the process that most mods change, so that they explain no others."""


def same_parts(one: tuple[Any, ...], other: tuple[Any, ...]) -> bool:
    return len(one) == len(other) and all(map(is_, one, other))


def same(one: Any, other: Any) -> bool:
    if one is other or type(one) is not type(other):
        return one is other
    if type(one) is tuple:
        return len(one) == len(other) and all(map(same, one, other))
    return id(type(one)) in _VALUES and bool(one == other)


_VALUES = raw.ids(str, bytes, int, float, bool)
"""Values that are read again; comparing them runs no code of mods."""


def is_same_table(before: Table, after: Table, place: Place) -> bool:
    # By identity: comparing values that libraries keep may run any code. Keys that we have made are
    # compared by value.
    if len(before) != len(after) or not all(map(is_, before.values(), after.values())):
        return False
    keys_are_ours = place.list_of is not None or not place.is_shared
    return all(map(is_, before, after)) or (keys_are_ours and before.keys() == after.keys())


def differences(before: Table, after: Table) -> Iterator[tuple[Any, Any, Any]]:
    """Yield each key with its value before and now."""
    was, is_now = _by_key(before), _by_key(after)
    for at, (key, value) in was.items():
        if at not in is_now:
            yield key, value, MISSING
    for at, (key, value) in is_now.items():
        old = was.get(at, (key, MISSING))[1]
        if not same(old, value):
            yield key, old, value


ORDER = object()
"""The key of a change of a list's order. Its values are keys: objects would keep code of others alive."""


def order_differs(before: Table, after: Table) -> bool:
    """Return whether a list has lost some of its things, or has them in another order."""
    return [each for each in after if each in before] != list(before)


def _by_key(table: Table) -> dict[Any, tuple[Any, Any]]:
    return {key_of(key): (key, value) for key, value in table.items()}


def key_of(key: Any) -> Any:
    """Return the same for two readings of one key, which make tuples of their own."""
    return tuple(map(key_of, key)) if type(key) is tuple else key if id(type(key)) in _VALUES else id(key)


def merged(before: Table, after: Table, now: Table) -> Table:
    """Return `before` with what others have changed since `after`; the order is that of `before`."""
    was, then, is_now = _by_key(before), _by_key(after), _by_key(now)
    found: Table = {}
    for at, (key, value) in was.items():
        if at in is_now and not (at in then and same(then[at][1], is_now[at][1])):
            found[key] = is_now[at][1]
        elif at in is_now or at not in then:
            found[key] = value
    for at, (key, value) in is_now.items():
        if at not in was and not (at in then and same(then[at][1], value)):
            found[key] = value
    return found
