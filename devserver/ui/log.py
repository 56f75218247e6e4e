"""What mods and libraries say for themselves, as one line each: log records, and what they print.

Says whose words they are; how a line looks is decided by the face. Which records are made is not decided here.
"""

from __future__ import annotations

import logging
import traceback

from devserver.live.generation import running
from devserver.loader import imported
from devserver.ui.said import Said, Say


class LogLines(logging.Handler):
    """Gives each record to `say`; an exception is told by its last line and place."""

    def __init__(self, say: Say) -> None:
        super().__init__()
        self.say = say

    def emit(self, record: logging.LogRecord) -> None:
        """Say a record. A record that cannot be formatted is reported as logging does it, and ends nothing."""
        try:
            self.say(said_of(record))
        except Exception:
            self.handleError(record)


def said_of(record: logging.LogRecord) -> Said:
    """A record as a line, of the mod whose code is running. To be called where the record was made."""
    fields = dict(record.msg) if isinstance(record.msg, dict) else {}
    words = str(fields.pop("event", "")) if fields else record.getMessage()
    who, logger = _who(record.name)
    error = record.exc_info[1] if record.exc_info else None
    if error is None:
        return Said(who, record.levelname.lower(), f"{logger}{words}", fields)
    trace = "".join(traceback.format_exception(error))
    return Said(who, record.levelname.lower(), f"{logger}{words}{_raised(error)}", fields, trace)


def _who(logger: str) -> tuple[str, str]:
    """Whose words a logger's are, and what to put before them: a library that a mod uses is named besides."""
    call = running.get()
    if call is None:
        return logger, ""
    package = call.generation.entry.removesuffix(".mod")
    own = logger == "root" or logger == package or logger.startswith(f"{package}.")
    return call.generation.name, "" if own else f"{logger}: "


def _raised(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {frames[-1].filename}:{frames[-1].lineno}" if frames else ""
    return f" ({type(error).__name__}: {error}{place})"


def adopt_structlog() -> None:
    """Let structlog speak through logging, where a mod has imported it and nobody has configured it."""
    if imported("structlog") is None:
        return
    # Here and not above: it is slow to import, and most networks never use it.
    import structlog

    if structlog.is_configured():
        return
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.contextvars.merge_contextvars,
            structlog.processors.format_exc_info,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )


def next_level(level: int) -> int:
    """The level that comes after one, round and round: warning, info, debug, error."""
    order = (logging.WARNING, logging.INFO, logging.DEBUG, logging.ERROR)
    return order[(order.index(level) + 1) % len(order)] if level in order else logging.WARNING
