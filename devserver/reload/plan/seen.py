"""Checks that a caller saw the generation that runs: else nothing is done. Pure."""

from __future__ import annotations

from devserver.model.change import LoadAsked, ReloadAsked, Trigger, UndoAsked, UnloadAsked
from devserver.model.lifecycle import Action
from devserver.model.names import mod_id_of
from devserver.model.plan import Hold, Plan
from devserver.reload.plan.situation import Situation


def refused_as_stale(trigger: Trigger, situation: Situation) -> Plan | None:
    """Return the plan to do nothing if another generation runs than named (0: none), or None."""
    asked = _asked(trigger)
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


def _asked(trigger: Trigger) -> tuple[Action, str, int] | None:
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
