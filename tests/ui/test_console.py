"""The console chooses by the stream and the environment, counts what repeats, and outlives its reader."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from terminals import FakeTerminal, renumbered

from devserver.model.facts import (
    Blocked,
    ErrorFacts,
    Frame,
    Ignored,
    ModError,
    Notice,
    Outcome,
    PinReplayed,
    PinResult,
    PlanDone,
    Ready,
    Replayed,
    Status,
)
from devserver.model.lifecycle import Action, Phase
from devserver.model.plan import Plan
from devserver.ui.console import Console
from devserver.ui.glyphs import ASCII, RICH
from devserver.ui.keymap import shortcuts
from devserver.ui.look import Look, look_of
from devserver.ui.repeats import Repeats
from devserver.ui.writer import QUEUE_LIMIT

PLAIN = Look(ASCII, one_line=True, color=False, links=False)
FULL = Look(RICH, one_line=False, color=True, links=False)


class Clock:
    """A clock that stands still until it is set."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 31, 10, 14, 2, tzinfo=UTC)

    def __call__(self) -> datetime:
        """The time it was set to."""
        return self.now


@pytest.mark.parametrize(
    ("tty", "environ", "look"),
    [
        (True, {}, FULL),
        (False, {}, PLAIN),
        (True, {"TERM": "dumb"}, PLAIN),
        (True, {"CI": "true"}, PLAIN),
        (True, {"NO_COLOR": "1"}, Look(RICH, False, False, False)),
        (True, {"NO_COLOR": ""}, FULL),
        (True, {"NO_COLOR": "1", "FORCE_COLOR": "1"}, Look(RICH, False, False, False)),
        (False, {"FORCE_COLOR": "1"}, Look(ASCII, True, True, False)),
        (True, {"FORCE_COLOR": "0"}, Look(RICH, False, False, False)),
        (True, {"TERM": "dumb", "FORCE_COLOR": "1"}, Look(ASCII, True, True, False)),
        (True, {"VTE_VERSION": "7600"}, Look(RICH, False, True, True)),
        (True, {"TERM_PROGRAM": "vscode"}, Look(RICH, False, True, True)),
        (False, {"TERM_PROGRAM": "vscode"}, PLAIN),
    ],
)
def test_the_environment_decides_how_a_stream_is_written_to(tty: bool, environ: Mapping[str, str], look: Look) -> None:
    """NO_COLOR beats FORCE_COLOR, a dumb terminal and CI are written to like a file, links need a known terminal."""
    assert look_of(tty, environ) == look


def test_a_terminal_that_cannot_encode_signs_gets_ascii() -> None:
    """In a locale without Unicode the frame stays, its signs are ASCII."""
    assert look_of(True, {}, encoding="ascii") == Look(ASCII, False, True, False)


def test_what_was_asked_for_expressly_wins_over_the_environment() -> None:
    """A colour option is stronger than NO_COLOR."""
    assert look_of(True, {"NO_COLOR": "1"}, color=True).color


def test_a_place_links_to_its_file_below_the_root(tmp_path: Path) -> None:
    """Where the terminal can follow links, `file:line` leads to the file, and the name cannot end the link."""
    stream = FakeTerminal()
    console = Console(stream, root=tmp_path, started=True, environ={"KITTY_WINDOW_ID": "1"}, clock=Clock())
    console.tell(ModError("kanban", "a.b", 1, ErrorFacts("KeyError", "1", Frame("mods/a b\x1b.py", 7, 3))))
    console.close(10)
    uri = f"{(tmp_path / 'mods').as_uri()}/a%20b%1B.py#7"
    assert f"\x1b]8;;{uri}\x1b\\\x1b[36mmods/a b\\x1b.py:7:3\x1b[0m\x1b]8;;\x1b\\" in stream.getvalue()


def mod_error(message: str = "'column'") -> ModError:
    """A handler's error."""
    return ModError("kanban", "task.moved", 4, ErrorFacts("KeyError", message))


def test_ten_thousand_equal_errors_are_five_lines() -> None:
    """A burst of one error is told at its 1st, 10th, 100th, 1000th and 10000th time, with the count."""
    stream = io.StringIO()
    console = Console(stream, clock=Clock(), started=True, environ={})
    for number in range(10_000):
        console.tell(mod_error(str(number)))
    console.close(10)
    lines = stream.getvalue().splitlines()
    assert [line.rpartition(" - x")[2] for line in lines[1:]] == ["10", "100", "1000", "10000"]


@pytest.mark.parametrize("ends", ["quiet", "closed"])
def test_how_often_an_error_happened_in_the_end_is_told(ends: str) -> None:
    """After a quiet second, or when the face is closed: the last line of a burst counts all of it."""
    stream, clock = io.StringIO(), Clock()
    console = Console(stream, clock=clock, started=True, environ={})
    for number in range(57):
        console.tell(mod_error(str(number)))
    clock.now += timedelta(seconds=2)
    deadline = time.monotonic() + 20
    while ends == "quiet" and "x57" not in stream.getvalue():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    console.close(10)
    assert [line.rpartition(" - x")[2] for line in stream.getvalue().splitlines()[1:]] == ["10", "57"]


def test_the_count_of_a_burst_stands_above_the_save_that_ends_it() -> None:
    """Below it, the line would say that the code which has just gone stays."""
    stream = io.StringIO()
    console = Console(stream, clock=Clock(), started=True, environ={})
    for number in range(57):
        console.tell(mod_error(str(number)))
    console.tell(PlanDone(Plan("saved"), (outcome(Status.APPLIED),), 1.0))
    console.close(10)
    lines = stream.getvalue().splitlines()
    assert lines[2].endswith(" - x57")
    assert " echo" in lines[3]


def test_an_error_that_comes_again_after_a_quiet_second_is_told_at_once() -> None:
    """What someone does again by hand is answered again."""
    stream, clock = io.StringIO(), Clock()
    console = Console(stream, clock=clock, started=True, environ={})
    console.tell(mod_error())
    clock.now += timedelta(seconds=2)
    console.tell(mod_error())
    console.close(10)
    assert stream.getvalue().splitlines()[1].endswith(" - x2")


def test_a_clock_that_is_set_back_silences_nothing() -> None:
    """An hour back counts as a quiet second."""
    repeats = Repeats()
    assert [repeats.times("same", 10_000.0), repeats.times("same", 6_400.0)] == [1, 2]


def test_lines_that_go_into_a_watched_file_do_not_cause_each_other() -> None:
    """A log in the workspace is told as ignored once, however often the line itself is a save that is ignored."""
    stream, clock = io.StringIO(), Clock()
    console = Console(stream, clock=clock, started=True, environ={})
    for _ in range(9):
        clock.now += timedelta(seconds=0.5)
        console.tell(Ignored("out.txt", "not code"))
    console.close(10)
    assert len(stream.getvalue().splitlines()) == 1


def test_a_save_that_is_ignored_again_is_counted() -> None:
    """Each save by hand has its line, with how many there were."""
    stream, clock = io.StringIO(), Clock()
    console = Console(stream, clock=clock, started=True, environ={})
    for _ in range(3):
        console.tell(Ignored("network.yaml", "it matches the running network"))
        clock.now += timedelta(seconds=2)
    console.close(10)
    assert [line.rpartition(") ")[2] for line in stream.getvalue().splitlines()[1:]] == ["- x2", "- x3"]


def test_an_error_of_a_new_generation_is_told_anew() -> None:
    """Counts belong to one generation of a mod."""
    stream = io.StringIO()
    console = Console(stream, clock=Clock(), started=True, environ={})
    for generation in (4, 5):
        console.tell(ModError("kanban", "task.moved", generation, ErrorFacts("KeyError", "1")))
    console.close(10)
    assert [line.split(" raised")[0][-2:] for line in stream.getvalue().splitlines()] == ["v4", "v5"]


def test_what_comes_to_the_same_in_a_row_is_counted_and_the_same_error_is_one_line() -> None:
    """A save of the same broken code shows its frame once, then its place; after a repair it is shown whole again."""
    stream = io.StringIO()
    console = Console(stream, clock=Clock(), started=True, environ={"CI": "1"})
    where = Frame("mods/kanban/mod.py", 41, excerpt=((41, "self.board.addd()"),))
    fell = outcome(Status.FAILED)
    broken = PlanDone(Plan("mods/echo.py"), (replace(fell, error=ErrorFacts("NameError", "x", where)),), 1.0)
    for _ in range(3):
        console.tell(broken)
    console.tell(Notice("mods/echo.py matches echo v1 again", mended=("echo",)))
    console.tell(broken)
    console.close(10)
    first, second, third, _, whole = stream.getvalue().splitlines()
    assert "NameError" in first
    assert second.endswith("agents - mods/kanban/mod.py:41 - x2")
    assert third.endswith("mods/kanban/mod.py:41 - x3")
    assert whole == first


def test_good_reloads_for_the_same_reason_are_counted() -> None:
    """Each has its line, as each is another generation."""
    stream = io.StringIO()
    console = Console(stream, clock=Clock(), started=True, environ={"CI": "1"})
    for number in (2, 3, 4):
        good = replace(outcome(Status.APPLIED), action=Action.RELOAD, generation=number)
        console.tell(PlanDone(Plan("mods/echo.py"), (good,), 1.0))
    console.close(10)
    assert [line.rpartition(" - ")[2] for line in stream.getvalue().splitlines()][1:] == ["x2", "x3"]


def test_a_failed_end_of_a_generation_does_not_say_that_it_stays() -> None:
    """Another generation may serve already."""
    stream = io.StringIO()
    console = Console(stream, clock=Clock(), started=True, environ={"CI": "1"})
    console.tell(ModError("slow", "shutdown", 2, ErrorFacts("HookFailed", "shutdown() did not come back within 5 s")))
    console.close(10)
    said = stream.getvalue()
    assert "slow v2 did not shut down well: HookFailed: shutdown() did not come back within 5 s" in said
    assert "stays" not in said


def outcome(status: Status) -> Outcome:
    """What became of one mod."""
    error = None if status is Status.APPLIED else ErrorFacts("NameError", "x", trace="Traceback\n  File x\x1b[2J\nlast")
    return Outcome(
        Action.LOAD, "echo", "mods.echo", status, phase=Phase.COMMIT, generation=0, duration_ms=1.0, error=error
    )


def test_before_the_network_is_ready_only_failures_are_told() -> None:
    """The banner tells what was loaded, so that loads at the start are no lines of their own."""
    stream = io.StringIO()
    console = Console(stream, clock=Clock(), environ={})
    console.tell(PlanDone(Plan("start"), (outcome(Status.APPLIED),), 1.0))
    console.tell(PlanDone(Plan("start"), (outcome(Status.FAILED),), 1.0))
    console.tell(Ready("http://127.0.0.1:8700", (), 1.0, ()))
    console.tell(PlanDone(Plan("saved"), (outcome(Status.APPLIED),), 1.0))
    console.close(10)
    words = [line.split()[1] for line in stream.getvalue().splitlines()]
    assert words == ["error:", "oa-dev", "+"]


def test_the_latest_trace_is_shown_on_request_line_by_line() -> None:
    """The whole trace comes out escaped, in its own lines."""
    stream = FakeTerminal()
    console = Console(stream, clock=Clock(), environ={"NO_COLOR": "1"})
    console.trace()
    console.tell(outcome(Status.FAILED))
    console.trace()
    console.close(10)
    lines = [line.strip() for line in stream.getvalue().splitlines()]
    assert lines[0].endswith("no error is remembered")
    assert lines[-3:] == ["Traceback", "File x\\x1b[2J", "last"]


def test_a_question_stays_the_last_line_while_facts_are_told() -> None:
    """What is told in between stands above the question, which is written again with what was typed."""
    stream = FakeTerminal()
    console = Console(stream, clock=Clock(), environ={"NO_COLOR": "1"})
    console.ask("which mod? ka")
    console.tell(Notice("hello"))
    console.ask("")
    console.close(10)
    wipe = "\r\x1b[K"
    assert stream.getvalue() == f"{wipe}which mod? ka{wipe}10:14:02 ! hello\nwhich mod? ka{wipe}"


def test_a_reader_that_went_away_ends_nothing() -> None:
    """After EPIPE the console goes on in silence."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as stream:
        console = Console(stream, clock=Clock(), environ={})
        for _ in range(1000):
            console.tell(Notice("x" * 200))
        console.close(10)


def test_a_pipe_that_nobody_reads_blocks_nobody_and_says_later_what_is_missing() -> None:
    """Telling goes on while the pipe is full; when it is read again, the count of lost messages is in it."""
    reader, writer = os.pipe()
    told = 2 * QUEUE_LIMIT // 1000
    with os.fdopen(writer, "w") as stream, os.fdopen(reader, "rb") as source:
        console = Console(stream, clock=Clock(), environ={})
        for _ in range(told):
            console.tell(Notice("x" * 1000))
        lines = []
        while b"not shown" not in (line := source.readline()):
            lines.append(line)
        lost = int(line.split()[0])
        assert lost > 0
        assert len(lines) + lost == told


def test_a_full_pipe_that_another_process_made_non_blocking_is_waited_for() -> None:
    """Whatever its number."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with os.fdopen(renumbered(writer), "w") as stream, os.fdopen(reader, "rb") as source:
        console = Console(stream, clock=Clock(), environ={})
        for _ in range(200):
            console.tell(Notice("x" * 1000))
        assert len([source.readline() for _ in range(200)]) == 200


def test_closing_does_not_wait_for_a_reader_that_never_comes() -> None:
    """Closing returns while most of what was told still waits for someone to read it."""
    reader, writer = os.pipe()
    with os.fdopen(writer, "w") as stream, os.fdopen(reader, "rb") as source:
        console = Console(stream, clock=Clock(), environ={})
        for _ in range(500):
            console.tell(Notice("x" * 1000))
        console.close(0)
        assert len([source.readline() for _ in range(500)]) == 500


def test_the_key_to_the_dashboard_is_shown_only_when_a_person_asks() -> None:
    """The banner has its end; `u` shows the whole address in the banner, `o` behind the reason."""
    whole = "http://127.0.0.1:8700/_dev/#k=long-token-4f2c"
    stream = FakeTerminal()
    console = Console(stream, color=False, width_of=lambda: 100, environ={})
    console.tell(Ready("http://127.0.0.1:8700", (), 1.0, (), page="http://127.0.0.1:8700/_dev/#k=…4f2c"))
    console.tell(Notice("that was the banner"))
    console.reveal(whole, "")
    console.reveal(whole, "no browser here")
    console.close(10)
    banner, _, asked = stream.getvalue().partition("that was the banner")
    assert "#k=…4f2c · oa-dev open\n" in banner
    assert whole not in banner
    assert f"Dashboard  {whole}\n" in asked
    assert f"no browser here: {whole}\n" in asked


@pytest.mark.parametrize("width", [20, 44, 80, 110, 400])
def test_the_help_fits_the_terminal(width: int) -> None:
    """Its columns are as many as there is room for."""
    stream = FakeTerminal()
    console = Console(stream, color=False, width_of=lambda: width, environ={})
    console.help(shortcuts())
    console.close(10)
    lines = stream.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    assert len(lines) <= {20: 21, 44: 11, 80: 6, 110: 4, 400: 1}[width]


def test_while_somebody_else_has_the_terminal_nothing_is_written_and_nothing_is_lost() -> None:
    """A debugger's prompt stays whole; that it blocks its mod is not told at all."""
    stream = FakeTerminal()
    console = Console(stream, color=False, width_of=lambda: 100, started=True, environ={})
    with console.quiet(), console.quiet():
        console.tell(Notice("meanwhile"))
        console.tell(Blocked("kanban", 1.0, None))
    console.tell(Notice("afterwards"))
    console.close(10)
    assert [line.partition(" ! ")[2] for line in stream.getvalue().splitlines()] == ["meanwhile", "afterwards"]


def pinned(result: PinResult = PinResult.SAME) -> Replayed:
    """What one pinned event came to after a save."""
    pin = PinReplayed(name="wiki.page.edit-57", number=57, event_name="wiki.page.edit", result=result)
    return Replayed(mods={"wiki": 2}, pins=(pin,), of=1, duration_ms=19.0)


def saved() -> PlanDone:
    """A save that was applied."""
    outcome = Outcome(
        Action.RELOAD, "wiki", "mods.wiki", Status.APPLIED, phase=Phase.CLOSE, generation=2, duration_ms=12.0
    )
    return PlanDone(Plan("saved"), (outcome,), 12.0)


def told(*facts: object, width: int = 140) -> str:
    """What a console on a terminal writes for facts that come one right after the other."""
    stream = FakeTerminal()
    console = Console(stream, color=False, width_of=lambda: width, clock=Clock(), started=True, environ={})
    for each in facts:
        console.tell(each)  # type: ignore[arg-type]
    console.close(10)
    return stream.getvalue()


def test_pins_that_are_all_the_same_go_on_the_line_of_the_save() -> None:
    """One line a reload stays true: the cursor goes up, behind what stands there, and down again."""
    text = told(saved(), pinned())
    line = text.split("\n")[0]
    assert text == f"{line}\n\x1b[1A\r\x1b[{len(line)}C · 1 pinned: the same · 19 ms\n"


@pytest.mark.parametrize(
    "facts",
    [
        (saved(), pinned(PinResult.DIFFERS)),
        (saved(), Notice("something else"), pinned()),
        (pinned(),),
    ],
)
def test_pins_have_a_line_of_their_own_otherwise(facts: tuple[object, ...]) -> None:
    """Where they differ, where something was written since, where there is no save."""
    assert "\x1b[1A" not in told(*facts)


def test_a_narrow_terminal_has_no_room_behind_a_save() -> None:
    """What would be wrapped stands below."""
    assert "\x1b[1A" not in told(saved(), pinned(), width=60)


def test_what_comes_late_has_a_line_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """A person may have read the line by then."""
    monkeypatch.setattr("devserver.ui.console.SAME_LINE_SECONDS", -1.0)
    assert "\x1b[1A" not in told(saved(), pinned())
