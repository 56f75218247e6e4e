"""The life of a mod as tables: the phases of a reload and what undoes each, the ways to hand over, the limits.

`reload/apply` carries the table out; nothing here does anything.
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
}
"""Which phases each action passes. A transaction passes a phase when one of its steps does."""


@dataclass(frozen=True, slots=True)
class PhaseRule:
    """One row of the phases table."""

    phase: Phase
    what: str
    holds_traffic: bool
    undone_by: str | None


PHASE_TABLE: tuple[PhaseRule, ...] = (
    PhaseRule(Phase.COMPILE, "all changed files compile", False, None),
    PhaseRule(Phase.IMPORT, "fresh modules, dependencies first", False, "put the old sys.modules entries back"),
    PhaseRule(Phase.CONSTRUCT, "class found, instance made, config set, bound", False, "close the new one"),
    PhaseRule(Phase.GATE, "new events for the mod wait", True, "open the gate"),
    PhaseRule(Phase.DRAIN, "handlers in flight finish, up to the drain limit", True, None),
    PhaseRule(Phase.HAND_OVER, "state goes from the old instance to the new", True, "give the state back"),
    PhaseRule(Phase.INITIALIZE, "the new instance starts", True, "close the new one, restart a stopped old one"),
    PhaseRule(Phase.COMMIT, "the registry swaps; no way back", False, None),
    PhaseRule(Phase.OPEN, "held events flow, in order, into what is live now", False, None),
    PhaseRule(Phase.CLOSE, "the old generation ends; what it left behind is named", False, None),
)
"""The order of phases and what undoes each. After COMMIT nothing is undone: errors are reported, never sticky."""


class HandOver(StrEnum):
    """How a reload passes from the old generation to the new (a mod's `reload_mode`)."""

    FRESH = "fresh"
    """A new instance; `self.state` moves along. The old instance stays untouched until commit."""
    EXCLUSIVE = "exclusive"
    """The old instance is shut down before the new one starts: for mods that own a port or a lock."""
    REBIND = "rebind"
    """The same instance gets the new class: for mods that lose their data in `shutdown()`."""


class ModState(StrEnum):
    """Where a generation stands."""

    STARTING = "starting"
    LIVE = "live"
    LINGERING = "lingering"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Limits:
    """How long things may take, in seconds, and how much may wait. `dev.limits` in network.yaml sets them."""

    drain: float = 0.025
    """A handler is waited for until it is this old; one that has run longer lingers at once."""
    exclusive_drain: float = 5.0
    linger: float = 30.0
    imports: float = 30.0
    """For everything that one plan's group imports; a mod may pull in a large package."""
    initialize: float = 10.0
    shutdown: float = 5.0
    handler: float = 30.0
    held_events: int = 1000
    outbox_events: int = 1000
