"""One wheel of a mod of openagents: it loads in openagents itself, installed by pip, and here, from the lock."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import zipfile
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest

pytest.importorskip("openagents")

from locked_wheels import lock, make_wheel
from workspaces import Workspace

from devserver import Event

MOD = """
from openagents.core.base_mod import BaseMod, mod_event_handler
from openagents.models.event import Event
from openagents.models.event_response import EventResponse


class VotesMod(BaseMod):
    def __init__(self, mod_name="votes"):
        super().__init__(mod_name)

    @mod_event_handler("votes.count")
    async def count(self, event: Event):
        return EventResponse(success=True, data={"votes": 3})
"""
THEIRS = """
import asyncio
from openagents.models.event import Event
from openagents.utils.mod_loaders import load_network_mods

(mod,) = load_network_mods([{"name": "votes", "enabled": True}]).values()
answer = asyncio.run(mod.process_event(Event(event_name="votes.count", source_id="agent:ana")))
print("answered", answer.data)
"""


@pytest.fixture
async def workspace(tmp_path: Path) -> AsyncIterator[Workspace]:
    """A workspace that ends with its network."""
    found = Workspace(tmp_path)
    yield found
    await found.end()


async def test_the_same_wheel_loads_there_and_here(workspace: Workspace) -> None:
    """Nothing of it is made for oa-dev: entry points are all that tells what it brings."""
    files = {"votes/__init__.py": "", "votes/mod.py": MOD}
    wheel = make_wheel(workspace.folder / "mods-index", "votes", "1.0", files, mods=["votes"])
    apart = workspace.folder / "apart"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(apart)  # what pip does with a wheel of Python alone
    surroundings = {"PYTHONPATH": str(apart), "HOME": str(workspace.folder)}
    command = [sys.executable, "-c", THEIRS]
    run = partial(subprocess.run, command, env=surroundings, cwd=workspace.folder, capture_output=True, text=True)
    done = await asyncio.to_thread(run, timeout=60)
    assert "answered {'votes': 3}" in done.stdout, done.stderr[-2000:]

    lock(workspace.folder, wheel)
    await workspace.start("votes")
    response = await workspace.net.process_event(Event(event_name="votes.count", source_id="ana"))
    assert response is not None and response.data == {"votes": 3}
