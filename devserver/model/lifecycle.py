"""The life of a mod as tables: phases of a reload with their undos, ways to hand over, limits.

`reload/apply` runs the tables; nothing here has an effect.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Phase(StrEnum):
    """A step of bringing one generation to life. COMMIT is the point of no return."""

    COMPILE = "compile"
    IMPORT = "import"
    CONSTRUCT = "construct"
    GATE = "gate"
    DRAIN = "drain"
    HAND_OVER = "hand over"
    INITIALIZE = "initialize"
    COMMIT = "commit"
    OPEN = "open"
    CLOSE = "close"


class Action(StrEnum):
    """What a step of a plan does to one mod."""

    LOAD = "load"
    UNLOAD = "unload"
    RELOAD = "reload"
    RECONFIGURE = "reconfigure"
    REORDER = "reorder"
    KEEP = "keep"
    """A mod that another one needed stays from now on, whether or not it is needed."""
    SPLIT = "split"
    """The line gets other agents."""
    MOVE = "move"
    """Another host runs the mod. A host sees an unload or a load of it."""


PHASES_OF: dict[Action, tuple[Phase, ...]] = {
    Action.LOAD: (
        Phase.COMPILE,
        Phase.IMPORT,
        Phase.CONSTRUCT,
        Phase.INITIALIZE,
        Phase.COMMIT,
        Phase.OPEN,
    ),
    Action.RELOAD: tuple(Phase),
    Action.UNLOAD: (Phase.GATE, Phase.DRAIN, Phase.COMMIT, Phase.OPEN, Phase.CLOSE),
    Action.RECONFIGURE: (Phase.CONSTRUCT, Phase.COMMIT),
    Action.REORDER: (Phase.COMMIT,),
    Action.KEEP: (Phase.COMMIT,),
    Action.SPLIT: (Phase.COMMIT,),
    Action.MOVE: tuple(Phase),
}
"""The phases of each action. A transaction passes a phase if one of its steps does."""


class Thread(StrEnum):
    """The thread of a phase."""

    BUILD = "build"
    """The build worker: agents are answered and events are handled meanwhile."""
    MODS = "mods"
    """The mods' loop."""


@dataclass(frozen=True, slots=True)
class PhaseRule:
    """One row of the table of phases."""

    phase: Phase
    what: str
    thread: Thread
    holds_traffic: bool
    undone_by: str


PHASE_TABLE: tuple[PhaseRule, ...] = (
    PhaseRule(Phase.COMPILE, "compile all changed files", Thread.BUILD, False, "nothing to undo"),
    PhaseRule(
        Phase.IMPORT, "execute fresh modules, dependencies first", Thread.BUILD, False, "the old modules stand again"
    ),
    PhaseRule(
        Phase.CONSTRUCT, "find the class, make and bind the instance", Thread.MODS, False, "close the new instance"
    ),
    PhaseRule(Phase.GATE, "let new events for the mod wait", Thread.MODS, True, "open the gate"),
    PhaseRule(Phase.DRAIN, "let handlers in flight finish, up to the limit", Thread.MODS, True, "nothing to undo"),
    PhaseRule(
        Phase.HAND_OVER, "give the state of the old instance to the new", Thread.MODS, True, "give the state back"
    ),
    PhaseRule(
        Phase.INITIALIZE,
        "start the new instance",
        Thread.MODS,
        True,
        "close the new instance, restart the old if it was stopped",
    ),
    PhaseRule(Phase.COMMIT, "swap in the registry", Thread.MODS, True, "the point of no return"),
    PhaseRule(Phase.OPEN, "let held events flow, in order", Thread.MODS, False, "errors are told, never sticky"),
    PhaseRule(
        Phase.CLOSE, "end the old generation, name what it left", Thread.MODS, False, "errors are told, never sticky"
    ),
)
"""The order of phases, where each works and what undoes it. `reload/apply` runs this table."""


class Way(StrEnum):
    """The way to bring a change: a swap in place, or a restart that keeps every connection."""

    IN_PLACE = "in_place"
    RESTART = "restart"


class RestartPolicy(StrEnum):
    """Who decides on a restart in place (`dev.restart`). A person's request is carried out."""

    AUTO = "auto"
    """The plan decides; a person, if state of a mod cannot be moved."""
    ASK = "ask"
    """A person decides."""
    NEVER = "never"
    """A person decides, and is not asked: the need for a restart is told, and waits."""


class HandOver(StrEnum):
    """How a reload passes from the old generation to the new (a mod's `reload_mode`)."""

    FRESH = "fresh"
    """A new instance; `self.state` moves along. The old instance stays untouched until commit."""
    EXCLUSIVE = "exclusive"
    """The old instance is shut down before the new one starts: for owners of a port or lock."""
    RESTART = "restart"
    """Never in place: a restart in place of the whole process applies a save of the mod."""
    REBIND = "rebind"
    """The same instance gets the new class: for mods that lose their data in `shutdown()`."""


class ModState(StrEnum):
    """The state of a generation."""

    STARTING = "starting"
    LIVE = "live"
    LINGERING = "lingering"
    CLOSED = "closed"
    AWAY = "away"
    """Of a mod of another host, while that host is not there."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The longest times, in seconds, and the most that may wait: network.yaml's `dev.limits`."""

    drain: float = 0.025
    """The age up to which a handler is waited for; one that has run longer lingers at once."""
    exclusive_drain: float = 5.0
    linger: float = 30.0
    imports: float = 30.0
    """For all imports of one group of a plan; a mod may import a large package."""
    initialize: float = 10.0
    shutdown: float = 5.0
    handler: float = 30.0
    held_events: int = 1000
    outbox_events: int = 1000


@dataclass(frozen=True, slots=True)
class RestartRules:
    """How restarts in place happen. `drain`: seconds that handlers in flight have to finish before they are ended."""

    policy: RestartPolicy = RestartPolicy.AUTO
    drain: float = 10.0
