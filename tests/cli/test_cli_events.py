"""`oa-dev events`: the latest, those that failed or were slow, one whole, those that fit a search."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from nursery import Popen
from processes import ECHO_V1, OA_DEV, Running, environment, oa_dev, write

FAILS = (
    ECHO_V1
    + """
    @mod_event_handler("echo.fail")
    def fail(self, event):
        raise KeyError("column")
"""
)


def told(server: Running, *arguments: str) -> list[dict[str, Any]]:
    """The events that a command prints as JSON lines."""
    return [json.loads(each) for each in oa_dev(server.folder, "events", *arguments, "--json").stdout.splitlines()]


@pytest.fixture
def sent(server: Running) -> Running:
    """A server that has had three events, of which one failed."""
    write(server.folder, echo=FAILS)
    server.until(type="outcome", generation=2)
    for name, text in (("echo.say", "one"), ("echo.fail", "two"), ("echo.say", "three")):
        oa_dev(server.folder, "send", name, "--payload", json.dumps({"text": text}))
    return server


def test_events_that_were_are_printed_by_number_search_and_what_came_of_them(sent: Running) -> None:
    """The latest last, as in a log; each with its number, which shows it whole."""
    rows = told(sent, "--last", "10")
    assert [(each["number"], each["event_name"]) for each in rows] == [
        (1, "echo.say"),
        (2, "echo.fail"),
        (3, "echo.say"),
    ]
    assert [each["number"] for each in told(sent, "--last", "1")] == [3]
    assert [each["number"] for each in told(sent, "--failed", "--last", "5")] == [2]
    assert [each["number"] for each in told(sent, "--slow", "1us", "--last", "5")] == [1, 2, 3]
    assert told(sent, "--slow", "100s", "--last", "5") == []
    assert [each["number"] for each in told(sent, "mod:echo", "three", "--last", "5")] == [3]
    (whole,) = told(sent, "#2")
    assert (whole["way"][0]["said"], whole["errors"][0]["kind"]) == ("raised", "KeyError")
    shown = oa_dev(sent.folder, "events", "2").stdout
    assert "#2 echo.fail" in shown and "echo v2" in shown and 'raise KeyError("column")' in shown


def test_a_search_that_says_nothing_is_a_misuse(server: Running) -> None:
    """It ends with 2 and an example; so does a time without its unit."""
    done = oa_dev(server.folder, "events", "mod:")
    assert (done.returncode, "as in mod:wiki" in done.stderr) == (2, True)
    done = oa_dev(server.folder, "events", "--slow", "5")
    assert (done.returncode, "as in 5ms" in done.stderr) == (2, True)


def test_an_event_that_is_not_kept_is_an_error(server: Running) -> None:
    """It says so in a sentence."""
    done = oa_dev(server.folder, "events", "99")
    assert done.returncode == 1
    assert "the event #99 is not kept" in done.stderr


@pytest.fixture
def restarted(tmp_path: Path) -> Iterator[Running]:
    """A server that a person will stop and start again."""
    server = Running(write(tmp_path))
    server.until(type="ready")
    yield server
    server.end()


def test_following_goes_on_with_the_server_that_takes_the_place(restarted: Running) -> None:
    """It says so on stderr, in a line each; the first event of the next server is not lost."""
    oa_dev(restarted.folder, "send", "echo.say", "--payload", '{"text": "one"}')
    follows = [*OA_DEV, "events", "--last", "1", "--follow", "--count", "1", "--json"]
    pipe = subprocess.PIPE
    with Popen(follows, cwd=restarted.folder, env=environment(), stdout=pipe, stderr=pipe, text=True) as follower:
        assert follower.stdout is not None and follower.stderr is not None
        assert json.loads(follower.stdout.readline())["payload"] == {"text": "one"}
        restarted.stop()
        assert "the server ended" in follower.stderr.readline()
        after = Running(restarted.folder)
        try:
            after.until(type="ready")
            oa_dev(restarted.folder, "send", "echo.say", "--payload", '{"text": "two"}')
            rows = [json.loads(each) for each in follower.stdout]
        finally:
            after.end()
        assert follower.wait() == 0
        assert "events of the next one" in follower.stderr.read()
    assert [(each["payload"], each["number"]) for each in rows] == [({"text": "two"}, 1)]
