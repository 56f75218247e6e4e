"""A shadow sees what its mod sees and changes nothing: what it does differently is found, ids and times are not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from workspaces import Workspace, until, without_mods

from devserver.model.event import Event, EventResponse
from devserver.model.facts import Compared
from devserver.model.principal import Kind, Principal
from devserver.model.split import Rule
from devserver.network.shadow import MOST_PATH, MOST_WAITING, Seen, Shadow, _Run

HEAD = "import time, uuid"

WIKI = """
    def initialize(self):
        self.state.setdefault("pages", 0)
        return True

    @mod_event_handler("wiki.page.make")
    async def make(self, event):
        self.state["pages"] += 1
        title = event.payload.pop("title")
        asked = await self.network.ask("mod:other", "other.thing.get", {"title": title})
        made = {"event_name": "wiki.page.made", "destination_id": "channel:pages", "payload": {"title": title}}
        await self.send_event(Event(**made))
        self.network.create_channel("pages-" + title)
        own = {"id": str(uuid.uuid4()), "at": time.time(), "pages": self.state["pages"]}
        return {**own, "n": asked.data["n"], "tags": ["a"]}

    @mod_event_handler("wiki.page.break")
    async def broken(self, event):
        return {}
"""
OTHER = """
    @mod_event_handler("other.thing.get")
    async def get(self, event):
        self.state["asked"] = self.state.get("asked", 0) + 1
        return {"n": self.state["asked"]}
"""


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shadows get each event soon: these tests send one after the other and wait for each."""
    monkeypatch.setattr("devserver.network.shadow._SOON", 0.001)


@pytest.fixture
async def work(tmp_path: Path) -> AsyncIterator[Workspace]:
    """A wiki that asks another mod, tells a channel that ana reads, and has a shadow of the same code."""
    with without_mods():
        workspace = Workspace(tmp_path)
        workspace.mod("wiki", WIKI, HEAD)
        workspace.mod("other", OTHER)
        network = await workspace.start("mods.wiki", "mods.other")
        await network.register_agent("ana")
        network.directory.create_channel("pages")
        network.directory.add_channel_member("pages", "ana")
        assert (await network.try_mod("wiki", Rule(shadow=True))).success
        yield workspace
        await workspace.end()


async def made(work: Workspace, count: int) -> dict[str, Any]:
    """What is known of the shadow after so many events more."""
    before = row(work)["events"]
    for number in range(count):
        answer = await work.ask("wiki.page.make", title=f"t{number}")
        assert answer.success
        # One at a time: more than may wait would not be run.
        await until(lambda number=number: row(work)["events"] == before + number + 1)
    return row(work)


def row(work: Workspace) -> dict[str, Any]:
    """What is known of the shadow."""
    (found,) = work.net.compare_mod("wiki")
    return found


async def test_equal_code_does_the_same(work: Workspace) -> None:
    """Ids and times that each makes of its own are no difference; nested calls get the mod's own answers."""
    found = await made(work, 50)
    assert found["differences"] == []
    assert (found["events"], found["same"], found["held"]) == (50, 50, 100)


async def test_nothing_of_a_shadow_leaves(work: Workspace) -> None:
    """The other mod is asked 50 times, ana gets 50 notices, and no channel is made twice or by the shadow alone.

    Its files are in a folder of its own; that it takes longer is seen in its times.
    """
    seen = '(self.get_storage_path() / "seen.txt").write_text(title)'
    late = f"        time.sleep(0.005)\n        {seen}\n        return {{**own"
    text = WIKI.replace('"pages-"', '"shadow-"').replace("        return {**own", late)
    await work.save_mod("wiki", text, HEAD)
    found = await made(work, 50)
    assert found["times"]["p50_ms"] > found["main_times"]["p50_ms"]
    folders = [work.instance(each).get_storage_path() for each in ("wiki", "wiki@next")]
    assert [[file.name for file in each.glob("*")] for each in folders] == [[], ["seen.txt"]]
    assert work.instance("other").state["asked"] == 50
    agent = work.net.directory.agent("ana")
    assert agent is not None
    letters = agent.outbox.take_nowait()
    assert len(letters) == 50
    assert [each for each in work.net.directory.channels() if each.startswith("shadow-")] == []
    assert work.instance("wiki").state["pages"] == work.instance("wiki@next").state["pages"] == 50


ANSWER = '{**own, "n": asked.data["n"], "tags": ["a"]}'
PLANTED = {
    "an answer": ('"tags": ["a"]', '"tags": []', "data.tags[]"),
    "a missing key": (', "tags": ["a"]', "", "data.tags"),
    "a missing send": ("await self.send_event(Event(**made))", "pass", "sends[]"),
    "another payload": ('"payload": {"title": title}', '"payload": {"title": title + "!"}', "sends[].payload.title"),
    "another destination": ("channel:pages", "channel:others", "sends[].to"),
    "another message": (ANSWER, f'EventResponse(True, "made", {ANSWER})', "message"),
    "an exception": ('title = event.payload.pop("title")', 'title = event.payload.pop("titel")', "raised"),
}


@pytest.mark.parametrize("what", PLANTED)
async def test_a_difference_is_found(work: Workspace, what: str) -> None:
    """In an answer, a send or an exception, at its place, for each event."""
    old, new, path = PLANTED[what]
    await work.save_mod("wiki", WIKI.replace(old, new), HEAD)
    found = await made(work, 5)
    assert {each["path"]: each["count"] for each in found["differences"]}[path] == 5
    assert found["same"] == 0
    assert found["raised"] == (5 if what == "an exception" else 0)


async def test_a_send_that_the_mod_did_not_make_is_found(work: Workspace) -> None:
    """And is answered as held."""
    asks = 'await self.network.ask("mod:other", "other.extra.get")'
    extra = f'        self.state["held"] = ({asks}).data\n        self.network.create'
    await work.save_mod("wiki", WIKI.replace("        self.network.create", extra), HEAD)
    found = await made(work, 5)
    assert [(each["path"], each["count"]) for each in found["differences"]] == [("sends[]", 5)]
    assert work.instance("wiki@next").state["held"] == {"held": True}


async def test_paths_that_are_ignored_are_no_difference(work: Workspace) -> None:
    """`compare: {ignore: …}`."""
    await work.net.drop_mod("wiki@next")
    line = {"label": "next", "shadow": True, "compare": {"ignore": ["data.tags"]}}
    await work.save_yaml({"name": "mods.wiki", "versions": [line]}, "mods.other")
    await work.save_mod("wiki", WIKI.replace('"tags": ["a"]', '"tags": []'), HEAD)
    assert (await made(work, 3))["same"] == 3


async def test_what_comes_while_too_many_wait_is_counted_and_not_run(work: Workspace) -> None:
    """A shadow that is slower than its mod keeps no one."""
    await work.save_mod("wiki", WIKI.replace("        return {}", "        await asyncio.sleep(60)"), HEAD)
    for _ in range(MOST_WAITING + 20):
        assert (await work.ask("wiki.page.break")).success
    await asyncio.sleep(0)
    found = row(work)
    assert found["busy"] >= 19
    assert found["waiting"] <= MOST_WAITING


async def test_agents_know_nothing_of_a_shadow(work: Workspace) -> None:
    """Named by an agent it is not there; code in this process may ask it."""
    event = Event(event_name="wiki.page.break", source_id="ana", destination_id="mod:wiki@next")
    answer = await work.net.ingest(event, Principal(Kind.AGENT, "ana", frozenset()))
    assert answer.message == "Target mod wiki@next not found"
    assert (await work.ask("wiki.page.break", to="mod:wiki@next")).success


async def test_sums_are_told_every_hundred_events(work: Workspace) -> None:
    """For programs that follow."""
    await made(work, 100)
    await until(lambda: bool(work.told(Compared)))
    (told,) = work.told(Compared)
    assert (told.mod_id, told.events, told.same, told.other) == ("wiki@next", 100, 100, 0)


async def test_a_shadow_that_gets_agents_begins_again_with_the_mods_state(work: Workspace) -> None:
    """What a shadow has in its state never happened."""
    await work.net.drop_mod("wiki@next")
    await work.ask("wiki.page.make", title="before")
    assert (await work.net.try_mod("wiki", Rule(shadow=True))).success
    await made(work, 3)
    assert (await work.net.split_mod("wiki@next", Rule(agents=("ana",)))).success
    answer = await work.ask("wiki.page.make", title="after")
    assert answer.data["pages"] == 5
    assert work.instance("wiki@next").state is work.instance("wiki").state
    assert not work.instance("wiki@next").network.is_shadow
    assert work.net.compare_mod("wiki") == []


class Unshown:
    """A value that cannot be written."""

    def __repr__(self) -> str:
        raise ValueError


async def test_what_is_kept_of_a_difference_is_what_people_read(work: Workspace) -> None:
    """Not its values, which may be megabytes each, nor a key of that length."""
    shadow = Shadow(work.net.engine.registry.find("wiki@next"), 1)
    event = Event(event_name="wiki.page.make", event_id="one")
    large = {"text": ["x" * 10**6] * 100, "k" * 10**6: 1, "odd": Unshown(), "few": {"a": 1}}
    seen = Seen(event=event, payload={}, answer=EventResponse(True, "", large), sent=(), error="", took=0.0, at=0.0)
    shadow.note(seen, _Run(seen), EventResponse(True, "", {"few": {"a": 2}, "text": 5, "odd": 6}), "", 0.0)
    assert len(shadow.differences) == 4
    for (_, path), known in shadow.differences.items():
        assert len(path) <= MOST_PATH
        assert all(len(each) <= 200 for each in known.examples[0])
    shown = {each["path"]: (each["before"], each["after"]) for each in shadow.row("wiki v1")["differences"]}
    assert shown["data.few.a"] == ("1", "2")
    assert shown["data.text"][0].startswith("['xxx")
