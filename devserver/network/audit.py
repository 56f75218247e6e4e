"""The record of refusals. One line a second for each kind, so that no client can flood a log.

Values from outside are written with `repr`, so that they cannot forge a line.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from devserver.model.logs import logger

_log = logger("devserver.audit")
_WINDOW = 1.0
_MOST_KINDS = 100
"""The most kinds of refusals with a line in one second: each may name another client."""
_MOST_NAME = 80


class Audit:
    """Writes refusals to the log `devserver.audit`: one (who, code) a second, others counted."""

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
        kind = (who[:_MOST_NAME], code)
        if kind in self._seen or len(self._seen) >= _MOST_KINDS:
            self.unwritten += 1
            return
        self._seen.add(kind)
        before, self.unwritten = self.unwritten, 0
        more = f" ({before} more before)" if before else ""
        _log.warning("refused %r to %r: %s%s", what[:200], who[:_MOST_NAME], code, more)
