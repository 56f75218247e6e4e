"""Log records and printed lines of mods and libraries, as one line each.

Names their authors; the face decides how a line looks. Records are chosen elsewhere.
"""

from __future__ import annotations

import logging
import traceback
from typing import Any

from devserver.live.generation import running
from devserver.loader.locate import imported
from devserver.model import logs
from devserver.model.logs import Entry
from devserver.ui.said import Said, Say


class LogLines(logging.Handler):
    """Gives each record to `say`; an exception is told by its last line and place."""

    def __init__(self, say: Say) -> None:
        super().__init__()
        self.say = say

    def emit(self, record: logging.LogRecord) -> None:
        """Say a record, unless our own loggers have told it already. A record that cannot be
        formatted is reported as logging does it, and ends nothing."""
        try:
            entry = getattr(record, "entry", None)
            if not (isinstance(entry, dict) and entry.get("said")):
                self.say(said_of(record))
        except Exception:
            self.handleError(record)

    def tell(self, entry: Entry) -> None:
        """Say a record of one of our own loggers."""
        self.say(said_of_entry(entry, ""))


def said_of(record: logging.LogRecord) -> Said:
    """Return a record as a line, of the mod whose code is running. To be called where the record was made."""
    fields = dict(record.msg) if isinstance(record.msg, dict) else {}
    words = str(fields.pop("event", "")) if fields else record.getMessage()
    _, before = _who(record.name)
    entry = {"event": words, "level": record.levelname.lower(), "logger": record.name, "exc_info": record.exc_info}
    return said_of_entry({**fields, **logs.about(), **entry}, before)


def said_of_entry(entry: Entry, before: str) -> Said:
    """Return a record as a line; `before` is put before its words."""
    who = f"{entry['mod']} v{entry['generation']}" if "mod" in entry else str(entry["logger"])
    bound = {key: entry[key] for key in logs.BOUND if key in entry}
    words, error = f"{before}{entry['event']}", logs.error_of(entry)
    if error is None:
        return Said(who, str(entry["level"]), words, logs.fields_of(entry), bound=bound)
    trace = "".join(traceback.format_exception(error))
    return Said(who, str(entry["level"]), f"{words}{_raised(error)}", logs.fields_of(entry), trace=trace, bound=bound)


def quiet_libraries(record: logging.LogRecord) -> bool:
    """Filter records for a server's handler: those of mods are shown from `info` on by default."""
    call = running.get()
    of_a_mod = _who(record.name)[1] == "" if call is not None else record.name.partition(".")[0] == "mods"
    return logs.is_shown(record.levelno, of_a_mod=of_a_mod)


def _who(logger: str) -> tuple[str, str]:
    """Return the author of a logger's words, with a prefix: a library that a mod uses is named."""
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
    """Let structlog log through logging, if a mod has imported it and no one has configured it."""
    structlog: Any = imported("structlog")
    if structlog is not None:
        logs.adopt(structlog)


def next_level(level: str) -> str:
    """Return the level after one, in a circle: info, debug, warning, error."""
    order = ("info", "debug", "warning", "error")
    return order[(order.index(level) + 1) % len(order)] if level in order else "info"
