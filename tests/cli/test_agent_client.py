"""The agent client: joins, sends, receives, and comes back by itself."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from processes import PATIENCE, Running, oa_dev, write

from devserver import Agent, AgentError
from devserver.agent import NoWebSocket, WebSocketLine, _Lost, _refusal
from devserver.server.runfile import write_run_file
from devserver.transports.http.gate import MOST_BODY

ECHO = """\
from devserver import BaseMod, EventResponse, mod_event_handler

class EchoMod(BaseMod):
    @mod_event_handler("echo.say")
    async def say(self, event):
        self.state["n"] = self.state.get("n", 0) + 1
        return EventResponse(True, "said", {"text": event.payload["text"], "n": self.state["n"], "by": event.source_id})
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Running]:
    """A server that is ready; `url` is where."""
    running = Running(write(tmp_path, echo=ECHO))
    try:
        running.url = running.until(type="ready")["url"]  # type: ignore[attr-defined]
        yield running
    finally:
        running.end()


@pytest.fixture(params=["websocket", "http"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each way to connect; for the second, no WebSocket comes through."""
    if request.param == "http":

        async def refused(*_arguments: object) -> None:
            raise NoWebSocket

        monkeypatch.setattr(WebSocketLine, "open", refused)
    return str(request.param)


async def test_an_agent_sends_and_gets_answers(server: Running, way: str) -> None:
    """And a refusal is an answer too."""
    async with asyncio.timeout(PATIENCE), Agent("ana", server.url) as me:
        assert me.transport == way
        answer = await me.send("echo.say", {"text": "hello"})
        assert (answer.success, answer.message, answer.event_name) == (True, "said", "echo.say")
        assert answer.data == {"text": "hello", "n": 1, "by": "ana"}
        bad = await me.send("nonsense")
        assert not bad.success
        assert "event name" in bad.message
        # What the network cannot read is refused at once, too: this waited for its time limit.
        line, deep = me._line, {}
        for _ in range(70):
            deep = {"deeper": deep}
        for unreadable in (float("nan"), "\ud800", {1: "one", "1": "one"}, deep):
            bad = await me.send("echo.say", {"text": unreadable})
            assert (bad.success, bad.message.startswith("the body ")) == (False, True), bad
        if way == "websocket":
            bad = await me.send("echo.say", {"text": "x" * MOST_BODY})
            assert (bad.data, "1048576 bytes" in bad.message) == ({"code": "body_too_large"}, True)
        assert (await me.send("echo.say", {"text": "hello"})).success
        assert me._line is line


async def test_agents_receive_what_is_for_them_in_order(server: Running, way: str) -> None:
    """By iteration."""
    async with asyncio.timeout(PATIENCE), Agent("ana", server.url) as ana, Agent("ben", server.url) as ben:
        for number in range(3):
            await ana.send("note.take", {"n": number}, to="agent:ben")
        got = []
        async for event in ben:
            if event.event_name == "note.take":
                got.append((event.payload["n"], event.source_id))
            if len(got) == 3:
                break
        assert got == [(0, "ana"), (1, "ana"), (2, "ana")]


async def test_an_agent_comes_back_when_the_server_was_killed_and_started_again(tmp_path: Path, way: str) -> None:
    """Under its id and secret; a send that waited meanwhile gets its answer."""
    first = Running(write(tmp_path, echo=ECHO))
    url = first.until(type="ready")["url"]
    port = url.rpartition(":")[2]
    async with asyncio.timeout(PATIENCE), Agent("ana", url) as me:
        assert (await me.send("echo.say", {"text": "one"})).success
        first.end()
        waiting = asyncio.create_task(me.send("echo.say", {"text": "two"}))
        second = Running(tmp_path, "--port", port)
        try:
            await asyncio.to_thread(second.until, type="ready")
            answer = await waiting
            assert answer.success and answer.data["text"] == "two", answer
        finally:
            await me._end(leave=False)
            second.end()


@pytest.mark.parametrize("way", ["http"], indirect=True)
async def test_a_send_of_an_agent_that_the_server_has_forgotten_waits_until_it_is_registered_again(
    server: Running, way: str
) -> None:
    """As after the end of a server that had not yet written that it knew the agent."""
    async with asyncio.timeout(PATIENCE), Agent("ana", server.url) as me:
        body = json.dumps({"agent_id": "ana", "secret": me.secret}).encode()
        asked = urllib.request.Request(server.url + "/api/unregister", body, {"Content-Type": "application/json"})
        await asyncio.to_thread(lambda: urllib.request.urlopen(asked).close())
        assert (await me.send("echo.say", {"text": "hello"})).data["n"] == 1


async def test_an_agent_stays_over_reloads(server: Running) -> None:
    """Its connection is the same one, and the state of the mod too."""
    async with asyncio.timeout(PATIENCE), Agent("ana", server.url) as me:
        await me.send("echo.say", {"text": "one"})
        write(server.folder, echo=ECHO.replace('"said"', '"said again"'))
        await asyncio.to_thread(server.until, type="outcome", status="applied", action="reload")
        answer = await me.send("echo.say", {"text": "two"})
        assert (answer.message, answer.data["n"]) == ("said again", 2)


async def test_a_newer_connection_takes_over_and_the_older_one_is_told(server: Running) -> None:
    """It does not fight for its place."""
    async with (
        asyncio.timeout(PATIENCE),
        Agent("ana", server.url) as old,
        Agent("ana", server.url, secret=old.secret) as new,
    ):
        with pytest.raises(AgentError) as caught:
            while True:
                await anext(old)
        assert caught.value.code == "superseded"
        assert (await new.send("echo.say", {"text": "x"})).success
        with pytest.raises(AgentError):
            await old.send("echo.say", {"text": "x"})


async def test_a_taken_id_is_refused_at_once(server: Running, way: str) -> None:
    """With the network's sentence and code."""
    async with asyncio.timeout(PATIENCE), Agent("ana", server.url):
        with pytest.raises(AgentError) as caught:
            async with Agent("ana", server.url):
                pytest.fail("it joined")
    assert caught.value.code == "agent_id_taken"


async def test_a_description_over_the_bound_is_refused_at_once() -> None:
    """A server would end the connection, again and again."""
    with pytest.raises(AgentError, match="at most 1048576 bytes"):
        async with Agent("ana", "http://127.0.0.1:9", metadata={"about": "x" * MOST_BODY}):
            pytest.fail("it joined")


async def test_where_no_network_answers_is_said_after_the_patience() -> None:
    """With the address."""
    with pytest.raises(AgentError, match=r"no network answers at http://127.0.0.1:9"):
        async with Agent("ana", "http://127.0.0.1:9", patience=0.3):
            pytest.fail("it joined")


async def test_an_agent_that_leaves_is_gone(server: Running, way: str) -> None:
    """Its id is free at once."""
    async with asyncio.timeout(PATIENCE):
        async with Agent("ana", server.url) as me:
            assert (await me.send("echo.say", {"text": "x"})).success
        async with Agent("ana", server.url) as again:
            assert (await again.send("echo.say", {"text": "x"})).success


def test_new_agent_writes_one_that_runs(server: Running) -> None:
    """It joins the network here and greets; Ctrl-C ends it without a trace."""
    done = oa_dev(server.folder, "new", "agent", "ana")
    assert done.returncode == 0, done.stderr
    assert "wrote agents/ana.py" in done.stdout
    script = server.folder / "agents" / "ana.py"
    process = subprocess.Popen(
        [sys.executable, "-u", script, "--url", server.url], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ana has joined; Ctrl-C ends it\n"
        sent = oa_dev(server.folder, "send", "note.take", "--to", "agent:ana", "--payload", json.dumps({"n": 1}))
        assert sent.returncode == 0
        assert "note.take" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=PATIENCE)
        assert (process.returncode, errors) == (0, "")
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        process.wait()


def test_without_an_address_an_agent_finds_the_network_of_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also from a folder below, and once a server runs there; what is given, and OA_DEV_URL, come first."""
    monkeypatch.delenv("OA_DEV_URL", raising=False)
    (tmp_path / "agents").mkdir()
    monkeypatch.chdir(tmp_path / "agents")
    agent = Agent("ana")
    assert agent.url == "http://127.0.0.1:8700"
    write_run_file(tmp_path, "http://127.0.0.1:8709", "token", os.getpid())
    assert agent.url == "http://127.0.0.1:8709"
    (tmp_path / ".oa-dev" / "run.json").write_text("{")
    assert agent.url == "http://127.0.0.1:8700"
    monkeypatch.setenv("OA_DEV_URL", "http://127.0.0.1:1/")
    assert (Agent("ana").url, Agent("ana", "http://127.0.0.1:2").url) == ("http://127.0.0.1:1", "http://127.0.0.1:2")


class Lines(Agent):
    """An agent whose connections are given: each is an exception, or what comes over it."""

    def __init__(self, *lines: object) -> None:
        super().__init__("ana", "http://127.0.0.1:1")
        self.lines = list(lines)

    async def _open(self) -> Any:
        given = self.lines.pop(0)
        if isinstance(given, Exception):
            raise given
        return SimpleNamespace(secret="s", close=self.closed, run=partial(self.run, given))

    async def run(self, events: list[object], received: Any) -> None:
        for each in events:
            received(each)
        await asyncio.Event().wait()

    async def closed(self, *, leave: bool) -> None:
        """Nothing is open."""


async def test_an_agent_comes_back_after_a_server_that_ends_and_hears_on_after_an_event_that_cannot_be_read() -> None:
    """A refusal for a moment ends no stay, nor does one event."""
    good = {"event_name": "note.take", "source_id": "ben", "payload": {}}
    passing = [_refusal({"code": each}, "try again when it is back") for each in ("stopping", "no_room")]
    async with asyncio.timeout(PATIENCE):
        me = Lines(*passing, [{**good, "event_id": "1"}, {**good, "payload": None}, {**good, "event_id": "2"}])
        await me.__aenter__()
        assert [(await anext(me)).event_id for _ in range(2)] == ["1", "2"]
        await me._end(leave=False)


async def test_the_reason_of_a_network_that_lets_an_agent_in_no_sooner_is_told() -> None:
    """It said that no network answers."""

    class Refused(Agent):
        async def _open(self) -> Any:
            raise _refusal({"code": "no_room"}, "there is no room for another agent")

    with pytest.raises(AgentError, match="there is no room") as told:
        await Refused("ana", "http://127.0.0.1:1", patience=0.05).__aenter__()
    assert told.value.code == "no_room"


async def test_what_ends_an_agents_work_is_raised_where_it_is_waited_for() -> None:
    """It waited without end."""
    with pytest.raises(AgentError, match="RuntimeError: a fault"):
        async with asyncio.timeout(PATIENCE):
            await Lines(RuntimeError("a fault")).__aenter__()


async def test_a_send_that_is_lost_again_and_again_is_repeated_more_and_more_seldom(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A crowded server would get ten of them a second from each agent."""
    rests: list[float] = []

    async def rest(seconds: float) -> None:
        rests.append(seconds)

    async def send(event: object) -> dict[str, Any]:
        if len(rests) < 6:
            raise _Lost
        return {"success": True}

    me = Agent("ana", "http://127.0.0.1:1")
    await me._set(SimpleNamespace(send=send))
    monkeypatch.setattr(asyncio, "sleep", rest)
    assert (await me.send("echo.say")).success
    assert rests == [0.1, 0.2, 0.4, 0.8, 1.6, 2.0]
