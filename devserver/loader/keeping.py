"""Module-level state that outlives an edit of its module.

The rule: a list, dict, set or the like that a module binds once, at its top, stays the very same object in the next
build of the module when

- its initial value is written in the source as before (`STATE = {}`, `LIMITS = {"day": 10}`, `deque()`),
- importing left it as the source says, before and now: what importing fills, importing fills again,
- it holds nothing of the code of mods (functions, classes, instances): that has to come from the new code,
- only modules know it, by a global name: not a class, a closure or a default argument,
- it is not named a cache or a memo: what old code computed is not what new code would.

Everything else at the top of a module begins anew, as in a fresh start; what shall surely stay belongs into
`self.state`.
"""

from __future__ import annotations

import re
import sys
from collections import deque
from collections.abc import Collection, Mapping
from types import ModuleType
from typing import Any

from devserver.loader.modules import Loaded
from devserver.loader.moving import MOST_OBJECTS, parts_of
from devserver.loader.successor import origin
from devserver.sources.imports import Initial, read_containers

_CONTAINERS = (dict, list, set, deque)
_COMPUTED = re.compile(r"cache|memo(?!r)", re.IGNORECASE)


def note_untouched(loaded: Loaded) -> None:
    """Remember which containers of a module are, now that everything is imported, as its source says."""
    names = vars(loaded.module)
    if not any(isinstance(value, _CONTAINERS) for name, value in names.items() if not name.startswith("__")):
        return
    containers = read_containers(loaded.text.data)
    loaded.untouched = frozenset(n for n, initial in containers.items() if n in names and initial.is_value(names[n]))


def keep_state(old: Mapping[str, Loaded], new: Mapping[str, Loaded]) -> tuple[str, ...]:
    """Let fresh modules have the containers of those they replace, where the rule says so; their names."""
    kept = []
    modules = [each.module for each in new.values()]
    for name in [each for each in new if each in old]:
        for variable in _same_initial(old[name], new[name]):
            value = vars(old[name].module).get(variable)
            if _is_data(value) and _put(vars(new[name].module)[variable], value, modules):
                kept.append(f"{name}.{variable}")
    return tuple(kept)


def _same_initial(old: Loaded, new: Loaded) -> list[str]:
    if not (old.untouched and new.untouched):
        return []
    before, after = _initials(old), _initials(new)
    return [
        name
        for name, initial in after.items()
        if before.get(name) == initial
        and name in old.untouched
        and name in new.untouched
        and not _COMPUTED.search(name)
        and type(vars(old.module).get(name)) is type(vars(new.module)[name])
    ]


def _initials(loaded: Loaded) -> Mapping[str, Initial]:
    return read_containers(loaded.text.data)


def _is_data(value: Any) -> bool:
    """Whether nothing in a value comes from the code of mods; of a very large one, the first part is looked at."""
    pending, seen = [value], {id(value)}
    while pending and len(seen) < MOST_OBJECTS:
        thing = pending.pop()
        if origin(thing) is not None:
            return False
        for part in parts_of(thing):
            if id(part) not in seen:
                seen.add(id(part))
                pending.append(part)
    return True


def _put(fresh: Any, value: Any, modules: Collection[ModuleType]) -> bool:
    """Put `value` where modules have `fresh`; False, with nothing done, where anything else has it too."""
    places = _places(fresh, modules)
    if sys.getrefcount(fresh) - len(places) > _ALONE:
        return False
    for names, name in places:
        names[name] = value
    return True


def _places(thing: Any, modules: Collection[ModuleType]) -> list[tuple[dict[str, Any], str]]:
    return [(vars(module), name) for module in modules for name, each in vars(module).items() if each is thing]


def _references(thing: Any) -> int:
    return sys.getrefcount(thing)


_ALONE = _references([])
"""How many references a function sees to its argument when nothing else leads to that."""
