"""The JSON lines are the interface that programs rely on: every object has exactly its keys."""

from __future__ import annotations

import io
import json
from datetime import datetime, timedelta, timezone
from typing import Any, get_args

import pytest
from pydantic import TypeAdapter, ValidationError

from devserver.model import forms
from devserver.model.facts import (
    AgentProgram,
    AgentSeen,
    AgentsSeen,
    Blocked,
    Compared,
    ConfigRefused,
    ContractChanged,
    EngineSeen,
    ErrorFacts,
    Exposed,
    Fact,
    Frame,
    Guarded,
    Held,
    Holder,
    HostSeen,
    HostState,
    Ignored,
    LeftBehind,
    LineSeen,
    LostEvent,
    ModAsked,
    ModBlocked,
    ModError,
    ModRunning,
    Notice,
    Outcome,
    PackageMoved,
    PackagesInstalled,
    PhaseTook,
    PinReplayed,
    PinResult,
    PlanDone,
    PlanMade,
    ProgramState,
    Ready,
    Replayed,
    Restarted,
    ShapeChange,
    SplitSeen,
    Status,
    Stopped,
    Way,
)
from devserver.model.lifecycle import Action, Phase, Thread
from devserver.model.observation import Differs
from devserver.model.plan import Group, Hold, NotApplied, Plan, StateMove, Step
from devserver.model.wire_form import error_to_dict, form_of
from devserver.model.wire_read import error_from_dict, outcome_from_dict
from devserver.ui.jsonl import JsonLines

AT = datetime(2026, 1, 31, 12, 14, 2, 123456, tzinfo=timezone(timedelta(hours=2)))
ERROR = ErrorFacts("KeyError", "'column'", Frame("mods/kanban/mod.py", 63, 9, 12, "f", ((63, "x"),)), "trace", "hint")
ERROR_DICT = {"kind": "KeyError", "message": "'column'", "file": "mods/kanban/mod.py", "line": 63, "column": 9}
ERROR_DICT |= {"hint": "hint"}
GOOD = Outcome(
    Action.RELOAD,
    "kanban",
    "mods.kanban",
    Status.APPLIED,
    phase=Phase.CLOSE,
    generation=4,
    duration_ms=12.5,
    reason="r",
    note="n",
    agents=AgentsSeen(3, 0),
    held=Held(2, 9.0),
    way=Way.RESTART,
    stale_keys=("queue",),
    phases=(PhaseTook(Phase.COMPILE, 1.5, Thread.BUILD),),
    holders=(Holder("mods.chat", 3, 'the task "poll"', Frame("mods/chat.py", 7)), Holder("mods.chat", 2, "a thread")),
)
BAD = Outcome(
    Action.LOAD, "wiki", "mods.wiki", Status.FAILED, phase=Phase.HAND_OVER, generation=0, duration_ms=1.0, error=ERROR
)
GOOD_DICT = {
    "type": "outcome",
    "action": "reload",
    "mod_id": "kanban",
    "mod_path": "mods.kanban",
    "status": "applied",
    "phase": "close",
    "generation": 4,
    "duration_ms": 12.5,
    "reason": "r",
    "error": None,
    "note": "n",
    "agents": {"connected": 3, "dropped": 0},
    "held": {"events": 2, "longest_ms": 9.0},
    "way": "restart",
    "stale_keys": ["queue"],
    "phases": [["compile", 1.5, "build"]],
    "holders": [
        {"module": "mods.chat", "generation": 3, "what": 'the task "poll"', "file": "mods/chat.py", "line": 7},
        {"module": "mods.chat", "generation": 2, "what": "a thread", "file": None, "line": None},
    ],
    "host": "",
}
BAD_DICT = {
    "type": "outcome",
    "action": "load",
    "mod_id": "wiki",
    "mod_path": "mods.wiki",
    "status": "failed",
    "phase": "hand over",
    "generation": 0,
    "duration_ms": 1.0,
    "reason": "",
    "error": ERROR_DICT,
    "note": "",
    "agents": {"connected": 0, "dropped": 0},
    "held": {"events": 0, "longest_ms": 0.0},
    "way": "in_place",
    "stale_keys": [],
    "phases": [],
    "holders": [],
    "host": "",
}
REFUSED_DICT = {
    **BAD_DICT,
    **dict.fromkeys(("mod_id", "mod_path", "phase", "generation")),
    "action": "reconfigure",
    "status": "rolled_back",
    "duration_ms": 0.0,
    "agents": {"connected": None, "dropped": 0},
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
    "steps": [{"action": "load", "mod_id": "search", "reason": "new in network.yaml", "way": "in_place"}],
    "holds": [{"action": "unload", "mod_id": "auth", "reason": "wiki needs it", "way": "in_place"}],
    "not_applied": [{"setting": "network.port", "running": 8700, "wanted": "nan"}],
    "restart": None,
    "waits": False,
}
MOVE = StateMove(mod_id="wiki", mod_path="mods.wiki", generation=3, moves=("'pages'",), lost=("key 'lock' (x)",))
RESTARTED = Restarted(
    url="http://127.0.0.1:8700", reasons=(".env changed",), pause_ms=310.5, duration_ms=700.0, kept=20, closed=1,
    agents=AgentsSeen(3, 0), mods=(MOVE,), ended=("process 7 (sleep 9)",), failed=("mods.kanban",),
)  # fmt: skip
RESTARTED_DICT = {
    "type": "restart",
    "url": "http://127.0.0.1:8700",
    "reasons": [".env changed"],
    "pause_ms": 310.5,
    "duration_ms": 700.0,
    "connections": {"kept": 20, "closed": 1},
    "agents": {"connected": 3, "dropped": 0},
    "mods": [
        {"mod_id": "wiki", "mod_path": "mods.wiki", "generation": 3, "moves": ["'pages'"], "lost": ["key 'lock' (x)"]}
    ],
    "ended": ["process 7 (sleep 9)"],
    "failed": ["mods.kanban"],
}
READY = Ready("http://127.0.0.1:8700", (ModRunning("echo", "mods.echo", 1),), 412.3, ("mods/",), 41, 1, "inotify", "n")
READY_DICT = {
    "type": "ready",
    "url": "http://127.0.0.1:8700",
    "mods": [{"mod_id": "echo", "mod_path": "mods.echo", "generation": 1}],
    "ready_ms": 412.3,
    "watching": ["mods/"],
    "files": 41,
    "disabled": 1,
    "watcher": "inotify",
    "name": "n",
    "page": "",
    "exposed": False,
    "hosts": None,
}


def told(*facts: Fact) -> list[dict[str, Any]]:
    """The objects written for some facts."""
    stream = io.StringIO()
    lines = JsonLines(stream, clock=lambda: AT)
    for fact in facts:
        lines.tell(fact)
    lines.close(10)
    return [json.loads(line) for line in stream.getvalue().splitlines()]


EXPOSED_SENTENCE = (
    "open to other machines, unencrypted: anyone on the way can read and change what agents send; "
    "listens on 10.0.0.7:8700; others use http://dev.example:8700; their agents show the token in .oa-dev/join_token"
)
FACTS: list[tuple[Fact, list[dict[str, Any]]]] = [
    (READY, [READY_DICT]),
    (PlanMade(PLAN), [PLAN_DICT]),
    (PlanDone(PLAN, (GOOD, BAD), 20.0), [GOOD_DICT, BAD_DICT]),
    (GOOD, [GOOD_DICT]),
    (RESTARTED, [RESTARTED_DICT]),
    (ConfigRefused((ERROR, ERROR)), [REFUSED_DICT, REFUSED_DICT]),
    (Ignored("notes.md", "not code"), [{"type": "ignored", "path": "notes.md", "rule": "not code"}]),
    (Notice("hello"), [{"type": "notice", "message": "hello"}]),
    (
        ModError("kanban", "task.moved", 4, ERROR),
        [
            {"type": "mod_error", "mod_id": "kanban", "event_name": "task.moved", "generation": 4}
            | {"error": ERROR_DICT}
        ],
    ),
    (
        SplitSeen("wiki", (LineSeen("next", "10 % of agents", 0.1, ("ana",)),), 3),
        [
            {"type": "split", "mod_id": "wiki", "agents": 3}
            | {"lines": [{"label": "next", "gets": "10 % of agents", "share": 0.1, "agents": ["ana"], "out": None}]}
        ],
    ),
    (
        Guarded("wiki@next", "wiki", 2, "6 of its last 6 failed"),
        [
            {"type": "guard", "mod_id": "wiki@next", "main": "wiki", "generation": 2}
            | {"reason": "6 of its last 6 failed"}
        ],
    ),
    (
        Compared("wiki@next", "wiki", 100, 97, 3, 1, 0),
        [
            {"type": "compared", "mod_id": "wiki@next", "main": "wiki", "events": 100}
            | {"same": 97, "other": 3, "raised": 1, "busy": 0}
        ],
    ),
    (
        Blocked("kanban", 1.04, Frame("mods/kanban/mod.py", 41)),
        [
            {"type": "notice", "message": "kanban blocked 1.0 s at mods/kanban/mod.py:41", "about": "blocked"}
            | {"mod_id": "kanban", "seconds": 1.04, "file": "mods/kanban/mod.py", "line": 41}
        ],
    ),
    (
        LeftBehind("kanban", 3, ("a thread", "a task")),
        [
            {"type": "notice", "message": "kanban v3 left behind: a thread; a task", "about": "left_behind"}
            | {"mod_id": "kanban", "generation": 3, "things": ["a thread", "a task"]}
        ],
    ),
    (
        Exposed(("10.0.0.7:8700",), ("http://dev.example:8700",), "a-token", ".oa-dev/join_token"),
        [
            {"type": "notice", "message": EXPOSED_SENTENCE, "about": "exposed", "kept_in": ".oa-dev/join_token"}
            | {"addresses": ["10.0.0.7:8700"], "urls": ["http://dev.example:8700"]}
        ],
    ),
    (
        AgentSeen("ana", True, "ws"),
        [{"type": "agent", "agent_id": "ana", "came": True, "transport": "ws"}],
    ),
    (
        HostSeen("gpu-1", HostState.AWAY, 2.7, ("wiki",), 5.0),
        [
            {"type": "notice", "about": "host", "host": "gpu-1", "state": "away", "seconds": 2.7, "mods": ["wiki"]}
            | {
                "message": "host gpu-1 unheard for 2.7 s: wiki sits there, and events for it wait 5 s, then host_away"
                " · its agents may come in here"
            }
        ],
    ),
    (
        EngineSeen(HostState.BACK, 1.4),
        [
            {
                "type": "notice",
                "about": "engine",
                "state": "back",
                "seconds": 1.4,
                "message": "the engine is back, 1.4 s",
            }
        ],
    ),
    (
        AgentProgram("agents/ana.py", ProgramState.ENDED, code=3),
        [
            {"type": "notice", "about": "agent_program", "file": "agents/ana.py", "state": "ended", "pid": None}
            | {
                "code": 3,
                "why": "",
                "message": "agent agents/ana.py ended with exit code 3; the next save starts it again",
            }
        ],
    ),
    (
        ContractChanged(
            (LostEvent("wiki.page.delete", 4, ("ana", "critic")),),
            (ShapeChange("wiki.page.edit", "answer", "version", "int", "str", ("ana",)),),
        ),
        [
            {
                "type": "contract",
                "lost": [{"event_name": "wiki.page.delete", "seen": 4, "senders": ["ana", "critic"]}],
                "changed": [
                    {
                        "event_name": "wiki.page.edit",
                        "part": "answer",
                        "path": "version",
                        "before": "int",
                        "after": "str",
                        "agents": ["ana"],
                    }
                ],
            }
        ],
    ),
    (
        Replayed(
            mods={"wiki": 5},
            pins=(
                PinReplayed(
                    name="wiki.page.edit-57",
                    number=57,
                    event_name="wiki.page.edit",
                    result=PinResult.DIFFERS,
                    differences=(Differs("answer.data.version", 8, "8"),),
                ),
            ),
            of=1,
            duration_ms=21.0,
        ),
        [
            {"type": "replayed", "mods": {"wiki": 5}, "generation": 5, "same": 0, "differ": 1}
            | {"unsteady": 0, "cannot": 0, "of": 1}
            | {"skipped": 0, "duration_ms": 21.0}
            | {
                "pins": [
                    {"name": "wiki.page.edit-57", "number": 57, "event_name": "wiki.page.edit", "result": "differs"}
                    | {"why": ""}
                    | {"differences": [{"path": "answer.data.version", "before": 8, "after": "8", "kind": "changed"}]}
                ]
            }
        ],
    ),
    (
        ModAsked(number=3, agent_id="builder", name="polls", version="1.0.0", catalogue="mods-index", why="a vote"),
        [
            {"type": "asked", "number": 3, "agent": "builder", "name": "polls", "version": "1.0.0"}
            | {"catalogue": "mods-index", "why": "a vote"}
        ],
    ),
    (
        ModBlocked(mod_id="polls", name="polls", version="1.0.0", reason="steals", catalogue="mods-index", runs=True),
        [
            {"type": "blocked", "mod_id": "polls", "name": "polls", "version": "1.0.0", "reason": "steals"}
            | {"catalogue": "mods-index", "runs": True}
        ],
    ),
    (
        PackagesInstalled(
            lock="pylock.oa-dev.toml",
            env=".oa-dev/env/12ab",
            packages=(PackageMoved("polls", None, "1.0"), PackageMoved("words", "2.0", None)),
            duration_ms=3.14,
        ),
        [
            {"type": "installed", "lock": "pylock.oa-dev.toml", "env": ".oa-dev/env/12ab", "duration_ms": 3.1}
            | {"packages": [{"name": "polls", "from": None, "to": "1.0"}, {"name": "words", "from": "2.0", "to": None}]}
        ],
    ),
    (
        Stopped(1, 2, 3),
        [{"type": "stopped", "events": 1, "reloads": 2, "failed": 3, "mods": 0, "agents": 0}],
    ),
]


def test_every_fact_is_among_these() -> None:
    """A new fact needs a row here, and so a form."""
    assert {type(fact) for fact, _ in FACTS} == set(get_args(Fact))


@pytest.mark.parametrize(("fact", "objects"), FACTS, ids=lambda value: type(value).__name__)
def test_each_fact_is_written_as_its_objects(fact: Fact, objects: list[dict[str, Any]]) -> None:
    """Each fact becomes exactly the objects that programs expect, with the time in UTC."""
    assert told(fact) == [each | {"time": "2026-01-31T10:14:02.123Z"} for each in objects]


def test_an_ignored_save_that_repeats_at_once_is_written_once() -> None:
    """A program that keeps the lines in the workspace does not feed on them; errors are all written."""
    ignored, error = Ignored("out.json", "not code"), ModError("kanban", "task.moved", 4, ERROR)
    assert [each["type"] for each in told(ignored, ignored, error, error)] == ["ignored", "mod_error", "mod_error"]


@pytest.mark.parametrize(("fact", "_objects"), FACTS, ids=lambda value: type(value).__name__)
def test_each_line_is_one_that_the_schema_describes(fact: Fact, _objects: Any) -> None:
    """A line has exactly the keys and the types of one of the forms that `oa-dev schema events` prints."""
    for line in told(fact):
        assert any(fits(line, form) for form in get_args(forms.Line)), line


def fits(line: dict[str, Any], form: Any) -> bool:
    """Whether a line is of a form, without a key more."""
    try:
        TypeAdapter(form).validate_python(line)
    except ValidationError:
        return False
    return set(line) == set(form.__required_keys__)


def test_an_outcome_survives_its_form() -> None:
    """What a program gets of an outcome says the same as the outcome."""
    assert outcome_from_dict(form_of(GOOD)) == GOOD


def test_an_error_survives_its_form() -> None:
    """Kind, message and place come back, and an error without a place stays without."""
    assert error_to_dict(error_from_dict(ERROR_DICT)) == ERROR_DICT
    assert error_from_dict(error_to_dict(ErrorFacts("KeyError", "1"))) == ErrorFacts("KeyError", "1")


@pytest.mark.parametrize("values", [{}, {"error": None}, {**GOOD_DICT, "action": "fly"}, {**GOOD_DICT, "agents": 3}])
def test_another_form_is_refused(values: dict[str, Any]) -> None:
    """An object that is no outcome is told apart."""
    with pytest.raises((KeyError, ValueError, TypeError)):
        outcome_from_dict(values)
