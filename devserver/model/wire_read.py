"""Facts out of their JSON, as a command reads a server's answers: the reverse of `wire_form`.

Every function raises ValueError, KeyError or TypeError for values in another form.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from devserver.model import facts
from devserver.model.lifecycle import Action, Phase, Thread
from devserver.model.plan import Group, Hold, NotApplied, Plan, Restart, StateMove, Step


def plan_done_from_dict(values: Mapping[str, Any]) -> facts.PlanDone:
    """Read a plan's result from the control API's answer."""
    then = values.get("then")
    return facts.PlanDone(
        plan_from_dict(values),
        tuple(outcome_from_dict(each) for each in values["outcomes"]),
        float(values["duration_ms"]),
        agents=_agents(values["agents"]),
        held=_held(values["held"]),
        then=None if then is None else plan_done_from_dict(then),
    )


def plan_from_dict(values: Mapping[str, Any]) -> Plan:
    """Read a plan: its steps, reasons, and settings that are not applied."""
    holds = tuple(Hold(Action(each["action"]), str(each["mod_id"]), str(each["reason"])) for each in values["holds"])
    steps = tuple(_step_from(each) for each in values["steps"])
    settings = tuple(NotApplied(each["setting"], each["running"], each["wanted"]) for each in values["not_applied"])
    groups = (Group(steps),) if steps else ()
    return Plan(str(values["cause"]), groups, holds, settings, restart=_restart(values["restart"]))


def _step_from(values: Mapping[str, Any]) -> Step:
    came_with = str(values.get("came_with", ""))
    return Step(Action(values["action"]), str(values["mod_id"]), "", str(values["reason"]), came_with=came_with)


def _restart(values: Mapping[str, Any] | None) -> Restart | None:
    if values is None:
        return None
    moves = tuple(_state_move_from(each) for each in values["mods"])
    reasons, ends = tuple(map(str, values["reasons"])), tuple(map(str, values["ends"]))
    return Restart(reasons=reasons, moves=moves, ends=ends, waits=str(values["waits"]))


def _state_move_from(values: Mapping[str, Any]) -> StateMove:
    return StateMove(
        mod_id=str(values["mod_id"]),
        mod_path=str(values["mod_path"]),
        generation=int(values["generation"]),
        moves=tuple(map(str, values["moves"])),
        lost=tuple(map(str, values["lost"])),
    )


def restarted_from_dict(values: Mapping[str, Any]) -> facts.Restarted:
    return facts.Restarted(
        url=str(values["url"]),
        reasons=tuple(map(str, values["reasons"])),
        pause_ms=float(values["pause_ms"]),
        duration_ms=float(values["duration_ms"]),
        kept=int(values["connections"]["kept"]),
        closed=int(values["connections"]["closed"]),
        agents=_agents(values["agents"]),
        mods=tuple(_state_move_from(each) for each in values["mods"]),
        ended=tuple(map(str, values["ended"])),
        failed=tuple(map(str, values["failed"])),
    )


def outcome_from_dict(values: Mapping[str, Any]) -> facts.Outcome:
    error = values["error"]
    return facts.Outcome(
        Action(values["action"]),
        str(values["mod_id"]),
        str(values["mod_path"]),
        facts.Status(values["status"]),
        phase=Phase(values["phase"]),
        generation=int(values["generation"]),
        duration_ms=float(values["duration_ms"]),
        reason=str(values["reason"]),
        error=error_from_dict(error) if error is not None else None,
        note=str(values["note"]),
        agents=_agents(values["agents"]),
        held=_held(values["held"]),
        way=facts.Way(values["way"]),
        stale_keys=tuple(str(each) for each in values["stale_keys"]),
        phases=tuple(facts.PhaseTook(Phase(name), float(ms), Thread(thread)) for name, ms, thread in values["phases"]),
        holders=tuple(
            facts.Holder(
                str(each["module"]), int(each["generation"]), str(each["what"]), _frame(each["file"], each["line"])
            )
            for each in values["holders"]
        ),
        host=str(values["host"]),
    )


def error_from_dict(values: Mapping[str, Any]) -> facts.ErrorFacts:
    where = _frame(values["file"], values["line"], values["column"])
    hint = values["hint"]
    return facts.ErrorFacts(
        str(values["kind"]), str(values["message"]), where, hint=None if hint is None else str(hint)
    )


def _frame(file: Any, line: Any, column: Any = None) -> facts.Frame | None:
    if file is None or line is None:
        return None
    return facts.Frame(str(file), int(line), int(column) if column is not None else None)


def _agents(values: Mapping[str, Any]) -> facts.AgentsSeen:
    return facts.AgentsSeen(int(values["connected"]), int(values["dropped"]))


def _held(values: Mapping[str, Any]) -> facts.Held:
    return facts.Held(int(values["events"]), float(values["longest_ms"]))
