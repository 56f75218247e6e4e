"""The sample mods' events, pinned: code that only moves does what it did before."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from pinning_network import Pinning

from devserver.agent_network import AgentNetwork
from devserver.model.facts import PinResult
from devserver.replay.host import Host
from devserver.server import replays

ROOT = Path(__file__).parents[2]
PAGE = {"page_path": "home", "title": "Home", "wiki_content": "hello"}
POST = {"channel": "general", "content": {"text": "hello"}}
EVENTS = [
    ("wiki.page.create", {**PAGE, "page_path": "other"}),
    ("wiki.page.edit", {"page_path": "home", "wiki_content": "again"}),
    ("wiki.page.get", {"page_path": "home"}),
    ("wiki.page.history", {"page_path": "home"}),
    ("wiki.pages.list", {}),
    ("wiki.pages.search", {"query": "hello"}),
    ("thread.channel_message.post", POST),
    ("thread.channel_messages.retrieve", {"channel": "general"}),
    ("thread.channels.list", {}),
    ("thread.direct_message.send", {"target_agent_id": "charlie", "content": {"text": "hello"}}),
    ("thread.direct_messages.retrieve", {"target_agent_id": "charlie"}),
    ("project.template.list", {}),
    ("project.list", {}),
    ("project.start", {"template_id": "none"}),
    ("analytics.report.get", {}),
]


def elsewhere() -> list[str]:
    """The import path without the repository."""
    return [each for each in sys.path if os.path.realpath(each) != str(ROOT)]


@pytest.fixture
async def sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Pinning]:
    """A copy of the sample network, with three agents and something in its state."""
    # The mods of the repository are on the path of its tests, and are none of this network's.
    monkeypatch.setattr(sys, "path", elsewhere())
    # A busy machine runs all of them, too: what is told without a turn has a test of its own.
    monkeypatch.setattr(replays, "SAVE_SECONDS", 60.0)
    folder = tmp_path / "network"
    folder.mkdir()
    shutil.copy(ROOT / "network.yaml", folder)
    shutil.copytree(ROOT / "mods", folder / "mods")
    network = AgentNetwork.load(folder)
    await network.initialize()
    host = Host(network.workspace, os.environ)
    made = Pinning(network, host)
    for each in ("ana", "charlie", "critic"):
        await network.register_agent(each)
    await made.send("wiki.page.create", PAGE)
    await made.send("thread.channel_message.post", POST)
    try:
        yield made
    finally:
        await host.end()
        await network.shutdown()


@pytest.mark.slow
async def test_every_kind_of_event_is_the_same_after_saves_that_only_move_lines(sample):
    """Three saves of three mods; what is not compared is ids, times and rates."""
    events = [{"event_name": name, "source_id": "ana", "payload": payload} for name, payload in EVENTS]
    await asyncio.gather(*(sample.replays.pin(each, name=each["event_name"]) for each in events))
    for number, path in enumerate(("mods/wiki/mod.py", "mods/messaging/mod.py", "mods/lib/text.py"), 1):
        text = (sample.folder / path).read_text()
        told = await sample.saved(path, f"{text}\n\n# moved {number}\nmoved = {number}\n")
        assert [each for each in told.pins if each.result is not PinResult.SAME] == []
        assert len(told.pins) == len(EVENTS)
