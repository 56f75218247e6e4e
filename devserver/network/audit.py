"""The record of refusals: who was refused what. One line a second for each kind, so that nobody can flood a log.

Values that came from outside are written with `repr`, so that they cannot forge a line.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from devserver.model.logs import logger

_log = logger("devserver.audit")
_WINDOW = 1.0


class Audit:
    """Writes refusals to the log `devserver.audit`, the first of each (who, code) in a second; the rest is counted."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since = clock()
        self._seen: set[tuple[str, str]] = set()
        self.unwritten = 0
        """Refusals since the last line that were only counted."""

    def refused(self, who: str, what: str, code: str) -> None:
        """Record that `who` was refused `what`, for the reason `code`."""
        if self._clock() - self._since >= _WINDOW:
            self._since = self._clock()
            self._seen.clear()
        if (who, code) in self._seen:
            self.unwritten += 1
            return
        self._seen.add((who, code))
        before, self.unwritten = self.unwritten, 0
        _log.warning("refused %r to %r: %s (%d more before)", what[:200], who[:80], code, before)
