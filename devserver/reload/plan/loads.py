"""Which mods are loaded and unloaded, in the order of need, and why some of them are not.

Pure, as all of `plan`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace

from devserver.market.requirements import load_order
from devserver.model.config import ModSpec, NetworkConfig
from devserver.model.lifecycle import Action
from devserver.model.names import mod_id_of, module_of
from devserver.model.plan import Group, Hold, LiveMod, Step
from devserver.reload.plan.situation import Situation, needed_paths, required, unreadable
from devserver.sources.graph import Declarations


@dataclass(slots=True)
class Loads:
    """Loads as they are being decided.

    `leaving` are the ids of mods that the same plan unloads before, `brought` the paths of those that it loads or
    reloads before, `taken` whose each id is.
    """

    situation: Situation
    leaving: Collection[str] = ()
    steps: list[Step] = field(default_factory=list)
    holds: list[Hold] = field(default_factory=list)
    brought: set[str] = field(default_factory=set)
    taken: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.taken = {mod.mod_id: mod.mod_path for mod in self.situation.live if mod.mod_id not in self.leaving}

    @property
    def groups(self) -> tuple[Group, ...]:
        """Each load for itself, with the mods that have to come before it."""
        return tuple(Group((step,), self._needs(step)) for step in self.steps)

    def add(self, spec: ModSpec, reason: str, listed: bool) -> None:
        """A load of this mod, or a hold that says why it cannot be loaded as things are."""
        step = Step(Action.LOAD, mod_id_of(spec.path), spec.path, reason, config=spec.config, listed=listed)
        problem = self._problem(step, spec)
        if problem is not None:
            self.holds.append(problem)
        else:
            self.take(step)

    def take(self, step: Step) -> None:
        """Let a load belong to the plan."""
        self.taken[step.mod_id] = step.mod_path
        self.brought.add(module_of(step.mod_path))
        self.steps.append(step)

    def _needs(self, step: Step) -> tuple[str, ...]:
        requires = _declared(step.mod_path, self.situation).requires
        return tuple(path for path in needed_paths(requires) if path in self.brought)

    def _problem(self, step: Step, spec: ModSpec) -> Hold | None:
        hold = Hold(Action.LOAD, step.mod_id, "", step.mod_path)
        owner = self.taken.get(step.mod_id)
        if owner is not None:
            rest = "comes before it" if module_of(owner) in self.brought else "keeps running; unload that first"
            return replace(hold, reason=f"the id {step.mod_id} belongs to {owner}, which {rest}")
        absent = self.situation.absent.get(module_of(step.mod_path))
        if absent is not None:
            return replace(hold, reason=absent, line=spec.line)
        requires = _declared(step.mod_path, self.situation).requires
        wrong = unreadable(requires)
        if wrong is not None:
            return replace(hold, reason=wrong)
        missing = unmet(requires, self.situation, self.brought, self.leaving)
        return replace(hold, reason=next(iter(missing.values())), needs=tuple(missing)) if missing else None


def unmet(
    requires: Iterable[str], situation: Situation, brought: Collection[str], leaving: Collection[str] = ()
) -> dict[str, str]:
    """The mods (by path) that are needed and missing once a plan has brought and unloaded these, each with why."""
    found = {}
    for needed in required(requires):
        version = version_after(module_of(needed.path), situation, brought, leaving)
        if version is None:
            found[module_of(needed.path)] = f"it needs {needed}, which is not loaded"
        elif not needed.allows(version):
            found[module_of(needed.path)] = f"it needs {needed}, and {needed.path} is version {version}"
    return found


def version_after(
    path: str, situation: Situation, brought: Collection[str], leaving: Collection[str] = ()
) -> str | None:
    """The version of a mod once a plan has brought and unloaded these; None where it does not run then."""
    if path in brought and path in situation.declared:
        return situation.declared[path].version
    live = situation.at(path)
    if live is not None and live.mod_id not in leaving:
        return live.version
    return Declarations().version if path in brought else None


def loads(
    wanted: Iterable[ModSpec], situation: Situation, reason: str = "", *, listed: bool, leaving: Collection[str] = ()
) -> Loads:
    """Loads in the order of need, and a hold for each mod that cannot be loaded as things are."""
    specs = {module_of(spec.path): spec for spec in wanted}
    needs = {path: needed_paths(_declared(path, situation).requires) for path in specs}
    order, cycles = load_order(needs)
    found = Loads(situation, leaving)
    for cycle in cycles:
        problem = f"it needs itself: {' → '.join((*cycle, cycle[0]))}"
        found.holds += [Hold(Action.LOAD, mod_id_of(path), problem, specs[path].path) for path in cycle]
    circular = {path for cycle in cycles for path in cycle}
    for path in order:
        if path not in circular:
            found.add(specs[path], reason or _why_wanted(specs[path], situation), listed)
    return found


def _why_wanted(spec: ModSpec, situation: Situation) -> str:
    before = situation.listed(spec.path)
    if before is None:
        return "new in network.yaml"
    return "listed" if before.enabled else "enabled"


def _declared(path: str, situation: Situation) -> Declarations:
    return situation.declared.get(module_of(path), Declarations())


# Unloads


def gone(config: NetworkConfig, situation: Situation) -> tuple[list[Step], list[Hold]]:
    """Unloads of what network.yaml lists no more, dependents first. What others need that stay keeps running, and that
    is said."""
    listed = {module_of(spec.path): spec for spec in config.mods}
    leaving = [mod for mod in situation.live if mod.listed and not _enabled(listed.get(module_of(mod.mod_path)))]
    left = {mod.mod_id for mod in leaving}
    staying = [mod for mod in situation.live if mod.mod_id not in left]
    steps, holds = [], []
    for mod in _dependents_first(leaving):
        needed = needed_by(mod, staying)
        if needed:
            reason = f"{', '.join(needed)} needs it; v{mod.generation} keeps running"
            holds.append(Hold(Action.UNLOAD, mod.mod_id, reason))
            staying.append(mod)
        else:
            steps.append(unload_step(mod, "disabled" if module_of(mod.mod_path) in listed else "no longer listed"))
    return steps, holds


def _enabled(spec: ModSpec | None) -> bool:
    return spec is not None and spec.enabled


def _dependents_first(mods: Iterable[LiveMod]) -> Iterable[LiveMod]:
    by_path: Mapping[str, LiveMod] = {module_of(mod.mod_path): mod for mod in mods}
    order, _ = load_order({path: needed_paths(mod.requires) for path, mod in by_path.items()})
    return [by_path[path] for path in reversed(order)]


def unload_step(mod: LiveMod, reason: str) -> Step:
    """An unload."""
    return Step(Action.UNLOAD, mod.mod_id, mod.mod_path, reason, config=mod.config, listed=mod.listed)


def needed_by(mod: LiveMod, others: Iterable[LiveMod]) -> list[str]:
    """The ids of those of `others` that require a mod."""
    path = module_of(mod.mod_path)
    return [other.mod_id for other in others if other.requires and path in needed_paths(other.requires)]
