"""A change becomes a decision: pure functions from a trigger and the situation to a plan with its reasons.

No I/O, no clock, no side effect. Vocabulary: `devserver.model.plan`. What is decided here is carried out in `apply`.

    FilesChanged    reload the mods that were made from a changed source, load those whose last attempt failed on one
    ConfigChanged   the difference between network.yaml and what is live
    ReloadAsked     reload these mods, or all
    LoadAsked       load one mod
    UnloadAsked     unload one mod
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from devserver.model.change import ConfigChanged, FilesChanged, LoadAsked, ReloadAsked, Trigger, UnloadAsked
from devserver.model.config import ModSpec, NetworkConfig
from devserver.model.lifecycle import Action
from devserver.model.plan import Group, Hold, LiveMod, NotApplied, Plan, Step
from devserver.reload.graph import Declarations, ModuleGraph, load_order, parse_requirement

_RESTART_SETTINGS = ("name", "node_id", "host", "port", "groups", "default_group", "requires_password")


@dataclass(frozen=True, slots=True)
class Situation:
    """All that a decision depends on.

    `config` is what the process runs with. `stale` are the loaded modules one of whose sources differs on disk, each
    with that source, also those that an earlier plan has tried in vain; `stale_reads` the same for data files that mods
    read while they were initialised. `retry` are the mods (by path) whose last attempt failed and whose sources have
    changed since; `declared` is what the source of mods that are to be loaded says about their requirements.
    """

    config: NetworkConfig
    live: tuple[LiveMod, ...] = ()
    graph: ModuleGraph = field(default_factory=lambda: ModuleGraph({}))
    stale: Mapping[str, Path] = field(default_factory=dict)
    stale_reads: Mapping[str, Path] = field(default_factory=dict)
    retry: frozenset[str] = frozenset()
    declared: Mapping[str, Declarations] = field(default_factory=dict)
    workspace: Path = Path()

    def find(self, path_or_id: str) -> LiveMod | None:
        """The live mod of that id or path."""
        wanted = plain(path_or_id)
        return next((each for each in self.live if path_or_id == each.mod_id or wanted == plain(each.mod_path)), None)


def make_plan(trigger: Trigger, situation: Situation) -> Plan:
    """Decide what a trigger leads to."""
    match trigger:
        case FilesChanged():
            return _for_files(trigger, situation)
        case ConfigChanged():
            return _for_config(trigger, situation)
        case ReloadAsked():
            return _for_reload(trigger, situation)
        case LoadAsked():
            return _for_load(trigger, situation)
        case UnloadAsked():
            return _for_unload(trigger, situation)


def plain(mod_path: str) -> str:
    """`./name` as the dotted path that it stands for."""
    return f"mods.{mod_path[2:]}" if mod_path.startswith("./") else mod_path


# What each trigger leads to


def _for_files(trigger: FilesChanged, situation: Situation) -> Plan:
    news = {name: path for name, path in situation.stale.items() if path in trigger.changed}
    retried = [mod for mod in situation.live if plain(mod.mod_path) in situation.retry]
    reloads = _reloads(situation, _with_stale(news, retried, situation), {}, trigger.changed)
    wanted = [spec for spec in situation.config.enabled_mods if plain(spec.path) in situation.retry]
    wanted = [spec for spec in wanted if situation.find(spec.path) is None]
    loads, holds = _loads(wanted, situation, "its sources changed since the last attempt", listed=True)
    groups = (*_together(reloads, situation), *(Group((each,)) for each in loads))
    order = _order(situation.config, situation) if loads else None
    return Plan(_shown_cause(trigger, situation), groups, tuple(holds), order=order, changed=trigger.changed)


def _with_stale(news: Mapping[str, Path], mods: Iterable[LiveMod], situation: Situation) -> dict[str, Path]:
    """The changed modules, and whatever else is stale in the mods that this reloads: the disk is the truth."""
    found = dict(news)
    reached = {mod.mod_id: mod for mod in mods}
    while True:
        affected = set(situation.graph.affected(found))
        reached.update((mod.mod_id, mod) for mod in situation.live if mod.entry in affected)
        needed = {name for mod in reached.values() for name in _needs_of(mod, situation)}
        more = {name: path for name, path in situation.stale.items() if name in needed and name not in found}
        if not more:
            return found
        found.update(more)


def _for_config(trigger: ConfigChanged, situation: Situation) -> Plan:
    config = trigger.config
    wanted = {plain(spec.path): spec for spec in config.enabled_mods}
    unloads, holds = _gone(config, situation)
    added = [spec for path, spec in wanted.items() if situation.find(path) is None]
    loads, refused = _loads(added, situation, "", listed=True, freed=[step.mod_id for step in unloads])
    changed = [
        _with_config(mod, wanted[plain(mod.mod_path)]) for mod in situation.live if plain(mod.mod_path) in wanted
    ]
    order = _order(config, situation)
    groups = [Group((step,)) for step in (*unloads, *loads, *filter(None, changed))]
    groups += [Group((step,)) for step in _reorder(order, situation, unloads, loads)]
    return Plan(trigger.cause, tuple(groups), (*holds, *refused), _not_applied(config, situation.config), order)


def _for_reload(trigger: ReloadAsked, situation: Situation) -> Plan:
    asked = trigger.mods or tuple(mod.mod_id for mod in situation.live)
    found = {name: situation.find(name) for name in asked}
    holds = tuple(Hold(Action.RELOAD, name, _not_loaded(name, situation)) for name, mod in found.items() if mod is None)
    mods = [mod for mod in found.values() if mod is not None]
    forced = {mod.mod_id: trigger.cause for mod in mods}
    changed = {name: path for mod in mods for name, path in _code_of(mod, situation).items()}
    steps = _reloads(situation, changed, forced)
    return Plan(trigger.cause, _together(steps, situation), holds)


def _for_load(trigger: LoadAsked, situation: Situation) -> Plan:
    known = situation.find(trigger.path)
    if known is not None:
        reason = f"{known.mod_id} is already loaded; v{known.generation} keeps running"
        return Plan(trigger.cause, holds=(Hold(Action.LOAD, known.mod_id, reason),))
    steps, holds = _loads([ModSpec(trigger.path, trigger.config)], situation, trigger.cause, listed=False)
    return Plan(trigger.cause, tuple(Group((step,)) for step in steps), tuple(holds))


def _for_unload(trigger: UnloadAsked, situation: Situation) -> Plan:
    mod = situation.find(trigger.mod)
    if mod is None:
        return Plan(trigger.cause, holds=(Hold(Action.UNLOAD, trigger.mod, _not_loaded(trigger.mod, situation)),))
    needed = [] if trigger.force else _needed_by(mod, situation.live)
    if needed:
        reason = f"{', '.join(needed)} needs it; {mod.mod_id} v{mod.generation} keeps running (force unloads it)"
        return Plan(trigger.cause, holds=(Hold(Action.UNLOAD, mod.mod_id, reason),))
    return Plan(trigger.cause, (Group((_unload(mod, trigger.cause),)),))


# Reloads: from changed modules to the mods that were made from them


def _reloads(
    situation: Situation, changed: Mapping[str, Path], forced: Mapping[str, str], news: Collection[Path] = ()
) -> list[Step]:
    affected = situation.graph.affected(changed)
    steps = []
    for mod in situation.live:
        modules = _part_of(mod, affected, situation)
        if modules or mod.mod_id in forced or situation.stale_reads.get(mod.mod_id) in news:
            reason = forced.get(mod.mod_id) or _why(mod, changed, situation)
            steps.append(_reload(mod, reason, modules or _entry_of(mod, situation)))
    return steps


def _part_of(mod: LiveMod, affected: Collection[str], situation: Situation) -> tuple[str, ...]:
    """The affected modules that this mod is made from, when its own code has to be executed again."""
    if mod.entry not in affected:
        return ()
    needs = _needs_of(mod, situation)
    return tuple(name for name in affected if name in needs)


def _needs_of(mod: LiveMod, situation: Situation) -> frozenset[str]:
    """The modules that a mod is made from."""
    return situation.graph.closure(mod.entry)


def _entry_of(mod: LiveMod, situation: Situation) -> tuple[str, ...]:
    return (mod.entry,) if mod.entry in situation.graph else ()


def _code_of(mod: LiveMod, situation: Situation) -> dict[str, Path]:
    """What a reload by hand executes anew: the mod's own modules, and of those it needs the ones that changed."""
    package = mod.entry.removesuffix(".mod")
    needs = _needs_of(mod, situation)
    own = [name for name in needs if name == package or name.startswith(f"{package}.") or name in situation.stale]
    return {name: situation.graph[name].path for name in own if name in situation.graph}


def _why(mod: LiveMod, changed: Mapping[str, Path], situation: Situation) -> str:
    if mod.entry not in situation.graph.affected(changed) and mod.mod_id in situation.stale_reads:
        return f"{_shown(situation.stale_reads[mod.mod_id], situation)} is read by {mod.mod_id}"
    chain = situation.graph.why(mod.entry, changed)
    source = _shown(changed[chain[0]], situation) if chain else mod.entry
    return f"{source} changed" if len(chain) < 2 else f"{source} changed, imported by {mod.mod_id}"


def _reload(mod: LiveMod, reason: str, modules: tuple[str, ...]) -> Step:
    return Step(Action.RELOAD, mod.mod_id, mod.mod_path, reason, mod.config, modules, mod.listed)


def _together(steps: Iterable[Step], situation: Situation) -> tuple[Group, ...]:
    """One group for mods that share changed modules or need each other: they succeed or fail as one."""
    requires = {mod.mod_id: _needs(mod.requires) for mod in situation.live}
    groups: list[list[Step]] = []
    for step in steps:
        linked = [group for group in groups if any(_linked(step, each, requires) for each in group)]
        merged = [each for group in linked for each in group]
        groups = [group for group in groups if group not in linked]
        groups.append([*merged, step])
    return tuple(Group(tuple(group)) for group in groups)


def _linked(one: Step, other: Step, requires: Mapping[str, frozenset[str]]) -> bool:
    if not set(one.modules).isdisjoint(other.modules):
        return True
    return plain(other.mod_path) in requires.get(one.mod_id, ()) or plain(one.mod_path) in requires.get(
        other.mod_id, ()
    )


# Loads and unloads


def _loads(
    wanted: Iterable[ModSpec], situation: Situation, reason: str, *, listed: bool, freed: Collection[str] = ()
) -> tuple[list[Step], list[Hold]]:
    """Load steps in the order of need, and a hold for each mod that cannot be loaded as things are."""
    specs = {plain(spec.path): spec for spec in wanted}
    needs = {path: [parse_requirement(each).path for each in _declared(path, situation).requires] for path in specs}
    order, cycles = load_order(needs)
    steps: list[Step] = []
    holds = [Hold(Action.LOAD, _id(path), f"needs itself: {' → '.join(cycle)}") for cycle in cycles for path in cycle]
    taken = {mod.mod_id: mod.mod_path for mod in situation.live if mod.mod_id not in freed}
    for path in order:
        if path not in specs or any(path in cycle for cycle in cycles):
            continue
        step = _load(specs[path], reason or _why_wanted(specs[path], situation), listed)
        problem = _problem(step, taken, steps, situation)
        if problem is not None:
            holds.append(Hold(Action.LOAD, step.mod_id, problem))
            continue
        taken[step.mod_id] = step.mod_path
        steps.append(step)
    return steps, holds


def _problem(step: Step, taken: Mapping[str, str], steps: Collection[Step], situation: Situation) -> str | None:
    """Why a mod cannot be loaded: its id is another mod's, or what it needs is missing or of another version."""
    if step.mod_id in taken:
        return f"the id {step.mod_id} belongs to {taken[step.mod_id]}, which keeps running; unload that first"
    coming = {plain(each.mod_path) for each in steps}
    for text in _declared(plain(step.mod_path), situation).requires:
        needed = parse_requirement(text)
        live = situation.find(needed.path)
        version = live.version if live else _declared(needed.path, situation).version
        if live is None and plain(needed.path) not in coming:
            return f"it needs {text}, which is not loaded"
        if not needed.allows(version):
            return f"it needs {text}, and {needed.path} is version {version}"
    return None


def _gone(config: NetworkConfig, situation: Situation) -> tuple[list[Step], list[Hold]]:
    """Unloads of what network.yaml lists no more. What others need that stay keeps running, and that is said."""
    listed = {plain(spec.path): spec for spec in config.mods}
    leaving = [m for m in situation.live if m.listed and not _enabled(listed.get(plain(m.mod_path)))]
    staying = [mod for mod in situation.live if mod not in leaving]
    steps, holds = [], []
    for mod in reversed(leaving):
        needed = _needed_by(mod, staying)
        if needed:
            holds.append(
                Hold(Action.UNLOAD, mod.mod_id, f"{', '.join(needed)} needs it; v{mod.generation} keeps running")
            )
            staying.append(mod)
        else:
            steps.append(_unload(mod, "disabled" if plain(mod.mod_path) in listed else "no longer listed"))
    return steps, holds


def _enabled(spec: ModSpec | None) -> bool:
    return spec is not None and spec.enabled


def _load(spec: ModSpec, reason: str, listed: bool) -> Step:
    return Step(Action.LOAD, _id(spec.path), spec.path, reason, spec.config, listed=listed)


def _unload(mod: LiveMod, reason: str) -> Step:
    return Step(Action.UNLOAD, mod.mod_id, mod.mod_path, reason, mod.config, listed=mod.listed)


def _why_wanted(spec: ModSpec, situation: Situation) -> str:
    before = next((each for each in situation.config.mods if plain(each.path) == plain(spec.path)), None)
    if before is not None and not before.enabled:
        return "enabled"
    return "listed" if before is not None else "new in network.yaml"


def _needed_by(mod: LiveMod, others: Iterable[LiveMod]) -> list[str]:
    path = plain(mod.mod_path)
    return [other.mod_id for other in others if path in _needs(other.requires)]


def _needs(requires: Iterable[str]) -> frozenset[str]:
    return frozenset(plain(parse_requirement(each).path) for each in requires)


def _declared(path: str, situation: Situation) -> Declarations:
    return situation.declared.get(plain(path), Declarations())


def _not_loaded(name: str, situation: Situation) -> str:
    ids = [mod.mod_id for mod in situation.live]
    close = difflib.get_close_matches(name, ids, n=1)
    hint = f"Did you mean {close[0]!r}?" if close else f"Loaded: {', '.join(ids) or 'none'}."
    return f"no mod {name!r} is loaded. {hint}"


# Configuration and order


def _with_config(mod: LiveMod, spec: ModSpec) -> Step | None:
    if dict(spec.config) == dict(mod.config):
        return None
    reason = ", ".join(_differences("config", mod.config, spec.config))
    if mod.takes_config:
        return Step(Action.RECONFIGURE, mod.mod_id, mod.mod_path, f"{reason}: in place, no reload", spec.config)
    return Step(Action.RELOAD, mod.mod_id, mod.mod_path, reason, spec.config, (mod.entry,), mod.listed)


def _differences(name: str, old: object, new: object) -> list[str]:
    """Each setting that differs, with both values, as in `config.max_pages 50 → 200`."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        keys = dict.fromkeys([*old, *new])
        return [text for key in keys for text in _differences(f"{name}.{key}", old.get(key), new.get(key))]
    return [] if old == new else [f"{name} {_value(old)} → {_value(new)}"]


def _value(value: object) -> str:
    text = "unset" if value is None else str(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _order(config: NetworkConfig, situation: Situation) -> tuple[str, ...]:
    """The order of mods afterwards: as listed, then those that somebody loaded by hand."""
    listed = [_id(spec.path) for spec in config.enabled_mods]
    return (*listed, *(mod.mod_id for mod in situation.live if mod.mod_id not in listed))


def _reorder(order: tuple[str, ...], situation: Situation, unloads: list[Step], loads: list[Step]) -> list[Step]:
    """A step for each mod that stays and is asked at another place among those that stay."""
    leaving = {step.mod_id for step in unloads}
    before = [mod.mod_id for mod in situation.live if mod.mod_id not in leaving]
    after = [mod_id for mod_id in order if mod_id in before]
    moved = _moved(before, after)
    live = {mod.mod_id: mod for mod in situation.live}
    return [
        Step(
            Action.REORDER, each, live[each].mod_path, _place(each, after), live[each].config, listed=live[each].listed
        )
        for each in moved
    ]


def _moved(before: list[str], after: list[str]) -> list[str]:
    """The fewest mods whose moving turns one order into the other."""
    same = difflib.SequenceMatcher(None, before, after, autojunk=False).get_matching_blocks()
    kept = {before[block.a + n] for block in same for n in range(block.size)}
    return [mod_id for mod_id in after if mod_id not in kept]


def _place(mod_id: str, after: list[str]) -> str:
    place = after.index(mod_id)
    return "first" if place == 0 else f"after {after[place - 1]}"


def _not_applied(wanted: NetworkConfig, running: NetworkConfig) -> tuple[NotApplied, ...]:
    changes = ((name, getattr(running, name), getattr(wanted, name)) for name in _RESTART_SETTINGS)
    return tuple(NotApplied(f"network.{name}", _brief(old), _brief(new)) for name, old, new in changes if old != new)


def _brief(value: Any) -> Any:
    return ", ".join(value) if isinstance(value, Mapping) else value


def _shown_cause(trigger: FilesChanged, situation: Situation) -> str:
    paths = [_shown(path, situation) for path in trigger.changed]
    if not paths:
        return trigger.cause
    return paths[0] if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1} more"


def _shown(path: Path, situation: Situation) -> str:
    return str(path.relative_to(situation.workspace)) if path.is_relative_to(situation.workspace) else str(path)


def _id(mod_path: str) -> str:
    return plain(mod_path).rpartition(".")[2]


def without_settings(config: NetworkConfig, running: NetworkConfig) -> NetworkConfig:
    """`config` with the settings that need a restart as they run: what is really in force after it was applied."""
    return replace(config, **{name: getattr(running, name) for name in _RESTART_SETTINGS})
