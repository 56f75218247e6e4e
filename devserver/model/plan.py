"""A plan: which mods change, and why. `reload/plan` writes it, `reload/apply` carries it out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass, field, replace
from pathlib import Path
from typing import Any

from devserver.model.change import Keep, Sources
from devserver.model.config import Manifest, ModSpec
from devserver.model.lifecycle import Action, HandOver, Way
from devserver.model.split import Line, main_of

START, RESTART = "start", "restart in place"
"""The causes of the plans that bring the mods of a run, and that bring them back."""


@dataclass(frozen=True, slots=True)
class Step:
    """One action on one mod. `config`: that of afterwards; `modules`: what is executed."""

    action: Action
    mod_id: str
    mod_path: str
    reason: str
    _: KW_ONLY
    config: Mapping[str, Any] = field(default_factory=dict)
    modules: tuple[str, ...] = ()
    listed: bool = True
    """Whether network.yaml lists the mod; otherwise it was loaded at run time."""
    way: Way = Way.IN_PLACE
    otherwise: Step | None = None
    """The step to do instead if the mod refuses this one."""
    came_with: str = ""
    """The mod (id) that needs it, if it is loaded for that alone."""
    line: Line | None = None
    """The line of the step as it is afterwards; None if it does not change, and for a mod."""
    code: str = ""
    """The path of the code that it runs afterwards; empty if that does not change."""
    host: str = ""
    """The host that carries it out; nothing for the one that made the plan."""
    leaves: str = ""
    """The host that a mod which moves leaves; nothing for the one that made the plan."""

    @property
    def hosts(self) -> tuple[str, ...]:
        return (self.host,) if self.action is not Action.MOVE else (self.leaves, self.host)


@dataclass(frozen=True, slots=True)
class Hold:
    """A step that does not happen now, and why it waits or was refused. `mod_path` if it is not the
    running mod's: another mod may have its id."""

    action: Action
    mod_id: str
    reason: str
    mod_path: str = ""
    needs: tuple[str, ...] = ()
    """The mods (plain paths) that it waits for: it is tried again when one is loaded."""
    named_at: tuple[int, int | None] | None = None
    """Line and column of network.yaml that name a mod which does not exist."""
    packages: tuple[str, ...] = ()
    """The Python packages that it waits for."""
    cascade: tuple[str, ...] = ()
    """The mods (ids) that have to be unloaded first, in that order."""
    repeats: tuple[Path, ...] = ()
    """The files that change after each such step."""


@dataclass(frozen=True, slots=True)
class Group:
    """Steps that succeed or fail together, because they share changed modules or need each other.

    `needs`: the mods (plain paths) that earlier groups of the plan have to bring, each with its
    requirement (`mods.wiki>=1`): the group is skipped if one of them does not load.
    """

    steps: tuple[Step, ...]
    needs: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NotApplied:
    """A setting that differs from what runs and needs a restart."""

    setting: str
    running: Any
    wanted: Any

    @property
    def change(self) -> str:
        """The setting with both values, as network.yaml has them."""
        return f"{self.setting} {_in_yaml(self.running)} → {_in_yaml(self.wanted)}"

    def __str__(self) -> str:
        return f"{self.change}: needs a restart"


def _in_yaml(value: Any) -> str:
    return "unset" if value in (None, "") else str(value).lower() if isinstance(value, bool) else str(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class StateMove:
    """What a restart does with the state of a mod: the keys that move, the lost ones, why."""

    mod_id: str
    mod_path: str
    generation: int
    moves: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Restart:
    """A restart in place: reasons, states that move, processes that end. `waits`: why not now."""

    reasons: tuple[str, ...]
    moves: tuple[StateMove, ...] = ()
    ends: tuple[str, ...] = ()
    waits: str = ""

    @property
    def lost(self) -> tuple[str, ...]:
        """What is lost of all mods, in words."""
        return tuple(f"{each.mod_id}: {what}" for each in self.moves for what in each.lost)


@dataclass(frozen=True, slots=True)
class Plan:
    """The whole decision: groups in order of execution, holds, settings that are not applied.

    `order`: the order of mods afterwards, if it changes; `changed`: the sources that caused the
    plan.
    """

    cause: str
    groups: tuple[Group, ...] = ()
    holds: tuple[Hold, ...] = ()
    not_applied: tuple[NotApplied, ...] = ()
    order: tuple[str, ...] | None = None
    changed: Sources = field(default_factory=dict)
    texts: Mapping[Path, bytes] = field(default_factory=dict, compare=False, repr=False)
    """The bytes that were read for this decision: these are executed."""
    former: Mapping[Path, bytes] = field(default_factory=dict, compare=False, repr=False)
    """The sources that ran before a restart in place; executed where those on disk fail."""
    needs_restart: tuple[str, ...] = ()
    """Why the change cannot be applied in place, so that a restart comes after this plan."""
    undo: bool = False
    """Whether this goes back to the code and the state before the last reload, or undo."""
    redo: bool = False
    """Whether it takes an undo back."""
    promotes: str = ""
    """The line (id) that becomes its mod."""
    keep: Keep = ""
    """Whose state stays if a line with a state of its own ends."""
    stale: bool = False
    """Whether nothing is done because the caller had seen another generation."""
    restart: Restart | None = None
    """The restart in place that brings this plan; the next image does its steps."""

    @property
    def steps(self) -> tuple[Step, ...]:
        """All steps, in the order they are carried out."""
        return tuple(step for group in self.groups for step in group.steps)

    def only(self, wanted: Callable[[Step], bool]) -> Plan:
        groups = (replace(each, steps=tuple(filter(wanted, each.steps))) for each in self.groups)
        return replace(self, groups=tuple(each for each in groups if each.steps))

    @property
    def empty(self) -> bool:
        """Whether there is nothing to do and nothing to tell."""
        return not (self.groups or self.holds or self.not_applied or self.restart)


@dataclass(frozen=True, slots=True)
class LiveMod:
    """What the plan needs to know of a mod that runs."""

    mod_id: str
    mod_path: str
    generation: int
    entry: str
    _: KW_ONLY
    config: Mapping[str, Any] = field(default_factory=dict)
    listed: bool = True
    requires: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    version: str = "0"
    came_with: str = ""
    """The mod (id) that needed it, if it was loaded for that alone."""
    takes_config: bool = False
    """Whether the mod takes a changed configuration in place (`update_config`)."""
    restarts: bool = False
    """Whether the mod asks for a restart instead of a reload (`reload_mode = "restart"`)."""
    reads: Sources = field(default_factory=dict)
    """Data files that the mod read while it was initialised."""
    file: Path | None = None
    """Its source, as it was loaded: `text`; and the files beside it."""
    text: bytes = field(default=b"", compare=False, repr=False)
    manifest: Manifest | None = field(default=None, compare=False, repr=False)
    line: Line | None = None
    """The line that it is; None for a mod."""
    code: str = ""
    """The path of its code if that is another mod's."""
    hand_over: HandOver = HandOver.FRESH
    is_bridged: bool = False
    """Whether it is a mod of openagents."""
    reloadable: bool = True
    captures: bool = False
    """Whether it hands its state over itself (`capture_state`)."""
    handled: int = 0
    """The number of events that it has handled."""
    out: str = ""
    """Why it gets no more events; empty if it does."""
    host: str = ""
    """The host that runs it; nothing for the one that makes plans."""

    @property
    def code_path(self) -> str:
        return self.code or main_of(self.mod_path)

    @property
    def is_of_disk(self) -> bool:
        """Whether it is the line that gets the saves of its mod."""
        return self.line is not None and not self.line.code

    @property
    def spec(self) -> ModSpec:
        return ModSpec(self.mod_path, self.config)
