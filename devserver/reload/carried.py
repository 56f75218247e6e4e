"""A group of steps during its phases, and its result. `apply` carries it out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from devserver.live.generation import Generation
from devserver.live.registry import Slot
from devserver.loader.locate import Located
from devserver.mod import BaseMod
from devserver.model.change import Sources
from devserver.model.config import Manifest
from devserver.model.facts import Held, PhaseTook
from devserver.model.lifecycle import PHASE_TABLE, Action, HandOver, Phase
from devserver.model.plan import Step
from devserver.reload.handover import StateTransfer
from devserver.reload.history import Past

NOTHING_HELD = Held()


@dataclass(slots=True, eq=False)
class Candidate:
    """One step during its phases."""

    step: Step
    slot: Slot | None = None
    old: Generation | None = None
    new: Generation | None = None
    located: Located | None = None
    mod_class: type[BaseMod] | None = None
    config_model: Any = None
    """The pydantic model of its configuration, if it has one."""
    manifest: Manifest | None = None
    transfer: StateTransfer | None = None
    settings: Any = None
    """For a changed configuration: an instance of the model that the mod declares, if any."""
    note: str = ""
    held: Held = NOTHING_HELD
    started: bool = False
    way: HandOver = HandOver.FRESH
    """The way of this hand-over, once the new generation is made."""

    @property
    def brings(self) -> bool:
        """Whether the step brings a new generation."""
        return self.step.action in (Action.LOAD, Action.RELOAD)


@dataclass(frozen=True, slots=True)
class Failure:
    """The phase, the mod and the reason of a failed transaction."""

    phase: Phase
    mod_id: str
    error: BaseException


@dataclass(slots=True)
class Carried:
    """The result of a group: the failure or None, what its build depended on, the last phase."""

    candidates: tuple[Candidate, ...]
    failure: Failure | None
    undo_failed: Exception | None
    touched: Sources
    phase: Phase
    duration: float
    past: Past | None = None
    phases: tuple[PhaseTook, ...] = ()


_THREADS = {rule.phase: rule.thread for rule in PHASE_TABLE}


def took(phases: Sequence[tuple[Phase, float]], ended: float) -> tuple[PhaseTook, ...]:
    """Return how long each phase took: until the next one began."""
    ends = [*(began for _, began in phases[1:]), ended][: len(phases)]
    return tuple(
        PhaseTook(phase, round((end - began) * 1000, 3), _THREADS[phase])
        for (phase, began), end in zip(phases, ends, strict=True)
    )
