"""Facts as JSON lines, for programs: one object a line, `type` and `time` in each.

`model.forms` has their types, `oa-dev schema events` their JSON Schema.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, TextIO

from devserver.model.encoding import from_json, to_json
from devserver.model.facts import Fact, Ignored, Notice
from devserver.model.wire_form import iso, lines_of
from devserver.ui.repeats import Repeats, what_repeats
from devserver.ui.said import Said
from devserver.ui.writer import CLOSE_SECONDS, Writer


def utc_now() -> datetime:
    return datetime.now(UTC)


class JsonLines:
    """Writes each fact as its JSON lines; never blocks or raises, whatever becomes of the reader.

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
        """Write a fact. Of an ignored save that repeats only some are written, see `Repeats`."""
        with self._lock:
            key = what_repeats(fact) if isinstance(fact, Ignored) else None
            if self._repeats.times(key, self._clock().timestamp()) is not None:
                for each in self._lines(fact):
                    self._writer.write(each)

    def close(self, seconds: float = CLOSE_SECONDS) -> None:
        """Let the last lines go out, for at most `seconds`."""
        self._writer.close(seconds)

    def open_again(self) -> None:
        """Tell facts again after `close`."""
        self._writer.open_again()

    def _lost(self, dropped: int) -> str:
        return "".join(self._lines(Notice(f"{dropped} lines were dropped because the reader is too slow")))

    def _lines(self, fact: Fact) -> list[str]:
        return [line_of(each) for each in lines_of(fact, iso(self._clock()))]


def log_line(said: Said, now: datetime) -> str:
    """Return a line of a log, or a printed one, as a JSON line for the stream of the log."""
    own = {"type": "log", "time": iso(now), "level": said.level, "who": said.who, "message": said.words}
    own |= {"trace": said.trace} if said.trace else {}
    own |= {"event" if key == "event_name" else key: value for key, value in said.bound.items()}
    return line_of({**said.fields, **own})


def line_of(values: Mapping[str, Any]) -> str:
    """Return an object as one line. ASCII: it cannot steer a terminal; lone surrogates survive."""
    try:
        text = json.dumps(values, ensure_ascii=True, separators=(",", ":"), default=str)
    except Exception:
        # A mod logs what it likes: circles, keys that are no texts, objects that cannot be shown.
        text = json.dumps(from_json(to_json(values)), ensure_ascii=True, separators=(",", ":"))
    return text + "\n"
