"""Finds the objects that refer to others, and disturbs no other thread.

`gc.get_referrers` also finds a tuple that another thread is just making, as `tuple(each for each in
row)` does. Python fails it with SystemError if anything else refers to it as it grows or is filled.
So every tuple is let go of before another thread can run: in one call of a function in C, which
calls all others. What refers to a tuple takes its place.
"""

from __future__ import annotations

import gc
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import chain, compress, islice, repeat, starmap
from operator import contains, not_
from typing import Any

_AT_ONCE = 24
"""The most tuples that are followed in one call: Python looks through all objects of the process
and compares each of their parts with each of these."""
_MOST = 480
_NESTED = 3
_GROWING = frozenset({id(tuple), id(frozenset)})
"""The classes of what Python makes piece by piece and expects to be alone with, by their ids: a
comparison of classes may run code of a mod."""


class Ours(list[Any]):
    """A list of a search: refers to the objects that are looked at, and holds nothing."""


def holders_of(things: Ours, *, nested: int = _NESTED) -> tuple[list[Ours], set[int]]:
    """Return the objects that refer to these: directly, through one tuple, and so on up to `nested`;
    and the ids of these and of those tuples."""
    found = [Ours() for _ in range(nested + 1)]
    held = set(map(id, things))
    for start in range(0, _MOST, _AT_ONCE):
        holders, passed = _page(things, start, nested)
        for known, level in zip(found, holders, strict=True):
            known += (each for each in level if type(each) is not Ours)
        held.update(*passed)
        if not passed or len(passed[0]) < _AT_ONCE:
            break
    return found, held


def _page(things: Ours, start: int, nested: int) -> tuple[list[Ours], list[list[int]]]:
    """Return the holders of these and of some of the tuples that hold these, from `start` on; and
    the ids of the tuples of each level."""
    found = [Ours() for _ in range(nested + 1)]
    passed: list[list[int]] = [[] for _ in range(nested)]
    clears: list[Iterator[Any]] = []
    steps: list[Iterator[Any]] = []
    targets = things
    for depth, holders in enumerate(found):
        level, tuples = Ours(), Ours()
        # Where no tuple is left to follow, nothing is looked through.
        steps += [
            map(level.extend, starmap(gc.get_referrers, filter(None, [targets]))),
            map(holders.append, compress(level, map(not_, _growing(level)))),
        ]
        if depth < nested:
            begin = start if depth == 0 else 0
            some = islice(compress(level, _growing(level)), begin, begin + _AT_ONCE)
            steps += [map(tuples.append, some), map(passed[depth].append, map(id, tuples))]
        clears += [starmap(level.clear, [()]), starmap(tuples.clear, [()])]
        targets = tuples
    _run([*steps, *clears])
    return found, passed


def _growing(level: Iterable[Any]) -> Iterator[bool]:
    """Yield for each object whether it may still be growing. Runs no code of it, and none in Python."""
    return map(contains, repeat(_GROWING), map(id, map(type, level)))


def _run(steps: list[Iterator[Any]]) -> None:
    """Exhaust these iterators, which must all be in C, in one call: no other thread runs meanwhile."""
    collects = gc.isenabled()
    # Up to Python 3.11 any new object may begin a collection, which runs code of mods.
    gc.disable()
    try:
        deque(chain.from_iterable(steps), maxlen=0)
    finally:
        if collects:
            gc.enable()
