"""The results of a mod's lines, and when a guard has seen enough. Kept only if there are lines."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from devserver.model.split import Guard

_TIMES = 1000
_COUNTED = 10_000
"""The most events that a guard counts (`of`)."""


@dataclass(slots=True, eq=False)
class Tally:
    """The events of one line since it began, or since its code was replaced."""

    events: int = 0
    failed: int = 0
    last_error: str = ""
    times: deque[float] = field(default_factory=lambda: deque(maxlen=_TIMES))
    """How long the last ones took, in seconds."""
    took: float = 0.0
    ended: float = 0.0
    """How long the latest one took, and when it ended, in monotonic seconds."""
    _failures: deque[int] = field(default_factory=lambda: deque(maxlen=_COUNTED))
    """The numbers of the events that failed, as far as a guard may count them."""

    def note(self, seconds: float, error: str = "") -> None:
        """Note one more event: how long it took, and its error, if it failed."""
        self.events += 1
        self.times.append(seconds)
        if error:
            self.failed += 1
            self.last_error = error
            self._failures.append(self.events)

    def failures(self, guard: Guard) -> int:
        """Return how many of the last events that a guard counts have failed."""
        while self._failures and self._failures[0] <= self.events - guard.of:
            self._failures.popleft()
        return len(self._failures)

    def trips(self, guard: Guard) -> bool:
        """Return whether more of them have failed than may."""
        return self.failures(guard) > guard.most

    def percentile(self, part: float) -> float | None:
        """Return the milliseconds within which this part of the events ended, or None."""
        if not self.times:
            return None
        ordered = sorted(self.times)
        return ordered[min(int(len(ordered) * part), len(ordered) - 1)] * 1000
