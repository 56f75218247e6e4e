"""Which host each step is carried out on, which mods move, and what waits for a host that is not there. Pure.

In a network of one host no step names any: nothing here is asked then.
"""

from __future__ import annotations

from dataclasses import replace

from devserver.model.config import ModSpec
from devserver.model.lifecycle import Action
from devserver.model.names import mod_id_of, module_of
from devserver.model.plan import Hold, LiveMod, Plan, Step
from devserver.model.split import main_of
from devserver.reload.plan.lines import beside
from devserver.reload.plan.situation import Situation


def host_of(spec: ModSpec | None, situation: Situation) -> str:
    """Return the host that network.yaml wants a mod on, or that took it; "" for the author."""
    if not situation.here or spec is None or spec.runs_on == situation.here:
        return ""
    if module_of(spec.path) in situation.taken:
        return ""
    return spec.runs_on


def move(mod: LiveMod, spec: ModSpec, situation: Situation) -> Step | None:
    """Return the step that brings a mod to its host of network.yaml, or None."""
    wanted = host_of(spec, situation)
    if not situation.here or mod.line is not None or wanted == mod.host:
        return None
    reason = f"runs_on {mod.host or situation.here} → {wanted or situation.here}"
    return Step(Action.MOVE, mod.mod_id, mod.mod_path, reason, config=spec.config, host=wanted, leaves=mod.host)


def over_hosts(plan: Plan, situation: Situation) -> Plan:
    """Return the plan with the host of each step. A step for a host that is not there waits; the
    others of its group do not: nothing waits for the dead, and what has missed a change gets it
    when it is back."""
    if not situation.here:
        return plan
    groups, holds = [], list(plan.holds)
    for group in plan.groups:
        steps = [_placed(each, plan, situation) for each in group.steps]
        problems = [(each, _problem(each, situation)) for each in steps]
        holds += [Hold(each.action, mod_id_of(each.mod_path), why, each.mod_path) for each, why in problems if why]
        if ready := tuple(each for each, why in problems if not why):
            groups.append(replace(group, steps=ready))
    return replace(plan, groups=tuple(groups), holds=tuple(holds))


def _placed(step: Step, plan: Plan, situation: Situation) -> Step:
    if step.action is Action.MOVE:
        return step
    path = main_of(module_of(step.mod_path))
    live = situation.at(path)
    if live is not None:
        host = live.host
    elif step.came_with:
        host = _host_of_needing(step, plan, situation)
    else:
        host = host_of(situation.listed(path), situation)
    otherwise = None if step.otherwise is None else replace(step.otherwise, host=host)
    return replace(step, host=host, otherwise=otherwise) if host else step


def _host_of_needing(step: Step, plan: Plan, situation: Situation) -> str:
    """Return what comes along runs where that is which needs it."""
    by = next((each for each in plan.steps if each.mod_id == step.came_with), None)
    live = situation.find(step.came_with)
    if live is not None:
        return live.host
    return "" if by is None or by.came_with else host_of(situation.listed(by.mod_path), situation)


def _problem(step: Step, situation: Situation) -> str:
    live = situation.at(step.mod_path) if step.action is Action.MOVE else None
    if live is not None and (lines := beside(live, situation)):
        return lines
    away = [each for each in step.hosts if each and each not in situation.hosts]
    if not away:
        return ""
    if step.action is Action.LOAD:
        return f"runs on {away[0]}, which has not joined; oa-dev join brings it"
    return f"sits on {away[0]}, which is away; it follows when that is back"
