"""The JSON lines are the interface that programs rely on: every object has exactly its keys."""

from __future__ import annotations

import io
import json
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from devserver.model.facts import (
    AgentSeen,
    AgentsSeen,
    Blocked,
    ConfigRefused,
    ErrorFacts,
    Fact,
    Frame,
    Held,
    Ignored,
    LeftBehind,
    ModError,
    ModRunning,
    Notice,
    Outcome,
    PlanDone,
    PlanMade,
    Ready,
    Status,
    Stopped,
)
from devserver.model.lifecycle import Action, Phase
from devserver.model.plan import Group, Hold, NotApplied, Plan, Step
from devserver.model.wire_form import error_from_dict, error_to_dict, outcome_from_dict, outcome_to_dict
from devserver.ui.jsonl import JsonLines

AT = datetime(2026, 1, 31, 12, 14, 2, 123456, tzinfo=timezone(timedelta(hours=2)))
ERROR = ErrorFacts("KeyError", "'column'", Frame("mods/kanban/mod.py", 63, 9, 12, "f", ((63, "x"),)), "trace", "hint")
ERROR_DICT = {"kind": "KeyError", "message": "'column'", "file": "mods/kanban/mod.py", "line": 63, "column": 9}
GOOD = Outcome(
    Action.RELOAD, "kanban", "mods.kanban", Status.APPLIED, Phase.CLOSE, 4, 12.5, "r", None, "n",
    AgentsSeen(3, 0), Held(2, 9.0),
)  # fmt: skip
BAD = Outcome(Action.LOAD, "wiki", "mods.wiki", Status.FAILED, Phase.HAND_OVER, 0, 1.0, error=ERROR)
GOOD_DICT = {
    "type": "outcome",
    "action": "reload",
    "mod_id": "kanban",
    "status": "applied",
    "phase": "close",
    "generation": 4,
    "duration_ms": 12.5,
    "error": None,
    "agents": {"connected": 3, "dropped": 0},
    "held": {"events": 2, "longest_ms": 9.0},
}
BAD_DICT = {
    "type": "outcome",
    "action": "load",
    "mod_id": "wiki",
    "status": "failed",
    "phase": "hand over",
    "generation": 0,
    "duration_ms": 1.0,
    "error": ERROR_DICT,
    "agents": {"connected": 0, "dropped": 0},
    "held": {"events": 0, "longest_ms": 0.0},
}
REFUSED_DICT = {
    "type": "outcome",
    "action": "reconfigure",
    "mod_id": None,
    "status": "rolled_back",
    "phase": None,
    "generation": None,
    "duration_ms": 0.0,
    "error": ERROR_DICT,
    "agents": {"connected": None, "dropped": 0},
    "held": {"events": 0, "longest_ms": 0.0},
}
STEP = Step(Action.LOAD, "search", "mods.search", "new in network.yaml")
PLAN = Plan(
    "network.yaml",
    (Group((STEP,)),),
    (Hold(Action.UNLOAD, "auth", "wiki needs it"),),
    (NotApplied("network.port", 8700, float("nan")),),
)
PLAN_DICT = {
    "type": "plan",
    "cause": "network.yaml",
    "steps": [{"action": "load", "mod_id": "search", "reason": "new in network.yaml"}],
    "holds": [{"action": "unload", "mod_id": "auth", "reason": "wiki needs it"}],
    "not_applied": [{"setting": "network.port", "running": 8700, "wanted": "nan"}],
}
READY = Ready("http://127.0.0.1:8700", (ModRunning("echo", "mods.echo", 1),), 412.3, ("mods/",), 41, 1, "inotify", "n")
READY_DICT = {
    "type": "ready",
    "url": "http://127.0.0.1:8700",
    "mods": [{"mod_id": "echo", "mod_path": "mods.echo", "generation": 1}],
    "ready_ms": 412.3,
    "watching": ["mods/"],
}


def told(*facts: Fact) -> list[dict[str, Any]]:
    """The objects written for some facts."""
    stream = io.StringIO()
    lines = JsonLines(stream, clock=lambda: AT)
    for fact in facts:
        lines.tell(fact)
    lines.close(10)
    return [json.loads(line) for line in stream.getvalue().splitlines()]


@pytest.mark.parametrize(
    ("fact", "objects"),
    [
        (READY, [READY_DICT]),
        (PlanMade(PLAN), [PLAN_DICT]),
        (PlanDone(PLAN, (GOOD, BAD), 20.0), [GOOD_DICT, BAD_DICT]),
        (GOOD, [GOOD_DICT]),
        (ConfigRefused((ERROR, ERROR)), [REFUSED_DICT, REFUSED_DICT]),
        (Ignored("notes.md", "not code"), [{"type": "ignored", "path": "notes.md", "rule": "not code"}]),
        (Notice("hello"), [{"type": "notice", "message": "hello"}]),
        (
            ModError("kanban", "task.moved", 4, ERROR),
            [{"type": "mod_error", "mod_id": "kanban", "event_name": "task.moved", "error": ERROR_DICT}],
        ),
        (
            Blocked("kanban", 1.04, Frame("mods/kanban/mod.py", 41)),
            [{"type": "notice", "message": "kanban blocked 1.0 s at mods/kanban/mod.py:41"}],
        ),
        (
            LeftBehind("kanban", 3, ("a thread", "a task")),
            [{"type": "notice", "message": "kanban v3 left behind: a thread; a task"}],
        ),
        (AgentSeen("ana", True, "ws"), []),
        (Stopped(1, 2, 3), [{"type": "stopped"}]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_each_fact_is_written_as_its_objects(fact: Fact, objects: list[dict[str, Any]]) -> None:
    """Each fact becomes exactly the objects that programs expect, with the time in UTC."""
    assert told(fact) == [each | {"time": "2026-01-31T10:14:02.123Z"} for each in objects]


def test_an_ignored_save_that_repeats_at_once_is_written_once() -> None:
    """A program that keeps the lines in the workspace does not feed on them; errors are all written."""
    ignored, error = Ignored("out.json", "not code"), ModError("kanban", "task.moved", 4, ERROR)
    assert [each["type"] for each in told(ignored, ignored, error, error)] == ["ignored", "mod_error", "mod_error"]


def test_an_outcome_survives_its_form() -> None:
    """What a program gets of an outcome says the same as the outcome, but for the words that only people get."""
    assert outcome_to_dict(outcome_from_dict(outcome_to_dict(GOOD))) == outcome_to_dict(GOOD)
    assert outcome_from_dict(outcome_to_dict(GOOD) | {"mod_path": "mods.kanban", "reason": "r", "note": "n"}) == GOOD


def test_an_error_survives_its_form() -> None:
    """Kind, message and place come back, and an error without a place stays without."""
    assert error_to_dict(error_from_dict(ERROR_DICT)) == ERROR_DICT
    assert error_from_dict(error_to_dict(ErrorFacts("KeyError", "1"))) == ErrorFacts("KeyError", "1")


@pytest.mark.parametrize("values", [{}, {"error": None}, {**GOOD_DICT, "action": "fly"}, {**GOOD_DICT, "agents": 3}])
def test_another_form_is_refused(values: dict[str, Any]) -> None:
    """An object that is no outcome is told apart."""
    with pytest.raises((KeyError, ValueError, TypeError)):
        outcome_from_dict(values)
