"""What a plan does not do now: reloads of mods whose source is gone or whose requirements are not met. And what it does
after all: what has been waiting for a mod that it brings.

Pure, as all of `plan`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

from devserver.model.change import ConfigChanged, FilesChanged, Trigger
from devserver.model.lifecycle import Action
from devserver.model.names import module_of
from devserver.model.plan import Group, Hold, Plan, Step
from devserver.reload.plan.loads import Loads, unmet, version_after
from devserver.reload.plan.reloads import reloads, together
from devserver.reload.plan.settings import order_of
from devserver.reload.plan.situation import Situation, needed_paths, required


def without_held(plan: Plan, trigger: Trigger, situation: Situation) -> Plan:
    """The plan without the reloads that cannot be, each of which is held, with the reason.

    These are mods whose own source is gone, which after a save is said once; mods whose new source needs what is not
    there; and mods whose new version others refuse. Mods that share a changed module with one of them are held with
    it: all of them are reloaded, or none.
    """
    steps = [step for step in plan.steps if step.action is Action.RELOAD]
    holds = _missing(steps, situation) if situation.missing else []
    if situation.declared and not plan.undo:
        holds += _refused(steps, plan, situation)
    if not holds:
        return _in_order_of_need(plan, situation)
    own = {each.mod_id: each for each in holds}
    bound = _bound([step for step in steps if step.mod_id in own], steps, situation)
    held = own.keys() | bound.keys()
    groups = (replace(each, steps=tuple(s for s in each.steps if s.mod_id not in held)) for each in plan.groups)
    said = situation.missed if isinstance(trigger, FilesChanged) else ()
    told = [each for each in holds if each.mod_id not in said or each.mod_id not in situation.missing]
    told += [_hold(mod_id, reason, situation) for mod_id, reason in bound.items()]
    left = replace(plan, groups=tuple(each for each in groups if each.steps), holds=(*plan.holds, *told))
    return _in_order_of_need(left, situation)


def _missing(steps: Iterable[Step], situation: Situation) -> list[Hold]:
    """The reloads of mods whose own source is gone."""
    gone = {each.mod_id: situation.missing[each.mod_id] for each in steps if each.mod_id in situation.missing}
    return [_hold(mod_id, f"source missing: {situation.shown(path)}", situation) for mod_id, path in gone.items()]


def _refused(steps: Iterable[Step], plan: Plan, situation: Situation) -> list[Hold]:
    """The reloads of mods whose new source needs what is not there, or brings a version that another mod refuses."""
    brought = {module_of(each.mod_path) for each in plan.steps if each.action in (Action.LOAD, Action.RELOAD)}
    leaving = [each.mod_id for each in plan.steps if each.action is Action.UNLOAD]
    found = []
    for step in steps:
        declared = situation.declared.get(module_of(step.mod_path))
        if declared is None or step.mod_id in situation.missing:
            continue
        missing = unmet(declared.requires, situation, brought, leaving)
        if missing:
            found.append(_hold(step.mod_id, next(iter(missing.values())), situation, tuple(missing)))
            continue
        by = _refuser(step, brought, leaving, situation)
        if by is not None:
            found.append(_hold(step.mod_id, by, situation))
    return found


def _refuser(step: Step, brought: Collection[str], leaving: Collection[str], situation: Situation) -> str | None:
    """Which mod that stays needs another version of this one than the one that would come, in words."""
    path = module_of(step.mod_path)
    version = version_after(path, situation, brought)
    if version is None:
        return None
    for mod in situation.live:
        known = situation.declared.get(module_of(mod.mod_path))
        requires = mod.requires if known is None else known.requires
        needed = (each for each in required(requires) if module_of(each.path) == path)
        for each in needed if mod.mod_id not in leaving else ():
            if not each.allows(version):
                return f"{mod.mod_id} needs {each}, and this is version {version}"
    return None


def _hold(mod_id: str, reason: str, situation: Situation, needs: tuple[str, ...] = ()) -> Hold:
    mod = situation.find(mod_id)
    runs = f"; {mod_id} v{mod.generation} keeps running" if mod is not None else ""
    return Hold(Action.RELOAD, mod_id, reason + runs, needs=needs)


def _bound(missing: Iterable[Step], steps: Iterable[Step], situation: Situation) -> dict[str, str]:
    """The mods that share a module with one that is held, directly or through others, each with why it is held too.

    A module that is gone itself binds nobody: who imports it still fails by that, and is told so.
    """
    found: dict[str, str] = {}
    pending = list(missing)
    open_ = {step.mod_id: step for step in steps if step not in pending}
    while pending:
        held = pending.pop()
        binding = [name for name in held.modules if situation.stale.get(name) not in situation.deleted]
        for step in [each for each in open_.values() if not set(binding).isdisjoint(each.modules)]:
            shared = situation.shown(situation.graph[next(name for name in binding if name in step.modules)].path)
            found[step.mod_id] = f"it shares {shared} with {held.mod_id}, which is held"
            pending.append(open_.pop(step.mod_id))
    return found


def _in_order_of_need(plan: Plan, situation: Situation) -> Plan:
    """The plan with reloads that need a mod which it loads behind that load; they are skipped where it fails."""
    loaded = {module_of(each.mod_path) for each in plan.steps if each.action is Action.LOAD}
    if not loaded:
        return plan
    needs = {module_of(path): needed_paths(each.requires) for path, each in situation.declared.items()}
    groups = []
    for group in plan.groups:
        own = {path for step in group.steps for path in needs.get(module_of(step.mod_path), ()) if path in loaded}
        is_reload = any(step.action is Action.RELOAD for step in group.steps)
        groups.append(replace(group, needs=tuple(sorted(own))) if is_reload and own else group)
    late = [each for each in groups if each.needs and each.steps[0].action is Action.RELOAD]
    return replace(plan, groups=(*(each for each in groups if each not in late), *late)) if late else plan


# What has been waiting


def with_waiting(plan: Plan, trigger: Trigger, situation: Situation) -> Plan:
    """The plan, and after it what has been waiting for the mods that it brings.

    A network.yaml asks for all its mods anyhow, and an undo brings nothing that was waited for.
    """
    if plan.undo or isinstance(trigger, ConfigChanged):
        return plan
    planned = {module_of(step.mod_path) for step in plan.steps}
    brought = {module_of(each.mod_path) for each in plan.steps if each.action in (Action.LOAD, Action.RELOAD)}
    ready = {
        path: next(need for need in needs if need in brought)
        for path, needs in situation.waiting.items()
        if path not in planned and not brought.isdisjoint(needs)
    }
    groups = _waiting_reloads(ready, situation)
    coming = _waiting_loads(plan, brought, situation)
    if not groups and not coming.steps:
        return plan
    leaving = coming.leaving
    order = plan.order or (order_of(situation.config, situation, leaving) if coming.steps else None)
    return replace(plan, groups=(*plan.groups, *groups, *coming.groups), order=order)


def _waiting_reloads(ready: Mapping[str, str], situation: Situation) -> tuple[Group, ...]:
    """The reloads of live mods that were held until another one came."""
    mods = [mod for path in ready if (mod := situation.at(path)) is not None]
    if not mods:
        return ()
    stale = {name: situation.stale[name] for mod in mods for name in situation.needs_of(mod) if name in situation.stale}
    forced = {mod.mod_id: f"{ready[module_of(mod.mod_path)]}, which it needs, is loaded" for mod in mods}
    steps = [each for each in reloads(situation, stale, forced) if each.mod_id in forced]
    return tuple(
        replace(group, needs=tuple(sorted({ready[module_of(step.mod_path)] for step in group.steps})))
        for group in together(steps, situation)
    )


def _waiting_loads(plan: Plan, brought: Collection[str], situation: Situation) -> Loads:
    """The loads of mods that were held or skipped until another one came; one that comes may bring the next."""
    leaving = [step.mod_id for step in plan.steps if step.action is Action.UNLOAD]
    coming = Loads(situation, leaving, brought=set(brought))
    coming.taken.update({step.mod_id: step.mod_path for step in plan.steps if step.action is Action.LOAD})
    planned = {module_of(step.mod_path) for step in plan.steps}
    left = [path for path in situation.waiting if path not in planned and situation.at(path) is None]
    while ready := [path for path in left if not coming.brought.isdisjoint(situation.waiting[path])]:
        left = [path for path in left if path not in ready]
        for path in ready:
            spec = situation.listed(path)
            if spec is not None and spec.enabled:
                need = next(each for each in situation.waiting[path] if each in coming.brought)
                coming.add(spec, f"{need}, which it needs, is loaded", listed=True)
    return coming
