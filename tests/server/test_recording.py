"""Sessions are recorded: what is in the file, what ends it, and that replay reads it."""

from __future__ import annotations

import asyncio
import os
import stat
import threading
from types import SimpleNamespace
from typing import Any

import pytest
from workspaces import Workspace, until

from devserver.control.desk import DeskApi
from devserver.errors import DevServerError
from devserver.model.encoding import from_json
from devserver.model.facts import Notice
from devserver.model.principal import ADMIN
from devserver.replay.session import read_session
from devserver.server.recording import Recording
from devserver.server.redact import Redactor
from devserver.transports.http.routes import Request

TOKEN = "the-token-of-this-run"
ECHO = """
    @mod_event_handler("echo.say")
    async def say(self, event):
        self.state["n"] = self.state.get("n", 0) + 1
        await self.send_event(Event(event_name="echo.heard", payload={"n": self.state["n"]}))
        return EventResponse(True, "said", {"n": self.state["n"]})

    @mod_event_handler("echo.heard")
    def heard(self, event):
        return True
"""


class Begins:
    """What a session begins with, where no replay process is. An event comes while it is made."""

    def __init__(self, work: Workspace) -> None:
        self._work = work
        self.is_busy = False
        self.until: asyncio.Future[None] | None = None

    async def begins_now(self) -> tuple[int, dict[str, str], dict[str, Any], dict[str, Any]]:
        latest = self._work.net.record().mark()
        if self.is_busy:
            await self._work.ask("echo.say", meanwhile=True)
        if self.until is not None:
            await self.until
        return latest, {"mods/echo.py": "5f3a"}, {"echo": {"plain": {"n": 0}}}, {"agents": [], "channels": {}}


@pytest.fixture
def begins(work: Workspace) -> Begins:
    """What sessions of it begin with."""
    return Begins(work)


@pytest.fixture
async def recording(work: Workspace, begins: Begins) -> Recording:
    """A recording of a network with one mod."""
    work.mod("echo", ECHO)
    network = await work.start("mods.echo")
    clean = Redactor(TOKEN, lambda digest: False).json
    return Recording(network, network.record(), lambda: begins, clean=clean, tell=work.facts.append)


def lines(work: Workspace, path: str) -> list[bytes]:
    return (work.folder / path).read_bytes().splitlines()


async def test_a_session_has_what_replay_needs_to_run_it_again(work: Workspace, recording: Recording) -> None:
    """Each event from the beginning on, agents that came, what was sent because of an event; no secret."""
    await work.ask("echo.say", before=True)
    path = await recording.start()
    assert recording.path == path
    await work.net.register_agent("bob", {"kind": "human"})
    await work.ask("echo.say", text="x" * 100_000, token=TOKEN)
    await work.ask("echo.say")
    done = recording.stop()
    assert done is not None
    assert (done["path"], done["events"], recording.path) == (path, 4, None)
    file = work.folder / path
    assert done["bytes"] == file.stat().st_size
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert TOKEN.encode() not in file.read_bytes()
    with file.open("rb") as stream:
        session = read_session(stream)
    assert [each.event["event_name"] for each in session.inputs] == ["echo.say", "echo.say"]
    assert session.inputs[0].event["payload"]["text"] == "x" * 100_000
    assert [each.event_name for each in session.inputs[0].did.sends] == ["echo.heard"]
    assert session.notes == []
    assert [each for each in session.steps if isinstance(each, dict)] == [
        {"agent": "bob", "came": True, "metadata": {"kind": "human"}}
    ]


async def test_an_event_that_comes_while_a_session_begins_is_in_it(
    work: Workspace, recording: Recording, begins: Begins
) -> None:
    """Its effects are not in the states that the session begins with. A restart in place waits for the beginning."""
    begins.is_busy, begins.until = True, asyncio.get_running_loop().create_future()
    await work.ask("echo.say", before=True)
    starting = asyncio.create_task(recording.start())
    waiting = asyncio.create_task(recording.begun())
    await until(lambda: work.net.record().mark() == 4)  # an event, and its effect, before and while it begins
    assert (recording.path, waiting.done()) == (None, False)
    begins.until.set_result(None)
    await waiting
    path = recording.path
    assert path == await starting
    await work.ask("echo.say", after=True)
    recording.stop()
    with (work.folder / path).open("rb") as stream:
        payloads = [each.event["payload"] for each in read_session(stream).inputs]
    assert payloads == [{"meanwhile": True}, {"after": True}]


async def test_a_stop_finds_a_session_that_is_just_beginning(recording: Recording, begins: Begins) -> None:
    """It went on, though it was told that nothing is recorded."""
    begins.until = asyncio.get_running_loop().create_future()
    api = DeskApi(SimpleNamespace(recording=recording))  # type: ignore[arg-type]
    starting, stopping = (asyncio.create_task(api.record(Request(ADMIN, {"do": do}))) for do in ("start", "stop"))
    await asyncio.wait((stopping,), timeout=0.01)
    begins.until.set_result(None)
    started, stopped = from_json((await starting).body), from_json((await stopping).body)
    assert started["recording"] == stopped["session"]["path"]
    assert recording.path is None


async def test_a_file_of_a_run_that_was_killed_is_read_but_for_its_cut_line(
    work: Workspace, recording: Recording
) -> None:
    """At whichever byte it was cut."""
    path = await recording.start()
    for _ in range(3):
        await work.ask("echo.say")
    recording.stop()
    whole = (work.folder / path).read_bytes()
    end = whole.rstrip(b"\n").rindex(b"\n") + 1
    for cut in (end + 1, end + 20, len(whole) - 1):
        (work.folder / "cut.jsonl").write_bytes(whole[:cut])
        with (work.folder / "cut.jsonl").open("rb") as stream:
            assert read_session(stream).notes == ["its last line is cut, and left out"]


async def test_one_session_at_a_time(work: Workspace, recording: Recording) -> None:
    """A second start is refused; a stop without one is no error; each session has a file of its own."""
    first = await recording.start()
    with pytest.raises(DevServerError, match="recorded already"):
        await recording.start()
    recording.stop()
    assert recording.stop() is None
    assert await recording.start() != first
    recording.stop()


async def test_a_disk_that_is_full_ends_the_recording_once_and_no_event(
    work: Workspace, recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is whole up to its last line."""
    path = await recording.start()
    await work.ask("echo.say")
    await until(lambda: len(lines(work, path)) == 3)
    real, left = os.write, [30]

    def write(handle: int, data: Any) -> int:
        if not left[0]:
            raise OSError(28, "No space left on device")
        written = real(handle, bytes(data)[: left[0]])
        left[0] -= written
        return written

    monkeypatch.setattr("devserver.server.recording.os.write", write)
    for _ in range(3):
        assert (await work.ask("echo.say")).success
    await until(lambda: recording.path is None)
    monkeypatch.undo()
    assert len(lines(work, path)) == 3
    assert (work.folder / path).read_bytes().endswith(b"\n")
    said = [each.message for each in work.told(Notice) if "session" in each.message]
    assert said == [f"the session is not recorded any more: No space left on device; {path} is whole up to there"]
    assert (await work.ask("echo.say")).success


async def test_a_recording_goes_on_over_a_restart_in_place(
    work: Workspace, recording: Recording, begins: Begins, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the same file, with the numbers of before; in this image too, where there was no restart after all. Where the
    disk is too slow for that it ends, and says so."""
    path = await recording.start()
    await work.ask("echo.say", n=1)
    recording.hand_over()
    assert recording.path is None
    recording.take_back()
    await work.ask("echo.say", n=2)
    handed = recording.hand_over()
    after = Recording(work.net, work.net.record(), lambda: begins, clean=lambda raw: raw, tell=work.facts.append)
    after.go_on(*handed)
    assert after.path == path
    await work.ask("echo.say", n=3)
    with (work.folder / path).open("rb") as stream:
        await until(lambda: len(lines(work, path)) == 7)
        session = read_session(stream)
    assert [each.event["payload"] for each in session.inputs] == [{"n": 1}, {"n": 2}, {"n": 3}]
    assert session.notes == []
    monkeypatch.setattr("devserver.server.recording._JOIN_SECONDS", 0.0)
    monkeypatch.setattr("devserver.server.recording._SessionFile._write", lambda self, line: threading.Event().wait(1))
    await work.ask("echo.say", n=4)
    assert after.hand_over() == ({}, {})
    (said,) = work.told(Notice)
    assert "the disk is too slow" in said.message
    after.go_on({}, {})
    assert after.path is None


async def test_the_end_of_the_run_names_the_session(work: Workspace, recording: Recording) -> None:
    """With how much is in it."""
    path = await recording.start()
    await work.ask("echo.say")
    recording.end()
    (said,) = [each.message for each in work.told(Notice) if "session" in each.message]
    assert said == f"session {path} (2 events, 1 KiB)"
    recording.end()
