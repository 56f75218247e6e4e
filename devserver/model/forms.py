"""The JSON that programs get, as types: the lines of `run --json`, the answers of commands and of the control API.

A fact is declared once, in `facts`: `Told` makes its form of its fields, by the rules of `wire_form`, which makes the
values. Here stand the forms with other keys. `oa-dev schema events` prints them all as a JSON Schema; only that command
imports this file, as values need no pydantic.

Every `time` is ISO 8601 in UTC with milliseconds, as in `2026-01-31T10:14:02.123Z`; durations are in milliseconds
(`_ms`) or seconds (`_s`). Every error is an `ErrorForm`. A key that is there today stays; keys are added.
"""

from __future__ import annotations

import builtins
import collections.abc
import functools
import types
import typing
from collections.abc import Mapping
from typing import Any, Generic, Literal, NotRequired, TypeVar, Union, get_args, get_origin, get_type_hints

from typing_extensions import TypedDict

from devserver.model import facts
from devserver.model.lifecycle import Action, Phase, Thread
from devserver.model.plan import StateMove
from devserver.model.wire_form import ABOUT, LINES, told_fields

T = TypeVar("T")


class Told(Generic[T]):
    """The form of a fact (`Told[Held]`): its keys are the fields that are told."""

    def __class_getitem__(cls, fact: Any) -> Any:
        return _form_of(fact)


@functools.cache
def _form_of(fact: Any) -> Any:
    return _OTHER[fact] if fact in _OTHER else _made(f"{fact.__name__}Form", fact.__doc__, _keys_of(fact))


def _made(name: str, words: str | None, keys: Mapping[str, Any]) -> Any:
    form: Any = TypedDict(name, dict(keys))  # type: ignore[misc]
    form.__doc__ = words
    return form


def _keys_of(fact: Any) -> dict[str, Any]:
    """Return the keys of a fact, each with the type of its value."""
    types = get_type_hints(fact)
    found = {name: _in_json(types[name]) for name in told_fields(fact) if name != "where"}
    return found | ({"file": str | None, "line": int | None} if "where" in types else {})


def _in_json(kind: Any) -> Any:
    """Return the type that a value has in JSON: a tuple is a list, a fact has its form."""
    if hasattr(kind, "__dataclass_fields__"):
        return _form_of(kind)
    if hasattr(kind, "_fields"):
        return _made(f"{kind.__name__}Form", kind.__doc__, {n: _in_json(t) for n, t in get_type_hints(kind).items()})
    inner = tuple(each if each is Ellipsis else _in_json(each) for each in get_args(kind))
    match get_origin(kind):
        case typing.Union | types.UnionType:
            return Union[inner]  # noqa: UP007
        case collections.abc.Mapping:
            return dict.__class_getitem__(inner)
        case builtins.tuple if Ellipsis in inner:
            return list.__class_getitem__(inner[0])
    return kind


class ErrorForm(TypedDict):
    """An error with its place in the author's own code; the place is null where none is known."""

    kind: str
    message: str
    file: str | None
    line: int | None
    column: int | None
    hint: str | None


class AgentsForm(TypedDict):
    """Agents that are connected now, and connections that ended meanwhile."""

    connected: int | None
    dropped: int


class OutcomeForm(TypedDict):
    """What became of one step. `generation` is what runs now (0: nothing), `phase` the last one that was reached.

    A problem of a network.yaml has this form too: it is about no mod, so `mod_id`, `phase` and `generation` are null.
    """

    action: Action
    mod_id: str | None
    mod_path: str | None
    status: facts.Status
    phase: Phase | None
    generation: int | None
    duration_ms: float
    reason: str
    error: ErrorForm | None
    note: str
    agents: AgentsForm
    held: Told[facts.Held]
    way: facts.Way
    stale_keys: list[str]
    phases: list[tuple[Phase, float, Thread]]
    holders: list[Told[facts.Holder]]
    host: str
    """The host that carried it out; empty where that is the one that tells it."""


class StepForm(TypedDict):
    """One action on one mod, and its reason; in `holds`, why it waits or was refused."""

    action: Action
    mod_id: str
    reason: str
    way: facts.Way
    came_with: NotRequired[str]
    """The mod (id) that needs it, if it is loaded, or was, for that alone."""
    cascade: NotRequired[list[str]]
    """The mods (ids) that have to be unloaded first, in that order."""
    host: NotRequired[str]
    """The host that carries it out, where that is another one."""


class RestartForm(TypedDict):
    """A planned restart in place. `waits`: why it has to wait, or empty; `ends`: processes."""

    reasons: list[str]
    waits: str
    mods: list[Told[StateMove]]
    ends: list[str]


class ConnectionsForm(TypedDict):
    """Connections that a restart kept and that it closed."""

    kept: int
    closed: int


class RestartedForm(TypedDict):
    """A restart in place that was done. `pause_ms`: how long agents waited; `failed`: mods that did not come up."""

    url: str
    reasons: list[str]
    pause_ms: float
    duration_ms: float
    connections: ConnectionsForm
    agents: AgentsForm
    mods: list[Told[StateMove]]
    ended: list[str]
    failed: list[str]


class NotAppliedForm(TypedDict):
    """A setting that differs from what runs and needs a restart."""

    setting: str
    running: str | int | float | bool | None
    wanted: str | int | float | bool | None


class PlanForm(TypedDict):
    """A plan with its reasons."""

    cause: str
    steps: list[StepForm]
    holds: list[StepForm]
    not_applied: list[NotAppliedForm]
    restart: RestartForm | None


class DoneForm(PlanForm):
    """A plan after it was carried out."""

    success: bool
    outcomes: list[OutcomeForm]
    duration_ms: float
    agents: AgentsForm
    held: Told[facts.Held]
    then: NotRequired[DoneForm]
    """What was unloaded afterwards because nothing needs it now."""


class ModForm(TypedDict):
    """One mod that runs."""

    mod_id: str
    mod_path: str
    generation: int


class LineForm(TypedDict):
    """A version beside a mod; `agents`: the known ones that get it; `out`: why it gets nothing."""

    label: str
    gets: str
    share: float
    agents: list[str]
    out: str | None


class ReplayedForm(TypedDict):
    """The pinned events after a save.

    `mods`: those that it reloaded, with their generations; `of`: how many pins there are, of which
    those in `pins` were run; `skipped`: saves in between that were not replayed.
    """

    mods: dict[str, int]
    generation: int
    same: int
    differ: int
    unsteady: int
    cannot: int
    of: int
    skipped: int
    duration_ms: float
    pins: list[Told[facts.PinReplayed]]


class AskForm(TypedDict):
    """A mod that an agent asks a person for; `catalogue`: the list that it is in."""

    number: int
    agent: str
    name: str
    version: str
    catalogue: str
    why: str


class PackageForm(TypedDict("PackageForm", {"from": str | None})):
    """A package that came (`from` is null), went (`to` is null) or has another version."""

    name: str
    to: str | None


class InstalledForm(TypedDict):
    """The network uses another folder of packages, `env`, which is that of `lock`."""

    lock: str
    packages: list[PackageForm]
    env: str
    duration_ms: float


class PlanMadeForm(PlanForm):
    """A plan before it is carried out. `waits`: a person is asked first."""

    waits: bool


_OTHER: Mapping[Any, Any] = {
    facts.AgentsSeen: AgentsForm,
    facts.ErrorFacts: ErrorForm,
    facts.LineSeen: LineForm,
    facts.ModAsked: AskForm,
    facts.Outcome: OutcomeForm,
    facts.PackageMoved: PackageForm,
    facts.PackagesInstalled: InstalledForm,
    facts.PlanMade: PlanMadeForm,
    facts.Replayed: ReplayedForm,
    facts.Restarted: RestartedForm,
}
"""The facts whose forms have other keys than their fields."""


# The lines of `oa-dev run --json`


class NoticeLine(TypedDict):
    """A message for a person that is not an error."""

    type: Literal["notice"]
    time: str
    message: str


class ErrorLine(TypedDict):
    """Why a command could not do what was asked; the last line of every command with `--json`."""

    type: Literal["error"]
    time: str
    error: ErrorForm
    exit_code: int


def _line_of(fact: Any, **first: Any) -> Any:
    form = _form_of(fact)
    return _made(f"{fact.__name__}Line", form.__doc__, {**first, **get_type_hints(form, include_extras=True)})


Line: Any = Union[
    *(_line_of(fact, type=Literal[kind], time=str) for fact, kind in LINES.items()),
    *(
        _line_of(fact, type=Literal["notice"], time=str, message=str, about=Literal[about])
        for fact, about in ABOUT.items()
    ),
    NoticeLine,
    ErrorLine,
]
"""One line of `oa-dev run --json`."""


class LogLine(TypedDict):
    """A log record, or a line that a mod printed, on the log's stream, with the record's fields."""

    type: Literal["log"]
    time: str
    level: str
    who: str
    message: str
    mod: NotRequired[str]
    generation: NotRequired[int]
    number: NotRequired[int]
    event: NotRequired[str]
    agent: NotRequired[str]
    trace: NotRequired[str]
