"""Facts: what happened, told to people on a terminal, to programs as JSON lines, to callers.

`ui` decides how they look.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from enum import StrEnum
from typing import Literal

from devserver.model.declared import ErrorFacts as ErrorFacts
from devserver.model.declared import Frame as Frame
from devserver.model.lifecycle import Action, Phase, Thread
from devserver.model.lifecycle import Way as Way
from devserver.model.observation import Differs
from devserver.model.plan import Plan, StateMove


class Status(StrEnum):
    """How a step ended. ROLLED_BACK: the generation that ran before runs on. FAILED: nothing of it runs."""

    APPLIED = "applied"
    ROLLED_BACK = "rolled_back"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Holder:
    """An object that keeps replaced code alive, in people's words, and the line that put it there.

    `what` continues "old code of mods.chat v3 is held by …": `the task "poll"`, `state key
    "queue"`.
    """

    module: str
    generation: int
    what: str
    where: Frame | None = None


@dataclass(frozen=True, slots=True)
class AgentsSeen:
    """Connections of agents now, and connections that ended while the step ran."""

    connected: int = 0
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class Held:
    """Events that waited at a gate, and the longest wait in milliseconds."""

    events: int = 0
    longest_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class PhaseTook:
    """How long a phase took, in milliseconds, and on which thread."""

    phase: Phase
    ms: float
    thread: Thread


@dataclass(frozen=True, slots=True)
class CodeChange:
    """A source before and after a plan, as bytes, or None. `after`: what failed, if it did."""

    path: str
    before: bytes | None = field(repr=False)
    after: bytes | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of one step. `generation`: what runs now (0: nothing); `phase`: the last."""

    action: Action
    mod_id: str
    mod_path: str
    status: Status
    _: KW_ONLY
    phase: Phase
    generation: int
    duration_ms: float
    reason: str = ""
    error: ErrorFacts | None = None
    note: str = ""
    """What happened to state, or which code still runs, in a few words."""
    agents: AgentsSeen = AgentsSeen()
    held: Held = Held()
    way: Way = Way.IN_PLACE
    stale_keys: tuple[str, ...] = ()
    """The keys of the mod's state that still hold objects of replaced code."""
    phases: tuple[PhaseTook, ...] = ()
    """The phases that its group went through, in order; empty if it went through none."""
    holders: tuple[Holder, ...] = ()
    """Other objects that keep replaced code alive, as far as known when the outcome is told."""
    host: str = ""
    """The host that carried it out; nothing for the one that tells it."""


@dataclass(frozen=True, slots=True)
class PlanMade:
    """A plan that is not empty, before it is carried out. `waits`: a person is asked first."""

    plan: Plan
    waits: bool = False


@dataclass(frozen=True, slots=True)
class PlanDone:
    """A plan after it was carried out."""

    plan: Plan
    outcomes: tuple[Outcome, ...]
    duration_ms: float
    agents: AgentsSeen = AgentsSeen()
    held: Held = Held()
    then: PlanDone | None = None
    """What was unloaded afterwards because nothing needs it now; told as a plan of its own."""
    code: tuple[CodeChange, ...] = field(default=(), compare=False, repr=False)
    """The sources that it changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Restarted:
    """The process has replaced itself in place.

    `pause_ms`: how long agents waited; `kept` and `closed`: connections; `ended`: the processes of
    mods that were ended; `failed`: the mods that ran before and did not come up.
    """

    url: str
    reasons: tuple[str, ...]
    pause_ms: float
    duration_ms: float
    kept: int = 0
    closed: int = 0
    agents: AgentsSeen = AgentsSeen()
    mods: tuple[StateMove, ...] = ()
    ended: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    ready: Ready | None = None
    """The fact that a first start would have told."""


@dataclass(frozen=True, slots=True)
class ModRunning:
    """One mod in the list of a running network."""

    mod_id: str
    mod_path: str
    generation: int


@dataclass(frozen=True, slots=True)
class HostsStarted:
    """A host of a network of several: its name, the engine, and how others join; `author`: who reads network.yaml."""

    host: str
    engine: str
    version: str
    started_here: bool
    author: str
    join: str = ""
    mods: tuple[str, ...] = ()
    """The mods that the author runs, as another host knows them."""


@dataclass(frozen=True, slots=True)
class Ready:
    """The sockets are bound and the network answers."""

    url: str
    mods: tuple[ModRunning, ...]
    ready_ms: float
    watching: tuple[str, ...]
    files: int = 0
    disabled: int = 0
    watcher: str = ""
    name: str = ""
    page: str = ""
    """Where a browser shows the dashboard: a link that opens it once, or that lets no one in."""
    exposed: bool = False
    hosts: HostsStarted | None = None
    """Where the network has several hosts."""


@dataclass(frozen=True, slots=True)
class Exposed:
    """Other machines may connect, over a network without encryption.

    `addresses`: where it listens; `urls`: how others reach it; `join_token`: what their agents have
    to show, kept in the file `kept_in`.
    """

    addresses: tuple[str, ...]
    urls: tuple[str, ...]
    join_token: str = field(repr=False)
    kept_in: str


@dataclass(frozen=True, slots=True)
class Ignored:
    """A save that led to no reload, and the rule behind that."""

    path: str
    rule: str


@dataclass(frozen=True, slots=True)
class Notice:
    """A message for a person, not an error of a mod. `calm`: it answers and asks for nothing.

    `mended`: the mods whose saved code had failed and matches what runs again.
    """

    message: str
    calm: bool = False
    mended: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ConfigRefused:
    """A network.yaml that cannot be used; the previous one stays in effect."""

    errors: tuple[ErrorFacts, ...]


@dataclass(frozen=True, slots=True)
class ModError:
    """Code of a running mod raised, or was ended: the handler of an event, a task or a callback."""

    mod_id: str
    event_name: str
    """The event; for a task or callback its description, as in "task EchoMod.tick"."""
    generation: int
    error: ErrorFacts


@dataclass(frozen=True, slots=True)
class LineSeen:
    """A version beside a mod: which events it gets, in words, and the known agents that get it."""

    label: str
    gets: str
    share: float
    agents: tuple[str, ...]
    out: str = ""
    """Why it gets no more events; empty if it does."""


@dataclass(frozen=True, slots=True)
class SplitSeen:
    """The new split of a mod: which agents get which version. No `lines`: one version."""

    mod_id: str
    lines: tuple[LineSeen, ...]
    agents: int
    """The number of known agents."""


@dataclass(frozen=True, slots=True)
class Guarded:
    """A line (`mod_id`) gets no more events, because too many failed. It stays loaded."""

    mod_id: str
    main: str
    generation: int
    reason: str


@dataclass(frozen=True, slots=True)
class Compared:
    """What a shadow (`mod_id`) did so far: the number of events, and how many were the same as its
    mod's, different, raised, not run."""

    mod_id: str
    main: str
    events: int
    same: int
    other: int
    raised: int
    busy: int


@dataclass(frozen=True, slots=True)
class LostEvent:
    """An event that has lost its handler; `seen`: how many are kept, `senders`: theirs."""

    event_name: str
    seen: int = 0
    senders: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ShapeChange:
    """A change in the shape of an event, on which code that reads it may fail.

    `part`: `answer` (what the event is answered with), `sends` (what is in it) or `takes` (what it
    needs). `agents`: lately its senders, or its receivers where it is what mods send.
    """

    event_name: str
    part: str
    path: str
    before: str
    after: str
    agents: tuple[str, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class ContractChanged:
    """What a change of mods means for their users."""

    lost: tuple[LostEvent, ...] = ()
    changed: tuple[ShapeChange, ...] = ()


@dataclass(frozen=True, slots=True)
class Blocked:
    """A mod blocks the mods' thread."""

    mod_id: str
    seconds: float
    where: Frame | None


@dataclass(frozen=True, slots=True)
class LeftBehind:
    """What a closed generation did not clean up, each thing in words."""

    mod_id: str
    generation: int
    things: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AgentSeen:
    """An agent came or went."""

    agent_id: str
    came: bool
    transport: str


class HostState(StrEnum):
    """What became of another host, or of the engine."""

    CAME = "came"
    BACK = "back"
    AWAY = "away"
    LEFT = "left"


@dataclass(frozen=True, slots=True)
class HostSeen:
    """Another host of the network came, is not heard any more, is back, or has left.

    `seconds`: for how long it was not heard, in AWAY and BACK. `mods`: those that it runs. `hold`: seconds that events
    for them wait; 0 where this host takes them over.
    """

    host: str
    state: HostState
    seconds: float = 0.0
    mods: tuple[str, ...] = ()
    hold: float = 0.0


@dataclass(frozen=True, slots=True)
class EngineSeen:
    """The engine between hosts is AWAY, or BACK after `seconds`. `hold`: how long events between hosts wait."""

    state: Literal[HostState.AWAY, HostState.BACK]
    seconds: float = 0.0
    hold: float = 0.0


class ProgramState(StrEnum):
    """The state of an agent's program."""

    STARTED = "started"
    RESTARTED = "restarted"
    ENDED = "ended"
    KEPT = "kept"
    """It was saved and cannot be started: the earlier process keeps running."""
    FAILED = "failed"
    """It cannot be started, and no earlier one runs."""


@dataclass(frozen=True, slots=True)
class AgentProgram:
    """A program of `dev.agents` was started, or ended. `file`: its path from network.yaml; `code`: its exit code, a
    signal as a negative number.
    """

    file: str
    state: ProgramState
    pid: int | None = None
    code: int | None = None
    why: str = ""


class PinResult(StrEnum):
    """The result of a pinned event.

    FIXED: it failed when it was pinned and does not fail now. UNSTEADY: it differs, and has come to
    both results on the same code more than once, so the result says nothing about a save.
    """

    SAME = "same"
    DIFFERS = "differs"
    FIXED = "fixed"
    UNSTEADY = "unsteady"
    CANNOT = "cannot"


@dataclass(frozen=True, slots=True, kw_only=True)
class PinReplayed:
    """A pinned event that was run again. `why`: why it could not run, or what was fixed."""

    name: str
    number: int | None
    event_name: str
    result: PinResult
    differences: tuple[Differs, ...] = ()
    why: str = ""

    @property
    def words(self) -> str:
        """Its name for people: `#57 wiki.page.edit`."""
        return f"#{self.number} {self.event_name}" if self.number is not None else f"{self.name} {self.event_name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """The pinned events were run again. `of`: how many there are; `skipped`: saves between."""

    mods: Mapping[str, int]
    """The mods that the save reloaded, each with the generation that runs."""
    pins: tuple[PinReplayed, ...]
    of: int
    duration_ms: float
    skipped: int = 0

    def count(self, *results: PinResult) -> int:
        """Count the pins with one of these results."""
        return sum(each.result in results for each in self.pins)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModAsked:
    """An agent asks for a mod that a catalogue offers. `catalogue`: the list that it is in."""

    number: int
    agent_id: str
    name: str
    version: str
    catalogue: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModBlocked:
    """A catalogue warns of a mod. `runs`: it ran before the warning, and still runs."""

    mod_id: str
    name: str
    version: str
    reason: str
    catalogue: str
    runs: bool = False


@dataclass(frozen=True, slots=True)
class PackageMoved:
    """A package that came (`before` is None), went (`after` is None) or has another version."""

    name: str
    before: str | None
    after: str | None

    def __str__(self) -> str:
        if self.before is None:
            return f"+ {self.name} {self.after}"
        return f"- {self.name}" if self.after is None else f"{self.name} {self.before} → {self.after}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PackagesInstalled:
    """The network uses another folder of packages. `lock` is its lock, `env` that folder, both in the workspace."""

    lock: str
    env: str
    packages: tuple[PackageMoved, ...]
    duration_ms: float


@dataclass(frozen=True, slots=True)
class Stopped:
    """The server has ended cleanly."""

    events: int = 0
    reloads: int = 0
    failed: int = 0
    mods: int = 0
    agents: int = 0


Fact = (
    Ready
    | Exposed
    | PlanMade
    | PlanDone
    | Restarted
    | Outcome
    | Ignored
    | Notice
    | ConfigRefused
    | ModError
    | SplitSeen
    | Guarded
    | Compared
    | Blocked
    | LeftBehind
    | AgentSeen
    | HostSeen
    | EngineSeen
    | Replayed
    | ContractChanged
    | AgentProgram
    | ModAsked
    | ModBlocked
    | PackagesInstalled
    | Stopped
)
