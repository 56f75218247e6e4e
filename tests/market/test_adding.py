"""A mod that a catalogue lists comes into a running network for this run, if it is what was shown; no file changes."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from locked_wheels import lock, make_mod_wheel
from workspaces import Workspace

from devserver.control.shelf import ShelfApi
from devserver.market.index import write_index
from devserver.market.lock import NAME
from devserver.model.facts import PackagesInstalled
from devserver.model.principal import LOCAL
from devserver.transports.http.answers import Answer
from devserver.transports.http.routes import Request
from devserver.transports.strict import Malformed


@pytest.fixture
async def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Workspace]:
    """A network that runs `board` of its lock; its index has `polls`, too."""
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv-cache"))
    found = Workspace(tmp_path)
    lock(tmp_path, make_mod_wheel(tmp_path / "mods-index", "board", "1.0"))
    make_mod_wheel(tmp_path / "mods-index", "polls", "1.0")
    write_index(tmp_path / "mods-index")
    await found.start("board", dev={"indexes": ["mods-index"], "packages": "none"})
    yield found
    await found.end()


def digest(work: Workspace) -> str:
    return hashlib.sha256((work.folder / "mods-index" / "polls-1.0-py3-none-any.whl").read_bytes()).hexdigest()


async def add(work: Workspace, **body: Any) -> Answer:
    """What the page posts."""
    [route] = [each for each in ShelfApi(work.net).routes() if each.path == "/_dev/add"]
    assert route.endpoint is not None
    return await route.endpoint(Request(LOCAL, body))


async def test_a_mod_that_was_shown_runs_until_the_end_and_changes_no_file(work: Workspace) -> None:
    """It answers, what ran is the very object that it was, and the entry that keeps it is told; another digest,
    or none that a person has agreed to, brings nothing and imports nothing."""
    before = (work.folder / NAME).read_bytes()
    board = work.net.engine.registry.find("board").live.instance
    refused = await add(work, name="polls", sha256="0" * 64)
    assert refused.status == 409 and b"other_sha256" in refused.body
    not_agreed = await work.net.install("polls", approve=lambda facts: facts["answers"] != ["polls.ask"])
    assert (not_agreed.success, not_agreed.data) == (False, {"code": "not_approved"})
    with pytest.raises(Malformed):
        await add(work, name="polls")  # as another page would
    assert "polls" not in sys.modules
    added = await add(work, name="polls", version="1.0", sha256=digest(work))
    assert added.status == 200 and rb"- name: polls\n  version: \"~=1.0\"" in added.body
    assert (await work.ask("polls.ask")).data["version"] == "1.0"
    assert work.net.engine.registry.find("board").live.instance is board
    assert (work.folder / NAME).read_bytes() == before
    [told] = work.told(PackagesInstalled)
    assert [str(each) for each in told.packages] == ["+ polls 1.0"]


async def test_a_mod_that_was_brought_for_this_run_is_there_after_a_restart_in_place(work: Workspace) -> None:
    """The next image begins with the packages of the lock alone: it takes the folder that the mod was brought with."""
    await add(work, name="polls", version="1.0", sha256=digest(work))
    await work.net.end_mods()
    work.net.engine.environment.begin()
    assert "polls" not in work.net.engine.environment.mods
    await work.net.initialize()
    assert (await work.ask("polls.ask")).data["version"] == "1.0"
    assert set(work.running()) == {"board", "polls"}
