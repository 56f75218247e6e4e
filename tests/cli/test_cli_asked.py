"""An agent asks, a person answers, the answer reaches the agent; a page's answer without the digest does not."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from processes import Running, oa_dev, write
from wheels import wheel, wheel_file

NETWORK = """\
network:
  name: team
  mods: []
dev:
  packages: none
  indexes: [mods-index]
  grants: {builder: [mods:ask]}
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Running]:
    """A server in which the agent builder may ask."""
    (tmp_path / "mods-index").mkdir()
    running = Running(write(tmp_path, NETWORK))
    try:
        running.until(type="ready")
        yield running
    finally:
        running.end()


class Person:
    """Who holds this run's admin token, as commands and the page do."""

    def __init__(self, folder: Path) -> None:
        found = json.loads((folder / ".oa-dev/run.json").read_text())
        self._url, self._token = found["url"], found["token"]

    def call(self, path: str, body: Any = None, **headers: str) -> tuple[int, dict[str, Any]]:
        """Ask the server; the status and the answer."""
        sent = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"} | headers
        sent = {name: value for name, value in sent.items() if value}
        data = None if body is None else json.dumps(body).encode()
        try:
            with urllib.request.urlopen(urllib.request.Request(self._url + path, data, sent)) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())

    def as_builder(self, command: str, **payload: Any) -> dict[str, Any]:
        """Send a system event as the agent that may ask."""
        event = {"event_name": f"system.mod.{command}", "source_id": "builder", "payload": payload}
        return self.call("/api/send_event", event | {"secret": self.secret}, Authorization="")[1]

    def join(self) -> None:
        """Register the agent, with the token that proves it."""
        self.secret = self.call("/api/register", {"agent_id": "builder"})[1]["secret"]

    def notices(self) -> list[tuple[str, str]]:
        """What the agent has been told of its questions, without waiting for more."""
        event = {"event_name": "system.poll_messages", "source_id": "builder", "secret": self.secret}
        waiting = self.call("/api/send_event", event, Authorization="")[1]["data"]["messages"]
        events = [each for each in waiting if each["event_name"] == "system.notification.mod_asked"]
        return [(each["payload"]["name"], each["payload"]["state"]) for each in events]


def test_an_agent_asks_and_a_person_answers(server: Running) -> None:
    """In a terminal: it is told, shown, and answered once the mod runs; the agent hears of it."""
    person = Person(server.folder)
    person.join()
    assert person.as_builder("search", words="poll")["data"]["found"] == 2
    asked = person.as_builder("ask", name="polls", why="ana wants\x1b[31m a vote")
    assert (asked["data"]["asked"], asked["data"]["state"]) == (1, "waiting")
    line = server.until(type="asked")
    assert (line["agent"], line["name"], line["version"], line["catalogue"]) == (
        "builder",
        "polls",
        "1.0.0",
        "built in",
    )

    listed = oa_dev(server.folder, "asked")
    assert listed.stdout == '  1  agent builder asks for polls 1.0.0 (built in): "ana wants\\x1b[31m a vote"\n'
    shown = oa_dev(server.folder, "asked", "1")
    assert "answers   polls.close, polls.get, polls.list, polls.open, polls.vote" in shown.stdout

    said = oa_dev(server.folder, "asked", "1", "yes")
    assert (said.returncode, said.stdout.splitlines()[-1]) == (0, "builder is told: added"), said.stdout + said.stderr
    assert "name: polls" in (server.folder / "network.yaml").read_text()
    assert person.notices() == [("polls", "added")]
    assert oa_dev(server.folder, "asked").stdout == "no agent asks for a mod\n"


def test_a_person_refuses(server: Running) -> None:
    """Which needs nothing else."""
    person = Person(server.folder)
    person.join()
    person.as_builder("ask", name="glossary")
    assert oa_dev(server.folder, "asked", "1", "no").stdout == "builder is told: refused\n"
    assert person.notices() == [("glossary", "refused")]
    unknown = oa_dev(server.folder, "asked", "7", "no")
    assert (unknown.returncode, "nothing waits under the number 7" in unknown.stderr) == (1, True)
    assert oa_dev(server.folder, "asked", "1", "maybe").returncode == 2


def test_the_page_answers_with_the_digest_that_it_has_shown(server: Running) -> None:
    """Without it, and from a page of another origin, nothing is answered."""
    person = Person(server.folder)
    person.join()
    person.as_builder("ask", name="polls")
    _, waiting = person.call("/_dev/asked")
    assert [each["number"] for each in waiting["asked"]] == [1]
    _, shown = person.call("/_dev/catalogue/show?name=polls")
    assert shown["sha256"] == waiting["asked"][0]["sha256"]

    assert person.call("/_dev/asked", {"number": 1, "answer": "yes"})[1]["code"] == "other_sha256"
    yes = {"number": 1, "answer": "yes", "sha256": shown["sha256"]}
    assert person.call("/_dev/asked", yes)[1]["code"] == "not_added"
    assert person.call("/_dev/asked", yes, Origin="http://evil.example")[0] == 403
    assert person.call("/_dev/asked", yes, Authorization="Bearer x")[0] == 401
    assert person.notices() == []


def test_the_page_searches_and_shows(server: Running) -> None:
    """The same that commands tell."""
    person = Person(server.folder)
    status, found = person.call("/_dev/catalogue?q=poll")
    assert (status, [each["name"] for each in found["mods"]], found["of"]) == (200, ["polls", "poll-report"], 4)
    assert person.call("/_dev/catalogue/show?name=polls")[1]["read_from"] == "source"
    status, refused = person.call("/_dev/catalogue/show?name=pols")
    assert (status, "Did you mean polls?" in refused["message"]) == (404, True)
    assert person.call(f"/_dev/catalogue?q={'x' * 999}")[0] == 400


def test_what_is_added_is_what_was_asked_for(server: Running) -> None:
    """An index that has another file by the time of the answer adds nothing."""
    index = server.folder / "mods-index"
    (index / wheel_file("extras", "1.0")).write_bytes(wheel())
    person = Person(server.folder)
    person.join()
    person.as_builder("ask", name="extras")
    before = (server.folder / "network.yaml").read_bytes()
    (index / wheel_file("extras", "1.0")).write_bytes(wheel(headers="Summary: another\n"))
    said = oa_dev(server.folder, "asked", "1", "yes")
    assert said.returncode == 1
    assert "extras 1.0 is not what was asked for" in said.stderr
    assert (server.folder / "network.yaml").read_bytes() == before
    assert not (server.folder / "pylock.oa-dev.toml").exists()
    assert person.notices() == []
