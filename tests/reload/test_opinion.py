"""What a fresh process is asked when a reload has failed."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from workspaces import Workspace

from devserver.config.network_yaml import read_network
from devserver.model.change import ConfigChanged
from devserver.model.lifecycle import Phase
from devserver.reload.restarting import Arrival

BOOK = """
from pydantic import BaseModel

from devserver import BaseMod


class Config(BaseModel):
    pages: int = 5


class BookMod(BaseMod):
    Config = Config
"""


async def test_a_fresh_process_is_asked_with_the_configuration_that_failed(work: Workspace) -> None:
    """With the one that runs it would load, and a restart would be asked for that cannot help."""
    asked: list[object] = []

    async def rehearse(mods: Mapping[str, Arrival], failed_in: Phase) -> bool:
        asked.extend(dict(each.config) for each in mods.values())
        return False

    work.write("mods/book.py", BOOK)
    await work.start({"name": "mods.book", "config": {"pages": 5}})
    work.net.engine.restarts.rehearse = rehearse
    config = read_network(work.yaml({"name": "mods.book", "config": {"pages": "many"}}))
    done = await work.net.submit(ConfigChanged(config))
    assert [each.status.value for each in done.outcomes] == ["rolled_back"]
    assert asked == [{"pages": "many"}]


async def test_the_next_image_is_checked_while_the_fresh_process_is_asked(work: Workspace) -> None:
    """A save that a restart brings waits for the longer of the two, and the check is not made twice."""
    checks, replaced, checking = list[str](), asyncio.Event(), asyncio.Event()

    async def problem(rehearsed: object) -> None:
        checks.append("begun")
        checking.set()

    async def rehearse(mods: Mapping[str, Arrival], failed_in: Phase) -> bool:
        await checking.wait()
        return True

    work.mod("book", "pass")
    await work.start("mods.book")
    restarts = work.net.engine.restarts
    restarts.rehearse, restarts.problem = rehearse, problem
    restarts.replace = lambda plan: replaced.set()
    await work.save_mod("book", "pass", head="raise RuntimeError('set up twice')")
    await replaced.wait()
    assert checks == ["begun"]


async def test_what_is_saved_meanwhile_is_checked(work: Workspace) -> None:
    """A check that was begun before another save says nothing of that one."""
    checks, replaced = list[str](), asyncio.Event()
    answered = asyncio.Event()

    async def problem(rehearsed: object) -> None:
        checks.append("begun")
        if len(checks) == 1:
            await asyncio.Event().wait()

    async def rehearse(mods: Mapping[str, Arrival], failed_in: Phase) -> bool:
        answered.set()
        return True

    work.mod("book", "pass")
    work.mod("wiki", "pass")
    await work.start("mods.book", "mods.wiki")
    restarts = work.net.engine.restarts
    restarts.rehearse, restarts.problem = rehearse, problem
    restarts.replace = lambda plan: replaced.set()
    first = asyncio.ensure_future(work.save_mod("book", "pass", head="raise RuntimeError('set up twice')"))
    await answered.wait()
    await asyncio.gather(first, work.save_mod("wiki", "x = 1"))
    await replaced.wait()
    assert checks == ["begun", "begun"]
