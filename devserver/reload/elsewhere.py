"""The mods that other hosts run, as plans know them, and what hosts agree on: ports, which `hosts` fills.

A network of one process has none of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from devserver.loader.modules import Reading
from devserver.model.change import FilesChanged, Sources, Trigger, command_of
from devserver.model.facts import ErrorFacts, Outcome, Status
from devserver.model.lifecycle import Action, Phase
from devserver.model.plan import Group, Hold, LiveMod, Plan, Step
from devserver.reload.carried import Candidate
from devserver.reload.history import Past
from devserver.sources.graph import ModuleFacts, ModuleGraph


@dataclass(frozen=True, slots=True)
class Ran:
    """A mod of another host: its modules, and by module the sources that it was made from, as they
    were then. All paths are those of this workspace, where the sources come from."""

    mod: LiveMod
    modules: Mapping[str, ModuleFacts]
    made_from: Mapping[str, Sources]

    @property
    def sources(self) -> Sources:
        """Everything that it was made from."""
        return {**self.mod.reads, **{p: digest for each in self.made_from.values() for p, digest in each.items()}}


@dataclass(frozen=True, slots=True)
class StepEnded:
    """What became of a step on another host, and the sources that the attempt depended on.
    `replaced`: the generation before; `texts`: the sources that it replaced, as they were."""

    step: Step
    outcome: Outcome
    touched: Sources
    replaced: int = 0
    texts: Mapping[Path, Reading] = field(default_factory=dict)


class FailedElsewhere(Exception):
    """A group failed on another host, at this mod. `facts`: the error as people see it."""

    def __init__(self, mod_id: str, facts: ErrorFacts) -> None:
        super().__init__(str(facts))
        self.mod_id, self.facts = mod_id, facts


class Pact(Protocol):
    """One group that several hosts carry out. To be called on the control loop."""

    async def before(self, phase: Phase, candidates: Sequence[Candidate]) -> None:
        """Wait until all may pass: GATE, when everything is built everywhere; COMMIT, when that is
        decided. Raises FailedElsewhere where it ends instead."""

    async def end(self, failure: ErrorFacts | None, mod_id: str) -> Sequence[StepEnded]:
        """Have what other hosts did, after this one has committed or (`failure`, of this mod) undone."""


class Elsewhere(Protocol):
    """The other hosts, as the one that makes plans knows them."""

    here: str
    """The name of this host."""

    @property
    def hosts(self) -> frozenset[str]: ...
    @property
    def taken(self) -> frozenset[str]: ...
    @property
    def mods(self) -> Mapping[str, Ran]: ...

    def pact(self, group: Group, plan: Plan) -> Pact | None:
        """The pact about a group; None where it concerns this host alone."""


def with_elsewhere(graph: ModuleGraph, ran: Iterable[Ran]) -> ModuleGraph:
    """The graph of all hosts. A module that several have loaded imports what it imports on any."""
    found: dict[str, ModuleFacts] = dict(graph)
    for each in ran:
        for name, facts in each.modules.items():
            known = found.get(name)
            imports = facts.imports if known is None else facts.imports | known.imports
            order = facts.order if known is None else known.order
            found[name] = ModuleFacts(name, facts.path, imports, order)
    return ModuleGraph(found)


def stale_elsewhere(ran: Iterable[Ran], now: Sources) -> dict[str, Path]:
    """The modules of other hosts that were made from another source than it is now, each with that source."""
    found: dict[str, Path] = {}
    for each in ran:
        for name, sources in each.made_from.items():
            # Its own source first, as in `LoadedModules.stale`.
            own = each.modules[name].path
            paths = sorted(sources, key=lambda path: path != own)
            path = next((p for p in paths if p in now and now[p] != sources[p]), None)
            if path is not None:
                found[name] = path
    return found


def merged(here: Sequence[LiveMod], ran: Iterable[Ran], order: Sequence[str]) -> tuple[LiveMod, ...]:
    """The mods of all hosts, in the order in which they are asked: as listed, then the others."""
    place = {mod_id: number for number, mod_id in enumerate(order)}
    everything = [*here, *(each.mod for each in ran)]
    return tuple(sorted(everything, key=lambda mod: place.get(mod.mod_id, len(place))))


def past_of_all(past: Past | None, ended: Iterable[StepEnded]) -> Past | None:
    """What a reload on this host and others has replaced, so that it can be undone as one; `past`: here."""
    far = [each for each in ended if (each.outcome.action, each.outcome.status) == (Action.RELOAD, Status.APPLIED)]
    if not far or (past is None and not any(each.texts for each in far)):
        return past
    known = past or Past(mods={}, replaced={}, modules=(), texts={}, states={})
    modules = [*known.modules, *(name for each in far for name in each.step.modules)]
    return replace(
        known,
        mods={**known.mods, **{each.outcome.mod_id: each.outcome.generation for each in far}},
        replaced={**known.replaced, **{each.outcome.mod_id: each.replaced for each in far}},
        modules=tuple(dict.fromkeys(modules)),
        texts={**{path: text for each in far for path, text in each.texts.items()}, **known.texts},
    )


def as_moves(steps: Iterable[Step], outcomes: Sequence[Outcome], here: str) -> list[Outcome]:
    """The outcomes with one for each mod that moved: what the host that it leaves and its new host did is one step."""
    found = list(outcomes)
    for step in steps:
        if step.action is not Action.MOVE:
            continue
        parts = [each for each in found if each.mod_id == step.mod_id]
        if parts:
            found = [each for each in found if each not in parts]
            found.append(_moved(step, parts, here))
    return found


def _moved(step: Step, parts: Sequence[Outcome], here: str) -> Outcome:
    left = next((each for each in parts if each.action is Action.UNLOAD), parts[0])
    came = next((each for each in parts if each.action is Action.LOAD), parts[-1])
    failed = next((each for each in parts if each.error is not None), None)
    words = f"{step.leaves or here} → {step.host or here}"
    if failed is not None:
        return replace(
            failed, action=Action.MOVE, status=Status.ROLLED_BACK, generation=left.generation, host=step.leaves
        )
    note = f"{words} · {came.note}" if came.note else words
    return replace(came, action=Action.MOVE, note=note, held=left.held, reason=step.reason, host="")


def not_the_author(trigger: Trigger, author: str) -> Plan:
    """Return the plan of a host that makes none, because another one is the author: it says where to ask."""
    if isinstance(trigger, FilesChanged):
        return Plan(trigger.cause)  # its files are written where plans are carried out
    typed = command_of(trigger)
    there = f"network.yaml is on {author}: " + (f"type there: {typed}" if typed else "ask there")
    return Plan(trigger.cause, holds=(Hold(Action.RELOAD, "all", there),))


def here_of(step: Step) -> Step | None:
    """Return what a step of a plan over several hosts is on this one; None if it is nothing."""
    if step.action is Action.MOVE:
        if not step.host:
            return replace(step, action=Action.LOAD)
        # It stays listed, and is not one that a person has unloaded.
        return None if step.leaves else replace(step, action=Action.UNLOAD, listed=False)
    return None if step.host else step
