"""Sessions: the events of a run, run again without a server."""

from __future__ import annotations

import asyncio
import io
import json
import os
import shutil
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from nursery import SCRIPT, forking

from devserver.agent_network import AgentNetwork
from devserver.cli.app import parsed
from devserver.cli.exits import Problem
from devserver.errors import DevServerError
from devserver.model.event import Event
from devserver.model.principal import LOCAL
from devserver.replay.code import code_now
from devserver.replay.host import Host
from devserver.replay.session import BadSession, event_line, first_line, read_session
from devserver.server.private_folder import PrivateFolder
from devserver.server.sessions import Sessions

ROOT = Path(__file__).parents[2]
AGENTS = ("ana", "charlie", "critic")


async def recorded(folder: Path, times: int, more: int = 0) -> Path:
    """Run a copy of the sample network, send it events of some kinds so often and some more, and write the session."""
    network = AgentNetwork.load(folder)
    recorder = network.record()
    await network.initialize()
    try:
        for each in AGENTS:
            await network.register_agent(each)
        begun, directory = recorder.number, network.directory
        channels = {name: list(directory.channel_members(name)) for name in directory.channels()}
        for place, (name, payload) in enumerate([*chain(*map(kinds, range(times))), *kinds(times)[:more]]):
            event = Event(event_name=name, source_id=AGENTS[place // 4 % 3], payload=payload)
            await network.ingest(event, LOCAL)
        entries = [each for each in reversed(recorder.newest()) if json.loads(each.split(b"\n")[0])[0] > begun]
    finally:
        await network.shutdown()
    agents = [{"agent_id": each, "group": None, "metadata": {}} for each in AGENTS]
    head = first_line("Sample", 5.0, {}, {}, {"agents": agents, "channels": channels})
    file = folder / "session.jsonl"
    file.write_bytes(head + b"".join(map(event_line, entries)))
    return file


def kinds(number: int) -> list[tuple[str, dict]]:
    page = f"page-{number % 7}"
    return [
        ("wiki.page.create", {"page_path": page, "title": page, "wiki_content": "one"}),
        ("wiki.page.edit", {"page_path": page, "wiki_content": f"{number}"}),
        ("wiki.page.get", {"page_path": page}),
        ("wiki.pages.list", {}),
    ]


async def run(folder: Path, *arguments: str) -> tuple[int, str]:
    """Run `oa-dev` in a folder: its exit code, and what it said."""
    with forking():
        process = await asyncio.create_subprocess_exec(
            SCRIPT, *arguments, cwd=folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
    said, _ = await process.communicate()
    return process.returncode or 0, said.decode()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the sample network."""
    place = tmp_path / "network"
    place.mkdir()
    shutil.copy(ROOT / "network.yaml", place)
    shutil.copytree(ROOT / "mods", place / "mods")
    return place


@pytest.mark.slow
async def test_a_long_session_is_the_same_both_times(folder):
    """Of 1,302 events."""
    file = await recorded(folder, 325, more=2)
    code, said = await run(folder, "replay", file.name, "--json")
    rows = [json.loads(line) for line in said.splitlines()]
    assert [each for each in rows if each.get("result", "same") != "same"] == []
    assert (code, rows[-1]["same"], rows[-1]["differ"], rows[-1]["cannot"]) == (0, 1302, 0, 0)


async def test_a_session_is_the_same_but_for_noise_and_a_change_is_found(folder):
    """By the exit code too: that is the command for CI."""
    file = await recorded(folder, 10)
    code, said = await run(folder, "replay", file.name, "--json")
    rows = [json.loads(line) for line in said.splitlines()]
    assert [each for each in rows if each.get("result", "same") != "same"] == []
    assert (code, rows[-1]["same"], rows[-1]["differ"], rows[-1]["notes"]) == (0, 40, 0, [])

    mod = folder / "mods" / "wiki" / "mod.py"
    mod.write_text(mod.read_text().replace("is at version", "has version"))
    code, said = await run(folder, "replay", file.name)
    assert code == 1
    assert "40 events in order" in said
    assert "30 same, 10 differ" in said
    assert "answer.message" in said
    first = next(int(word.removeprefix("#")) for word in said.split() if word.startswith("#"))
    code, said = await run(folder, "replay", file.name, "--at", str(first))
    assert code == 1
    assert f"#{first} wiki.page.edit   differs" in said


@pytest.mark.parametrize(
    ("arguments", "wrong"),
    [
        (["57", "--at", "3"], "--at is of a session"),
        (["old.jsonl", "--on", "both"], "--on, --payload and --for-real are of an event"),
        (["old.jsonl", "--for-real"], "--on, --payload and --for-real are of an event"),
    ],
)
def test_options_of_events_and_of_sessions_are_told_apart(arguments, wrong):
    """Nothing is run in the place of what was asked for."""
    with pytest.raises(Problem, match=wrong):
        parsed(["replay", *arguments])


async def test_a_session_is_looked_at_at_any_of_its_events(folder):
    """The state after it, one level at a time, what the event does now, and what was recorded; on the code of now."""
    file = await recorded(folder, 3)
    files = PrivateFolder(folder, "sessions")
    os.write(handle := files.create("one.jsonl"), file.read_bytes())
    os.close(handle)
    network = AgentNetwork.load(folder)
    await network.initialize()
    host = Host(folder, os.environ)
    sessions = Sessions(
        files, lambda message, seconds: host.ask(code_now(network.engine), network.config, message, seconds)
    )
    try:
        assert await sessions.sessions() == {"sessions": ["one.jsonl"]}
        told = await sessions.session("one.jsonl")
        assert [each[1:] for each in told["events"][4:6]] == [
            ["wiki.page.create", "charlie", True],
            ["wiki.page.edit", "charlie", True],
        ]
        numbers = [each[0] for each in told["events"]]

        async def at(place: int, path: str = "pages") -> dict[str, Any]:
            return await sessions.moment("one.jsonl", number=numbers[place], mod="wiki", path=path)

        assert [[row["key"] for row in (await at(place))["items"]] for place in (0, 4, 11)] == [
            ["page-0"],
            ["page-0", "page-1"],
            ["page-0", "page-1", "page-2"],
        ]
        edited = await at(5, 'pages["page-1"].versions')
        assert (edited["of"], edited["seen"]["success"], edited["recorded"]["success"]) == (2, True, True)
        assert edited["seen"]["message"] == edited["recorded"]["message"] == "Page page-1 is at version 2"
        assert network.mods["mods.wiki"].state["pages"] == {}
        for name, number, why in (("../one", 1, "does not exist"), ("one.jsonl", 10**6, "has no event")):
            with pytest.raises(DevServerError, match=why):
                await sessions.moment(name, number=number, mod="wiki", path="")
    finally:
        await host.end()
        await network.shutdown()


async def test_a_file_that_is_no_session_is_a_usage_error(folder):
    """And a network.yaml that cannot be used is told by its own exit code."""
    (folder / "x.jsonl").write_text("{}\n")
    code, said = await run(folder, "replay", "x.jsonl")
    assert (code, "it has the format None, this oa-dev reads 1" in said) == (2, True)
    assert (await run(folder, "replay", "none.jsonl"))[0] == 2
    (folder / "x.jsonl").write_bytes(first_line("x", 1.0, {}, {}, {"agents": [], "channels": {}}))
    (folder / "network.yaml").write_text("network: [")
    assert (await run(folder, "replay", "x.jsonl"))[0] == 3


HEAD = first_line("x", 1.0, {}, {}, {"agents": [], "channels": {}})
ROW = [1, 0, 0, 5, "a.b", "ana", None, "id", True, "", [], [], [], {"x": 1}]


def test_a_line_that_is_cut_is_left_out_and_said():
    """A session survives a kill at any byte."""
    whole = HEAD + json.dumps({"e": ROW}).encode() + b"\n"
    for length in range(len(HEAD), len(whole)):
        session = read_session(io.BytesIO(whole[:length]))
        assert session.inputs == []
        assert session.notes == ([] if length == len(HEAD) else ["its last line is cut, and left out"])
    assert [each.number for each in read_session(io.BytesIO(whole)).inputs] == [1]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]\n",
        b"{\n",
        b'{"oa-dev session": 2}\n',
        b'{"oa-dev session": 1}\n',
        HEAD + b"[" * 5000 + b"\n",
        HEAD + b'{"x": ' + b"[" * 101 + b"]" * 101 + b"}\n",
        HEAD + b'{"e": [1]}\n',
        HEAD + json.dumps({"e": [*ROW[:4], 5, *ROW[5:]]}).encode() + b"\n",
        HEAD.replace(b'"state": {}', b'"state": {"m": {"plain": {"$": "eval", "of": ""}}}'),
    ],
)
def test_a_file_of_another_form_is_refused(data):
    """With the line; one that is too large before it is parsed."""
    with pytest.raises(BadSession):
        read_session(io.BytesIO(data))
    with pytest.raises(BadSession, match="larger than 64 MiB"):
        read_session(Endless())


class Endless(io.BytesIO):
    """A file that goes on and on."""

    def read(self, size: int | None = -1) -> bytes:
        assert size is not None and size > 0
        return bytes(size)


def test_what_a_handler_sent_is_what_its_event_did():
    """It is no event that is run again; what a task of a mod sends by itself is."""
    child = [2, 1, 1, 2, "a.told", "mod:x", "agent:ana", "id2", True, "", [], ["ana"], [], {"y": 1}]
    alone = [3, 0, 9, 2, "a.tick", "mod:x", None, "id3", True, "", [], [], [], {}]
    data = HEAD + b"".join(json.dumps({"e": each}).encode() + b"\n" for each in (child, ROW, alone))
    one, two = read_session(io.BytesIO(data)).inputs
    assert (one.number, two.number) == (1, 3)
    assert [(each.event_name, each.payload) for each in one.did.sends] == [("a.told", {"y": 1})]
    assert one.did.told == {"ana": ("a.told",)}
