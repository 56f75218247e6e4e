"""A catalogue can warn of a mod: it is not loaded any more, what runs goes on, and nothing is deleted."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from locked_wheels import lock, make_mod_wheel
from workspaces import PATIENCE, Workspace

from devserver.market.index import write_index
from devserver.model.change import LoadAsked, ReloadAsked, UnloadAsked
from devserver.model.facts import ModBlocked, Status
from devserver.server.check import check_network
from devserver.server.periodic import warn_of_blocked

REASON = "steals tokens (2026-11-20)"
BLOCKED = json.dumps({"format": 1, "name": "x", "mods": {"polls": {"blocked": REASON}}})
DEV = {"indexes": ["mods-index"]}


@pytest.fixture
async def workspace(tmp_path: Path) -> AsyncIterator[Workspace]:
    """A workspace in which the mod polls is locked and installed from a folder, which lists it."""
    before = list(sys.path)
    found = Workspace(tmp_path)
    lock(tmp_path, make_mod_wheel(tmp_path / "mods-index", "polls", "1.0"))
    write_index(tmp_path / "mods-index")
    yield found
    await found.end()
    assert sys.path == before


def block(workspace: Workspace, **keys: object) -> None:
    """Have the catalogue warn of polls."""
    file = workspace.folder / "mods-index/index.json"
    values = json.loads(file.read_text())
    values["mods"]["polls"]["releases"]["1.0"] |= keys or {"blocked": REASON}
    file.write_text(json.dumps(values))


def digest(workspace: Workspace) -> str:
    """The digest of the wheel, as the catalogue lists it."""
    values = json.loads((workspace.folder / "mods-index/index.json").read_text())
    return str(values["mods"]["polls"]["releases"]["1.0"]["sha256"])


async def test_a_blocked_mod_is_not_loaded_at_a_start(workspace: Workspace) -> None:
    """Which is told, with who warns and why; nothing of what people have is touched."""
    block(workspace)
    files = sorted(each for each in workspace.folder.rglob("*") if each.is_file())
    await workspace.start("polls", dev=DEV)
    assert workspace.net.running_mods() == {}
    assert [each for each in workspace.facts if isinstance(each, ModBlocked)] == [
        ModBlocked(mod_id="polls", name="polls", version="1.0", reason=REASON, catalogue="mods-index")
    ]
    assert set(files) <= set(workspace.folder.rglob("*"))


async def test_what_runs_goes_on_and_is_loaded_no_more(workspace: Workspace) -> None:
    """Its own saves are brought as before; once it has been unloaded it stays out."""
    await workspace.start("polls", dev=DEV)
    block(workspace)
    reloaded = await workspace.net.submit(ReloadAsked(("polls",)))
    assert [each.status for each in reloaded.outcomes] == [Status.APPLIED]
    await workspace.net.submit(UnloadAsked("polls"))
    done = await workspace.net.submit(LoadAsked("polls"))
    assert [each.status for each in done.outcomes] == [Status.FAILED]
    assert f"polls 1.0 is blocked by mods-index: {REASON}; oa-dev remove polls" in str(done.outcomes[0].error)


async def test_a_person_who_names_its_digest_loads_it_anyway(workspace: Workspace) -> None:
    """Another digest lets nothing in."""
    block(workspace)
    await workspace.start("polls", dev=DEV)
    workspace.net.blocked.allow("0" * 64)
    assert (await workspace.net.submit(LoadAsked("polls"))).outcomes[0].status is Status.FAILED
    workspace.net.blocked.allow(digest(workspace))
    assert (await workspace.net.submit(LoadAsked("polls"))).outcomes[0].status is Status.APPLIED


async def test_who_runs_it_is_warned_once(workspace: Workspace) -> None:
    """As soon as the catalogue says so; a catalogue that can no longer be read warns of nothing."""
    await workspace.start("polls", dev=DEV)
    told: list[object] = []
    looked = asyncio.Semaphore(0)
    loop, running = asyncio.get_running_loop(), workspace.net.blocked.running

    def look():
        loop.call_soon_threadsafe(looked.release)
        return running()

    workspace.net.blocked.running = look
    watching = asyncio.create_task(warn_of_blocked(workspace.net, told.append, seconds=0.001))
    file = workspace.folder / "mods-index/index.json"
    try:
        async with asyncio.timeout(PATIENCE):
            for text in ("{", BLOCKED, BLOCKED + " "):
                file.write_text(text)
                for _ in range(3):
                    await looked.acquire()
    finally:
        watching.cancel()
    assert told == [
        ModBlocked(mod_id="polls", name="polls", version="1.0", reason=REASON, catalogue="mods-index", runs=True)
    ]
    assert workspace.net.runs("polls")


async def test_another_version_of_a_blocked_one_is_loaded(workspace: Workspace) -> None:
    """A warning is about a release, or about all of a mod where it says so."""
    block(workspace, blocked=None)
    await workspace.start("polls", dev=DEV)
    assert workspace.net.runs("polls")


async def test_check_finds_it(workspace: Workspace) -> None:
    """As a mod that cannot be loaded, so that `oa-dev check` ends with 5."""
    block(workspace)
    workspace.yaml("polls", dev=DEV)
    found = await asyncio.to_thread(check_network, workspace.folder / "network.yaml")
    assert [(mod, "is blocked by mods-index" in error.message) for mod, error in found.mods] == [("polls", True)]
