"""Module-level state that outlives an edit of its module.

The rule: a list, dict, set or the like that a module binds once, at its top level, stays the same
object in the next build of the module when

- its initial value is written in the source as before (`STATE = {}`, `LIMITS = {"day": 10}`, `deque()`),
- importing and `initialize()` left it as the source says, before and now: otherwise they fill it again,
- it holds nothing of the code of mods (functions, classes, instances): that has to come from the new code,
- importing gave it to modules alone, by a global name: not to a class, a closure or a default argument,
- it is not named a cache or a memo: the new code might compute other values.

All other module globals are made again, as in a fresh start; values that must stay belong into
`self.state`. A container that `initialize()` has put somewhere else too stays there and takes over
the contents.
"""

from __future__ import annotations

import re
import sys
from collections import deque
from collections.abc import Collection, Iterator, Mapping
from types import CodeType, FunctionType, ModuleType
from typing import Any

from devserver.loader import raw
from devserver.loader.modules import Loaded, Text
from devserver.loader.referrers import Ours, holders_of
from devserver.loader.successor import origin
from devserver.loader.walk import ATOMS, Walk, contents_of
from devserver.sources.imports import Initial, is_same_tree, read_containers

_CONTAINERS = (dict, list, set, deque)
_COMPUTED = re.compile(r"cache|memo(?!r)", re.IGNORECASE)


def note_untouched(loaded: Loaded) -> None:
    """Remember which containers of a module are as its source says, once all is imported."""
    names = vars(loaded.module)
    if any(raw.derives(type(each), *_CONTAINERS) for name, each in list(names.items()) if not raw.is_special(name)):
        containers = read_containers(loaded.text.data)
        loaded.untouched = frozenset(name for name in containers if _is_untouched(containers, name, names))


def note_filled(loaded: Loaded) -> None:
    """Forget those that `initialize()` has filled since."""
    if loaded.untouched:
        containers, names = read_containers(loaded.text.data), vars(loaded.module)
        loaded.untouched = frozenset(name for name in loaded.untouched if _is_untouched(containers, name, names))


def keepable(old: Mapping[str, Loaded], new: Mapping[str, Loaded]) -> dict[str, list[str]]:
    """Return the variables, by fresh module, that may keep their predecessors' containers.

    Before `initialize()`; for large containers this takes a while.
    """
    modules = [each.module for each in new.values()]
    found: dict[str, list[str]] = {}
    for name in (each for each in new if each in old):
        before = vars(old[name].module)
        chosen = [
            variable
            for variable in _same_initial(old[name], new[name])
            if _is_alone(vars(new[name].module)[variable], modules) and _is_data(before[variable])
        ]
        if chosen:
            found[name] = chosen
    return found


def keep_state(
    chosen: Mapping[str, Collection[str]], old: Mapping[str, Loaded], new: Mapping[str, Loaded]
) -> tuple[str, ...]:
    """Let fresh modules have these containers if `initialize()` left them; return their names."""
    kept = []
    fresh_modules, old_modules = ([each.module for each in group.values()] for group in (new, old))
    for name, variables in chosen.items():
        for variable in variables:
            before, after = vars(old[name].module), vars(new[name].module)
            if variable not in new[name].untouched or variable not in before:
                continue
            if _is_alone(after[variable], fresh_modules):
                _rebind(after[variable], before[variable], fresh_modules)
            else:
                # The new instance has it already; handlers that linger get to see it too.
                take, put = contents_of(type(after[variable]))
                assert take is not None and put is not None
                put(after[variable], take(before[variable]))
                _rebind(before[variable], after[variable], old_modules)
            kept.append(f"{name}.{variable}")
    return tuple(kept)


def _rebind(thing: Any, other: Any, modules: Collection[ModuleType]) -> None:
    for names, name in _places(thing, modules):
        names[name] = other


def _same_initial(old: Loaded, new: Loaded) -> list[str]:
    if not (old.untouched and new.untouched):
        return []
    before, after = read_containers(old.text.data), read_containers(new.text.data)
    return [
        name
        for name, initial in after.items()
        if before.get(name) == initial
        and name in old.untouched
        and name in new.untouched
        and not _COMPUTED.search(name)
        and type(vars(old.module).get(name)) is type(vars(new.module)[name])
    ]


def _is_untouched(containers: Mapping[str, Initial], name: str, names: Mapping[str, Any]) -> bool:
    if name not in names:
        return False
    initial, found = containers[name], names[name]
    if initial.empty:
        kind = next((each for each in _CONTAINERS if raw.derives(type(found), each)), None)
        return kind is not None and kind.__len__(found) == 0
    return _is_same(found, initial.value)


def _is_same(found: Any, written: Any) -> bool:
    """Return whether a value is what a literal says; others are not compared."""
    if type(found) is not type(written):
        return False
    if type(written) is dict:
        return len(found) == len(written) and all(
            _is_same(key, other) and _is_same(found[key], written[other])
            for key, other in zip(found, written, strict=True)
        )
    if type(written) in (list, tuple):
        return len(found) == len(written) and all(map(_is_same, found, written))
    if type(written) in (set, frozenset):
        return all(_is_plain(each) for each in found) and bool(found == written)
    return id(type(written)) in ATOMS and bool(found == written)


def _is_plain(value: object) -> bool:
    return id(type(value)) in ATOMS or (type(value) is tuple and all(map(_is_plain, value)))


def _is_data(value: Any) -> bool:
    """Return whether a value has nothing of mods' code; of a large one, its first part."""
    walk = Walk({"": value})
    walk.finish()
    for kind, thing in walk.of_kind(lambda kind: kind.own or kind.code):
        if kind.own or origin(thing) is not None:
            return False
    return True


def _is_alone(thing: Any, modules: Collection[ModuleType]) -> bool:
    """Return whether only global names of these modules lead to an object."""
    return sys.getrefcount(thing) - len(_places(thing, modules)) <= _ALONE


def _places(thing: Any, modules: Collection[ModuleType]) -> list[tuple[dict[str, Any], str]]:
    return [(vars(module), name) for module in modules for name, each in vars(module).items() if each is thing]


def _references(thing: Any) -> int:
    return sys.getrefcount(thing)


_ALONE = _references([])
"""The number of references that a function sees to its argument if nothing else leads to it."""


# An edit that has moved code without changing it: nothing is executed, and all state stays


def is_same_code(old: Text, new: Text) -> bool:
    """Return whether two readings of a source differ in comments, blank lines and layout at most.

    Compares the trees: a text below a field makes no bytecode, and pydantic makes it the
    description of that field. Sources with different code have different trees, which is found
    quickly.
    """
    return _is_alike(old.code, new.code) and is_same_tree(old.data, new.data)


def _is_alike(one: CodeType, other: CodeType) -> bool:
    """Return whether two pieces of code may do the same on other lines, by names, bytecode and constants."""
    inner, others = _inner(one), _inner(other)
    if one.co_names != other.co_names or len(inner) != len(others):
        return False
    # Python 3.13 compiles the first line of a class into its body, where a value may be the same
    # constant: the trees tell such values apart.
    if "__firstlineno__" not in one.co_names and (one.co_code != other.co_code or _values(one) != _values(other)):
        return False
    return all(map(_is_alike, inner, others))


def _values(code: CodeType) -> list[object]:
    return [None if isinstance(each, CodeType) else each for each in code.co_consts]


def reline(old: Text, new: Text) -> None:
    """Give every function that was made from `old` its lines in `new`."""
    codes = {id(before): (before, after) for before, after in _pairs(old.code, new.code)}
    (holders,), _ = holders_of(Ours(before for before, _ in codes.values()), nested=0)
    for each in holders:
        if isinstance(each, FunctionType) and id(each.__code__) in codes:
            each.__code__ = codes[id(each.__code__)][1]


def _pairs(old: CodeType, new: CodeType) -> Iterator[tuple[CodeType, CodeType]]:
    """Yield each function's code in one reading with that in the other: their trees are equal."""
    yield old, new
    for before, after in zip(_inner(old), _inner(new), strict=True):
        yield from _pairs(before, after)


def _inner(code: CodeType) -> list[CodeType]:
    return [each for each in code.co_consts if isinstance(each, CodeType)]
