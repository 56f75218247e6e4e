"""Plans and their outcomes become blocks: one line for a good reload or a restart in place, a frame for a failed one,
rows for a change of network.yaml. Pure; prints nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from devserver.model.facts import Outcome, PlanDone, PlanMade, Restarted, Status
from devserver.model.lifecycle import Action, Way
from devserver.model.plan import Hold, Plan, Restart, StateMove, Step
from devserver.ui.frame import brief, mod_error_block, place
from devserver.ui.glyphs import RICH, Glyphs, Style
from devserver.ui.look import View
from devserver.ui.segments import Block, Lead, Line, Segment, dim, joined, plain, strong
from devserver.ui.words import count, listed, receipt, took


class _Words(NamedTuple):
    """The words about a step: behind the mod's name once it is applied, where it is held, where it failed."""

    done: str
    held: str
    failed: str


_WORDS: dict[Action, _Words] = {
    Action.LOAD: _Words("", "not loaded", "did not load"),
    Action.RELOAD: _Words("", "not reloaded", "did not load"),
    Action.UNLOAD: _Words(" unloaded", "not unloaded", "was not unloaded"),
    Action.RECONFIGURE: _Words(" reconfigured", "not reconfigured", "did not take its configuration"),
    Action.REORDER: _Words(" moved", "not moved", "kept its place"),
    Action.KEEP: _Words(" kept", "not kept", "was not kept"),
    Action.SPLIT: _Words("", "not split", "kept its agents"),
    Action.MOVE: _Words("", "not moved", "did not move"),
}
"""A generation alone means loaded."""

_CHANGES = (Action.SPLIT, Action.MOVE)
_NO_MOD = ("", "all")
_THROUGH = ", through "
_IMPORTED = ", imported by "
_MOST_REASONS = 4
_KEPT = "state kept"
_NOTHING_KEPT = "no state"
_FELL_WITH = "rolled back because "
"""The beginning of the notes of outcomes whose mod did nothing wrong itself."""


def plan_made(made: PlanMade, view: View) -> tuple[Block, ...]:
    """Return what a plan tells beforehand: rows if it waits or changes mods or settings."""
    plan = made.plan
    if not view.started:
        return ()
    if plan.restart is not None:
        return (restart_planned(plan.restart, view),)
    if made.waits or has_rows(plan):
        return (plan_rows(plan, view),)
    if plan.holds:
        return (Block((dim(f"{view.look.glyphs.quiet} {held_back(plan.holds)}"),)),)
    return ()


def held_back(holds: Sequence[Hold]) -> str:
    """Return what does not happen, and why; a hold about no mod has only the reason."""
    alike: dict[tuple[Action, str], list[str]] = {}
    for each in holds:
        alike.setdefault((each.action, each.reason), []).extend([] if each.mod_id in _NO_MOD else [each.mod_id])
    told = (f"{', '.join(mods)} {_WORDS[action].held}: {why}" if mods else why for (action, why), mods in alike.items())
    return joined(told, "; ")


def has_rows(plan: Plan) -> bool:
    """Return whether a plan does more than reload, so that a person sees it beforehand."""
    return bool(plan.not_applied) or any(step.action is not Action.RELOAD for step in plan.steps)


def plan_rows(plan: Plan, view: View) -> Block:
    """Return everything that a plan would do, a row for each action."""
    glyphs = view.look.glyphs
    head = (Segment(glyphs.change, Style.NOTE), plain(f" {plan.cause}{view.dot}plan"))
    names = [each.mod_id for each in plan.steps] + [each.mod_id for each in plan.holds]
    width = 0 if view.look.one_line else max(map(len, names), default=0)
    held = Segment(glyphs.held, Style.WARN)
    body: list[Line] = [_step_row(each, glyphs, width) for each in plan.steps]
    for hold in plan.holds:
        body.append((held, dim(f" {hold.mod_id:<{width}}  {_WORDS[hold.action].held}: {hold.reason}")))
    for setting in plan.not_applied:
        body.append((held, plain(f" {_in(setting.change, glyphs)}"), dim("  needs a restart")))
    return Block(head, body=tuple((plain("" if view.look.one_line else "  "), *row) for row in body))


def _step_row(step: Step, glyphs: Glyphs, width: int) -> Line:
    sign, style = {
        Action.LOAD: (glyphs.add, Style.GOOD),
        Action.UNLOAD: (glyphs.remove, Style.BAD),
    }.get(step.action, (glyphs.change, Style.WARN))
    what = step.mod_path if step.action is Action.LOAD and step.mod_path else step.action.value
    reason = f" {glyphs.dot} {_in(step.reason, glyphs)}" if step.reason else ""
    what += f" on {step.host}" if step.host and step.action is not Action.MOVE else ""
    return (Segment(sign, style), plain(f" {step.mod_id:<{width}}  {what}"), dim(reason))


def _in(reason: str, glyphs: Glyphs) -> str:
    """Return a reason with the arrows of these signs: plans have those of a terminal."""
    return reason.replace(RICH.arrow, glyphs.arrow)


def plan_done(done: PlanDone, view: View, times: int = 1) -> tuple[Block, ...]:
    """Return what a plan tells afterwards. Before the network is ready only failures are told: the
    banner tells the rest. `times`: how often in a row it came to the same."""
    good = [each for each in done.outcomes if each.status is Status.APPLIED]
    first: tuple[Block, ...] = ()
    by_restart = any(each.way is Way.RESTART for each in good)
    if good and view.started and not by_restart:
        # After a save of a mod its author looks for its version, so each is told.
        listed_before = has_rows(done.plan) and not done.plan.changed and not is_of_needs(done.plan)
        first = (_applied(done, view) if listed_before else counted(reload_line(good, done, view), times, view),)
    # Before the network is ready no plan is told, and its holds are told with the rest.
    told = without_held(done.outcomes, done.plan.holds) if view.started else done.outcomes
    others = trouble(told, done, view)
    if times > 1 and any(each.error is not None for each in told):
        # The source and the message stand above.
        others = tuple(counted(_shortened(each, view), times, view) for each in others)
    return first + others


def _shortened(block: Block, view: View) -> Block:
    """Return a failure that was just told, in one line: its headline and its place."""
    where = block.body[0] if block.details else ()
    return Block((*block.head, *((dim(view.dot), *where) if where else ())), lead=block.lead)


def counted(block: Block, times: int, view: View) -> Block:
    """Return a line that says how often in a row the same has come."""
    if times == 1:
        return block
    glyphs = view.look.glyphs
    return replace(block, head=(*block.head, dim(f"{view.dot}{glyphs.times}{times}")))


def became(done: PlanDone, view: View) -> tuple[Block, ...]:
    """Return the result of each mod of a plan, for a command that has not shown its rows."""
    good = [each for each in done.outcomes if each.status is Status.APPLIED]
    line = reload_line(good, done, view) if good else None
    return (*(() if line is None else (line,)), *trouble(done.outcomes, done, view))


def is_of_needs(plan: Plan) -> bool:
    """Return whether a plan loads what another mod needs, or unloads several mods."""
    along = any(step.came_with and step.action is Action.LOAD for step in plan.steps)
    return along or _only_unloads(plan.steps)


def _only_unloads(steps: Sequence[Step | Outcome]) -> bool:
    return bool(steps) and all(each.action is Action.UNLOAD for each in steps)


def _applied(done: PlanDone, view: View) -> Block:
    moved = joined((f"{each.mod_id} {each.note}" for each in done.outcomes if each.action is Action.MOVE), "; ")
    words = f"{view.dot}{_in(moved, view.look.glyphs)}" if moved else ""
    words += f"{view.dot}{receipt(done.agents, done.held)}"
    return Block((Segment("applied", Style.GOOD), plain(f" in {took(done.duration_ms)}"), dim(words)), lead=Lead.INDENT)


def outcome_told(outcome: Outcome, view: View) -> tuple[Block, ...]:
    """Return the block of one single step."""
    return plan_done(PlanDone(Plan(""), (outcome,), outcome.duration_ms, outcome.agents, outcome.held), view)


def reload_line(good: Sequence[Outcome], done: PlanDone, view: View) -> Block:
    """Return applied steps in a line: mods, duration, why (unless rows say it), state, agents."""
    glyphs = view.look.glyphs
    unloads = _only_unloads(good) and len(good) > 1
    names = joined((each.mod_id if unloads else _name(each) for each in good[:8]), ", " if unloads else "  ")
    more = f" {glyphs.more} {len(good) - 8} more" if len(good) > 8 else ""
    more += _WORDS[Action.UNLOAD].done if unloads else ""
    why = "" if has_rows(done.plan) else _in(_why([each.reason for each in good], glyphs.more), glyphs)
    # A reason that says so already ("in place, no reload") is not repeated.
    state = _state([each.note for each in good if each.note and each.note not in each.reason])
    said = joined((took(done.duration_ms), why, state, receipt(done.agents, done.held)), view.dot)
    signs = {Action.LOAD: glyphs.add, Action.UNLOAD: glyphs.remove, **dict.fromkeys(_CHANGES, glyphs.change)}
    actions = {each.action for each in good}
    sign = signs.get(good[0].action, glyphs.reloaded) if len(actions) == 1 else glyphs.reloaded
    return Block((Segment(f"{sign} ", Style.GOOD), strong(names), plain(more), dim(f"   {said}")))


def _state(notes: Sequence[str]) -> str:
    """Return what happened to the state of each mod. Keeping all of it is told once, and having
    none is not told."""
    if len(notes) == 1:
        return "" if notes[0] == _NOTHING_KEPT else notes[0].removeprefix(f"{_NOTHING_KEPT}; ")
    told = (_KEPT if each.startswith(_KEPT) else each for each in notes if each != _NOTHING_KEPT)
    return joined(told, "; ")


def _why(reasons: Sequence[str], more: str) -> str:
    """Return the reasons, each once; mods that import one source have one, without chains."""
    if len(reasons) == 1:
        return reasons[0]
    importers: dict[str, list[str]] = {}
    for reason in reasons:
        way, _, mod = reason.partition(_IMPORTED)
        importers.setdefault(way.partition(_THROUGH)[0], []).extend([mod] if mod else [])
    told = [f"{source}{_IMPORTED}{listed(mods, more)}" if mods else source for source, mods in importers.items()]
    shown = told if len(told) <= _MOST_REASONS else [*told[:_MOST_REASONS], f"{more} {len(told) - _MOST_REASONS} more"]
    return joined(shown, "; ")


def _name(outcome: Outcome) -> str:
    version = f" v{outcome.generation}" if outcome.generation else ""
    return f"{outcome.mod_id}{version}{_WORDS[outcome.action].done}{_on(outcome)}"


def _on(outcome: Outcome) -> str:
    return f" on {outcome.host}" if outcome.host else ""


def without_held(outcomes: Sequence[Outcome], holds: Sequence[Hold]) -> list[Outcome]:
    """Return the outcomes without those of held steps, which are told with the plan."""
    held = {(each.mod_id, each.action, each.reason) for each in holds}
    return [each for each in outcomes if (each.mod_id, each.action, each.reason) not in held]


def trouble(outcomes: Sequence[Outcome], done: PlanDone, view: View) -> tuple[Block, ...]:
    """Return what failed: a frame for each error, a line for mods that kept their generation."""
    failed = [each for each in outcomes if each.error is not None]
    # Mods that fail together carry the error of the one that is at fault.
    culprits = [each for each in failed if not each.note.startswith(_FELL_WITH)] or failed
    framed = tuple(_error_block(each, done, view) for each in culprits)
    others = [each for each in outcomes if each.status is not Status.APPLIED and each not in culprits]
    waiting = [each for each in others if each.status is Status.SKIPPED and not each.note]
    fell = [each for each in others if each not in waiting]
    told = ([_waiting(waiting, view)] if waiting else []) + ([_stayed(fell, view)] if fell else [])
    return (*framed, *told)


def _error_block(outcome: Outcome, done: PlanDone, view: View) -> Block:
    assert outcome.error is not None
    if outcome.status is Status.APPLIED:
        return _late_error(outcome, view)
    agents = done.agents
    dropped = f", {agents.dropped} dropped" if agents.dropped else ""
    # The wanted generation, if the step would have made one.
    wanted = f" v{outcome.generation + 1}" if outcome.action in (Action.LOAD, Action.RELOAD) else ""
    failed = (
        Segment(f"{view.look.glyphs.failed} ", Style.BAD),
        strong(f"{outcome.mod_id}{wanted}"),
        plain(f" {_WORDS[outcome.action].failed}{_on(outcome)}, {_what_runs(outcome)}"),
        dim(f"{view.dot}{count(agents.connected, 'agent')}{dropped}" if view.started else ""),
    )
    # A mod that was loaded by a command is in no list: its next save is that of a file which no mod imports.
    is_asked = outcome.action is Action.LOAD and outcome.reason == done.plan.cause
    return mod_error_block(failed, outcome.error, (outcome.note, "" if is_asked else "next save retries"), view)


def _late_error(outcome: Outcome, view: View) -> Block:
    """Return an error after the commit as a warning in one line: the new generation runs."""
    error, glyphs = outcome.error, view.look.glyphs
    assert error is not None
    where = (dim(view.dot), place(error.where)) if error.where else ()
    after = f"v{outcome.generation} runs" if outcome.generation else "is unloaded"
    words = f" {after}, but in {outcome.phase.value}: "
    return Block(
        (Segment(f"{glyphs.warning} ", Style.WARN), strong(outcome.mod_id), plain(words + brief(error)), *where)
    )


def _what_runs(outcome: Outcome) -> str:
    return f"v{outcome.generation} keeps running" if outcome.generation else f"{outcome.mod_id} is not running"


def _waiting(outcomes: Sequence[Outcome], view: View) -> Block:
    """Return the steps that were not tried, and why."""
    holds = [Hold(each.action, each.mod_id, f"{each.reason}{_still_runs(each)}") for each in outcomes]
    return Block((dim(f"{view.look.glyphs.quiet} {held_back(holds)}"),))


def _still_runs(outcome: Outcome) -> str:
    is_said = not outcome.generation or "keeps running" in outcome.reason
    return "" if is_said else f"; v{outcome.generation} keeps running"


def _stayed(outcomes: Sequence[Outcome], view: View) -> Block:
    glyphs = view.look.glyphs
    runs = [_what_runs(each) if each.generation else "not running" for each in outcomes]
    names = listed([f"{each.mod_id} ({what})" for each, what in zip(outcomes, runs, strict=True)], glyphs.more)
    why = joined((each.note or each.reason for each in outcomes), "; ")
    return Block((dim(joined((f"{glyphs.quiet} not changed: {names}", why), view.dot)),))


# Restarts in place


def restart_planned(restart: Restart, view: View) -> Block:
    """Return what a plan tells of a restart: why, what moves, is lost and ends; or waits."""
    glyphs = view.look.glyphs
    why = listed(restart.reasons, glyphs.more, most=3)
    if restart.waits:
        words = f" restart needed: {why}{view.dot}not done: {restart.waits}"
        return Block((Segment(glyphs.held, Style.WARN), plain(words)))
    costs = joined((_moved(restart.moves), *_lost(restart.moves), *_ended(restart.ends)), "; ")
    words = joined((f" restart in place: {why}", costs), view.dot)
    return Block((Segment(glyphs.change, Style.NOTE), plain(words)))


def restarted(fact: Restarted, view: View) -> Block:
    """Return the result of a restart: how long agents waited, what was kept, which states moved."""
    glyphs = view.look.glyphs
    closed = f", {fact.closed} closed" if fact.closed else ""
    connections = f"{count(fact.kept, 'connection')} kept{closed}" if fact.kept or fact.closed else ""
    agents = f"{count(fact.agents.connected, 'agent')}, {fact.agents.dropped} dropped"
    failed = f"did not come up: {listed(fact.failed, glyphs.more)}" if fact.failed else ""
    details = joined((_moved(fact.mods), *_lost(fact.mods), *_ended(fact.ended)), "; ")
    said = joined((f"paused {took(fact.pause_ms)}", connections, agents, details, failed), view.dot)
    why = listed(fact.reasons, glyphs.more, most=3)
    mark = glyphs.reloaded if not view.look.one_line else glyphs.failed if fact.failed else glyphs.quiet
    sign = Segment(f"{mark} ", Style.BAD if fact.failed else Style.GOOD)
    return Block((sign, strong("restarted in place"), plain(f"   {why}"), dim(f"{view.dot}{said}")))


def _moved(moves: Sequence[StateMove]) -> str:
    keys = sum(len(each.moves) for each in moves)
    return f"state moves ({count(keys, 'key')})" if keys else ""


def _lost(moves: Sequence[StateMove]) -> list[str]:
    return [f"{each.mod_id} loses {what}" for each in moves for what in each.lost]


def _ended(processes: Sequence[str]) -> list[str]:
    return [f"ends {each}" for each in processes]
