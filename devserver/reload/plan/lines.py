"""Versions side by side: which lines come, go and change, and the result. Pure, as all of `plan`.

A line is a mod of its own to the rest of `plan`: it is loaded, reloaded, rolled back and unloaded
like any other. Here are the differences: it runs beside its mod, the state of one of them stays
when it ends, and if its code is the mod's own file on disk, the mod keeps its loaded code.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from devserver.model.change import DropAsked, Keep, LineAsked, PromoteAsked, SplitAsked
from devserver.model.config import ModSpec
from devserver.model.lifecycle import Action, HandOver
from devserver.model.names import module_of
from devserver.model.plan import Group, Hold, LiveMod, Plan, Step
from devserver.model.split import Line, StateMode, main_of, shown_share
from devserver.reload.plan.loads import loads, unload_step
from devserver.reload.plan.reloads import own_code, reloads, together
from devserver.reload.plan.situation import Situation, not_loaded

_ROUNDING = 1e-9


def for_line(trigger: LineAsked, situation: Situation) -> Plan:
    """Load a version beside a mod that runs."""
    main = situation.find(trigger.main)
    if main is None:
        return _held(trigger.cause, Action.LOAD, trigger.main, not_loaded(trigger.main, situation))
    line, mod_id = trigger.line, f"{main.mod_id}@{trigger.line.label}"
    known = situation.find(mod_id)
    problem = _why_no_line(main, line, situation)
    if known is not None:
        problem = f"{mod_id} runs already; oa-dev split, promote or drop it"
    if problem is not None:
        return _held(trigger.cause, Action.LOAD, mod_id, f"{problem}; {_runs_on(main)}")
    config = main.config if trigger.config is None else trigger.config
    spec = ModSpec(f"{module_of(main.mod_path)}@{line.label}", config, beside=line)
    coming = loads([spec], situation, describe(line, main), listed=False)
    return Plan(trigger.cause, coming.groups, tuple(coming.holds))


def describe(line: Line, main: LiveMod | None = None) -> str:
    """Describe a line in few words: its code, the agents that it gets, its state."""
    state = "" if line.rule.shadow else f"state {line.state.value}"
    state += f" with {main.mod_id}" if main is not None and state and line.state is StateMode.SHARED else ""
    guard = str(line.guard) if line.guard is not None else ""
    code = f"{line.versions} from an index" if line.versions else line.code or "the file on disk"
    return " · ".join(filter(None, (code, str(line.rule), state, guard)))


def _why_no_line(main: LiveMod, line: Line, situation: Situation) -> str | None:
    """Return why no such line can run beside a mod, or None."""
    if main.line is not None:
        return f"{main.mod_id} is a line itself"
    if main.host:
        return f"it runs on {main.host}, and versions beside a mod run where network.yaml is"
    if main.hand_over is HandOver.EXCLUSIVE:
        return "it holds what only one can have (reload_mode is exclusive)"
    if not line.code and not main.reloadable:
        return f"{main.mod_path} belongs to an installed package, of which a process has one version"
    if line.state is StateMode.SHARED and not line.rule.shadow and (main.is_bridged or main.captures):
        why = "keeps its data in itself" if main.is_bridged else "hands its state over itself (capture_state)"
        return f"{main.mod_id} {why}: say state: copy or empty"
    if not line.code and (other := next((each for each in situation.lines_of(main) if each.is_of_disk), None)):
        return f"the file on disk runs as {other.mod_id} already"
    return too_much(line, situation.lines_of(main))


def too_much(line: Line, others: Iterable[LiveMod]) -> str | None:
    """Return that the shares of a mod's lines are more than all agents, or None."""
    shares = [each.line.rule.share for each in others if each.line is not None and each.line.label != line.label]
    total = sum((line.rule.share, *shares))
    return f"the shares of all lines would be {shown_share(total)}" if total > 1 + _ROUNDING else None


# What network.yaml asks for


def changed_line(mod: LiveMod, spec: ModSpec) -> Step | None:
    """Return the step for a line that network.yaml has changed, or None if it has not."""
    if mod.line is None or spec.beside is None or mod.line == spec.beside:
        return None
    step = Step(Action.SPLIT, mod.mod_id, mod.mod_path, "", config=mod.config, listed=True, line=spec.beside)
    return _changed(mod, step)


def _changed(mod: LiveMod, step: Step) -> Step:
    """Return the step that changes a line: a reload if its code or its state changes."""
    assert mod.line is not None and step.line is not None
    before, after = mod.line, step.line
    step = replace(step, reason=f"{before.rule} → {after.rule}" if before.rule != after.rule else describe(after))
    if (before.state, before.code, before.rule.shadow) == (after.state, after.code, after.rule.shadow):
        return step
    return replace(step, action=Action.RELOAD, modules=(mod.entry,) if before.code == after.code else ())


def for_split(trigger: SplitAsked, situation: Situation) -> Plan:
    """Let a line get other agents."""
    mod = situation.find(trigger.line)
    if mod is None or mod.line is None:
        return _no_line(trigger.cause, Action.SPLIT, trigger.line, situation)
    rule, main = trigger.rule, situation.find(main_of(mod.mod_id))
    state = mod.line.state
    if rule.shadow != mod.line.rule.shadow and main is not None:
        # The events in the state of a shadow never happened.
        unshared = main.is_bridged or main.captures
        state = StateMode.COPY if rule.shadow or unshared else StateMode.SHARED
    line = replace(mod.line, rule=rule, state=state)
    problem = too_much(line, situation.lines_of(main) if main is not None else ())
    if problem is not None:
        return _held(trigger.cause, Action.SPLIT, mod.mod_id, problem)
    if line == mod.line and not mod.out:
        return _held(trigger.cause, Action.SPLIT, mod.mod_id, f"it gets {rule} already")
    step = Step(Action.SPLIT, mod.mod_id, mod.mod_path, trigger.cause, config=mod.config, listed=mod.listed, line=line)
    return Plan(trigger.cause, (Group((_changed(mod, step),)),))


# The end of a line


def for_promote(trigger: PromoteAsked, situation: Situation) -> Plan:
    """Let a line become its mod: the mod is reloaded with the line's code, and the line ends, as one."""
    mod = situation.find(trigger.line)
    main = situation.find(main_of(mod.mod_id)) if mod is not None and mod.line is not None else None
    if mod is None or mod.line is None or main is None:
        return _no_line(trigger.cause, Action.RELOAD, trigger.line, situation)
    if (kept := _unsaid(mod, trigger.keep, "promote")) is not None:
        return _held(trigger.cause, Action.RELOAD, main.mod_id, kept)
    is_written = trigger.written and mod.line.versions
    reason = f"was {mod.mod_id}{'' if is_written else _until_next_start(mod, main)}"
    if mod.is_of_disk:
        steps = reloads(situation, own_code(main, situation), {main.mod_id: reason})
    else:
        steps = [
            Step(
                Action.RELOAD,
                main.mod_id,
                main.mod_path,
                reason,
                config=mod.config,
                listed=main.listed,
                code=mod.code_path,
            )
        ]
    groups = tuple(_with_end(each, main, unload_step(mod, "no longer needed")) for each in together(steps, situation))
    return Plan(trigger.cause, groups, promotes=mod.mod_id, keep=trigger.keep)


def _until_next_start(mod: LiveMod, main: LiveMod) -> str:
    """Return what network.yaml still says otherwise: a start runs that, not the code that is promoted."""
    assert mod.line is not None
    if mod.is_of_disk or not main.listed:
        return ""
    if mod.line.versions:
        entry = f"give {main.mod_path} version: {mod.line.versions!r}" + (
            f" and take label {mod.line.label} out of its versions" if mod.listed else ""
        )
        return f"; the next start runs the version before: in network.yaml {entry}, then oa-dev sync"
    return f"; the next start runs the code before: network.yaml lists {main.mod_path}, not {mod.line.code}"


def _with_end(group: Group, main: LiveMod, end: Step) -> Group:
    is_it = any(step.mod_id == main.mod_id for step in group.steps)
    return replace(group, steps=(*group.steps, end)) if is_it else group


def for_drop(trigger: DropAsked, situation: Situation) -> Plan:
    """End a line: its agents go back to the main line."""
    mod = situation.find(trigger.line)
    if mod is None or mod.line is None:
        return _no_line(trigger.cause, Action.UNLOAD, trigger.line, situation)
    if (kept := _unsaid(mod, trigger.keep, "drop")) is not None:
        return _held(trigger.cause, Action.UNLOAD, mod.mod_id, kept)
    return Plan(trigger.cause, (Group((unload_step(mod, f"all back to {main_of(mod.mod_id)}"),)),), keep=trigger.keep)


def _unsaid(mod: LiveMod, keep: Keep, what: str) -> str | None:
    """Return the hold until the caller says whose state stays, if a line that got events has its own."""
    assert mod.line is not None
    is_own = mod.line.state is not StateMode.SHARED and not mod.line.rule.shadow
    if keep or not is_own or not mod.handled:
        return None
    events = f"{mod.handled} event" if mod.handled == 1 else f"{mod.handled} events"
    return (
        f"{mod.mod_id} has a state of its own and handled {events}: "
        f"{what} --main keeps the state of {main_of(mod.mod_id)}, --mine that of {mod.mod_id}"
    )


def beside(mod: LiveMod, situation: Situation) -> str | None:
    """Return that lines run beside a mod, which cannot go before them; or None."""
    lines = [each.mod_id for each in situation.lines_of(mod)]
    verb = "are" if len(lines) > 1 else "is"
    them = "them" if len(lines) > 1 else "it"
    return f"{', '.join(lines)} {verb} beside it: promote or drop {them} first" if lines else None


def why_pinned(mod: LiveMod, situation: Situation) -> str:
    """Return why a mod whose saves go to a line is not reloaded."""
    line = next(each for each in situation.lines_of(mod) if each.is_of_disk)
    return f"saves of it run as {line.mod_id}: promote or drop that first; {_runs_on(mod)}"


def _no_line(cause: str, action: Action, name: str, situation: Situation) -> Plan:
    # Of no mod: only the reason is told, which names what there is.
    return _held(cause, action, "", no_line(name, situation))


def no_line(name: str, situation: Situation) -> str:
    """Return why no line with this name runs: the versions that its mod has."""
    main = situation.find(main_of(name))
    if main is None:
        return not_loaded(main_of(name), situation)
    labels = [each.line.label for each in situation.lines_of(main) if each.line is not None]
    if not labels and name == main.mod_id:
        return f"{main.mod_id} has no version beside it: oa-dev try {main.mod_id} makes one"
    return f"there is no {name}; {main.mod_id} has {', '.join(('main', *labels))}"


def _runs_on(mod: LiveMod) -> str:
    return f"{mod.mod_id} v{mod.generation} keeps running"


def _held(cause: str, action: Action, mod_id: str, reason: str) -> Plan:
    return Plan(cause, holds=(Hold(action, mod_id, reason),))
