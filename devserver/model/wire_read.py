"""Facts out of their JSON, as a command reads a server's answers: the reverse of `wire_form`.

Every function raises ValueError, KeyError or TypeError for values in another form.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, get_args, get_origin, get_type_hints

from devserver.model import facts
from devserver.model.lifecycle import Action
from devserver.model.plan import Group, Hold, NotApplied, Plan, Restart, Step
from devserver.model.wire_form import told_fields


def plan_done_from_dict(values: Mapping[str, Any]) -> facts.PlanDone:
    """Read a plan's result from the control API's answer."""
    then = values.get("then")
    return facts.PlanDone(
        plan_from_dict(values),
        tuple(outcome_from_dict(each) for each in values["outcomes"]),
        float(values["duration_ms"]),
        agents=_read(facts.AgentsSeen, values["agents"]),
        held=_read(facts.Held, values["held"]),
        then=None if then is None else plan_done_from_dict(then),
    )


def plan_from_dict(values: Mapping[str, Any]) -> Plan:
    """Read a plan: its steps, reasons, and settings that are not applied."""
    holds = tuple(Hold(Action(each["action"]), str(each["mod_id"]), str(each["reason"])) for each in values["holds"])
    steps = tuple(_step_from(each) for each in values["steps"])
    settings = tuple(NotApplied(each["setting"], each["running"], each["wanted"]) for each in values["not_applied"])
    groups = (Group(steps),) if steps else ()
    wanted = values["restart"]
    restart = None if wanted is None else _read(Restart, {**wanted, "moves": wanted["mods"]})
    return Plan(str(values["cause"]), groups, holds, settings, restart=restart)


def _step_from(values: Mapping[str, Any]) -> Step:
    came_with = str(values.get("came_with", ""))
    return Step(Action(values["action"]), str(values["mod_id"]), "", str(values["reason"]), came_with=came_with)


def restarted_from_dict(values: Mapping[str, Any]) -> facts.Restarted:
    found: facts.Restarted = _read(facts.Restarted, {**values, **values["connections"], "ready": None})
    return found


def outcome_from_dict(values: Mapping[str, Any]) -> facts.Outcome:
    found: facts.Outcome = _read(facts.Outcome, values)
    return found


def error_from_dict(values: Mapping[str, Any]) -> facts.ErrorFacts:
    hint = values["hint"]
    return facts.ErrorFacts(
        str(values["kind"]), str(values["message"]), _frame(values), hint=None if hint is None else str(hint)
    )


def _frame(values: Mapping[str, Any]) -> facts.Frame | None:
    file, line, column = values["file"], values["line"], values.get("column")
    if file is None or line is None:
        return None
    return facts.Frame(str(file), int(line), int(column) if column is not None else None)


def _read(kind: Any, value: Any) -> Any:
    """Return a value of JSON as the type of a field says, by the rules of `form_of`."""
    inner = get_args(kind)
    if kind is facts.ErrorFacts:
        return error_from_dict(value)
    if kind is facts.PhaseTook:
        return facts.PhaseTook(*map(_read, _types(kind).values(), value))
    if hasattr(kind, "__dataclass_fields__"):
        types = _types(kind)
        found = {name: _read(types[name], value[name]) for name in told_fields(kind) if name != "where"}
        return kind(**found, **({"where": _frame(value)} if "where" in types else {}))
    if get_origin(kind) is tuple:
        return tuple(_read(inner[0], each) for each in value)
    if inner:
        # It may be null.
        return None if value is None else _read(inner[0], value)
    return kind(value)


_types = functools.lru_cache(maxsize=64)(get_type_hints)
