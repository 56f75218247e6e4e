"""A change becomes a decision: pure functions from a trigger and the situation to a plan with its reasons.

No I/O, no clock, no side effect. Vocabulary: `devserver.model.plan`. What is decided here is carried out in `apply`.

    FilesChanged    reload the mods that were made from a changed source, load those whose last attempt failed on one
    ConfigChanged   the difference between network.yaml and what is live
    LockChanged     reload the mods of which the lock has another version, load those that it has brought
    ReloadAsked     reload these mods, or all; load those that network.yaml lists and that do not run
    LoadAsked       load one mod
    UnloadAsked     unload one mod, perhaps with those that need it
    TidyAsked       unload what nothing needs now
    UndoAsked       go back to the code and state before the last reload of these mods, or the latest reload
    RestartAsked    replace the process in place, where policy and state allow that
    LineAsked       load a version beside a mod
    SplitAsked      let a line get other agents
    PromoteAsked    let a line become its mod
    DropAsked       end a line

- `situation`  what a decision depends on
- `hosts`      which host carries a step out, in a network of several
- `seen`       whether who asks saw what runs now
- `reloads`    from changed modules to the mods that were made from them
- `needs`      what mods need: what comes along, what is missing, what goes
- `loads`      which mods come and go, in the order of need
- `lock`       what another version from outside leads to
- `held`       what cannot be now, and what has been waiting
- `lines`      versions of a mod side by side
- `restart`    whether a restart in place happens, and what it costs
- `settings`   configuration, order, and what needs a restart
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from functools import partial

from devserver.model.change import (
    ConfigChanged,
    DropAsked,
    FilesChanged,
    LineAsked,
    LoadAsked,
    LockChanged,
    PartAsked,
    PromoteAsked,
    ReloadAsked,
    RestartAsked,
    SplitAsked,
    TidyAsked,
    Trigger,
    UndoAsked,
    UnloadAsked,
)
from devserver.model.config import ModSpec
from devserver.model.lifecycle import Action
from devserver.model.names import mod_id_of, module_of
from devserver.model.plan import Group, Hold, LiveMod, Plan, Step
from devserver.reload.plan.held import with_waiting, without_held
from devserver.reload.plan.hosts import move, over_hosts
from devserver.reload.plan.lines import (
    beside,
    changed_line,
    for_drop,
    for_line,
    for_promote,
    for_split,
    why_pinned,
)
from devserver.reload.plan.loads import gone, loads, need_it, unload_step, why_wanted
from devserver.reload.plan.lock import for_lock
from devserver.reload.plan.needs import cascade, needed_by, orphans, why_orphan, without_unneeded
from devserver.reload.plan.reloads import own_code, reloads, together, with_stale
from devserver.reload.plan.restart import for_restart, reasons_of, without_restarting
from devserver.reload.plan.settings import not_applied, order_of, reorder, taken, with_config, without_settings
from devserver.reload.plan.situation import Situation, needed_paths, not_loaded

__all__ = ["Situation", "make_plan", "needed_paths", "reasons_of", "taken", "without_settings"]


def make_plan(trigger: Trigger, situation: Situation) -> Plan:
    """Decide what follows from a trigger."""
    if isinstance(trigger, PartAsked):
        part: Plan = trigger.plan
        return part  # the host that has network.yaml has decided
    stale = None if isinstance(trigger, FilesChanged) else _refused_as_stale(trigger, situation)
    if stale is not None:
        return stale
    decided = _decide(trigger, situation)
    if decided.restart is not None:
        return decided  # of the whole process: no step of it can be held
    plan = without_restarting(without_held(decided, trigger, situation), situation)
    plan = without_unneeded(with_waiting(plan, trigger, situation) if situation.waiting else plan, situation)
    asked = replace(situation, config=trigger.config) if isinstance(trigger, ConfigChanged) else situation
    return over_hosts(plan, asked) if situation.here else plan


def _decide(trigger: Trigger, situation: Situation) -> Plan:
    match trigger:
        case FilesChanged():
            return _for_files(trigger, situation)
        case ConfigChanged():
            return _for_config(trigger, situation)
        case LockChanged():
            return for_lock(trigger, situation)
        case ReloadAsked():
            return _for_reload(trigger, situation)
        case LoadAsked():
            return _for_load(trigger, situation)
        case UnloadAsked():
            return _for_unload(trigger, situation)
        case TidyAsked():
            return _for_tidy(trigger, situation)
        case UndoAsked():
            return _for_undo(trigger, situation)
        case RestartAsked():
            return for_restart(trigger, situation)
        case LineAsked():
            return for_line(trigger, situation)
        case SplitAsked():
            return for_split(trigger, situation)
        case PromoteAsked():
            return for_promote(trigger, situation)
        case DropAsked():
            return for_drop(trigger, situation)
        case PartAsked():
            raise AssertionError("it is decided already")


def _for_files(trigger: FilesChanged, situation: Situation) -> Plan:
    # Python caches an archive for as long as the process lives.
    news = {
        name: path
        for name, path in situation.stale.items()
        if path in trigger.changed and path not in situation.archives
    }
    archives = [path for path in trigger.changed if path in situation.archives]
    retried = situation.retried
    steps = reloads(situation, with_stale(news, retried, situation), {}, trigger.changed)
    brought = {module_of(step.mod_path) for step in steps}
    specs = _retried_loads(brought, situation)
    coming = loads(specs, situation, _AGAIN, listed=True, brought=brought) if specs else None
    # Retries come last: they may need what the others bring, which is not known yet.
    ready = sorted(together(steps, situation), key=lambda group: _is_retried(group, situation))
    return Plan(
        _shown_cause(trigger, situation),
        (*ready, *(coming.groups if coming is not None else ())),
        tuple(coming.holds) if coming is not None else (),
        order=order_of(situation.config, situation) if coming is not None and coming.steps else None,
        changed=trigger.changed,
        texts=trigger.texts,
        needs_restart=tuple(f"{situation.shown(path)} changed, which code is imported from" for path in archives),
    )


_AGAIN = "its sources changed since the last attempt"


def _retried_loads(brought: Collection[str], situation: Situation) -> list[ModSpec]:
    """Return the mods of network.yaml that do not run and whose last attempt depended on something
    that has changed since.

    A mod that waits for one that comes now is brought behind it.
    """
    found = ((path, situation.listed(path)) for path in sorted(situation.retry) if situation.at(path) is None)
    specs = {path: spec for path, spec in found if spec is not None and spec.enabled}
    coming = {*brought, *(path for path in specs if path not in situation.waiting)}
    left = [path for path in specs if path not in coming]
    while behind := [path for path in left if not coming.isdisjoint(situation.waiting[path])]:
        coming.update(behind)
        left = [path for path in left if path not in behind]
    return [spec for path, spec in specs.items() if path in left or path not in situation.waiting]


def _is_retried(group: Group, situation: Situation) -> bool:
    return all(module_of(step.mod_path) in situation.retry for step in group.steps)


def _for_config(trigger: ConfigChanged, situation: Situation) -> Plan:
    config = trigger.config
    live = {module_of(spec.path): situation.at(spec.path) for spec in config.enabled_specs}
    wanted = [spec for spec in config.enabled_specs if module_of(spec.path) not in trigger.left_out]
    added = [spec for spec in wanted if _is_added(spec, live[module_of(spec.path)], situation)]
    unloads, kept = gone(config, situation, added)
    leaving = {step.mod_id for step in unloads}
    # Mods are searched for the needs of the new network.yaml.
    asked = replace(situation, config=config)
    coming = loads(added, asked, partial(why_wanted, situation=situation), listed=True, leaving=leaving)
    changed = [
        step
        for spec in config.enabled_specs
        if (mod := live[module_of(spec.path)]) is not None
        for step in _changes(mod, spec, situation)
    ]
    order = order_of(config, situation, leaving)
    moved = reorder(order, situation, leaving)
    groups = (*_each(unloads), *coming.groups, *_each([*filter(None, changed), *moved]))
    return Plan(
        trigger.cause,
        groups,
        (*kept, *coming.holds),
        not_applied(config, situation.config),
        order if coming.steps or moved else None,
    )


def _is_added(spec: ModSpec, live: LiveMod | None, situation: Situation) -> bool:
    """Return whether network.yaml asks for a mod that does not run, but for ended lines."""
    return live is None and situation.ended.get(spec.path) != spec


def _changes(mod: LiveMod, spec: ModSpec, situation: Situation) -> Iterable[Step]:
    """Return the steps that make a mod or line as network.yaml describes it now."""
    if (moved := move(mod, spec, situation)) is not None:
        return [moved]
    line, config = changed_line(mod, spec), with_config(mod, spec)
    if line is not None and line.action is Action.RELOAD:
        return [replace(line, config=spec.config)]
    return filter(None, (line, config))


def _for_reload(trigger: ReloadAsked, situation: Situation) -> Plan:
    all_mods = [mod.mod_id for mod in situation.live if not situation.is_pinned(mod)]
    found = {name: situation.find(name) for name in trigger.mods or all_mods}
    pinned = {name: mod for name, mod in found.items() if mod is not None and situation.is_pinned(mod)}
    found = {name: mod for name, mod in found.items() if name not in pinned}
    missing = [name for name, mod in found.items() if mod is None]
    mods = {mod.mod_id: mod for mod in found.values() if mod is not None}
    changed = {name: path for mod in mods.values() for name, path in own_code(mod, situation).items()}
    steps = reloads(situation, changed, dict.fromkeys(mods, trigger.cause))
    wanted = {name: spec for name in missing if (spec := _listed(name, situation)) is not None}
    coming = loads(wanted.values(), situation, trigger.cause, listed=True)
    holds = [Hold(Action.RELOAD, name, not_loaded(name, situation)) for name in missing if name not in wanted]
    holds += [Hold(Action.RELOAD, mod.mod_id, why_pinned(mod, situation)) for mod in pinned.values()]
    groups = (*together(steps, situation), *coming.groups)
    order = order_of(situation.config, situation) if coming.steps else None
    return Plan(trigger.cause, groups, (*holds, *coming.holds), order=order)


def _for_load(trigger: LoadAsked, situation: Situation) -> Plan:
    known = situation.find(trigger.path)
    if known is not None and known.came_with:
        return _kept(known, trigger)
    if known is not None:
        reason = f"{known.mod_id} is already loaded; v{known.generation} keeps running"
        return Plan(trigger.cause, holds=(Hold(Action.LOAD, known.mod_id, reason),))
    # A mod that was loaded with the configuration of network.yaml belongs to network.yaml; with
    # another one, to its caller.
    spec = situation.listed(trigger.path)
    listed = spec is not None and spec.enabled and trigger.config in ({}, spec.config)
    config = trigger.config if trigger.config or spec is None else spec.config
    coming = loads([ModSpec(trigger.path, config)], situation, trigger.cause, listed=listed)
    order = order_of(situation.config, situation) if listed else None
    return Plan(trigger.cause, coming.groups, tuple(coming.holds), order=order)


def _kept(mod: LiveMod, trigger: LoadAsked) -> Plan:
    """Keep a mod that came because another needs it: it stays, with the requested configuration."""
    reason = f"{trigger.cause}; it stays when {mod.came_with} goes"
    keep = Step(Action.KEEP, mod.mod_id, mod.mod_path, reason, config=mod.config, listed=False)
    changed = with_config(mod, ModSpec(mod.mod_path, trigger.config)) if trigger.config else None
    return Plan(trigger.cause, _each(filter(None, (keep, changed))))


def _for_unload(trigger: UnloadAsked, situation: Situation) -> Plan:
    mod = situation.find(trigger.mod)
    if mod is None:
        return Plan(trigger.cause, holds=(Hold(Action.UNLOAD, trigger.mod, not_loaded(trigger.mod, situation)),))
    if mod.line is not None:
        return for_drop(DropAsked(mod.mod_id, "main" if trigger.force else "", trigger.cause), situation)
    if situation.lines_of(mod) and not trigger.force:
        return Plan(trigger.cause, holds=(Hold(Action.UNLOAD, mod.mod_id, beside(mod, situation) or ""),))
    going = [mod] if trigger.force else cascade(mod, situation)
    if len(going) > 1 and not trigger.cascade:
        reason = f"{need_it(needed_by(mod, situation.live))}; {mod.mod_id} v{mod.generation} keeps running"
        first = tuple(each.mod_id for each in going[:-1])
        return Plan(trigger.cause, holds=(Hold(Action.UNLOAD, mod.mod_id, reason, cascade=first),))
    ids = {module_of(each.mod_path): each.mod_id for each in going}
    steps = [unload_step(each, trigger.cause if each is mod else _why_along(each, mod, ids)) for each in going]
    # A line never outlives its mod.
    lines = [unload_step(line, trigger.cause) for each in going for line in situation.lines_of(each)]
    return Plan(trigger.cause, _each([*lines, *steps]))


def _why_along(mod: LiveMod, asked: LiveMod, going: Mapping[str, str]) -> str:
    """Return which of the mods that go (ids by path) a mod needs: the requested one first."""
    names = [going[path] for path in needed_paths(mod.requires) if path in going]
    return f"needs {asked.mod_id if asked.mod_id in names else names[0]}"


def _for_tidy(trigger: TidyAsked, situation: Situation) -> Plan:
    steps = []
    for mod in orphans(situation):
        failed = ", which did not load" if mod.came_with in trigger.failed else ""
        steps.append(unload_step(mod, why_orphan(mod, situation) + failed))
    return Plan(trigger.cause, _each(steps))


def _for_undo(trigger: UndoAsked, situation: Situation) -> Plan:
    asked = trigger.mods or situation.latest
    ids = [mod.mod_id if (mod := situation.find(name)) is not None else name for name in asked]
    missing = [each for each in ids if each not in situation.undoable or situation.returns[each].is_gone]
    holds = [Hold(Action.RELOAD, each, _no_way_back(each, situation, redo=trigger.redo)) for each in missing]
    if not trigger.mods and situation.final:
        holds.append(Hold(Action.RELOAD, "all", f"not undone: {', '.join(situation.final)}; {_ONLY_CODE}"))
    elif not asked:
        nothing = _NOTHING_TO_REDO if trigger.redo else _NOTHING_TO_UNDO + (_MOVED if situation.moved else "")
        holds.append(Hold(Action.RELOAD, "all", nothing))
    back = dict(situation.undoable[each] for each in ids if each not in missing)
    verb = "redone" if trigger.redo else "undone"
    groups = tuple(Group(tuple(_back(mods, modules, situation, verb))) for mods, modules in back.items())
    return Plan(trigger.cause, groups, tuple(holds), undo=True, redo=trigger.redo)


_NOTHING_TO_UNDO = "there is nothing to undo: no reload is left that was not undone"
_MOVED = " (a save of comments alone replaces no code)"
_NOTHING_TO_REDO = "there is nothing to redo: nothing was undone since the last change"
_ONLY_CODE = "undo takes back reloads of code alone: change network.yaml back, or load and unload by name"


def _back(mods: Iterable[str], modules: tuple[str, ...], situation: Situation, verb: str) -> Iterable[Step]:
    for mod_id in mods:
        mod = situation.find(mod_id)
        if mod is not None:
            own = tuple(name for name in modules if name in situation.needs_of(mod))
            yield Step(
                Action.RELOAD,
                mod_id,
                mod.mod_path,
                f"{verb}: {_returned(mod, situation)}",
                config=mod.config,
                modules=own,
                listed=mod.listed,
                code=situation.returns[mod_id].code,
            )


def _returned(mod: LiveMod, situation: Situation) -> str:
    """Return what a mod becomes again, and which files on disk differ from that."""
    what = situation.returns[mod.mod_id]
    files = ", ".join(situation.shown(path) for path in what.differing)
    verb = "differ" if len(what.differing) > 1 else "differs"
    brought = "; the next restart brings that" if mod.restarts else ""
    return f"v{what.generation} again" + (f", {files} on disk {verb}{brought}" if files else "")


def _no_way_back(mod_id: str, situation: Situation, *, redo: bool) -> str:
    mod = situation.find(mod_id)
    if mod is None:
        return not_loaded(mod_id, situation)
    if mod_id in situation.undoable:
        was = f"it ran {situation.returns[mod_id].code}, which is not locked now"
        how = f"oa-dev undo {mod_id} takes back a promotion --write, with network.yaml and the lock"
        return f"{was}: {how}; v{mod.generation} keeps running"
    what = f"no undo of {mod_id} can be redone" if redo else f"no further reload of {mod_id} can be undone"
    moved = _MOVED if mod_id in situation.moved and not redo else ""
    return f"{what}{moved}; v{mod.generation} keeps running"


def _each(steps: Iterable[Step]) -> tuple[Group, ...]:
    return tuple(Group((step,)) for step in steps)


def _listed(name: str, situation: Situation) -> ModSpec | None:
    """Return the enabled mod of network.yaml with this id or path."""
    known = situation.listed(name)
    named = (spec for spec in situation.config.enabled_mods if mod_id_of(spec.path) == name)
    return known if known is not None and known.enabled else next(named, None)


def _shown_cause(trigger: FilesChanged, situation: Situation) -> str:
    paths = [situation.shown(path) for path in trigger.changed]
    if not paths:
        return trigger.cause
    return paths[0] if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1} more"


def _refused_as_stale(trigger: Trigger, situation: Situation) -> Plan | None:
    """Return the plan to do nothing if another generation runs than named (0: none), or None."""
    asked = _named(trigger)
    if asked is None:
        return None
    action, name, seen = asked
    mod = situation.find(name)
    running = mod.generation if mod is not None else 0
    if seen == running:
        return None
    mod_id = mod.mod_id if mod is not None else mod_id_of(name)
    now = f"v{running} keeps running" if running else "it does not run"
    then = f"v{seen} ran" if seen else "it did not run"
    reason = f"asked for when {then}; {now}, nothing was done"
    return Plan(trigger.cause, holds=(Hold(action, mod_id, reason),), stale=True)


def _named(trigger: Trigger) -> tuple[Action, str, int] | None:
    """Return the request, the mod, and the generation of it that the caller saw."""
    match trigger:
        case LoadAsked(path=name, seen=int(seen)):
            return Action.LOAD, name, seen
        case UnloadAsked(mod=name, seen=int(seen)):
            return Action.UNLOAD, name, seen
        case ReloadAsked(mods=(name,), seen=int(seen)) | UndoAsked(mods=(name,), seen=int(seen)):
            return Action.RELOAD, name, seen
        case _:
            return None
