"""Log records as lines of a face: one line each, never blocking. Which records are made is not decided here."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable


class LogLines(logging.Handler):
    """Gives each record to `say(level, words)`; an exception is told by its last line and place."""

    def __init__(self, say: Callable[[str, str], None]) -> None:
        super().__init__()
        self._say = say

    def emit(self, record: logging.LogRecord) -> None:
        """Say a record. A record that cannot be formatted is reported as logging does it, and ends nothing."""
        try:
            self._say(record.levelname.lower(), f"{record.name}: {record.getMessage()}{_raised(record)}")
        except Exception:
            self.handleError(record)


def _raised(record: logging.LogRecord) -> str:
    error = record.exc_info[1] if record.exc_info else None
    if error is None:
        return ""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {frames[-1].filename}:{frames[-1].lineno}" if frames else ""
    return f" ({type(error).__name__}: {error}{place})"
