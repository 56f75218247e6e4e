"""Bad input never gives a traceback: one line says what is wrong, and the exit code tells it."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from nursery import run
from processes import OA_DEV, environment

from devserver.cli import script
from devserver.cli.start import call
from devserver.server.hand_over import hand_over

GOOD = {"url": "http://127.0.0.1:9", "token": "t", "pid": os.getpid(), "started": None, "network": "network.yaml"}
DAMAGED = {
    "cut off": json.dumps(GOOD)[:40],
    "a list": "[]",
    "a number": "1",
    "empty": "",
    "no text": "\udcff",
    "nested": "[" * 60_000,
    "a long pid": json.dumps(GOOD | {"pid": 10**3000}),
    "a pid that no system has": json.dumps(GOOD | {"pid": 2**31}),
    "another address": json.dumps(GOOD | {"url": "http://[::1"}),
    "a number as the address": json.dumps(GOOD | {"url": 5}),
    "a lone surrogate": json.dumps(GOOD | {"token": "\ud800", "url": "http://127.0.0.1:9"}),
    "too long": json.dumps(GOOD) + " " * 100_000,
}


def test_a_damaged_run_file_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also to a command that would be handed over to the server."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "network.yaml").write_text("network: {name: team, mods: []}\n")
    (tmp_path / ".oa-dev").mkdir(mode=0o700)
    file = tmp_path / ".oa-dev" / "run.json"
    file.touch(mode=0o600)
    found = {}
    for what, text in DAMAGED.items():
        file.write_text(text, errors="surrogateescape")
        found[what] = call(["status"]), capsys.readouterr().err.count("error: "), hand_over(["remove", "x"])
    assert found == dict.fromkeys(DAMAGED, (1, 1, None))


TOO_LONG = "n" * 300
UNUSABLE = [
    ["new", "network", TOO_LONG],
    ["new", "mod", TOO_LONG],
    ["new", "mod", TOO_LONG, "--package"],
    ["new", "agent", TOO_LONG],
    ["exec", TOO_LONG],
    ["pack", TOO_LONG],
    ["publish", TOO_LONG, "--to", TOO_LONG],
    ["replay", TOO_LONG],
    ["run", TOO_LONG],
]


def test_a_name_that_no_file_can_have_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And nothing is written."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "network.yaml").write_text("network: {name: team, mods: []}\n")
    codes = [call(each) for each in UNUSABLE]
    assert 0 not in codes
    assert capsys.readouterr().err.count("error: ") == len(UNUSABLE)
    assert [each.name for each in tmp_path.iterdir()] == ["network.yaml"]


def test_a_network_yaml_that_cannot_be_used_is_told_at_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By commands that only look into it, too: with the hint and code of `check`."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "network.yaml").write_text("network: {name: team, mosd: []}\n")
    assert [call([each, "polls"]) for each in ("add", "search", "show", "remove")] == [3] * 4
    said = "error: network.yaml:1:23 cannot be used: mosd is not a known key\n  did you mean 'mods'?\n"
    assert capsys.readouterr().err == said * 4


GONE = [["status"], ["run"], ["new", "network", "x"], ["new", "mod", "x", "--package"], ["search", "x"], ["check"]]


def test_a_working_directory_that_is_gone_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is no bug of ours."""
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert [call(each) for each in GONE] == [2] * len(GONE)
    assert capsys.readouterr().err.count("error: the working directory cannot be used") == len(GONE)


def test_an_output_that_takes_nothing_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`> /dev/full`: at the end, when what was printed is written."""
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        code = call(["--version"])
        monkeypatch.undo()
        os.dup2(os.open(os.devnull, os.O_WRONLY), full.fileno())
    assert (code, capsys.readouterr().err) == (1, "error: No space left on device\n")


@pytest.mark.parametrize("error", [BrokenPipeError, FileNotFoundError])
def test_an_error_of_a_script_is_shown_as_python_shows_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: type[OSError]
) -> None:
    """Also a pipe that has no reader: it may be another one than that of the output."""
    (tmp_path / "agent.py").write_text(f"raise {error.__name__}\n")
    for place, name in ((script, "install"), (script.garbage, "end_start")):
        monkeypatch.setattr(place, name, lambda: None)
    monkeypatch.setattr(sys, "argv", sys.argv)
    monkeypatch.setattr(sys, "path", [*sys.path])
    assert call(["exec", str(tmp_path / "agent.py")]) == 1
    shown = f'agent.py", line 1, in <module>\n    raise {error.__name__}\n{error.__name__}\n'
    assert capsys.readouterr().err.endswith(shown)


def test_closed_streams_change_nothing_but_what_is_seen(tmp_path: Path) -> None:
    """`>&-`: a command does its work, and no file of it gets the number of a stream."""
    command = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *OA_DEV, "new", "agent", "ana"]
    (tmp_path / "network.yaml").write_text("network: {name: team, mods: []}\n")
    assert run(command, cwd=tmp_path, env=environment()).returncode == 0
    assert "wrote" not in (tmp_path / "agents" / "ana.py").read_text()
