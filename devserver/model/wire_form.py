"""Outcomes, errors and plans as plain dictionaries, in the form that programs get them, and outcomes back from it.

The form is the one of `oa-dev run --json`: its keys are fixed, others rely on them. Nothing here writes or reads.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from devserver.model.facts import AgentsSeen, ErrorFacts, Frame, Held, Outcome, PlanDone, Status
from devserver.model.lifecycle import Action, Phase
from devserver.model.plan import Hold, Plan, Step


def error_to_dict(error: ErrorFacts) -> dict[str, Any]:
    """An error with the place in the author's own code; `file`, `line` and `column` are null where none is known."""
    where = error.where
    return {
        "kind": error.kind,
        "message": error.message,
        "file": where.file if where else None,
        "line": where.line if where else None,
        "column": where.column if where else None,
    }


def outcome_to_dict(outcome: Outcome) -> dict[str, Any]:
    """What became of one step. Durations are in milliseconds."""
    return {
        "action": outcome.action.value,
        "mod_id": outcome.mod_id,
        "status": outcome.status.value,
        "phase": outcome.phase.value,
        "generation": outcome.generation,
        "duration_ms": outcome.duration_ms,
        "error": error_to_dict(outcome.error) if outcome.error else None,
        "agents": {"connected": outcome.agents.connected, "dropped": outcome.agents.dropped},
        "held": {"events": outcome.held.events, "longest_ms": outcome.held.longest_ms},
    }


def refusal_to_dict(error: ErrorFacts) -> dict[str, Any]:
    """A problem in network.yaml in the form of an outcome: nothing was reconfigured, what ran before runs on.

    It is about no mod, so `mod_id`, `phase` and `generation` are null, and the agents were not counted.
    """
    return {
        "action": Action.RECONFIGURE.value,
        "mod_id": None,
        "status": Status.ROLLED_BACK.value,
        "phase": None,
        "generation": None,
        "duration_ms": 0.0,
        "error": error_to_dict(error),
        "agents": {"connected": None, "dropped": 0},
        "held": {"events": 0, "longest_ms": 0.0},
    }


def plan_to_dict(plan: Plan) -> dict[str, Any]:
    """A plan with its reasons; `holds` are the steps that wait or were refused."""
    return {
        "cause": plan.cause,
        "steps": [_reasoned(each) for each in plan.steps],
        "holds": [_reasoned(each) for each in plan.holds],
        "not_applied": [
            {"setting": each.setting, "running": _plain(each.running), "wanted": _plain(each.wanted)}
            for each in plan.not_applied
        ],
    }


def _reasoned(step: Step | Hold) -> dict[str, Any]:
    return {"action": step.action.value, "mod_id": step.mod_id, "reason": step.reason}


def _plain(value: Any) -> str | int | float | bool | None:
    """A setting's value as JSON can carry it; NaN, infinity and anything composed become text."""
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    return str(value)


def plan_done_from_dict(values: Mapping[str, Any]) -> PlanDone:
    """What became of a plan, out of the control API's answer: its outcomes and holds, without steps and settings.

    Raises ValueError, KeyError or TypeError for anything that is not such a form.
    """
    holds = tuple(Hold(Action(each["action"]), str(each["mod_id"]), str(each["reason"])) for each in values["holds"])
    return PlanDone(
        Plan(str(values["cause"]), holds=holds),
        tuple(outcome_from_dict(each) for each in values["outcomes"]),
        float(values["duration_ms"]),
        _agents(values["agents"]),
        _held(values["held"]),
    )


def outcome_from_dict(values: Mapping[str, Any]) -> Outcome:
    """An outcome out of its form; `mod_path`, `reason` and `note` are taken where the sender adds them.

    Raises ValueError, KeyError or TypeError for anything that is not such a form.
    """
    error = values["error"]
    return Outcome(
        action=Action(values["action"]),
        mod_id=str(values["mod_id"]),
        mod_path=str(values.get("mod_path", "")),
        status=Status(values["status"]),
        phase=Phase(values["phase"]),
        generation=int(values["generation"]),
        duration_ms=float(values["duration_ms"]),
        reason=str(values.get("reason", "")),
        error=error_from_dict(error) if error is not None else None,
        note=str(values.get("note", "")),
        agents=_agents(values["agents"]),
        held=_held(values["held"]),
    )


def error_from_dict(values: Mapping[str, Any]) -> ErrorFacts:
    """An error out of its form. Raises KeyError, ValueError or TypeError for anything else."""
    file, line, column = values["file"], values["line"], values["column"]
    where = None
    if file is not None and line is not None:
        where = Frame(str(file), int(line), int(column) if column is not None else None)
    return ErrorFacts(str(values["kind"]), str(values["message"]), where)


def _agents(values: Mapping[str, Any]) -> AgentsSeen:
    return AgentsSeen(int(values["connected"]), int(values["dropped"]))


def _held(values: Mapping[str, Any]) -> Held:
    return Held(int(values["events"]), float(values["longest_ms"]))
