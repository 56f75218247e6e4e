"""A face puts console or JSON lines, keys and the log together."""

from __future__ import annotations

import io
import json
import logging
from pathlib import Path

import pytest

from devserver.model.facts import Notice
from devserver.ui.console import Console
from devserver.ui.face import console_face, json_face
from devserver.ui.log import LogLines
from devserver.ui.said import Said


def record(message: str, error: BaseException | None = None) -> logging.LogRecord:
    """A log record of a mod."""
    raised = (type(error), error, error.__traceback__) if error is not None else None
    return logging.LogRecord("mods.kanban", logging.WARNING, "mod.py", 1, message, (), raised)


def raised() -> BaseException:
    """An error with a traceback."""
    try:
        raise KeyError("column\x1b[2J")
    except KeyError as error:
        return error


def test_facts_and_the_log_share_the_lines_of_a_console(tmp_path: Path) -> None:
    """In a log file both stand in the order they were told, escaped, one line each."""
    stream = io.StringIO()
    face = console_face(stream, root=tmp_path, version="1")
    face.tell(Notice("first"))
    face.log.handle(record("second\n[ERROR] fake"))
    face.close()
    lines = [line.partition(" ")[2] for line in stream.getvalue().splitlines()]
    assert lines == ["note: first", "mods.kanban | warning: second\\n[ERROR] fake"]


def test_without_a_terminal_there_are_no_keys(tmp_path: Path) -> None:
    """Nothing is read where nothing can be typed."""
    assert console_face(io.StringIO(), root=tmp_path, version="1").keys is None


def test_json_lines_keep_their_stream_to_themselves() -> None:
    """The log goes to the other stream, so that every line of the first is an object."""
    stream, errors = io.StringIO(), io.StringIO()
    face = json_face(stream, errors)
    face.tell(Notice("first"))
    face.log.handle(record("second\x1b[2J"))
    face.close()
    assert [json.loads(line)["message"] for line in stream.getvalue().splitlines()] == ["first"]
    told = json.loads(errors.getvalue())
    assert "\x1b" not in errors.getvalue()
    assert {key: told[key] for key in ("type", "level", "who", "message")} == {
        "type": "log",
        "level": "warning",
        "who": "mods.kanban",
        "message": "second\x1b[2J",
    }


def test_an_exception_in_the_log_is_told_with_its_place() -> None:
    """Kind, message and line follow the words; the trace would be many lines."""
    said: list[Said] = []
    LogLines(said.append).handle(record("failed", raised()))
    assert (said[0].who, said[0].level) == ("mods.kanban", "warning")
    assert said[0].words.startswith("failed (KeyError: ")
    assert f" at {__file__}:" in said[0].words


def test_the_whole_trace_of_a_logged_exception_can_be_had(tmp_path: Path) -> None:
    """A program finds it in the line, a person by the key for the latest trace."""
    errors, stream = io.StringIO(), io.StringIO()
    programs = json_face(io.StringIO(), errors)
    programs.log.handle(record("failed", raised()))
    programs.close()
    console = Console(stream, environ={})
    LogLines(console.log).handle(record("failed", raised()))
    console.trace()
    console.close(10)
    assert json.loads(errors.getvalue())["trace"].startswith("Traceback")
    assert "Traceback" in stream.getvalue().splitlines()[1]


def test_a_record_that_cannot_be_formatted_ends_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """Logging reports it on stderr as ever."""
    broken = logging.LogRecord("mods.kanban", logging.INFO, "mod.py", 1, "%d", ("no number",), None)
    LogLines(lambda said: None).handle(broken)
    assert "Logging error" in capsys.readouterr().err
