"""The JSON that commands print with `--json`, as types. See `forms`.

Where a command asks the server, this is the answer of the control API. `json_schema` is what `oa-dev schema events`
prints.
"""

from __future__ import annotations

from typing import Any, Literal, NotRequired

from typing_extensions import TypedDict

from devserver.model import forms_of_packages, forms_of_replay
from devserver.model.facts import ContractChanged, Holder
from devserver.model.forms import (
    DoneForm,
    ErrorForm,
    Line,
    LogLine,
    ModForm,
    OutcomeForm,
    PlanForm,
    RestartedForm,
    Told,
)


class TimedErrorForm(ErrorForm):
    """An error and the time when it was told."""

    time: str


class RaisedForm(TimedErrorForm):
    """The last error of a mod's handlers, and how often in a row."""

    event_name: str
    times: int


class TimedOutcomeForm(OutcomeForm):
    """An outcome and the time when it was told."""

    time: str


class HandlerForm(TypedDict):
    """A handler: the events that it hears, and its payload's JSON Schema or null."""

    events: list[str]
    handler: str
    description: str
    payload: dict[str, Any] | None


class CatalogueMod(ModForm):
    """The events that a mod answers, and its configuration's JSON Schema, null without one."""

    handlers: list[HandlerForm]
    config_schema: dict[str, Any] | None


class CatalogueAnswer(TypedDict):
    """The mods that run, each with its handlers: `oa-dev events --list`."""

    mods: list[CatalogueMod]


class OldCodeForm(TypedDict):
    """Whether all replaced code of a mod is known to be gone, and the objects that hold some."""

    proven: bool
    holders: list[Told[Holder]]


class ModStatus(TypedDict):
    """The state of one mod. `failed`: why its saved code does not run; `raised`: errors."""

    mod_id: str
    mod_path: str
    generation: int
    state: str
    loaded_at: str | None
    description: str
    in_flight: int
    handled: int
    errors: int
    held_now: int
    outcome: TimedOutcomeForm | None
    failed: TimedErrorForm | None
    raised: RaisedForm | None
    version: NotRequired[str]
    """As its class or its manifest says."""
    config: NotRequired[dict[str, Any]]
    """As network.yaml or who loaded it says."""
    listed: NotRequired[bool]
    """Whether network.yaml lists it."""
    last_error: NotRequired[str | None]
    """In words, why the last attempt on it failed."""
    lines: NotRequired[list[str]]
    """Of a mod that has versions beside it: their ids. The keys below are of a mod that has some, or of one of them."""
    label: NotRequired[str | None]
    line_of: NotRequired[str]
    line_state: NotRequired[str]
    code: NotRequired[str | None]
    gets: NotRequired[str]
    """Which events it gets, in words."""
    out: NotRequired[str | None]
    """Why it gets no more events."""
    share: NotRequired[float]
    shadow: NotRequired[bool]
    agents: NotRequired[int]
    events: NotRequired[int]
    failed_events: NotRequired[int]
    p50_ms: NotRequired[float | None]
    p99_ms: NotRequired[float | None]
    host: NotRequired[str]
    """The other host that runs it."""
    file: NotRequired[str | None]
    """The file that its class is in."""
    newer_on_disk: NotRequired[list[str]]
    """The files on disk that this generation was not made from: undone, or not applied yet."""
    old_code: NotRequired[OldCodeForm]
    handlers: NotRequired[list[HandlerForm]]
    config_schema: NotRequired[dict[str, Any] | None]


class AgentStatus(TypedDict):
    """An agent that is `connected` now, or whose identity is known; and how it connected."""

    agent_id: str
    transport: str
    connected: bool
    host: NotRequired[str]
    """The other host that it is at; its own host knows whether it is connected."""


class EngineForm(TypedDict):
    """The engine between hosts. `asks` are on their way, `held` wait, `unknown` ended without a reply."""

    url: str
    version: str
    connected: bool
    started_here: bool
    pid: int | None
    asks: int
    held: int
    unknown: int


class HostedMod(TypedDict):
    """A mod of a host; generation 0 if its host has not told it."""

    mod_id: str
    generation: int


class HostRow(TypedDict):
    """A host. `away_ms`: a round trip to it; `waiting`: deliveries that are not taken."""

    host: str
    here: bool
    state: Literal["here", "there", "away"]
    author: bool
    away_ms: float | None
    silent_s: float
    mods: list[HostedMod]
    agents: int
    connected: int
    up_s: float | None
    url: str
    waiting: int


class HostsAnswer(TypedDict):
    """The hosts of a network, and the engine between them."""

    network: str
    engine: EngineForm
    hosts: list[HostRow]


class MovedHeld(TypedDict):
    """How many events waited while a mod moved, and the longest wait."""

    events: int
    longest_ms: float


class MoveAnswer(TypedDict):
    """What came of a move to another host. `note`: which hosts and what became of the state, or why
    it did not move. `held`: the events that waited meanwhile."""

    success: bool
    mod_id: str
    to: str
    note: str
    held: MovedHeld | None


class OwnerForm(TypedDict):
    """One of the owners for whom the most is kept."""

    owner: str
    bytes: int


class AccountForm(TypedDict):
    """What is kept for agents of a kind, in bytes. `each`: one owner's bound; `beyond`: at it."""

    name: str
    keeps: str
    bytes: int
    most: int
    each: int
    refused: int
    beyond: str
    owners: list[OwnerForm]


class TracedErrorForm(ErrorForm):
    """An error with its whole trace."""

    trace: str


class RestartNeeded(TypedDict):
    """A change on disk that needs a restart in place, and why that was not done."""

    reasons: list[str]
    waits: str


class EditorLink(TypedDict):
    """How a browser opens a file in the chosen editor: a pattern, and the folder of the paths."""

    pattern: str
    root: str


class StatusAnswer(TypedDict):
    """The running network. `down`: wanted mods that do not run; `waiting`: files not applied."""

    name: str
    network_id: str
    url: str
    pid: int
    uptime_s: float
    mods: list[ModStatus]
    down: list[ModStatus]
    agents: list[AgentStatus]
    memory: NotRequired[list[AccountForm]]
    """What is kept for agents; left out for coding agents (MCP)."""
    events: int
    reloads: int
    reload_number: int
    failed: int
    last_error: TracedErrorForm | None
    refused: list[ErrorForm]
    paused: bool
    waiting: list[str]
    restart: RestartNeeded | None
    lingering: dict[str, list[int]]
    """By mod the replaced generations whose handlers still run."""
    editor_link: EditorLink | None
    hosts: HostsAnswer | None


class PlansAnswer(TypedDict):
    """What the files on disk would change, or the problems of network.yaml."""

    plans: list[PlanForm]
    problems: list[ErrorForm]


class SavesAnswer(TypedDict):
    """Whether saves are held, which ones, and the result of those that were applied."""

    paused: bool
    waiting: list[str]
    done: list[DoneForm]


class ReloadRow(DoneForm):
    """A plan that was carried out, with its number."""

    time: str
    number: int


class RefusedRow(TypedDict):
    """A network.yaml that was refused, with its number in the row of plans."""

    time: str
    number: int
    success: Literal[False]
    refused: list[ErrorForm]


class RestartedRow(TypedDict):
    """A restart in place, with its number in the row of plans; `success`: every mod started."""

    time: str
    number: int
    success: bool
    restarted: RestartedForm


class SettleProblem(TypedDict):
    """A reason why the code on disk does not run; `error`, `files`, `holders` if it has any."""

    kind: Literal["refused", "waiting", "failed", "held", "differs", "stale_key", "old_code", "restart", "pending"]
    mod_id: str | None
    why: str
    files: list[str]
    error: ErrorForm | None
    holders: list[Told[Holder]]


class IgnoredSave(TypedDict):
    """A save that led to no reload, and the rule behind that."""

    time: str
    path: str
    rule: str


class SettledAnswer(TypedDict):
    """Whether the code on disk runs; `settled`: it is decided; `ignored`: saves since the plan."""

    settled: bool
    runs: bool
    reload_number: int
    problems: list[SettleProblem]
    ignored: list[IgnoredSave]


class ReadyAnswer(TypedDict):
    """Whether a server answers here; `log`: its log, if it was started in the background;
    `already`: it ran before `run --detach`."""

    ready: bool
    url: str | None
    pid: int | None
    log: NotRequired[str]
    already: NotRequired[bool]


class TraceFrame(TypedDict):
    """One frame of a trace, the outermost first."""

    file: str
    line: int
    function: str
    source: str


class TraceAnswer(TypedDict):
    """The latest error that still stands, or null."""

    error: ErrorForm | None
    trace: str
    frames: list[TraceFrame]


class LevelAnswer(TypedDict):
    """The level from which log records are shown."""

    level: str


class StoppingAnswer(TypedDict):
    """The server is about to end."""

    stopping: Literal[True]


class WrittenAnswer(TypedDict):
    """The files that were written into a folder."""

    folder: str
    files: list[str]


class NoReload(TypedDict):
    """No plan came in time."""

    success: Literal[False]
    timeout: Literal[True]
    number: int


class VisitForm(TypedDict):
    """A visit to a mod. `said`: passed, answered, raised, given_up, gone or refused."""

    mod_id: str
    generation: int
    held_ms: float
    took_ms: float
    said: str


class EventRow(TypedDict):
    """An event and its answer. A large payload is told as its size, one of the system's as null.

    `parent`: the number of the event whose handler sent it, or 0; `to` and `full`: up to 20 agents
    that got it, and up to 20 whose outbox had no room.
    """

    number: int
    parent: int
    time: str
    took_ms: float
    way: list[VisitForm]
    to: list[str]
    full: list[str]
    event_id: str
    event_name: str
    source_id: str | None
    destination_id: str | None
    success: bool
    message: str | None
    payload: Any
    host: NotRequired[str]
    """The host that it came in at, or was asked on, where there are several."""


class SessionForm(TypedDict):
    """A session that has ended: its file from the workspace on, its events and bytes."""

    path: str
    events: int
    bytes: int


class RecordAnswer(TypedDict):
    """The file that a session is recorded into, and the session that ended."""

    recording: str | None
    session: SessionForm | None


class SentAnswer(TypedDict):
    """The network's answer to an event."""

    success: bool
    message: str | None
    data: dict[str, Any] | None
    event_id: str
    event_name: str


class CheckedMod(TypedDict):
    """A mod that cannot be loaded."""

    mod_id: str
    error: ErrorForm


class CheckAnswer(TypedDict):
    """Every problem of a network; `unused`: keys without effect; `lost`: those of OpenAgents."""

    ok: bool
    problems: list[ErrorForm]
    mods: list[CheckedMod]
    unused: list[str]
    lost: list[str]
    notes: list[str]


class DoctorRow(TypedDict):
    """One fact about this machine: where its value comes from, and whether it is all right."""

    group: str
    name: str
    value: str
    note: str
    good: bool


class OpenAnswer(TypedDict):
    """The address of the page, and whether a browser was opened."""

    url: str
    opened: bool


class AlsoLine(TypedDict):
    """Another version of a mod: which events it gets, and why it gets none any more."""

    mod_id: str
    gets: str
    out: str | None


class WhichAnswer(TypedDict):
    """The version of a mod that an agent gets (its id), and why."""

    agent: str
    mod_id: str
    connected: bool
    gets: str
    why: str
    lines: list[AlsoLine]


class EventsAnswer(TypedDict):
    """The events after a number (MCP). `next`: the number to ask with; `lost`: events that are kept no more."""

    next: int
    lost: int
    events: list[EventRow]


ANSWERS: dict[str, Any] = {
    "status": StatusAnswer,
    "plan": PlansAnswer,
    "check": CheckAnswer,
    "doctor": list[DoctorRow],
    "reload": DoneForm,
    "load": DoneForm,
    "unload": DoneForm,
    "undo": DoneForm,
    "redo": DoneForm,
    "why": forms_of_packages.WhyModAnswer
    | forms_of_packages.WhyPackageAnswer
    | forms_of_packages.WhyUnknownAnswer
    | WhichAnswer,
    "send": SentAnswer,
    "events": EventRow,
    "events --list": CatalogueAnswer,
    "pause": SavesAnswer,
    "apply": SavesAnswer,
    "resume": SavesAnswer,
    "restart": RestartedRow | DoneForm | NoReload,
    "wait reload": ReloadRow | RefusedRow | RestartedRow | NoReload,
    "wait ready": ReadyAnswer,
    "settle": SettledAnswer,
    "trace": TraceAnswer,
    "run --detach": ReadyAnswer,
    "open": OpenAnswer,
    "new": WrittenAnswer,
    "record": RecordAnswer,
    "contract": Told[ContractChanged],
    "log": LevelAnswer,
    "stop": StoppingAnswer,
    **forms_of_replay.ANSWERS,
    "hosts": HostsAnswer,
    "move": MoveAnswer,
    **forms_of_packages.ANSWERS,
}
"""What each command prints with `--json`; `events` prints one such object a line."""


def schema_of(form: Any) -> dict[str, Any]:
    """Return the JSON Schema of one answer, which is an object."""
    import pydantic  # slow to import, for schemas alone

    return {"type": "object", **pydantic.TypeAdapter(form).json_schema(mode="serialization")}


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of `run --json`'s lines, and under `commands` of each `--json`."""
    import pydantic  # slow to import, for schemas alone

    wanted = {"line": Line, "log line": LogLine, **ANSWERS}
    named, defs = pydantic.TypeAdapter.json_schemas(
        [(name, "serialization", pydantic.TypeAdapter(each)) for name, each in wanted.items()]
    )
    schemas = {name: schema for (name, _), schema in named.items()}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A line of oa-dev run --json",
        **schemas.pop("line"),
        "log": schemas.pop("log line"),
        "commands": schemas,
        **defs,
    }
