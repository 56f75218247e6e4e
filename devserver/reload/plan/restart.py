"""Whether a restart in place happens, why, and its cost: decided before anything is done.

Pure, as all of `plan`. A change that cannot be swapped in place (a file that is read at the start,
an installed package, code that is still held) asks for a restart; a person may ask for one without
a reason.
"""

from __future__ import annotations

from dataclasses import replace

from devserver.model.change import RestartAsked
from devserver.model.lifecycle import Action, RestartPolicy, Way
from devserver.model.plan import Group, Hold, LiveMod, Plan, Restart, Step
from devserver.reload.plan.situation import Situation

HOW = "R or oa-dev restart brings it"
"""How a person starts a waiting restart."""


def for_restart(trigger: RestartAsked, situation: Situation) -> Plan:
    """Return the plan of a restart in place: for each mod a step, and its state's fate."""
    reasons = tuple(dict.fromkeys((*situation.stale_in_process, *trigger.reasons))) or (trigger.cause,)
    restart = Restart(reasons=reasons, moves=situation.state_moves, ends=situation.child_processes)
    restart = replace(restart, waits=_why_it_waits(trigger, restart, situation))
    steps = () if restart.waits else tuple(_step(mod, "; ".join(reasons)) for mod in situation.live)
    return Plan(trigger.cause, (Group(steps),) if steps else (), restart=restart)


def _step(mod: LiveMod, reason: str) -> Step:
    return Step(
        action=Action.RELOAD,
        mod_id=mod.mod_id,
        mod_path=mod.mod_path,
        reason=reason,
        config=mod.config,
        listed=mod.listed,
        way=Way.RESTART,
    )


def _why_it_waits(trigger: RestartAsked, restart: Restart, situation: Situation) -> str:
    """Return why the restart does not happen now; empty if it does."""
    if not situation.can_restart:
        return "an embedded network never restarts its process: restart the program"
    if situation.would_fail:
        # A known failure is not tried: these mods run now, and would not run afterwards.
        failing = "; ".join(f"{mod_id} ({why})" for mod_id, why in situation.would_fail.items())
        return f"some mods would not load: {failing}; mend that first"
    if situation.image_problem is not None:
        return f"a new process would not come up: {situation.image_problem}; mend that first"
    if trigger.by_person:
        return ""
    match situation.config.restart.policy:
        case RestartPolicy.AUTO if restart.lost:
            return f"state would be lost ({'; '.join(restart.lost)}); {HOW}"
        case RestartPolicy.AUTO:
            return ""
        case RestartPolicy.ASK | RestartPolicy.NEVER as policy:
            return f"dev.restart is {policy.value}; {HOW}"


BY_RESTART = "its reload_mode is restart: brought by a restart in place"


def without_restarting(plan: Plan, situation: Situation) -> Plan:
    """Return the plan without reloads of mods that ask for a restart instead, and of those that go
    with them: these wait for that restart."""
    asking = {mod.mod_id for mod in situation.live if mod.restarts}
    waiting = [
        group
        for group in plan.groups
        if any(step.action is Action.RELOAD and step.mod_id in asking for step in group.steps)
    ]
    if not waiting or plan.undo:
        return plan
    holds = [Hold(Action.RELOAD, step.mod_id, BY_RESTART) for group in waiting for step in group.steps]
    groups = tuple(group for group in plan.groups if group not in waiting)
    return replace(plan, groups=groups, holds=(*plan.holds, *holds))


def reasons_of(plan: Plan) -> tuple[str, ...]:
    """Return why this plan asks for a restart, or empty: settings, and mods that ask for it."""
    settings = (each.change for each in plan.not_applied)
    asking = (each for each in plan.holds if each.reason == BY_RESTART)
    return (*settings, *(f"{each.mod_id} changed, and its reload_mode is restart" for each in asking))
