"""Which mods are loaded and unloaded, in the order of need, and why others are not.

Pure, as all of `plan`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace

from devserver.market.requirements import Requirement, load_order
from devserver.model.config import ModSpec, NetworkConfig
from devserver.model.lifecycle import Action
from devserver.model.names import mod_id_of, module_of
from devserver.model.plan import Group, Hold, LiveMod, Step
from devserver.model.split import main_of
from devserver.reload.plan.needs import (
    coming,
    declared,
    dependents_first,
    in_a_circle,
    misspelled,
    needed_by,
    step_of,
    unmet,
    unmet_packages,
)
from devserver.reload.plan.situation import Situation, needed_paths, required, unreadable


@dataclass(slots=True)
class Loads:
    """Loads during their decision.

    `leaving`: the ids of mods that the same plan unloads before; `brought`: the paths of those that
    it loads or reloads before; `taken`: the mod of each id; `refused`: why an automatic load is
    impossible.
    """

    situation: Situation
    leaving: Collection[str] = ()
    steps: list[Step] = field(default_factory=list)
    holds: list[Hold] = field(default_factory=list)
    brought: set[str] = field(default_factory=set)
    taken: dict[str, str] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.taken = {mod.mod_id: mod.mod_path for mod in self.situation.live if mod.mod_id not in self.leaving}

    @property
    def groups(self) -> tuple[Group, ...]:
        """Return each load as a group of its own, with the mods that have to come before it."""
        return tuple(Group((step,), self.needs(step)) for step in self.steps)

    def bring(self, steps: Iterable[Step]) -> None:
        """Add loads of these mods and their needs, in order; a hold for each impossible one."""
        wanted = {module_of(step.mod_path): step for step in steps}
        needs = coming(wanted, self.situation, self.leaving, self.brought)
        wanted |= {
            path: step_of(path, by, needed, self.situation)
            for path, (by, needed) in needs.items()
            if path not in wanted
        }
        for path in self._ordered(wanted):
            self.add(wanted[path])

    def _ordered(self, wanted: dict[str, Step]) -> list[str]:
        """Return the order of need; mods that need each other in a circle are held instead."""
        said = {path: declared(path, self.situation) for path in wanted}
        likes = {path: needed_paths(each.optional) for path, each in said.items() if each.optional}
        needs = {path: needed_paths(each.requires) for path, each in said.items()}
        # A line comes after its mod.
        needs |= {path: (main_of(path), *needs[path]) for path, step in wanted.items() if step.line is not None}
        order, cycles = load_order(needs, likes)
        for cycle in cycles:
            why = in_a_circle(cycle, self.situation)
            self.holds += [Hold(Action.LOAD, mod_id_of(p), why, wanted[p].mod_path, needs=cycle) for p in cycle]
        circular = {path for cycle in cycles for path in cycle}
        return [path for path in order if path not in circular]

    def add(self, step: Step) -> None:
        """Add a load, or a hold with the reason, which those that need it tell."""
        problem = self._problem(step)
        if problem is None:
            self.take(step)
        elif step.came_with:
            self.refused[module_of(step.mod_path)] = problem.reason
        else:
            self.holds.append(problem)

    def take(self, step: Step) -> None:
        """Let a load belong to the plan."""
        self.taken[step.mod_id] = step.mod_path
        self.brought.add(module_of(step.mod_path))
        self.steps.append(step)

    def needs(self, step: Step) -> dict[str, str]:
        """Return the mods that the plan has to bring before this step, with requirements."""
        main = main_of(module_of(step.mod_path))
        beside = {main: main} if step.line is not None and main in self.brought else {}
        return beside | brought_needs(module_of(step.mod_path), self.brought, self.situation)

    def _problem(self, step: Step) -> Hold | None:
        path = module_of(step.mod_path)
        hold = Hold(Action.LOAD, step.mod_id, "", step.mod_path)
        owner = self.taken.get(step.mod_id)
        if owner is not None:
            rest = "comes before it" if module_of(owner) in self.brought else "keeps running; unload that first"
            return replace(hold, reason=f"the id {step.mod_id} belongs to {owner}, which {rest}")
        absent = self.situation.absent.get(path)
        if absent is not None:
            spec = self.situation.listed(path)
            return replace(hold, reason=absent, named_at=None if spec is None else spec.named_at)
        if step.line is not None and not self._runs(main := main_of(path)):
            return replace(hold, reason=f"{main}, beside which it runs, is not loaded", needs=(main,))
        wrong = unreadable(declared(path, self.situation).requires)
        if wrong is not None:
            return replace(hold, reason=wrong)
        missing = unmet(path, self.situation, self.brought, self.leaving, self.refused)
        if missing:
            return replace(hold, reason=next(iter(missing.values())), needs=tuple(missing))
        packages = unmet_packages(path, self.situation)
        return replace(hold, reason="; ".join(packages.values()), packages=tuple(packages)) if packages else None

    def _runs(self, path: str) -> bool:
        live = self.situation.at(path)
        return path in self.brought or (live is not None and live.mod_id not in self.leaving)


def brought_needs(path: str, brought: Collection[str], situation: Situation) -> dict[str, str]:
    """Return the needed mods that a plan has to bring: running versions do not suit."""
    needs = required(declared(path, situation).requires)
    names = ((module_of(each.path), each) for each in needs)
    return {name: str(each) for name, each in names if name in brought and not _runs_already(name, each, situation)}


def _runs_already(path: str, needed: Requirement, situation: Situation) -> bool:
    live = situation.at(path)
    return live is not None and needed.allows(live.version)


def loads(
    wanted: Iterable[ModSpec],
    situation: Situation,
    reason: str | Callable[[ModSpec], str],
    *,
    listed: bool,
    leaving: Collection[str] = (),
    brought: Collection[str] = (),
) -> Loads:
    """Return loads of these mods and their needs, in order, and holds for the others."""
    found = Loads(situation, leaving, brought=set(brought))
    found.bring(load_step(each, reason if isinstance(reason, str) else reason(each), listed=listed) for each in wanted)
    return found


def load_step(spec: ModSpec, reason: str, *, listed: bool) -> Step:
    return Step(
        Action.LOAD, mod_id_of(spec.path), spec.path, reason, config=spec.config, listed=listed, line=spec.beside
    )


def why_wanted(spec: ModSpec, situation: Situation) -> str:
    """Return what network.yaml says now of a mod, and did not before."""
    before = situation.listed(spec.path)
    if before is None:
        return "new in network.yaml"
    return "listed" if before.enabled else "enabled"


# Unloads


def gone(config: NetworkConfig, situation: Situation, added: Iterable[ModSpec] = ()) -> tuple[list[Step], list[Hold]]:
    """Return unloads of mods that network.yaml no longer lists, dependents first.

    Mods that remaining ones need keep running, and that is told; mods that `added` ones need, too,
    unless they were disabled.
    """
    listed = {module_of(spec.path): spec for spec in config.specs}
    leaving = [mod for mod in situation.live if mod.listed and not _enabled(listed.get(module_of(mod.mod_path)))]
    if not leaving:
        return [], []
    left = {mod.mod_id for mod in leaving}
    staying = [mod for mod in situation.live if mod.mod_id not in left]
    wanted = _needed_by_added(added, situation, listed)
    steps, holds = [], []
    # Lines before the mods that they run beside.
    for mod in sorted(dependents_first(leaving), key=lambda each: each.line is None):
        path = module_of(mod.mod_path)
        beside = [each.mod_id for each in staying if _is_beside(each, mod)]
        needed = [*needed_by(mod, staying), *([wanted[path]] if path in wanted else []), *beside]
        why = need_it(needed) if needed else ""
        if not needed and path not in listed:
            absent = (each.path for each in added if module_of(each.path) in situation.absent)
            meant = misspelled(mod, absent)
            why = meant and f"network.yaml lists {meant}, which is nowhere, and may mean {mod.mod_path}"
        if why:
            holds.append(Hold(Action.UNLOAD, mod.mod_id, f"{why}; v{mod.generation} keeps running"))
            staying.append(mod)
        else:
            steps.append(unload_step(mod, "disabled" if path in listed else "no longer listed"))
    return steps, holds


def _needed_by_added(added: Iterable[ModSpec], situation: Situation, listed: Collection[str]) -> dict[str, str]:
    """Return the mods (by path) that added ones need and network.yaml lacks, each with these."""
    pending = [module_of(each.path) for each in added]
    found: dict[str, str] = {}
    for path in pending:
        for need in needed_paths(declared(path, situation).requires):
            if need not in found and need not in listed:
                found[need] = mod_id_of(path)
                pending.append(need)
    return found


def need_it(ids: Sequence[str]) -> str:
    """Name the mods that need a mod: `board needs it`, `board, search need it`."""
    return f"{', '.join(ids)} {'needs' if len(ids) == 1 else 'need'} it"


def _is_beside(other: LiveMod, mod: LiveMod) -> bool:
    return other.line is not None and mod.line is None and main_of(other.mod_id) == mod.mod_id


def _enabled(spec: ModSpec | None) -> bool:
    return spec is not None and spec.enabled


def unload_step(mod: LiveMod, reason: str) -> Step:
    path, config = mod.mod_path, mod.config
    return Step(Action.UNLOAD, mod.mod_id, path, reason, config=config, listed=mod.listed, came_with=mod.came_with)
