"""The JSON that programs get, as types: the lines of `run --json`, the answers of commands and of the control API.

`wire_form` makes these values, and mypy holds it to them; `oa-dev schema events` prints them as a JSON Schema. Only
that command imports this file: at run time the values are plain dictionaries, which need no pydantic.

Every `time` is ISO 8601 in UTC with milliseconds, as in `2026-01-31T10:14:02.123Z`; durations are in milliseconds
(`_ms`) or seconds (`_s`). Every error is an `ErrorForm`. A key that is there today stays; keys are added.
"""

from __future__ import annotations

from typing import Any, Literal, NotRequired

from typing_extensions import TypedDict

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
    host: str
    """The host that carried it out; empty where that is the one that tells it."""


class StepForm(TypedDict):
    """One action on one mod, and its reason; in `holds`, why it waits or was refused."""

    action: Action
    mod_id: str
    reason: str
    way: Way
    came_with: NotRequired[str]
    """The mod (id) that needs it, if it is loaded, or was, for that alone."""
    cascade: NotRequired[list[str]]
    """The mods (ids) that have to be unloaded first, in that order."""
    host: NotRequired[str]
    """The host that carries it out, where that is another one."""


class StateMoveForm(TypedDict):
    """What a restart in place does with a mod's state: the keys that move, the lost ones."""

    mod_id: str
    mod_path: str
    generation: int
    moves: list[str]
    lost: list[str]


class RestartForm(TypedDict):
    """A planned restart in place. `waits`: why it has to wait, or empty; `ends`: processes."""

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
    """What was unloaded afterwards because nothing needs it now."""


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
    hosts: HostsForm | None


class HostsForm(TypedDict):
    """This host of a network of several, and the engine between them."""

    host: str
    engine: str
    version: str
    started_here: bool
    author: str
    join: str


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
    """A message for a person that is not an error."""

    type: Literal["notice"]
    time: str
    message: str


class ExposedLine(NoticeLine):
    """Other machines may connect; their agents show the join token of the file `kept_in`."""

    about: Literal["exposed"]
    addresses: list[str]
    urls: list[str]
    kept_in: str


class BlockedLine(NoticeLine):
    """A mod blocks the thread of all mods."""

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


class HostLine(NoticeLine):
    """Another host of the network came, is away, is back after `seconds`, or has left."""

    about: Literal["host"]
    host: str
    state: Literal["came", "back", "away", "left"]
    seconds: float
    mods: list[str]


class EngineLine(NoticeLine):
    """The engine between hosts is away, or back after `seconds`."""

    about: Literal["engine"]
    state: Literal["away", "back"]
    seconds: float


class ModErrorLine(TypedDict):
    """Code of a running mod raised; `event_name` is the event, or in words the task or callback."""

    type: Literal["mod_error"]
    time: str
    mod_id: str
    event_name: str
    generation: int
    error: ErrorForm


class LineForm(TypedDict):
    """A version beside a mod; `agents`: the known ones that get it; `out`: why it gets nothing."""

    label: str
    gets: str
    share: float
    agents: list[str]
    out: str | None


class SplitLine(TypedDict):
    """The new split of a mod: which agents get which version."""

    type: Literal["split"]
    time: str
    mod_id: str
    lines: list[LineForm]
    agents: int


class GuardLine(TypedDict):
    """A line gets no more events, because too many failed. It stays loaded."""

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
    """An agent came or went: it left, its socket ended, or it was silent too long."""

    type: Literal["agent"]
    time: str
    agent_id: str
    came: bool
    transport: str


class DifferenceForm(TypedDict):
    """One place at which two runs differ. `kind`: changed, added or removed; null: not there."""

    path: str
    before: Any
    after: Any
    kind: str


class PinForm(TypedDict):
    """The result of a pinned event; `why`: why it could not run, or what was fixed."""

    name: str
    number: int | None
    event_name: str
    result: PinResult
    why: str
    differences: list[DifferenceForm]


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
    pins: list[PinForm]


class LostForm(TypedDict):
    """An event without a handler; `seen`: how many are kept, `senders`: up to five of them."""

    event_name: str
    seen: int
    senders: list[str]


class ShapeChangeForm(TypedDict):
    """A change in the shape of an event. `part`: answer, sends or takes; `before` and `after`:
    types, in words; `agents`: up to five of its senders, with sends of its receivers."""

    event_name: str
    part: str
    path: str
    before: str
    after: str
    agents: list[str]


class ContractForm(TypedDict):
    """What a change of mods means for their users."""

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
    """A mod that an agent asks a person for; `catalogue`: the list that it is in."""

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
    """A catalogue warns of a mod, which cannot be loaded now; `runs` if it still runs."""

    type: Literal["blocked"]
    time: str
    mod_id: str
    name: str
    version: str
    reason: str
    catalogue: str
    runs: bool


class PackageForm(TypedDict("PackageForm", {"from": str | None})):
    """A package that came (`from` is null), went (`to` is null) or has another version."""

    name: str
    to: str | None


class InstalledLine(TypedDict):
    """The network uses another folder of packages, `env`, which is that of `lock`."""

    type: Literal["installed"]
    time: str
    lock: str
    packages: list[PackageForm]
    env: str
    duration_ms: float


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
    """Why a command could not do what was asked; the last line of every command with `--json`."""

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
    | HostLine
    | EngineLine
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
    | InstalledLine
    | StoppedLine
    | ErrorLine
)
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
