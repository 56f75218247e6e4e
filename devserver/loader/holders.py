"""Whose code lies in a module: what other modules have registered with it, in its lists, tables and objects.

When such code is replaced, the module that holds it has to begin anew too, or it would go on calling the old.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import Any

from devserver.loader import raw
from devserver.loader.successor import origin
from devserver.loader.walk import parts_of

_DEPTH = 6
_MOST = 2000


def held_by(module: ModuleType) -> frozenset[str]:
    """The names of the watched modules whose functions, classes and instances a module holds; not its own."""
    found: set[str] = set()
    seen: set[int] = set()
    level: list[Any] = [value for name, value in vars(module).items() if not _is_own_part(module, name, value)]
    for _ in range(_DEPTH):
        found.update(filter(None, map(origin, level)))
        below: list[Any] = []
        for each in (part for thing in level for part in _inside(thing, module)):
            if id(each) not in seen and len(seen) < _MOST:
                seen.add(id(each))
                below.append(each)
        level = below
    return frozenset(found - {module.__name__})


def _is_own_part(package: ModuleType, name: str, value: Any) -> bool:
    """Whether nobody has registered it: the builtins, and where the import system notes a module in its package."""
    return name == "__builtins__" or (
        raw.derives(type(value), ModuleType) and value.__name__ == f"{package.__name__}.{name}"
    )


def _inside(thing: Any, module: ModuleType) -> Iterator[Any]:
    """What a thing of this module holds; what is another module's is not looked into."""
    if raw.derives(type(thing), type):
        yield from vars(thing).values() if thing.__module__ == module.__name__ else ()
    elif origin(thing) in (None, module.__name__):
        yield from parts_of(thing)
