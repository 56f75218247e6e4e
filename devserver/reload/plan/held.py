"""Reloads that a plan holds: of mods whose source is gone or whose requirements are not met. And
held ones that it repeats, because they have been waiting for a mod that it brings.

Pure, as all of `plan`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

from devserver.model.change import ConfigChanged, FilesChanged, Trigger
from devserver.model.lifecycle import Action
from devserver.model.names import module_of
from devserver.model.plan import Group, Hold, Plan, Step
from devserver.reload.plan.loads import Loads, brought_needs, load_step
from devserver.reload.plan.needs import circle, coming, in_a_circle, refuser, step_of, unmet, unmet_packages
from devserver.reload.plan.reloads import reloads, together
from devserver.reload.plan.settings import order_of
from devserver.reload.plan.situation import Situation


def without_held(plan: Plan, trigger: Trigger, situation: Situation) -> Plan:
    """Return the plan without impossible reloads, each of which is held, with the reason.

    These are mods whose own source is gone, which after a save is told once; mods whose new source
    needs a missing mod or package; and mods whose new version others refuse. Mods that share a
    changed module with one of them are held with it: all of them are reloaded, or none.
    """
    steps = [step for step in plan.steps if step.action is Action.RELOAD]
    holds = _missing(steps, situation) if situation.missing else []
    if situation.declared:
        plan, refused = _with_needed(plan, steps, situation)
        holds += _refused(steps, plan, situation, refused)
    if not holds:
        return _in_order_of_need(plan, situation)
    own = {each.mod_id: each for each in holds}
    bound = _bound([step for step in steps if step.mod_id in own], steps, situation)
    held = own.keys() | bound.keys()
    said = situation.missed if isinstance(trigger, FilesChanged) else ()
    told = [each for each in holds if each.mod_id not in said or each.mod_id not in situation.missing]
    told += [_hold(mod_id, reason, situation) for mod_id, reason in bound.items()]
    left = plan.only(lambda step: step.action is not Action.RELOAD or step.mod_id not in held)
    return _in_order_of_need(replace(left, holds=(*plan.holds, *told)), situation)


def _with_needed(plan: Plan, steps: Iterable[Step], situation: Situation) -> tuple[Plan, dict[str, str]]:
    """Return the plan with loads of the needs of new sources, and (by path) why some cannot be."""
    leaving = [each.mod_id for each in plan.steps if each.action is Action.UNLOAD]
    found = Loads(situation, leaving, brought=_brought(plan))
    found.taken.update({step.mod_id: step.mod_path for step in plan.steps if step.action is Action.LOAD})
    paths = [module_of(step.mod_path) for step in steps if module_of(step.mod_path) in situation.declared]
    needs = coming([path for path in paths if not circle(path, situation)], situation, leaving, found.brought)
    found.bring(step_of(path, by, needed, situation) for path, (by, needed) in needs.items())
    refused = {module_of(each.mod_path): each.reason for each in found.holds if each.mod_path} | found.refused
    return replace(plan, groups=(*found.groups, *plan.groups)), refused


def _brought(plan: Plan) -> set[str]:
    return {module_of(each.mod_path) for each in plan.steps if each.action in (Action.LOAD, Action.RELOAD)}


def _missing(steps: Iterable[Step], situation: Situation) -> list[Hold]:
    """Return the reloads of mods whose own source is gone."""
    gone = {each.mod_id: situation.missing[each.mod_id] for each in steps if each.mod_id in situation.missing}
    return [_hold(mod_id, f"source missing: {situation.shown(path)}", situation) for mod_id, path in gone.items()]


def _refused(steps: Iterable[Step], plan: Plan, situation: Situation, refused: Mapping[str, str]) -> list[Hold]:
    """Return the reloads of mods whose new source needs something, or does not suit another."""
    brought = _brought(plan)
    leaving = [each.mod_id for each in plan.steps if each.action is Action.UNLOAD]
    found = []
    for step in steps:
        path = module_of(step.mod_path)
        if path not in situation.declared or step.mod_id in situation.missing:
            continue
        if cycle := circle(path, situation):
            found.append(_hold(step.mod_id, in_a_circle(cycle, situation), situation, cycle))
        elif missing := unmet(path, situation, brought, leaving, refused):
            found.append(_hold(step.mod_id, next(iter(missing.values())), situation, tuple(missing)))
        elif packages := unmet_packages(path, situation):
            held = _hold(step.mod_id, "; ".join(packages.values()), situation)
            found.append(replace(held, packages=tuple(packages)))
        elif (by := refuser(step, brought, leaving, situation))[0]:
            found.append(_hold(step.mod_id, by[1], situation, (by[0],), " · save both together or pause"))
    return found


def _hold(mod_id: str, reason: str, situation: Situation, needs: tuple[str, ...] = (), cure: str = "") -> Hold:
    mod = situation.find(mod_id)
    runs = f"; {mod_id} v{mod.generation} keeps running" if mod is not None else ""
    return Hold(Action.RELOAD, mod_id, reason + runs + cure, needs=needs)


def _bound(missing: Iterable[Step], steps: Iterable[Step], situation: Situation) -> dict[str, str]:
    """Return the mods that share a module with a held one, directly or not, and the reason.

    A module that is gone itself holds nothing: its importers still fail on it, and are told so.
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
    """Return the plan with reloads behind the loads that they need: these may fail."""
    loaded = {module_of(each.mod_path) for each in plan.steps if each.action is Action.LOAD}
    if not loaded:
        return plan
    groups = []
    for group in plan.groups:
        is_reload = any(step.action is Action.RELOAD for step in group.steps)
        paths = (module_of(step.mod_path) for step in group.steps) if is_reload else ()
        own = {need: wish for path in paths for need, wish in brought_needs(path, loaded, situation).items()}
        groups.append(replace(group, needs=own) if own else group)
    late = [each for each in groups if each.needs and each.steps[0].action is Action.RELOAD]
    return replace(plan, groups=(*(each for each in groups if each not in late), *late)) if late else plan


# What has been waiting


def with_waiting(plan: Plan, trigger: Trigger, situation: Situation) -> Plan:
    """Return the plan, followed by steps that have been waiting for the mods that it brings. A
    network.yaml asks for all its mods already, and an undo brings nothing that was waited for."""
    if plan.undo or isinstance(trigger, ConfigChanged):
        return plan
    planned = {module_of(step.mod_path) for step in plan.steps}
    brought = _brought(plan)
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
    """Return the reloads of live mods that were held until another one came."""
    mods = [mod for path in ready if (mod := situation.at(path)) is not None]
    if not mods:
        return ()
    stale = {name: situation.stale[name] for mod in mods for name in situation.needs_of(mod) if name in situation.stale}
    forced = {mod.mod_id: f"{ready[module_of(mod.mod_path)]}, which it needs, is loaded" for mod in mods}
    steps = [each for each in reloads(situation, stale, forced) if each.mod_id in forced]
    return tuple(
        replace(group, needs={(need := ready[module_of(step.mod_path)]): need for step in group.steps})
        for group in together(steps, situation)
    )


def _waiting_loads(plan: Plan, brought: Collection[str], situation: Situation) -> Loads:
    """Return the loads of mods that waited for another one; each may bring the next."""
    leaving = [step.mod_id for step in plan.steps if step.action is Action.UNLOAD]
    found = Loads(situation, leaving, brought=set(brought))
    found.taken.update({step.mod_id: step.mod_path for step in plan.steps if step.action is Action.LOAD})
    planned = {module_of(step.mod_path) for step in plan.steps}
    left = [path for path in situation.waiting if path not in planned and situation.at(path) is None]
    while ready := [path for path in left if not found.brought.isdisjoint(situation.waiting[path])]:
        left = [path for path in left if path not in ready]
        for path in ready:
            spec = situation.listed(path)
            if spec is not None and spec.enabled:
                need = next(each for each in situation.waiting[path] if each in found.brought)
                found.bring([load_step(spec, f"{need}, which it needs, is loaded", listed=True)])
    return found
