"""The JSON that programs get, as types: the lines of `run --json`, the answers of commands and of the control API.

`wire_form` makes these values, and mypy holds it to them; `oa-dev schema events` prints them as a JSON Schema. Only
that command imports this file: at run time the values are plain dictionaries, which need no pydantic.

Every `time` is ISO 8601 in UTC with milliseconds, as in `2026-01-31T10:14:02.123Z`; durations are in milliseconds
(`_ms`) or seconds (`_s`). Every error is an `ErrorForm`. A key that is there today stays; keys are added.
"""

from __future__ import annotations

from typing import Any, Literal, NotRequired

from typing_extensions import TypedDict

from devserver.model import forms_of_packages
from devserver.model.facts import PinResult, Status, Way
from devserver.model.lifecycle import Action, Phase, Thread


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


class HeldForm(TypedDict):
    """Events that waited at a gate, and the longest wait."""

    events: int
    longest_ms: float


class HolderForm(TypedDict):
    """What keeps replaced code alive, and where it was put there."""

    module: str
    generation: int
    what: str
    file: str | None
    line: int | None


class OutcomeForm(TypedDict):
    """What became of one step. `generation` is what runs now (0: nothing), `phase` the last one that was reached.

    A problem of a network.yaml has this form too: it is about no mod, so `mod_id`, `phase` and `generation` are null.
    """

    action: Action
    mod_id: str | None
    mod_path: str | None
    status: Status
    phase: Phase | None
    generation: int | None
    duration_ms: float
    reason: str
    error: ErrorForm | None
    note: str
    agents: AgentsForm
    held: HeldForm
    way: Way
    stale_keys: list[str]
    phases: list[tuple[Phase, float, Thread]]
    holders: list[HolderForm]


class StepForm(TypedDict):
    """One action on one mod, and why; in `holds`, why it waits or was refused."""

    action: Action
    mod_id: str
    reason: str
    way: Way
    came_with: NotRequired[str]
    """The mod (id) that needs it, where it is loaded, or was, for that alone."""
    cascade: NotRequired[list[str]]
    """The mods (ids) that would have to be unloaded before, in that order."""


class StateMoveForm(TypedDict):
    """What a restart in place does with the state of one mod: the keys that move, and what is lost, with why."""

    mod_id: str
    mod_path: str
    generation: int
    moves: list[str]
    lost: list[str]


class RestartForm(TypedDict):
    """A planned restart in place. `waits`: why it does not happen now, empty where it does; `ends`: processes."""

    reasons: list[str]
    waits: str
    mods: list[StateMoveForm]
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
    mods: list[StateMoveForm]
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
    held: HeldForm
    then: NotRequired[DoneForm]
    """What was unloaded afterwards because it was no longer needed."""


class ModForm(TypedDict):
    """One mod that runs."""

    mod_id: str
    mod_path: str
    generation: int


# The lines of `oa-dev run --json`


class ReadyLine(TypedDict):
    """The sockets are bound and the network answers."""

    type: Literal["ready"]
    time: str
    url: str
    mods: list[ModForm]
    ready_ms: float
    watching: list[str]
    files: int
    disabled: int
    watcher: str
    name: str
    page: str
    exposed: bool


class PlanLine(PlanForm):
    """A plan before it is carried out. `waits`: a person is asked first."""

    type: Literal["plan"]
    time: str
    waits: bool


class RestartLine(RestartedForm):
    """The process has replaced itself in place."""

    type: Literal["restart"]
    time: str


class OutcomeLine(OutcomeForm):
    """What became of one step of a plan, or a problem of a network.yaml."""

    type: Literal["outcome"]
    time: str


class IgnoredLine(TypedDict):
    """A save that led to no reload, and the rule behind that."""

    type: Literal["ignored"]
    time: str
    path: str
    rule: str


class NoticeLine(TypedDict):
    """Something that a person should know, and no error of a mod."""

    type: Literal["notice"]
    time: str
    message: str


class ExposedLine(NoticeLine):
    """Other machines may come in; their agents show the join token, which is in the file `kept_in`."""

    about: Literal["exposed"]
    addresses: list[str]
    urls: list[str]
    kept_in: str


class BlockedLine(NoticeLine):
    """A mod keeps the thread of all mods from everything else."""

    about: Literal["blocked"]
    mod_id: str
    seconds: float
    file: str | None
    line: int | None


class LeftBehindLine(NoticeLine):
    """What a closed generation did not clean up."""

    about: Literal["left_behind"]
    mod_id: str
    generation: int
    things: list[str]


class AgentProgramLine(NoticeLine):
    """A program of `dev.agents` was started or ended; `code` is its exit code, a signal as a negative number."""

    about: Literal["agent_program"]
    file: str
    state: Literal["started", "restarted", "ended", "kept", "failed"]
    pid: int | None
    code: int | None
    why: str


class ModErrorLine(TypedDict):
    """Code of a running mod raised; `event_name` is the event, or in words the task or callback."""

    type: Literal["mod_error"]
    time: str
    mod_id: str
    event_name: str
    generation: int
    error: ErrorForm


class LineForm(TypedDict):
    """A version beside a mod; `agents` are known now and get it; `out` says why it gets nothing any more."""

    label: str
    gets: str
    share: float
    agents: list[str]
    out: str | None


class SplitLine(TypedDict):
    """Which agents get which version of a mod, after that has changed."""

    type: Literal["split"]
    time: str
    mod_id: str
    lines: list[LineForm]
    agents: int


class GuardLine(TypedDict):
    """A line gets no more events, because too many of them failed. It stays loaded."""

    type: Literal["guard"]
    time: str
    mod_id: str
    main: str
    generation: int
    reason: str


class ComparedLine(TypedDict):
    """What a shadow did so far: the same as its mod, differently, raised, not run because too many waited."""

    type: Literal["compared"]
    time: str
    mod_id: str
    main: str
    events: int
    same: int
    other: int
    raised: int
    busy: int


class AgentLine(TypedDict):
    """An agent came, or went: it left, its socket ended, or it was silent for too long. It may come back."""

    type: Literal["agent"]
    time: str
    agent_id: str
    came: bool
    transport: str


class DifferenceForm(TypedDict):
    """One place at which two runs differ. `kind` is changed, added or removed; null stands for what is not there."""

    path: str
    before: Any
    after: Any
    kind: str


class PinForm(TypedDict):
    """What a pinned event came to; `why` says what kept it from being run, or what was fixed."""

    name: str
    number: int | None
    event_name: str
    result: PinResult
    why: str
    differences: list[DifferenceForm]


class ReplayedForm(TypedDict):
    """The pinned events after a save.

    `mods`: those that it reloaded, with their generations; `of`: how many pins there are, of which those in `pins` had
    their turn; `skipped`: saves in between that were not replayed.
    """

    mods: dict[str, int]
    generation: int
    same: int
    differ: int
    cannot: int
    of: int
    skipped: int
    duration_ms: float
    pins: list[PinForm]


class LostForm(TypedDict):
    """An event without a handler; `seen`: how many are kept, `senders`: up to five who sent them."""

    event_name: str
    seen: int
    senders: list[str]


class ShapeChangeForm(TypedDict):
    """What is another in an event. `part`: answer, sends or takes; `before` and `after` are types, in words."""

    event_name: str
    part: str
    path: str
    before: str
    after: str


class ContractForm(TypedDict):
    """What a change of mods means for those who use them."""

    lost: list[LostForm]
    changed: list[ShapeChangeForm]


class ContractLine(ContractForm):
    """Events have lost their last handler, or are answered with something else."""

    type: Literal["contract"]
    time: str


class ReplayedLine(ReplayedForm):
    """The pinned events were run again on what runs now."""

    type: Literal["replayed"]
    time: str


class AskForm(TypedDict):
    """A mod that an agent asks a person for, by its number; `catalogue` is the list that it is in."""

    number: int
    agent: str
    name: str
    version: str
    catalogue: str
    why: str


class AskedLine(AskForm):
    """An agent asks a person for a mod: `oa-dev asked` shows it."""

    type: Literal["asked"]
    time: str


class ModBlockedLine(TypedDict):
    """A catalogue warns of a mod, which is not loaded any more; `runs` where it still runs."""

    type: Literal["blocked"]
    time: str
    mod_id: str
    name: str
    version: str
    reason: str
    catalogue: str
    runs: bool


class StoppedLine(TypedDict):
    """The server has ended cleanly."""

    type: Literal["stopped"]
    time: str
    events: int
    reloads: int
    failed: int
    mods: int
    agents: int


class ErrorLine(TypedDict):
    """Why a command could not do what was asked; it is the last line, of every command with `--json`."""

    type: Literal["error"]
    time: str
    error: ErrorForm
    exit_code: int


Line = (
    ReadyLine
    | PlanLine
    | OutcomeLine
    | RestartLine
    | IgnoredLine
    | ExposedLine
    | BlockedLine
    | LeftBehindLine
    | AgentProgramLine
    | NoticeLine
    | ModErrorLine
    | SplitLine
    | GuardLine
    | ComparedLine
    | AgentLine
    | ReplayedLine
    | ContractLine
    | AskedLine
    | ModBlockedLine
    | StoppedLine
    | ErrorLine
)
"""One line of `oa-dev run --json`."""


class LogLine(TypedDict):
    """A log record, or what a mod printed, on the stream of the log; it has the record's own fields too."""

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


# What commands print with `--json`; where a command asks the server, that is the control API's answer.


class RaisedForm(ErrorForm):
    """What handlers of a mod raised last, and how often in a row."""

    time: str
    event_name: str
    times: int


class TimedErrorForm(ErrorForm):
    """An error and when it was told."""

    time: str


class TimedOutcomeForm(OutcomeForm):
    """An outcome and when it was told."""

    time: str


class HandlerForm(TypedDict):
    """A handler: the events (patterns) that it hears, and the JSON Schema of its payload, null where it takes any."""

    events: list[str]
    handler: str
    description: str
    payload: dict[str, Any] | None


class CatalogueMod(ModForm):
    """What can be asked of a mod, and the JSON Schema of its configuration, null where it declares no model."""

    handlers: list[HandlerForm]
    config_schema: dict[str, Any] | None


class CatalogueAnswer(TypedDict):
    """The mods that run, each with its handlers: `oa-dev events --list`."""

    mods: list[CatalogueMod]


class OldCodeForm(TypedDict):
    """Whether all replaced code of a mod is known to be gone, and what was found to hold some."""

    proven: bool
    holders: list[HolderForm]


class ModStatus(TypedDict):
    """What is known of one mod. `failed`: why its saved code does not run; `raised`: what its handlers raised."""

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
    newer_on_disk: NotRequired[list[str]]
    """The files on disk that this generation was not made from: undone, or not brought yet."""
    old_code: NotRequired[OldCodeForm]
    handlers: NotRequired[list[HandlerForm]]
    config_schema: NotRequired[dict[str, Any] | None]


class AgentStatus(TypedDict):
    """An agent that is `connected` now, or whose identity is known; and how it came."""

    agent_id: str
    transport: str
    connected: bool


class OwnerForm(TypedDict):
    """One of those for whom the most is kept."""

    owner: str
    bytes: int


class AccountForm(TypedDict):
    """What is kept for agents of one kind, in bytes. `each`: the bound for one owner; `beyond`: what happens then."""

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
    """What is on disk and needs a restart in place, and why that was not done."""

    reasons: list[str]
    waits: str


class StatusAnswer(TypedDict):
    """What runs. `down`: wanted mods that do not run; `waiting`: saved files that are not applied."""

    name: str
    network_id: str
    url: str
    pid: int
    uptime_s: float
    mods: list[ModStatus]
    down: list[ModStatus]
    agents: list[AgentStatus]
    memory: list[AccountForm]
    events: int
    reloads: int
    reload_number: int
    failed: int
    last_error: TracedErrorForm | None
    refused: list[ErrorForm]
    paused: bool
    waiting: list[str]
    restart: RestartNeeded | None


class PlansAnswer(TypedDict):
    """What the files on disk would change, or the problems of network.yaml."""

    plans: list[PlanForm]
    problems: list[ErrorForm]


class SavesAnswer(TypedDict):
    """Whether saves wait, which, and what became of those that were applied."""

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
    """A restart in place that was done, with its number in the row of plans; `success`: every mod came up."""

    time: str
    number: int
    success: bool
    restarted: RestartedForm


class SettleProblem(TypedDict):
    """A reason why what is on disk is not what runs; `error`, `files` and `holders` as far as they belong to it."""

    kind: Literal["refused", "waiting", "failed", "held", "differs", "stale_key", "old_code", "restart", "pending"]
    mod_id: str | None
    why: str
    files: list[str]
    error: ErrorForm | None
    holders: list[HolderForm]


class IgnoredSave(TypedDict):
    """A save that led to no reload, and by which rule."""

    time: str
    path: str
    rule: str


class SettledAnswer(TypedDict):
    """Whether what is on disk is what runs; `settled`: that is decided; `ignored`: saves since the latest plan."""

    settled: bool
    runs: bool
    reload_number: int
    problems: list[SettleProblem]
    ignored: list[IgnoredSave]


class ReadyAnswer(TypedDict):
    """Whether a server answers here; `log` of one that was started in the background."""

    ready: bool
    url: str | None
    pid: int | None
    log: NotRequired[str]


class TraceFrame(TypedDict):
    """One frame of a trace, the outermost first."""

    file: str
    line: int
    function: str
    source: str


class TraceAnswer(TypedDict):
    """The latest error that was not overcome, null without one."""

    error: ErrorForm | None
    trace: str
    frames: list[TraceFrame]


class LevelAnswer(TypedDict):
    """The level from which on log records are shown."""

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
    """A mod that was asked. `said`: passed, answered, raised, given_up, gone or refused; `held_ms`: at its gate."""

    mod_id: str
    generation: int
    held_ms: float
    took_ms: float
    said: str


class EventRow(TypedDict):
    """An event and its answer. A payload that is large is told as its size, one of the system's as null.

    `parent`: the number of the event on whose behalf a handler sent it, or 0; `to` and `full`: up to 20 agents that got
    it, and up to 20 that had no room for it.
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


class SessionForm(TypedDict):
    """A session that has ended: its file from the workspace on, how many events and bytes it has."""

    path: str
    events: int
    bytes: int


class RecordAnswer(TypedDict):
    """The file that a session is recorded into now, and what became of the one that was."""

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
    """Every problem of a network; `unused`: keys without effect; `lost`: those of them with one in OpenAgents."""

    ok: bool
    problems: list[ErrorForm]
    mods: list[CheckedMod]
    unused: list[str]
    lost: list[str]
    notes: list[str]


class DoctorRow(TypedDict):
    """One thing that matters here: where its value comes from, and whether it is as it should be."""

    group: str
    name: str
    value: str
    note: str
    good: bool


class OpenAnswer(TypedDict):
    """The address of the page, and whether a browser was opened."""

    url: str
    opened: bool


class NeedForm(TypedDict):
    """A requirement, where it is written, and what runs of what it names."""

    requirement: str
    file: str | None
    line: int | None
    mod_id: str
    generation: int
    version: str | None
    fits: bool


class ListedForm(TypedDict):
    """Where network.yaml lists a mod."""

    line: int | None
    enabled: bool


class NeederForm(TypedDict):
    """A mod that needs another one, or a package, with the requirement and its place."""

    requirement: str
    file: str | None
    line: int | None
    mod_id: str
    mod_path: str
    runs: bool
    came: str
    listed: ListedForm | None
    optional: NotRequired[bool]
    version: NotRequired[str]


class PlacedForm(TypedDict):
    """A requirement, and where it is written."""

    requirement: str
    file: str | None
    line: int | None


class WhyModAnswer(TypedDict):
    """Why a mod is there (`came`: "listed", "asked", "automatic"), or why it is not (`waits`)."""

    kind: Literal["mod"]
    mod_id: str
    mod_path: str
    generation: int
    version: str
    came: str
    listed: ListedForm | None
    needed_by: list[NeederForm]
    needs: list[NeedForm]
    works_with: list[NeedForm]
    packages: list[PlacedForm]
    goes_with: list[str]
    waits: str


class NeedingPackageForm(TypedDict):
    """A package that needs another one."""

    name: str
    version: str
    requirement: str


class WhyPackageAnswer(TypedDict):
    """What needs and imports a Python package; `imported` is the version of it in this process."""

    kind: Literal["package"]
    name: str
    version: str | None
    imported: str | None
    folder: str | None
    imported_by: list[str]
    needed_by: list[NeederForm]
    needed_by_packages: list[NeedingPackageForm]


class WhyUnknownAnswer(TypedDict):
    """No mod and no package goes by that name."""

    kind: Literal["unknown"]
    name: str
    reason: str


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
    "why": WhyModAnswer | WhyPackageAnswer | WhyUnknownAnswer,
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
    "contract": ContractForm,
    "log": LevelAnswer,
    "stop": StoppingAnswer,
    **forms_of_packages.ANSWERS,
}
"""What each command prints with `--json`; `events` prints one such object a line."""


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a line of `oa-dev run --json`; under `commands`, what each command prints with `--json`."""
    import pydantic

    wanted = {"line": Line, "log": LogLine, **ANSWERS}
    named, defs = pydantic.TypeAdapter.json_schemas(
        [(name, "serialization", pydantic.TypeAdapter(each)) for name, each in wanted.items()]
    )
    schemas = {name: schema for (name, _), schema in named.items()}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A line of oa-dev run --json",
        **schemas.pop("line"),
        "log": schemas.pop("log"),
        "commands": schemas,
        **defs,
    }
