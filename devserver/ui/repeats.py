"""Counts what keeps happening, so that ten thousand equal errors are a few lines. Given the time, it has no clock."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass

QUIET_SECONDS = 1.0
"""A repeat this long after the last one that was told is told at once."""

_KEPT = 256


@dataclass(slots=True)
class _Seen:
    times: int
    told_at: float


class Repeats:
    """How often each thing has happened, and whether to say so again."""

    def __init__(self) -> None:
        self._seen: OrderedDict[Hashable, _Seen] = OrderedDict()

    def times(self, key: Hashable, now: float) -> int | None:
        """The count to tell for this occurrence, or None to stay silent.

        Told are the first one, one that comes after a quiet second, and in a burst the 10th, 100th, 1000th and so on.

        Args:
            key: what is the same in each repetition. The 256 latest are remembered.
            now: a time in seconds.
        """
        seen = self._seen.setdefault(key, _Seen(0, float("-inf")))
        self._seen.move_to_end(key)
        if len(self._seen) > _KEPT:
            self._seen.popitem(last=False)
        seen.times += 1
        # The distance, not the difference: a clock that was set back must not silence anything.
        if abs(now - seen.told_at) < QUIET_SECONDS and not _round(seen.times):
            return None
        seen.told_at = now
        return seen.times


def _round(number: int) -> bool:
    return str(number).strip("0") == "1"
