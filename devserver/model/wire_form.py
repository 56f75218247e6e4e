"""Facts as JSON: the only place that gives them a form. `forms` has the types; no stream is used.

`lines_of` makes the lines of `oa-dev run --json`; the other functions make the parts that lines,
answers of the control API and answers of commands share. `wire_read` reads them.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

from devserver.model import facts
from devserver.model.lifecycle import Action, Phase
from devserver.model.names import is_loopback
from devserver.model.plan import Hold, Plan, Step

if TYPE_CHECKING:
    # At run time a form is a dictionary: most commands do not need the import of `forms`.
    from devserver.model import forms

_OPEN = "open to other machines, unencrypted: anyone on the way can read and change what agents send"
_PROXIED = "open to everyone whom a proxy or tunnel of this machine lets in, unencrypted behind it"


def iso(moment: datetime) -> str:
    """Return an aware time as all JSON has it: ISO 8601 in UTC, `2026-01-31T10:14:02.123Z`."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def iso_of(seconds: float) -> str:
    """Return a time in seconds since 1970 in the form of `iso`."""
    return iso(datetime.fromtimestamp(seconds, UTC))


def lines_of(fact: facts.Fact, time: str) -> tuple[dict[str, Any], ...]:
    """Return the lines that tell a fact; `time` is their time in the form of `iso`."""
    match fact:
        case facts.PlanDone():
            return tuple(line for each in fact.outcomes for line in lines_of(each, time))
        case facts.ConfigRefused():
            return tuple({"type": "outcome", "time": time, **refusal_to_dict(each)} for each in fact.errors)
        case _ if isinstance(fact, Told):
            line = {"type": "notice", "time": time, "message": sentence_of(fact)}
            # The parts of a fact become keys, too.
            return (line if isinstance(fact, facts.Notice) else {**line, "about": ABOUT[type(fact)], **form_of(fact)},)
        case _:
            return ({"type": LINES[type(fact)], "time": time, **form_of(fact)},)


def form_of(fact: Any) -> Any:
    """Return a fact as a dictionary and a tuple as a list, all the way down; a place is told as its file and line.

    The keys are the fields, as far as they are told, but for the few facts of `_SPECIAL`.
    """
    cls: Any = type(fact)
    if (special := _SPECIAL.get(cls)) is not None:
        return special(fact)
    if not hasattr(cls, "__dataclass_fields__"):
        return [form_of(each) for each in fact] if isinstance(fact, tuple) else fact
    return _fields(fact)


def _fields(fact: Any) -> dict[str, Any]:
    cls: Any = type(fact)
    found = {name: form_of(getattr(fact, name)) for name in told_fields(cls)}
    if "where" in found:
        where = fact.where
        del found["where"]
        found |= {"file": where.file if where else None, "line": where.line if where else None}
    return found


@functools.cache
def told_fields(cls: Any) -> tuple[str, ...]:
    """Return the names of the fields of a fact that programs are told."""
    return tuple(each.name for each in fields(cls) if each.name not in _NOT_TOLD.get(cls, ()))


Told = (
    facts.Notice
    | facts.Exposed
    | facts.Blocked
    | facts.LeftBehind
    | facts.AgentProgram
    | facts.HostSeen
    | facts.EngineSeen
)
"""The facts that are told in a sentence."""


def sentence_of(fact: Told) -> str:
    """Return a fact in one sentence, without the join token."""
    match fact:
        case facts.Notice():
            return fact.message
        case facts.HostSeen():
            return host_words(fact)
        case facts.EngineSeen():
            if fact.state is facts.HostState.BACK:
                return f"the engine is back, {fact.seconds:.1f} s"
            rest = "on this host all goes on"
            return f"engine unreachable: events between hosts wait {fact.hold:.0f} s, then engine_away; {rest}"
        case facts.Exposed():
            where, others = ", ".join(fact.addresses), ", ".join(fact.urls)
            warning = exposed_warning(fact)
            return f"{warning}; listens on {where}; others use {others}; their agents show the token in {fact.kept_in}"
        case facts.Blocked():
            place = f" at {fact.where.file}:{fact.where.line}" if fact.where else ""
            return f"{fact.mod_id} blocked {fact.seconds:.1f} s{place}"
        case facts.LeftBehind():
            return f"{fact.mod_id} v{fact.generation} left behind: {'; '.join(fact.things)}"
        case facts.AgentProgram():
            return _program_words(fact)


def _program_words(fact: facts.AgentProgram) -> str:
    match fact.state:
        case facts.ProgramState.STARTED:
            return f"agent {fact.file} started (pid {fact.pid})"
        case facts.ProgramState.RESTARTED:
            return f"agent {fact.file} started again, its code changed (pid {fact.pid})"
        case facts.ProgramState.KEPT:
            return f"agent {fact.file} not restarted: {fact.why}; it runs on as it was"
        case facts.ProgramState.FAILED:
            return f"agent {fact.file} not started: {fact.why}; the next save tries again"
        case facts.ProgramState.ENDED if fact.why:
            return f"agent {fact.file} ended: {fact.why}"
        case facts.ProgramState.ENDED:
            how = (
                f"by signal {-fact.code}" if fact.code is not None and fact.code < 0 else f"with exit code {fact.code}"
            )
            return f"agent {fact.file} ended {how}; the next save starts it again"


def exposed_warning(fact: facts.Exposed) -> str:
    """Return the warning that other machines may connect."""
    return _PROXIED if all(is_loopback(each.rpartition(":")[0]) for each in fact.addresses) else _OPEN


def host_words(fact: facts.HostSeen) -> str:
    """What became of another host, in words, with what that means for events."""
    mods = ", ".join(fact.mods)
    match fact.state:
        case facts.HostState.CAME:
            return f"host {fact.host}" + (f" · runs {mods}" if mods else "")
        case facts.HostState.BACK:
            return f"host {fact.host} is back, {fact.seconds:.1f} s"
        case facts.HostState.LEFT:
            return f"host {fact.host} has left"
        case facts.HostState.AWAY:
            sits = "sit" if len(fact.mods) > 1 else "sits"
            then = f"events for it wait {fact.hold:.0f} s, then host_away" if fact.hold else "this host takes it over"
            waits = f": {mods} {sits} there, and {then}" if mods else ""
            return f"host {fact.host} unheard for {fact.seconds:.1f} s{waits} · its agents may come in here"


def replayed_to_dict(fact: facts.Replayed) -> forms.ReplayedForm:
    """Return the results of the pinned events after a save."""
    return {
        "mods": dict(fact.mods),
        "generation": max(fact.mods.values(), default=0),
        "same": fact.count(facts.PinResult.SAME),
        "differ": fact.count(facts.PinResult.DIFFERS, facts.PinResult.FIXED),
        "unsteady": fact.count(facts.PinResult.UNSTEADY),
        "cannot": fact.count(facts.PinResult.CANNOT),
        "of": fact.of,
        "skipped": fact.skipped,
        "duration_ms": fact.duration_ms,
        "pins": [form_of(each) for each in fact.pins],
    }


def error_line(error: facts.ErrorFacts, code: int, time: str) -> forms.ErrorLine:
    """Return why a command could not do what was asked, with its exit code."""
    return {"type": "error", "time": time, "error": error_to_dict(error), "exit_code": code}


def error_to_dict(error: facts.ErrorFacts) -> forms.ErrorForm:
    """Return an error with its place in the author's code, or null where that is unknown."""
    where = error.where
    return {
        "kind": error.kind,
        "message": error.message,
        "file": where.file if where else None,
        "line": where.line if where else None,
        "column": where.column if where else None,
        "hint": error.hint,
    }


def refusal_to_dict(error: facts.ErrorFacts) -> forms.OutcomeForm:
    """Return a problem in network.yaml in the form of an outcome: nothing was reconfigured.

    It is about no mod, so `mod_id`, `phase` and `generation` are null, and the agents were not
    counted.
    """
    action, status = Action.RECONFIGURE, facts.Status.ROLLED_BACK
    form = form_of(
        facts.Outcome(action, "", "", status, phase=Phase.COMPILE, generation=0, duration_ms=0.0, error=error)
    )
    form |= dict.fromkeys(("mod_id", "mod_path", "phase", "generation"))
    return cast("forms.OutcomeForm", {**form, "agents": {"connected": None, "dropped": 0}})


def plan_to_dict(plan: Plan) -> forms.PlanForm:
    """Return a plan with its reasons; `holds`: the steps that wait or were refused. Configurations
    of mods are left out: they may contain passwords."""
    return {
        "cause": plan.cause,
        "steps": [_reasoned(each) for each in plan.steps],
        "holds": [_reasoned(each) for each in plan.holds],
        "not_applied": [
            {"setting": each.setting, "running": _plain(each.running), "wanted": _plain(each.wanted)}
            for each in plan.not_applied
        ],
        "restart": None
        if plan.restart is None
        else {
            "reasons": list(plan.restart.reasons),
            "waits": plan.restart.waits,
            "mods": form_of(plan.restart.moves),
            "ends": list(plan.restart.ends),
        },
    }


def restarted_to_dict(fact: facts.Restarted) -> forms.RestartedForm:
    """Return a restart in place that was done."""
    return {
        "url": fact.url,
        "reasons": list(fact.reasons),
        "pause_ms": fact.pause_ms,
        "duration_ms": fact.duration_ms,
        "connections": {"kept": fact.kept, "closed": fact.closed},
        "agents": form_of(fact.agents),
        "mods": form_of(fact.mods),
        "ended": list(fact.ended),
        "failed": list(fact.failed),
    }


def _reasoned(step: Step | Hold) -> forms.StepForm:
    way = step.way if isinstance(step, Step) else facts.Way.IN_PLACE
    form: forms.StepForm = {"action": step.action, "mod_id": step.mod_id, "reason": step.reason, "way": way}
    if isinstance(step, Step) and step.came_with:
        form["came_with"] = step.came_with
    if isinstance(step, Step) and step.host:
        form["host"] = step.host
    if isinstance(step, Hold) and step.cascade:
        form["cascade"] = list(step.cascade)
    return form


def _plain(value: Any) -> str | int | float | bool | None:
    """Return a setting's value as JSON has it; NaN, infinity and composed values as text."""
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    return str(value)


def done_to_dict(done: facts.PlanDone) -> forms.DoneForm:
    """Return a plan that was carried out; `success`: every step was applied, none was held."""
    form: dict[str, Any] = {
        "success": all(each.status is facts.Status.APPLIED for each in done.outcomes) and not done.plan.holds,
        **plan_to_dict(done.plan),
        "outcomes": [form_of(each) for each in done.outcomes],
        "duration_ms": done.duration_ms,
        "agents": form_of(done.agents),
        "held": form_of(done.held),
    }
    if done.then is not None:
        form["then"] = done_to_dict(done.then)
    return cast("forms.DoneForm", form)


_SPECIAL: Mapping[type, Callable[[Any], Any]] = {
    facts.ErrorFacts: error_to_dict,
    facts.LineSeen: lambda line: {**_fields(line), "out": line.out or None},
    facts.ModAsked: lambda fact: {"agent": fact.agent_id, **_fields(fact)},
    facts.PackageMoved: lambda package: {"name": package.name, "from": package.before, "to": package.after},
    facts.PackagesInstalled: lambda fact: {**_fields(fact), "duration_ms": round(fact.duration_ms, 1)},
    facts.PhaseTook: lambda took: (took.phase, took.ms, took.thread),
    facts.PlanMade: lambda fact: {**plan_to_dict(fact.plan), "waits": fact.waits},
    facts.Replayed: replayed_to_dict,
    facts.Restarted: restarted_to_dict,
}
"""The facts whose form has other keys than their fields; `forms` has these forms."""

_NOT_TOLD: Mapping[type, frozenset[str]] = {
    facts.EngineSeen: frozenset({"hold"}),
    facts.Exposed: frozenset({"join_token"}),
    facts.HostSeen: frozenset({"hold"}),
    facts.HostsStarted: frozenset({"mods"}),
    facts.ModAsked: frozenset({"agent_id"}),
}
"""The fields that stay here: secrets, what only our sentences need, and what has another key."""

LINES: Mapping[type, str] = {
    facts.Ready: "ready",
    facts.PlanMade: "plan",
    facts.Outcome: "outcome",
    facts.Restarted: "restart",
    facts.Ignored: "ignored",
    facts.ModError: "mod_error",
    facts.SplitSeen: "split",
    facts.Guarded: "guard",
    facts.Compared: "compared",
    facts.AgentSeen: "agent",
    facts.Replayed: "replayed",
    facts.ContractChanged: "contract",
    facts.ModAsked: "asked",
    facts.ModBlocked: "blocked",
    facts.PackagesInstalled: "installed",
    facts.Stopped: "stopped",
}
"""The facts with a line of their own, and its `type`."""

ABOUT: Mapping[type, str] = {
    facts.Exposed: "exposed",
    facts.Blocked: "blocked",
    facts.LeftBehind: "left_behind",
    facts.AgentProgram: "agent_program",
    facts.HostSeen: "host",
    facts.EngineSeen: "engine",
}
"""The facts that are told in a `notice`, and what that says it is `about`."""
