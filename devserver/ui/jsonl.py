"""Facts as JSON lines, for programs: one object a line, `type` and `time` in each.

The objects are `ready`, `plan`, `outcome` (one for each step of a plan that was carried out, and one for each problem
of a network.yaml, see `model.wire_form.refusal_to_dict`), `ignored`, `notice`, `mod_error` and `stopped`. A mod that
blocks or left something behind is a `notice`, and so is that other machines may come in (without the join token, which
is in `.oa-dev/join_token`). Agents coming and going are not told: `oa-dev status --json` has them.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TextIO, assert_never

from devserver.model.facts import (
    AgentSeen,
    Blocked,
    ConfigRefused,
    Exposed,
    Fact,
    Ignored,
    LeftBehind,
    ModError,
    Notice,
    Outcome,
    PlanDone,
    PlanMade,
    Ready,
    Stopped,
)
from devserver.model.wire_form import error_to_dict, outcome_to_dict, plan_to_dict, refusal_to_dict
from devserver.ui.exposed import exposed_sentence
from devserver.ui.repeats import Repeats, what_repeats
from devserver.ui.said import Said
from devserver.ui.writer import CLOSE_SECONDS, Writer

Objects = tuple[dict[str, Any], ...]


def utc_now() -> datetime:
    """The present, in UTC."""
    return datetime.now(UTC)


class JsonLines:
    """Writes each fact as its JSON lines; never blocks and never raises, whatever becomes of the reader.

    Args:
        stream: where the lines go.
        clock: gives the present as an aware datetime.
    """

    def __init__(self, stream: TextIO, *, clock: Callable[[], datetime] = utc_now) -> None:
        self._clock = clock
        self._writer = Writer(stream, self._lost)
        self._repeats = Repeats()
        self._lock = threading.Lock()

    def tell(self, fact: Fact) -> None:
        """Write a fact. Of an ignored save that repeats within a second only some are written, see `Repeats`."""
        with self._lock:
            key = what_repeats(fact) if isinstance(fact, Ignored) else None
            if self._repeats.times(key, self._clock().timestamp()) is not None:
                for each in objects_of(fact):
                    self._writer.write(self._line(each))

    def close(self, seconds: float = CLOSE_SECONDS) -> None:
        """Let the last lines go out, for at most `seconds`."""
        self._writer.close(seconds)

    def _lost(self, dropped: int) -> str:
        return self._line(_notice(f"{dropped} lines were dropped because nobody read them"))

    def _line(self, values: dict[str, Any]) -> str:
        stamped = {"type": values["type"], "time": iso(self._clock()), **values}
        # ASCII: nothing in a line can steer a terminal or break a line, and lone surrogates survive.
        return json.dumps(stamped, ensure_ascii=True, separators=(",", ":")) + "\n"


def log_line(said: Said, now: datetime) -> str:
    """A line of a log, or one that was printed, as a JSON line for the stream of the log."""
    own = {"type": "log", "time": iso(now), "level": said.level, "who": said.who, "message": said.words}
    own |= {"trace": said.trace} if said.trace else {}
    return json.dumps({**said.fields, **own}, ensure_ascii=True, separators=(",", ":"), default=str) + "\n"


def iso(moment: datetime) -> str:
    """An aware time as ISO 8601 in UTC with milliseconds: `2026-01-31T10:14:02.123Z`."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def objects_of(fact: Fact) -> Objects:
    """The objects that tell a fact, without their time."""
    match fact:
        case Ready():
            return (_ready(fact),)
        case PlanMade():
            return ({"type": "plan", **plan_to_dict(fact.plan)},)
        case PlanDone():
            return tuple({"type": "outcome", **outcome_to_dict(each)} for each in fact.outcomes)
        case Outcome():
            return ({"type": "outcome", **outcome_to_dict(fact)},)
        case ConfigRefused():
            return tuple({"type": "outcome", **refusal_to_dict(each)} for each in fact.errors)
        case Ignored():
            return ({"type": "ignored", "path": fact.path, "rule": fact.rule},)
        case ModError():
            return (_mod_error(fact),)
        case Exposed():
            return (_notice(exposed_sentence(fact)),)
        case Notice() | Blocked() | LeftBehind():
            return (_notice(_sentence(fact)),)
        case AgentSeen():
            return ()
        case Stopped():
            return ({"type": "stopped"},)
        case _:
            assert_never(fact)


def _ready(fact: Ready) -> dict[str, Any]:
    mods = [{"mod_id": each.mod_id, "mod_path": each.mod_path, "generation": each.generation} for each in fact.mods]
    return {
        "type": "ready",
        "url": fact.url,
        "mods": mods,
        "ready_ms": fact.ready_ms,
        "watching": list(fact.watching),
    }


def _mod_error(fact: ModError) -> dict[str, Any]:
    return {
        "type": "mod_error",
        "mod_id": fact.mod_id,
        "event_name": fact.event_name,
        "error": error_to_dict(fact.error),
    }


def _notice(message: str) -> dict[str, Any]:
    return {"type": "notice", "message": message}


def _sentence(fact: Notice | Blocked | LeftBehind) -> str:
    match fact:
        case Notice():
            return fact.message
        case Blocked():
            where = f" at {fact.where.file}:{fact.where.line}" if fact.where else ""
            return f"{fact.mod_id} blocked {fact.seconds:.1f} s{where}"
        case LeftBehind():
            return f"{fact.mod_id} v{fact.generation} left behind: {'; '.join(fact.things)}"
