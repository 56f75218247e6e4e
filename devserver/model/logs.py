"""The log: the loggers of the server and of mods, on structlog, and the processors of every record.

Our loggers have processors of their own and pass their records to the listener, so a mod's changes
to `logging` or to structlog's configuration have no effect on them. Each record goes to the
standard library's logger of the same name too, for handlers that a mod has attached there.
Importing structlog is not free: it waits for the first record.
"""

from __future__ import annotations

import logging
import sys
import weakref
from collections.abc import Callable, MutableMapping
from typing import TYPE_CHECKING, Any

from devserver.model.facts import Fact, ModError, PlanDone, Status

if TYPE_CHECKING:
    from structlog.stdlib import BoundLogger

Entry = MutableMapping[str, Any]
"""A record of structlog: `event` (the words), `level`, `logger`, `exc_info`, bound values."""

LEVELS = ("debug", "info", "warning", "error")
BOUND = ("mod", "generation", "number", "event_name", "agent")
"""The keys that are bound to every record: the mod whose code runs, the event that it handles (its
number in the recorder, its name), and the agent."""

_OWN = frozenset({"event", "level", "logger", "exc_info", "stack_info", "said", *BOUND})


class _Log:
    """The listener of our records and its level; one for the process, as `logging` has one root."""

    def __init__(self) -> None:
        self.level = logging.WARNING
        self.listener: Callable[[Entry], None] | None = None
        self.everything = False
        self.about: Callable[[], dict[str, Any]] = dict


_log = _Log()


def listen(listener: Callable[[Entry], None] | None, *, everything: bool = False) -> None:
    """Pass the records of our loggers to `listener`, from any thread; None ends that. With
    `everything`, also those below the level that is shown."""
    _log.listener, _log.everything = listener, everything


def set_level(level: str) -> None:
    """Show records from a level on. At `info`, those of libraries come from `warning` on (see `is_shown`)."""
    _log.level = logging.getLevelNamesMapping()[level.upper()]
    logging.getLogger().setLevel(_log.level)


def level() -> str:
    return logging.getLevelName(_log.level).lower()


def is_shown(number: int, *, of_a_mod: bool) -> bool:
    """Return whether a record of this level is shown. Libraries log too much at `info`."""
    quiet = not of_a_mod and _log.level == logging.INFO
    return number >= (logging.WARNING if quiet else _log.level)


def bind_with(about: Callable[[], dict[str, Any]]) -> None:
    """Let `about` give, for each record, the keys of `BOUND` about the code that runs."""
    _log.about = about


def about() -> dict[str, Any]:
    """Return what is known of the code that runs."""
    return _log.about()


def fields_of(entry: Entry) -> dict[str, Any]:
    """Return the fields that the author gave to a record."""
    return {key: value for key, value in entry.items() if key not in _OWN}


def error_of(entry: Entry) -> BaseException | None:
    """Return the exception that a record tells, however it was given."""
    given = entry.get("exc_info")
    if isinstance(given, BaseException):
        return given
    if isinstance(given, tuple):
        error: BaseException | None = given[1]
        return error
    return sys.exc_info()[1] if given else None


def logger(name: str, owner: Any = None) -> BoundLogger:
    """Return a structlog logger. `owner`: an object whose attribute `known_as`, a mod id and a
    generation, is bound to records outside of any known call of a mod, as in a thread."""
    made: Any = _Lazy(name, None if owner is None else weakref.ref(owner))
    found: BoundLogger = made
    return found


class _Lazy:
    """A logger that is made on its first use."""

    def __init__(self, name: str, owner: weakref.ref[Any] | None) -> None:
        self._name = name
        self._owner = owner
        self._made: Any = None

    def __getattr__(self, attribute: str) -> Any:
        if self._made is None:
            self._made = _made(self._name, self._owner)
        return getattr(self._made, attribute)

    def __repr__(self) -> str:
        return f"<logger {self._name}>"


def prepare() -> None:
    """Import structlog now, in this thread, so that no first record waits for it."""
    logger(__name__).bind()


def _made(name: str, owner: weakref.ref[Any] | None) -> Any:
    import structlog

    if _log.listener is not None:
        adopt(structlog)

    def bind(_logger: Any, method: str, entry: Entry) -> Entry:
        found = _log.about()
        known = getattr(owner(), "known_as", None) if owner is not None and "mod" not in found else None
        if known is not None:
            found = {**found, "mod": known[0], "generation": known[1]}
        level = "error" if method == "exception" else "warning" if method == "warn" else method
        return {**entry, **found, "level": level, "logger": name}

    return structlog.wrap_logger(
        logging.getLogger(name),
        processors=[_filled, structlog.contextvars.merge_contextvars, bind, _tell],
        wrapper_class=structlog.stdlib.BoundLogger,
        context_class=dict,
    ).bind()


def _filled(_logger: Any, _method: str, entry: Entry) -> Entry:
    """Fill positional arguments into the words, as `logging` does; misfits are appended."""
    arguments = entry.pop("positional_args", ())
    extra = entry.pop("extra", None)
    entry.pop("stacklevel", None)
    words = str(entry.get("event", ""))
    try:
        entry["event"] = words % arguments if arguments else words
    except (TypeError, ValueError, KeyError):
        entry["event"] = f"{words} {arguments!r}"
    return {**extra, **entry} if isinstance(extra, dict) else entry


def _tell(_logger: Any, _method: str, entry: Entry) -> tuple[tuple[str], dict[str, Any]]:
    """Pass an entry to the listener, and make it the arguments of a standard logger."""
    number, error = logging.getLevelNamesMapping().get(str(entry["level"]).upper(), logging.INFO), error_of(entry)
    said = False
    if _log.listener is not None:
        said = True
        if _log.everything or is_shown(number, of_a_mod=True):
            _log.listener(entry)
    fields = " ".join(f"{key}={value!r}" for key, value in fields_of(entry).items())
    words = f"{entry['event']} {fields}" if fields else str(entry["event"])
    return (words,), {"exc_info": error, "extra": {"entry": {**entry, "said": said}}}


def adopt(structlog: Any) -> None:
    """Let mods' structlog, unless it is configured, log through `logging`, which we show."""
    # Another thread may be in the middle of its import.
    if getattr(structlog.__spec__, "_initializing", False) or structlog.is_configured():
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


def log_fact(fact: Fact) -> None:
    """Log a fact that no face tells: what failed, and what each step of a plan came to."""
    match fact:
        case ModError(mod_id=mod_id, generation=number, event_name=name, error=error):
            logger("devserver").error("%s v%s failed on %s: %s", mod_id, number, name, error)
        case PlanDone(outcomes=outcomes):
            for outcome in outcomes:
                level = logging.INFO if outcome.status is Status.APPLIED else logging.WARNING
                logger("devserver").log(
                    level,
                    "%s %s: %s %s",
                    outcome.action,
                    outcome.mod_id,
                    outcome.status,
                    outcome.error or outcome.reason,
                )
        case _:
            return
