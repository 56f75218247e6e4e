"""Counts repeated facts: ten thousand equal errors are a few lines. Given the time, no clock."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass

from devserver.model.facts import Fact, Ignored, ModError, PlanDone

QUIET_SECONDS = 1.0
"""A repetition this long after the last one is told at once."""

_KEPT = 256


def what_repeats(fact: Fact) -> Hashable | None:
    """Return the part of a fact that repetitions share; None for facts that are always told.

    An ignored save is among them because a log file in the workspace, into which these lines go, is
    one.
    """
    if isinstance(fact, ModError):
        return (fact.mod_id, fact.generation, fact.event_name, fact.error.kind, fact.error.where)
    return fact if isinstance(fact, Ignored) else None


def what_follows(fact: Fact) -> Hashable | None:
    """Return what is the same in a save that comes to the same once more, with nothing else
    between; None for other facts."""
    if not isinstance(fact, PlanDone) or not fact.outcomes:
        return None
    errors = (each.error for each in fact.outcomes)
    found = tuple((each.kind, each.message, each.where) if each is not None else None for each in errors)
    names = tuple((each.mod_id, each.action, each.status, each.reason) for each in fact.outcomes)
    return (fact.plan.cause, names, found)


@dataclass(slots=True)
class _Seen:
    times: int
    at: float
    told: int = 0


class Repeats:
    """How often each fact has happened, and whether to tell it again."""

    def __init__(self) -> None:
        self._seen: OrderedDict[Hashable, _Seen] = OrderedDict()

    def times(self, key: Hashable | None, now: float) -> int | None:
        """Return the count to tell for this occurrence, or None to stay silent.

        Told are the first one, one that comes after a quiet second, and in a burst the 10th, 100th,
        1000th and so on; how many it were in the end, `rest` knows.

        Args:
            key: what is the same in each repetition, None for what is always told. The 256 latest are remembered.
            now: a time in seconds.
        """
        if key is None:
            return 1
        seen = self._seen.setdefault(key, _Seen(0, float("-inf")))
        self._seen.move_to_end(key)
        if len(self._seen) > _KEPT:
            self._seen.popitem(last=False)
        # The distance, not the difference: a clock that was set back must not silence anything.
        quiet = abs(now - seen.at) >= QUIET_SECONDS
        seen.times, seen.at = seen.times + 1, now
        is_round = str(seen.times).strip("0") == "1"
        return self._told(seen) if quiet or is_round else None

    def rest(self, key: Hashable, now: float) -> int | None:
        """Return the count of a burst, if more than was told, or 0; None while it goes on."""
        seen = self._seen.get(key)
        if seen is None or seen.told == seen.times:
            return 0
        return None if abs(now - seen.at) < QUIET_SECONDS else self._told(seen)

    def _told(self, seen: _Seen) -> int:
        seen.told = seen.times
        return seen.told


class InARow:
    """How often in a row the same was told."""

    def __init__(self) -> None:
        self._last: Hashable | None = None
        self._times = 0

    def times(self, key: Hashable | None) -> int:
        """Return the count of this occurrence: 1 if the last was another; None never repeats."""
        self._times = self._times + 1 if key is not None and key == self._last else 1
        self._last = key
        return self._times
