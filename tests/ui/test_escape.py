"""Hostile text reaches no terminal: whatever an agent or a file is called, only our own sequences are written."""

from __future__ import annotations

import dataclasses
import io
import re
from datetime import UTC, datetime

import pytest
from terminals import FakeTerminal

from devserver.model.facts import (
    AgentSeen,
    Blocked,
    ConfigRefused,
    ContractChanged,
    ErrorFacts,
    Exposed,
    Fact,
    Frame,
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
    ShapeChange,
    Status,
)
from devserver.model.lifecycle import Action, Phase
from devserver.model.observation import Differs
from devserver.model.plan import Group, Hold, NotApplied, Plan, Step
from devserver.ui.console import Console
from devserver.ui.escape import cells, cut, safe
from devserver.ui.jsonl import JsonLines

HOSTILE = (
    "\x1b[2J",
    "\x1b]52;c;aGFjaw==\x07",
    "\x1b]8;;http://evil\x1b\\x\x1b]8;;\x1b\\",
    "\x9b31m",
    "\x07\x08\r\x7f",
    "\u202eexe.txt",
    "\u2066x\u2069",
    "a\n[ERROR] fake",
    "a\u2028b\u2029c\x85d",
    "\ud800",
    "\x00",
    "\u200bhidden\ufeff",
    "\U000e0041tag",
)

OWN = re.compile(r"\x1b\[[0-9;]*m|\x1b\]8;;(?:file:///[!-~]*)?\x1b\\")


def facts(bad: str) -> list[Fact]:
    """Every fact, with the text in every place that comes from outside."""
    where = Frame(bad, 2, 2, 4, bad, ((1, bad), (2, f"ab{bad}\tcd")))
    error = ErrorFacts(bad, bad, where, bad, bad)
    step = Step(Action.LOAD, bad, bad, bad)
    good = Outcome(
        Action.RELOAD, bad, bad, Status.APPLIED, phase=Phase.CLOSE, generation=2, duration_ms=1.0, reason=bad, note=bad
    )
    failed = dataclasses.replace(good, status=Status.ROLLED_BACK, error=error)
    skipped = dataclasses.replace(good, status=Status.SKIPPED)
    plan = Plan(bad, (Group((step,)),), (Hold(Action.LOAD, bad, bad),), (NotApplied(bad, bad, bad),))
    return [
        Ready(bad, (ModRunning(bad, bad, 1),), 1.0, (bad,), watcher=bad, name=bad),
        Exposed((bad,), (bad,), bad, bad),
        PlanMade(plan),
        PlanMade(Plan(bad, holds=(Hold(Action.LOAD, bad, bad),))),
        PlanDone(Plan(bad), (good, failed, skipped), 1.0),
        Ignored(bad, bad),
        Notice(bad),
        ConfigRefused((error,)),
        ModError(bad, bad, 1, error),
        Blocked(bad, 1.0, where),
        LeftBehind(bad, 1, (bad, bad)),
        AgentSeen(bad, True, bad),
        ContractChanged((LostEvent(bad, 1, (bad,)),), (ShapeChange(bad, bad, bad, bad, bad),)),
        Replayed(
            mods={bad: 2},
            pins=(
                PinReplayed(
                    name=bad,
                    number=None,
                    event_name=bad,
                    result=PinResult.DIFFERS,
                    differences=(Differs(bad, bad, bad), Differs(bad, None, bad, "added")),
                ),
                PinReplayed(name=bad, number=1, event_name=bad, result=PinResult.CANNOT, why=bad),
            ),
            of=2,
            duration_ms=1.0,
        ),
    ]


def written(fact: Fact, stream: io.StringIO, environ: dict[str, str]) -> str:
    """What a console writes for a fact."""
    clock = datetime(2026, 1, 31, tzinfo=UTC)
    console = Console(stream, color=True, width_of=lambda: 80, clock=lambda: clock, started=True, environ=environ)
    console.tell(fact)
    console.close(10)
    return stream.getvalue()


@pytest.mark.parametrize("bad", HOSTILE, ids=ascii)
@pytest.mark.parametrize("number", range(len(facts(""))))
def test_hostile_text_becomes_visible_text_in_every_place_of_every_fact(number: int, bad: str) -> None:
    """Beside line ends, our own colours and our own links no byte reaches the terminal that it could obey."""
    text = written(facts(bad)[number], FakeTerminal(), {"KITTY_WINDOW_ID": "1"})
    rest = OWN.sub("", text).replace("\n", "")
    assert [each for each in rest if not each.isprintable()] == []


@pytest.mark.parametrize("number", range(len(facts(""))))
def test_hostile_text_adds_no_line(number: int) -> None:
    """No line but those of the fact begins where lines begin; a message of several lines stays below its own."""
    harmless = written(facts("x")[number], FakeTerminal(), {})
    hostile = written(facts("x\r\n[ERROR] fake\x85\u2028")[number], FakeTerminal(), {})
    begun = [[each for each in text.splitlines() if not each.startswith(" " * 9)] for text in (harmless, hostile)]
    assert len(begun[0]) == len(begun[1])
    assert len(hostile.splitlines()) == hostile.count("\n")


@pytest.mark.parametrize("number", range(len(facts(""))))
def test_a_megabyte_of_text_becomes_a_line_of_at_most_four_kibibytes(number: int) -> None:
    """In a log no line is longer than 4 KiB, whatever it tells."""
    stream = io.StringIO()
    clock = datetime(2026, 1, 31, tzinfo=UTC)
    console = Console(stream, width_of=lambda: 80, clock=lambda: clock, started=True, environ={})
    console.tell(facts("é" * 1_000_000)[number])
    console.close(10)
    assert all(len(line.encode()) <= 4096 for line in stream.getvalue().splitlines())


@pytest.mark.parametrize("bad", HOSTILE, ids=ascii)
def test_json_lines_are_printable_ascii_one_object_a_line(bad: str) -> None:
    """A program's output is safe on a terminal too, and hostile text breaks no line."""
    stream = io.StringIO()
    lines = JsonLines(stream)
    for fact in facts(bad):
        lines.tell(fact)
    lines.close(10)
    assert all(line.isascii() and line.isprintable() for line in stream.getvalue().split("\n"))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("Grüße 日本", "Grüße 日本"),
        ("a\x1b[2J", "a\\x1b[2J"),
        ("a\nb\tc", "a\\nb\\tc"),
        ("\x9b", "\\x9b"),
        ("\u202e", "\\u202e"),
        ("\udc80", "\\udc80"),
    ],
)
def test_unprintable_characters_are_spelled_out_as_python_does(text: str, shown: str) -> None:
    """`safe` leaves printable text alone and spells the rest as in a Python literal."""
    assert safe(text) == shown


def test_a_cut_text_is_no_longer_than_its_limit_and_ends_in_the_mark() -> None:
    """The limit counts bytes, and no character is cut in half."""
    assert cut("é" * 10, 9) == "ééé…"
    assert cut("short", 9) == "short"


def test_wide_characters_take_two_columns_and_combining_ones_none() -> None:
    """Columns are what the terminal needs, not the number of characters."""
    assert cells("ab日本e\u0301") == 7
