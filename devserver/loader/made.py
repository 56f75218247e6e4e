"""Objects that code of a mod has made in another module of mods, with values of its own.

`client = helper.client("v1")` leaves a client in the helper, which is not executed again when the mod
is saved. It holds data of others too, so it is not taken back. It is out of date as soon as the mod
does not say "v1" any more: a fresh start would make another one.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from types import CodeType
from typing import Any

from devserver.loader.libraries import inside
from devserver.loader.places import Place

_DEPTH = 5
_MOST = 300
_SAID = frozenset({str, bytes, int, float})
_CONTAINERS = frozenset({dict, list, set, tuple})


@dataclass(frozen=True, slots=True)
class Made:
    """An object in a module of mods, with the values in it that the code said that made it."""

    module: str
    place: Place
    key: Any
    thing: Any
    said: frozenset[tuple[type, Any]]

    def is_there(self) -> bool:
        """Return whether the object is still in its place."""
        return self.place.read().get(self.key) is self.thing

    def outdated(self, now: frozenset[tuple[type, Any]]) -> str:
        """Return what is wrong with it if the code says these values now, in words; or ""."""
        gone = sorted(repr(value) for _, value in self.said - now)
        name = f".{self.key}" if type(self.key) is str else ""
        return f"{self.module}{name} was made with {', '.join(gone[:3])}, which is not said any more" if gone else ""


def said_by(module: str, codes: Iterable[CodeType]) -> frozenset[tuple[type, Any]]:
    """Return the values that code has as constants, and those in the globals of its module: not in
    objects there, one of which may be what others have made."""
    found = {each for code in codes for each in _constants(code)}
    names = vars(sys.modules[module]) if module in sys.modules else {}
    values = [value for key, value in list(names.items()) if not key.startswith("__")]
    return frozenset(found | values_in(*values, plain=True))


def values_in(*things: Any, plain: bool = False) -> set[tuple[type, Any]]:
    """Return the texts and numbers in these objects, a few steps deep, without asking them; `plain`:
    in containers alone."""
    found: set[tuple[type, Any]] = set()
    seen: set[int] = set()
    level = list(things)
    for _ in range(_DEPTH):
        below: list[Any] = []
        for thing in level:
            if id(thing) in seen or len(seen) > _MOST:
                continue
            seen.add(id(thing))
            if type(thing) in _SAID:
                found.add((type(thing), thing))
            elif not plain or type(thing) in _CONTAINERS:
                below += inside(thing, "")
        level = below
    return found


def _constants(code: CodeType) -> Iterator[tuple[type, Any]]:
    for each in code.co_consts:
        if isinstance(each, CodeType):
            yield from _constants(each)
        else:
            yield from values_in(each)
