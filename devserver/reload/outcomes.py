"""The outcome of each step as a fact: applied, rolled back, failed or skipped, and what runs now.

Pure, except for reading the shown line of network.yaml.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from devserver.errors import ModNotFound
from devserver.live.registry import Registry
from devserver.loader.census import STATE_KEY
from devserver.model.event import EventResponse
from devserver.model.facts import AgentsSeen, ErrorFacts, Frame, Held, Holder, Outcome, PlanDone, Status
from devserver.model.lifecycle import Action, Phase
from devserver.model.names import module_of
from devserver.model.plan import Hold, Step
from devserver.reload.carried import Candidate, Carried
from devserver.reload.error_facts import excerpt


def outcome_of(candidate: Candidate, carried: Carried, error: ErrorFacts | None, agents: AgentsSeen) -> Outcome:
    """Return the outcome of a carried out step. `error`: of the whole transaction, or None."""
    step = candidate.step
    live = candidate.slot.live if candidate.slot is not None else None
    generation = live.number if live is not None else 0
    return Outcome(
        step.action,
        step.mod_id,
        step.mod_path,
        _status(error, generation),
        phase=carried.phase,
        generation=generation,
        duration_ms=carried.duration * 1000,
        reason=step.reason,
        error=error,
        note=_note(candidate, carried),
        agents=agents,
        held=candidate.held,
        phases=carried.phases,
        stale_keys=candidate.transfer.stale_keys if error is None and candidate.transfer is not None else (),
    )


def _status(error: ErrorFacts | None, generation: int) -> Status:
    if error is None:
        return Status.APPLIED
    return Status.ROLLED_BACK if generation else Status.FAILED


def _note(candidate: Candidate, carried: Carried) -> str:
    failure = carried.failure
    if failure is None:
        return candidate.note
    if carried.undo_failed:
        return f"undoing it failed too: {carried.undo_failed!r}"
    return "" if failure.mod_id == candidate.step.mod_id else f"rolled back because {failure.mod_id} failed"


def held_outcome(hold: Hold, registry: Registry, config_file: Path) -> Outcome:
    """Return a step that the plan did not take, and why; of a missing mod with its place in network.yaml."""
    slot = registry.find(hold.mod_path or hold.mod_id)
    live = slot.live if slot is not None else None
    path = slot.mod_path if slot is not None else hold.mod_path or hold.mod_id
    error = None
    if hold.named_at is not None:
        line, column = hold.named_at
        where = Frame(config_file.name, line, column, excerpt=excerpt(str(config_file), line))
        error = ErrorFacts(ModNotFound.__name__, hold.reason, where)
    return _skipped(hold, path, 0 if live is None else live.number, hold.reason, error)


def keys_named(outcome: Outcome) -> set[str]:
    """Return the keys of a state that an outcome says run replaced code, as the census calls them."""
    return {f'{STATE_KEY}"{key}"' for key in outcome.stale_keys}


def with_holders(outcome: Outcome, holders: tuple[Holder, ...]) -> Outcome:
    """Return an outcome with the holders of its replaced code that its note does not name."""
    others = [each for each in holders if each.what not in keys_named(outcome)]
    if not others:
        return outcome
    words = "; ".join(f"old code of {each.module} v{each.generation} is held by {each.what}" for each in others)
    return replace(outcome, holders=holders, note=f"{outcome.note}; {words}" if outcome.note else words)


def skipped_outcome(step: Step, reason: str, generation: int) -> Outcome:
    """Return a step that was not tried, because another one that it needs did not succeed."""
    return _skipped(step, step.mod_path, generation, reason)


def _skipped(step: Step | Hold, path: str, generation: int, reason: str, error: ErrorFacts | None = None) -> Outcome:
    return Outcome(
        step.action,
        step.mod_id,
        path,
        Status.SKIPPED,
        phase=Phase.COMPILE,
        generation=generation,
        duration_ms=0.0,
        reason=reason,
        error=error,
    )


def all_held(outcomes: Sequence[Outcome]) -> Held:
    """Return the number of events that waited in a whole plan, and the longest wait."""
    return Held(
        sum(each.held.events for each in outcomes), max((each.held.longest_ms for each in outcomes), default=0.0)
    )


_VERBS = {
    Action.LOAD: "loaded",
    Action.UNLOAD: "unloaded",
    Action.KEEP: "kept",
    Action.SPLIT: "split",
    Action.MOVE: "moved",
}


def response_of(done: PlanDone, mod: str) -> EventResponse:
    """Return the answer to the caller that asked for one mod: others may go with it."""
    own = (each for each in done.outcomes if mod == each.mod_id or module_of(mod) == module_of(each.mod_path))
    outcome = next(own, done.outcomes[0])
    data = {
        "mod_id": outcome.mod_id,
        "mod_path": outcome.mod_path,
        "generation": outcome.generation,
        "duration_ms": round(outcome.duration_ms, 3),
    }
    if done.plan.stale:
        data["code"] = "stale_generation"
    if outcome.status is Status.APPLIED:
        verb = _VERBS.get(outcome.action, "reloaded")
        return EventResponse(True, f"Successfully {verb} mod: {outcome.mod_id}", data)
    running = (
        f"; v{outcome.generation} keeps running" if outcome.generation and "keeps running" not in outcome.reason else ""
    )
    why = str(outcome.error) if outcome.error is not None else outcome.reason
    at = f" ({outcome.phase.value})" if outcome.error is not None else ""
    # A hold of no mod is about the one that was asked for.
    named = outcome.mod_id or mod
    return EventResponse(False, f"Failed to {outcome.action.value} mod {named}{at}: {why}{running}", data)
