"""What the commands about pins, replay, written tests and shadows print with `--json`. See `forms`."""

from __future__ import annotations

from typing import Any, Literal, NotRequired

# Of typing_extensions: pydantic takes Python's own only from 3.12 on.
from typing_extensions import TypedDict

from devserver.model.facts import PinReplayed
from devserver.model.forms import DoneForm, Told
from devserver.model.observation import Differs, Observation


class PinnedState(TypedDict):
    """How many keys of a mod's state a pin holds, or what of it could not be kept."""

    keys: NotRequired[int]
    lost: NotRequired[Any]


class PinAnswer(TypedDict):
    """A pinned event. `accepted`: what it shall do; `noise` and `ignore`: paths that are not compared; `last`: what
    it came to after the latest save."""

    name: str
    number: int | None
    event_name: str
    at: float
    generations: dict[str, int]
    state: dict[str, PinnedState]
    accepted: Told[Observation]
    noise: list[str]
    ignore: list[str]
    flips: int
    """How often its result changed on the same code."""
    last: Told[PinReplayed] | None
    held_ms: NotRequired[float]
    """How long its mods were held when it was pinned."""


class PinsAnswer(TypedDict):
    """Every pin. `off`: why nothing is replayed, if so; `skipped`: saves that were not replayed."""

    pins: list[PinAnswer]
    off: str
    kernel: Any
    skipped: int
    problems: list[str]


class RemovedAnswer(TypedDict):
    """The pin that is forgotten."""

    removed: str


class RunForm(TypedDict):
    """One run, `on` what runs now or ran before, with the generations; `cannot`: why there was none."""

    on: Literal["now", "before"]
    numbers: dict[str, int]
    seen: NotRequired[Told[Observation]]
    cannot: NotRequired[str]


class ReplayAnswer(TypedDict):
    """An event that was run again, and how two runs of it differ. Begins on the state of `pin`, or of now."""

    number: int | None
    event_name: str
    pin: str | None
    runs: list[RunForm]
    differences: NotRequired[list[Told[Differs]]]


class SentAgainAnswer(TypedDict):
    """An event that was sent again for real, as a new one, and its answer."""

    success: bool
    message: str
    data: Any
    event_id: str
    event_name: str


class SessionEventLine(TypedDict):
    """One event of a session that was run again; `why` it could not be."""

    type: Literal["session_event"]
    number: int
    event_name: str
    result: str
    why: str
    differences: list[Told[Differs]]


class SessionLine(TypedDict):
    """The last line about a session. `notes`: what of it is left out, each in a sentence."""

    type: Literal["session"]
    events: int
    same: int
    differ: int
    cannot: int
    notes: list[str]
    duration_ms: float


class WrittenTest(TypedDict):
    """A test that was written of an event, and passes."""

    path: str
    text: str
    warnings: list[str]


class TimesForm(TypedDict):
    """How long handlers took; null before there were any."""

    p50_ms: float | None
    p99_ms: float | None


class ShadowDifference(TypedDict):
    """One place at which a shadow answers otherwise. `examples`: event id, the mod's value, the shadow's."""

    event_name: str
    path: str
    count: int
    event_id: str
    before: Any
    after: Any
    examples: list[tuple[str, Any, Any]]


class ShadowForm(TypedDict):
    """What one shadow did differently from its mod."""

    line: str
    main: str
    since: str
    events: int
    same: int
    raised: int
    raised_first: str | None
    held: int
    busy: int
    waiting: int
    times: TimesForm
    main_times: TimesForm
    differences: list[ShadowDifference]


class CompareAnswer(TypedDict):
    """The shadows of a mod."""

    mod: str
    shadows: list[ShadowForm]


ANSWERS: dict[str, Any] = {
    "try": DoneForm,
    "split": DoneForm,
    "promote": DoneForm,
    "drop": DoneForm,
    "compare": CompareAnswer,
    "pin": PinAnswer,
    "pins": PinsAnswer,
    "pins show": PinAnswer,
    "pins accept": PinAnswer,
    "pins ignore": PinAnswer,
    "pins remove": RemovedAnswer,
    "replay": ReplayAnswer | SentAgainAnswer | SessionEventLine | SessionLine,
    "test": WrittenTest,
}
"""What each command prints with `--json`; of a session, `replay` prints a line for each event and one at the end."""
