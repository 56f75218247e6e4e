"""What each fact looks like, compared with a file for each look. OA_DEV_UPDATE_GOLDEN=1 writes the files again."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from terminals import FakeTerminal

from devserver.model.facts import (
    AgentSeen,
    AgentsSeen,
    Blocked,
    ConfigRefused,
    ContractChanged,
    ErrorFacts,
    Exposed,
    Fact,
    Frame,
    Held,
    Ignored,
    LeftBehind,
    LostEvent,
    ModError,
    ModRunning,
    Notice,
    Outcome,
    PinReplayed,
    PinResult,
    PlanDone,
    PlanMade,
    Ready,
    Replayed,
    Restarted,
    ShapeChange,
    Status,
    Stopped,
)
from devserver.model.lifecycle import Action, Phase
from devserver.model.observation import Differs
from devserver.model.plan import Group, Hold, NotApplied, Plan, Step
from devserver.ui.console import Console
from devserver.ui.doctor import doctor_lines
from devserver.ui.escape import cells
from devserver.ui.events import event_line
from devserver.ui.lines import mod_unusable, said_block
from devserver.ui.look import View, look_of
from devserver.ui.plan_lines import plan_rows
from devserver.ui.render import render, render_line
from devserver.ui.said import Said
from devserver.ui.segments import Block, Line
from devserver.ui.status import status_lines
from devserver.ui.why import why_lines

GOLDEN = Path(__file__).parent / "golden"
THREE = AgentsSeen(3, 0)
NONE_HELD = Held()

DIFFERENCES = (
    Differs("answer.data.version", 8, "8"),
    Differs("answer.data.edited_by", None, "ana", "added"),
    Differs("answer.data.notified", None, 2, "added"),
    Differs("sends[0].payload.reason", "typo", None, "removed"),
)


def pinned(
    number: int | None, result: PinResult = PinResult.SAME, differences: tuple[Differs, ...] = (), why: str = ""
) -> PinReplayed:
    """What a pinned event came to."""
    name = f"wiki.page.edit-{number or 'given'}"
    event = "wiki.page.edit"
    return PinReplayed(name=name, number=number, event_name=event, result=result, differences=differences, why=why)


WHERE = Frame(
    "mods/kanban/mod.py",
    41,
    20,
    24,
    "KanbanMod.initialize",
    ((40, "    async def initialize(self):"), (41, '        self.board.addd("inbox")')),
)
ERROR = ErrorFacts(
    "AttributeError", "'Board' object has no attribute 'addd'", WHERE, "Traceback …", "Did you mean: 'add'?"
)
YAML_ERROR = ErrorFacts(
    "ConfigError",
    'mods[0].name: no mod "mods.serach"',
    Frame(
        "network.yaml", 14, 11, 22, "", ((13, "  mods:"), (14, "    - name: mods.serach"), (15, "      enabled: true"))
    ),
    hint='did you mean "mods.search"?',
)


def outcome(mod_id: str, generation: int, **values: object) -> Outcome:
    """An applied reload of a mod, but for what is given."""
    common: dict[str, object] = {
        "action": Action.RELOAD,
        "mod_path": f"mods.{mod_id}",
        "status": Status.APPLIED,
        "phase": Phase.CLOSE,
        "duration_ms": 31.2,
        "reason": f"mods/{mod_id}/mod.py changed",
        "note": "state kept",
    }
    return Outcome(mod_id=mod_id, generation=generation, **(common | values))  # type: ignore[arg-type]


def done(*outcomes: Outcome, cause: str = "saved", steps: tuple[Step, ...] = (), held: Held = NONE_HELD) -> PlanDone:
    """A plan that was carried out in 31.2 ms with three agents."""
    return PlanDone(Plan(cause, (Group(steps),) if steps else ()), outcomes, 31.2, THREE, held)


@dataclass(frozen=True)
class Found:
    """A row of `doctor`."""

    group: str
    name: str
    value: str
    note: str = ""
    good: bool = True


LIB = "mods/lib/board.py changed, imported by"
LOAD = Step(Action.LOAD, "search", "mods.search", "new in network.yaml")
CONFIG_STEPS = (
    LOAD,
    Step(Action.RECONFIGURE, "wiki", "mods.wiki", "config.max_pages 50 → 200: in place, no reload"),
    Step(Action.UNLOAD, "echo", "mods.echo", "no longer listed"),
    Step(Action.REORDER, "kanban", "mods.kanban", "after search"),
)
FELL = outcome(
    "wiki", 1, status=Status.ROLLED_BACK, phase=Phase.INITIALIZE, error=ERROR, note="rolled back because kanban failed"
)
FAILED = outcome("kanban", 3, status=Status.ROLLED_BACK, phase=Phase.INITIALIZE, error=ERROR, note="")


def failed_with(message: str) -> Outcome:
    """A reload that failed with these words."""
    return outcome("wiki", 2, status=Status.ROLLED_BACK, error=ErrorFacts("ValueError", message, ERROR.where), note="")


NEEDS = Plan(
    "mods/board/mod.py",
    (
        Group((Step(Action.LOAD, "text", "mods.text", "needed by board (mods.text>=1.1)", came_with="board"),)),
        Group((Step(Action.RELOAD, "board", "mods.board", "mods/board/mod.py changed"),)),
    ),
)
CASCADE = tuple(
    Step(Action.UNLOAD, mod, f"mods.{mod}", reason)
    for mod, reason in (("search", "needs wiki"), ("board", "needs wiki"), ("wiki", "asked by a command"))
)
CIRCLE = "they need each other: board → text → board (mods/text/mod.py:9); make one of the needs optional"

CASES: dict[str, Fact] = {
    "ready": Ready(
        "http://127.0.0.1:8700",
        tuple(ModRunning(each, f"mods.{each}", 1) for each in ("echo", "wiki", "kanban")),
        412.3,
        ("mods/", "network.yaml"),
        files=41,
        disabled=1,
        watcher="inotify",
        name="team",
        page="http://127.0.0.1:8700/_dev/#k=…4f2c",
    ),
    "ready_empty": Ready("http://127.0.0.1:8700", (), 80.0, ()),
    "exposed": Exposed(
        ("0.0.0.0:8700", "192.168.1.5:8700"), ("http://dev.example:8700",), "its-own-token", ".oa-dev/join_token"
    ),
    "exposed_by_a_proxy": Exposed(
        ("127.0.0.1:8700",), ("http://dev.example:443",), "its-own-token", ".oa-dev/join_token"
    ),
    "plan_of_reloads": PlanMade(Plan("saved", (Group((Step(Action.RELOAD, "echo", "mods.echo", "saved"),)),))),
    "plan_that_waits": PlanMade(
        Plan("network.yaml, not applied yet", (Group((Step(Action.RELOAD, "echo", "mods.echo", "config.a 1 → 2"),)),)),
        waits=True,
    ),
    "plan_of_holds": PlanMade(Plan("asked", holds=(Hold(Action.RELOAD, "wikki", "mod 'wikki' is not loaded."),))),
    "plan_of_nothing": PlanMade(Plan("key z", holds=(Hold(Action.RELOAD, "all", "there is nothing to undo"),))),
    "plan_of_config": PlanMade(
        Plan(
            "network.yaml",
            (Group(CONFIG_STEPS),),
            (Hold(Action.UNLOAD, "auth", "wiki needs it; v2 keeps running"),),
            (NotApplied("network.port", 8700, 8800),),
        )
    ),
    "long_mods": done(*(outcome(f"mod_{n:02}", 2, reason=f"{LIB} mod_{n:02}") for n in range(30))),
    "long_message": done(failed_with("x " * 2500)),
    "long_word": done(failed_with("y" * 5000)),
    "long_validation": done(
        failed_with(
            "3 validation errors for Config\ngreeting\n  Input should be a valid string"
            " [type=string_type, input_value=5, input_type=int]\n    For further information visit https://errors.example"
            "\nsize\n  Field required [type=missing, input_value={}, input_type=dict]\nkind\n  Field required"
        )
    ),
    "long_wide": done(failed_with("\u65e5\u672c\u8a9e\u306e\u30e1\u30c3\u30bb\u30fc\u30b8 " * 12)),
    "long_right_to_left": done(failed_with("\u0634\u0644\u0627\u0645 \u202e \u05e9\u05dc\u05d5\u05dd " * 12)),
    "long_handler_error": ModError("wiki", "wiki.page.get", 2, ErrorFacts("ValueError", "one\ntwo " * 900)),
    "done_one": done(outcome("echo", 2)),
    "done_library": done(
        outcome("kanban", 3, reason=f"{LIB} kanban"),
        outcome("wiki", 2, reason=f"{LIB} wiki"),
        held=Held(2, 9.0),
    ),
    "done_library_through": done(
        outcome("kanban", 3, reason="mods/lib/board.py changed, through mods.lib, imported by kanban", note="no state"),
        outcome("wiki", 2, reason=f"{LIB} wiki", note="state kept (7 keys)"),
        outcome("echo", 2, reason="mods/echo.py changed", note="state kept (1 key)"),
    ),
    "done_in_place": done(
        outcome(
            "wiki",
            2,
            action=Action.RECONFIGURE,
            reason="config.max_pages 50 → 200: in place, no reload",
            note="in place, no reload",
        )
    ),
    "done_many": done(*(outcome(f"mod{number}", 2, reason="asked") for number in range(12))),
    "done_failed": done(FAILED),
    "done_failed_together": done(FELL, FAILED),
    "done_failed_first_load": done(
        outcome("kanban", 0, action=Action.LOAD, status=Status.FAILED, phase=Phase.IMPORT, error=ERROR, note="")
    ),
    "done_failed_asked": done(
        outcome(
            "kanban", 0, action=Action.LOAD, status=Status.FAILED, reason="asked by a command", error=ERROR, note=""
        ),
        cause="asked by a command",
    ),
    "restarted": Restarted(
        url="http://127.0.0.1:8700",
        reasons=("devserver changed",),
        pause_ms=321.4,
        duration_ms=900.0,
        kept=3,
        agents=THREE,
    ),
    "done_needs": PlanDone(
        replace(NEEDS, changed={Path("mods/board/mod.py"): "new"}),
        (outcome("text", 1, action=Action.LOAD, note=""), outcome("board", 4)),
        19.4,
        THREE,
    ),
    "plan_of_needs": PlanMade(NEEDS),
    "plan_of_a_circle": PlanMade(
        Plan("mods/board/mod.py", holds=tuple(Hold(Action.LOAD, each, CIRCLE) for each in ("board", "text")))
    ),
    "done_cascade": PlanDone(
        Plan("asked by a command", (Group(CASCADE),)),
        tuple(outcome(each.mod_id, 0, action=Action.UNLOAD, note="") for each in CASCADE),
        8.3,
        THREE,
    ),
    "done_waiting": done(
        outcome("board", 3, status=Status.SKIPPED, reason="it needs mods.text>=1.1, which did not load", note="")
    ),
    "done_partly": done(
        outcome("echo", 2),
        FAILED,
        outcome("search", 0, status=Status.SKIPPED, reason="it needs kanban, which did not load", note=""),
    ),
    "done_late_error": done(
        outcome("echo", 2, error=ErrorFacts("OSError", "socket in use", Frame("mods/echo/mod.py", 9)))
    ),
    "done_config": done(outcome("search", 1, action=Action.LOAD), cause="network.yaml", steps=CONFIG_STEPS),
    "done_held": PlanDone(
        Plan("asked", holds=(Hold(Action.RELOAD, "wikki", "mod 'wikki' is not loaded."),)),
        (outcome("wikki", 0, status=Status.SKIPPED, reason="mod 'wikki' is not loaded.", note=""),),
        0.0,
    ),
    "outcome_unload": outcome("echo", 0, action=Action.UNLOAD, reason="asked", note="", agents=THREE),
    "config_refused": ConfigRefused((YAML_ERROR,)),
    "config_refused_often": ConfigRefused((YAML_ERROR,) * 5),
    "config_refused_nowhere": ConfigRefused((ErrorFacts("ConfigError", "the file is gone"),)),
    "mod_error": ModError(
        "kanban", "task.moved", 4, ErrorFacts("KeyError", "'column'", Frame("mods/kanban/mod.py", 63))
    ),
    "mod_error_in_task": ModError(
        "kanban", "task KanbanMod.tick", 4, ErrorFacts("KeyError", "'column'", Frame("mods/kanban/mod.py", 63))
    ),
    "ignored": Ignored("mods/kanban/notes.md", "not code, not read by a mod"),
    "notice": Notice("inotify watches are used up; polling every second"),
    "notice_calm": Notice("paused: saves wait; space applies them", calm=True),
    "blocked": Blocked("kanban", 1.04, Frame("mods/kanban/mod.py", 41, function="handle")),
    "left_behind": LeftBehind("kanban", 3, ('task "poll" from mods/kanban/mod.py:63', "thread Thread-4")),
    "agent_came": AgentSeen("ana", True, "ws"),
    "agent_left": AgentSeen("ana", False, "ws"),
    "contract": ContractChanged(
        (LostEvent("wiki.page.delete", 4, ("ana", "critic")), LostEvent("wiki.page.undo")),
        (
            ShapeChange("wiki.page.edit", "answer", "version", "int", "str", ("ana", "critic")),
            ShapeChange("page.notification", "sends", "reason", "str", "nothing", ("charlie",)),
            ShapeChange("wiki.page.edit", "takes", "why", "optional", "required"),
        ),
    ),
    "replayed_same": Replayed(mods={"wiki": 5}, pins=(pinned(57), pinned(58)), of=2, duration_ms=19.2),
    "replayed_differs": Replayed(
        mods={"wiki": 5},
        pins=(
            pinned(57, PinResult.DIFFERS, DIFFERENCES),
            pinned(88, PinResult.FIXED, DIFFERENCES, why="KeyError 'column' → success"),
            pinned(None, PinResult.CANNOT, why="kanban: it wants socket.bind 0.0.0.0:9000 to start"),
            pinned(60),
        ),
        of=7,
        duration_ms=21.0,
    ),
    "stopped": Stopped(118, 9, 2, 3, 3),
}


ROWS = (
    Found("settings", "port", "8700", "network.yaml"),
    Found("settings", "OA_DEV_PROT", "", "no such setting: it has no effect", good=False),
    Found("machine", "python", "3.11.7", "/usr/bin/python3"),
)
EVENT = {
    "number": 1287,
    "took_ms": 1.2345,
    "time": datetime(2026, 1, 31, 10, 14, 2).astimezone().isoformat(),
    "event_name": "wiki.page.create",
    "source_id": "agent:ana",
    "destination_id": None,
    "success": True,
    "message": "Page created",
    "payload": {"title": "\x1b[2J", "text": "ä"},
}
MISTAKE = {"kind": "KeyError", "message": "'column'", "file": "mods/wiki/mod.py", "line": 41, "column": 9}
STATUS = {
    "name": "team",
    "url": "http://127.0.0.1:8700",
    "uptime_s": 75.0,
    "mods": [
        {"mod_id": "echo", "mod_path": "mods.echo", "generation": 1, "state": "live", "failed": None, "raised": None}
        | {"version": "1.2.0", "file": "mods/echo/mod.py"},
        {"mod_id": "wiki", "mod_path": "mods.wiki", "generation": 3, "state": "live", "failed": MISTAKE}
        | {"raised": {**MISTAKE, "event_name": "wiki.page.get", "times": 3}},
    ],
    "down": [{"mod_id": "kanban", "mod_path": "mods.kanban", "generation": 0, "state": "not loaded"}],
    "agents": [{"agent_id": "ana", "transport": "ws"}],
    "paused": True,
    "waiting": ["network.yaml", "mods/wiki/mod.py"],
    "refused": [{"kind": "ConfigError", "message": "no such key", "file": "network.yaml", "line": 4, "column": None}],
}


NEEDER = {
    "requirement": "mods.text>=1.1",
    "file": "mods/board/mod.py",
    "line": 9,
    "mod_id": "board",
    "mod_path": "mods.board",
    "runs": True,
    "came": "listed",
    "listed": {"line": 22, "enabled": True},
    "optional": False,
}
WHY = {
    "kind": "mod",
    "mod_id": "text",
    "mod_path": "mods.text",
    "generation": 1,
    "version": "1.1",
    "came": "automatic",
    "listed": None,
    "needed_by": [NEEDER],
    "needs": [],
    "works_with": [],
    "packages": [],
    "beside": None,
    "goes_with": ["board"],
    "waits": "",
}
NEED = {"requirement": "mods.text>=1.1", "file": "mods/board/mod.py", "line": 9, "mod_id": "text"}
WHY_LISTED = {
    **WHY,
    "mod_id": "board",
    "mod_path": "mods.board",
    "came": "listed",
    "listed": {"line": 22, "enabled": True},
    "needed_by": [{**NEEDER, "mod_id": "page", "runs": False, "came": "", "optional": True}],
    "needs": [{**NEED, "generation": 1, "version": "1.1", "fits": True}],
    "works_with": [{**NEED, "generation": 1, "version": "1.0", "fits": False}],
    "packages": [{"requirement": "idna>=3,<4", "file": "mods/board/mod.py", "line": 2}],
    "beside": None,
    "goes_with": [],
}
WHY_WAITS = {
    **WHY_LISTED,
    "generation": 0,
    "came": "",
    "needed_by": [],
    "needs": [{**NEED, "generation": 0, "version": None, "fits": False}],
    "works_with": [],
    "packages": [],
    "waits": "it needs mods.text>=1.1 (mods/board/mod.py:9), which is nowhere",
}
WHY_PACKAGE = {
    "kind": "package",
    "name": "idna",
    "version": "3.20",
    "imported": "3.19",
    "folder": ".oa-dev/env/4c1f",
    "imported_by": ["wiki_extras"],
    "needed_by": [{**NEEDER, "requirement": "idna>=3,<4", "line": 2, "version": "0.2"}],
    "needed_by_packages": [{"name": "wiki-extras", "version": "1.5.0", "requirement": "idna>=3"}],
}


def block_texts(*blocks: Block) -> Callable[[View], str]:
    """Blocks as they are printed."""
    return lambda view: "".join(render(each, view.look, "10:14:02") for each in blocks)


def line_texts(lines: Callable[[View], Sequence[Line]]) -> Callable[[View], str]:
    """Lines as they are printed."""
    return lambda view: "".join(f"{render_line(each, view.look)}\n" for each in lines(view))


PRINTED: dict[str, Callable[[View], str]] = {
    "said_print": lambda view: block_texts(said_block(Said("wiki v2", "print", "page \x1b[2J"), view))(view),
    "said_log": lambda view: block_texts(said_block(Said("wiki v2", "warning", "slow", {"ms": 40}), view))(view),
    "plan_rows": lambda view: block_texts(
        plan_rows(Plan("start", (Group((LOAD, Step(Action.RELOAD, "echo", "", "mods/echo.py changed"))),)), view)
    )(view),
    "mod_unusable": lambda view: block_texts(mod_unusable("kanban", ERROR, view))(view),
    "event": line_texts(lambda view: [event_line(EVENT, view)]),
    "event_refused": line_texts(lambda view: [event_line(EVENT | {"success": False, "payload": None}, view)]),
    "doctor": line_texts(lambda view: doctor_lines(ROWS, view)),
    "status": line_texts(lambda view: status_lines(STATUS, view)),
    "why_automatic": line_texts(lambda view: why_lines(WHY, view)),
    "why_listed": line_texts(lambda view: why_lines(WHY_LISTED, view)),
    "why_waits": line_texts(lambda view: why_lines(WHY_WAITS, view)),
    "why_package": line_texts(lambda view: why_lines(WHY_PACKAGE, view)),
}
"""What commands print, which is no fact."""


def told(fact: Fact, tty: bool, columns: int = 80) -> str:
    """What a console writes for a fact at 10:14:02, without colours."""
    stream = FakeTerminal() if tty else io.StringIO()
    console = Console(
        stream,
        color=False,
        width_of=lambda: columns,
        clock=lambda: datetime(2026, 1, 31, 10, 14, 2, tzinfo=UTC),
        started=True,
        keys=tty,
        version="0.1.0",
        environ={},
    )
    console.tell(fact)
    console.close(10)
    return stream.getvalue()


def expect_golden(file: str, text: str) -> None:
    path = GOLDEN / file
    if os.environ.get("OA_DEV_UPDATE_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == text


@pytest.mark.parametrize("tty", [True, False], ids=["tty", "plain"])
@pytest.mark.parametrize("name", CASES)
def test_a_fact_looks_as_its_golden_file_shows(name: str, tty: bool) -> None:
    """Each fact is told in exactly the words and lines of its golden file."""
    expect_golden(f"{name}.{'tty' if tty else 'plain'}.txt", told(CASES[name], tty))


@pytest.mark.parametrize("name", [each for each in CASES if each.startswith(("long_", "done_failed"))])
def test_long_things_look_as_their_golden_file_shows_at_20_columns(name: str) -> None:
    """Words stay whole where they fit, and nothing is longer than it may be."""
    expect_golden(f"{name}.narrow.txt", told(CASES[name], tty=True, columns=20))


@pytest.mark.parametrize("columns", [20, 80])
@pytest.mark.parametrize("name", [each for each in CASES if each.startswith("long_") and each != "long_mods"])
def test_a_long_message_takes_few_lines_of_the_terminal(name: str, columns: int) -> None:
    """Also one of 5,000 characters, of wide ones, and of ones that are written from right to left."""
    lines = told(CASES[name], tty=True, columns=columns).splitlines()
    screen = sum(max(1, -(-cells(each) // columns)) for each in lines)
    assert screen <= (30 if columns == 20 else 14)


@pytest.mark.parametrize("tty", [True, False], ids=["tty", "plain"])
@pytest.mark.parametrize("name", PRINTED)
def test_what_a_command_prints_looks_as_its_golden_file_shows(name: str, tty: bool) -> None:
    """Each is told in exactly the words and lines of its golden file."""
    text = PRINTED[name](View(look_of(tty, {}, color=False), 80))
    expect_golden(f"{name}.{'tty' if tty else 'plain'}.txt", text)


def test_every_golden_file_belongs_to_a_case() -> None:
    """No golden file outlives the fact that it shows."""
    expected = {f"{name}.{look}.txt" for name in (*CASES, *PRINTED) for look in ("tty", "plain")}
    expected |= {f"{name}.narrow.txt" for name in CASES if name.startswith(("long_", "done_failed"))}
    assert {each.name for each in GOLDEN.iterdir()} == expected


@pytest.mark.parametrize("name", CASES)
def test_a_face_of_single_lines_uses_at_most_one_for_each_block(name: str) -> None:
    """Without a terminal no fact needs more than one line for each thing it tells, all of them in ASCII signs."""
    lines = told(CASES[name], tty=False).splitlines()
    assert all(line.startswith("10:14:02 ") for line in lines)
    assert not set("↻✗⚠❱│➜×") & set("".join(lines))


def test_the_banner_has_at_most_eight_lines() -> None:
    """A start is told in eight lines, the blank ones included."""
    assert len(told(CASES["ready"], tty=True).splitlines()) <= 8


@pytest.mark.parametrize("name", ["done_failed", "done_failed_first_load", "config_refused"])
def test_a_failing_save_has_at_most_eight_lines(name: str) -> None:
    """An error with its source is told in eight lines."""
    assert len(told(CASES[name], tty=True).splitlines()) <= 8


@pytest.mark.parametrize("name", ["done_one", "done_library", "done_many"])
def test_a_good_reload_is_one_line(name: str) -> None:
    """However many mods a reload concerns, it is told in one line."""
    assert len(told(CASES[name], tty=True).splitlines()) == 1
