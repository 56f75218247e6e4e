"""Handlers that are running when the code is saved: they finish on their own code, and no one waits for them."""

from __future__ import annotations

import asyncio
import http.client
from pathlib import Path

import pytest
from rig.agents import Crowd, under_load
from rig.ledger import NOTHING
from rig.mods import SLEEPER, WAITER
from rig.running import PATIENCE, Running
from rig.workspace import Workspace

from devserver.cli.client import connect

GENEROUS = 20.0
"""Seconds: a new generation answers within milliseconds, and would within 30 s if it waited for an old handler."""


@pytest.fixture
def waiter(workspace: Workspace) -> Workspace:
    """A workspace with a mod that waits; asked for before `server` starts."""
    workspace.add_mod("waiter", WAITER)
    return workspace


@pytest.fixture
def sleeper(workspace: Workspace) -> Workspace:
    """A workspace with a mod that blocks; asked for before `server` starts."""
    workspace.add_mod("sleeper", SLEEPER)
    return workspace


async def test_a_waiting_handler_answers_from_its_old_code(waiter: Workspace, server: Running, agents: Crowd) -> None:
    """A handler that waits over a reload ends on its old code; events sent meanwhile are answered by the new one."""
    waiting = asyncio.create_task(agents.ana.ask("waiter.wait.here"))
    await _in_flight(server, "waiter")
    mark = server.mark()
    waiter.replace("mods/waiter/mod.py", "VERSION = 1", "VERSION = 2")
    async with asyncio.timeout(GENEROUS):
        while (await agents.bea.ask("waiter.version.get"))["data"] != {"version": 2}:
            assert not waiting.done()
    assert (await server.outcome("waiter", mark))["status"] == "applied"
    assert not waiting.done()
    assert (await agents.cem.ask("waiter.let.go"))["success"]
    assert (await waiting)["data"] == {"version": 1}


async def test_a_mod_that_blocks_blocks_only_mods(
    sleeper: Workspace, server: Running, agents: Crowd, tmp_path: Path
) -> None:
    """While a handler blocks, the server answers everyone, no connection ends, and the place is named."""
    until = tmp_path / "until"
    mark = server.mark()
    blocked = asyncio.create_task(agents.bea.ask("sleeper.block.all", {"until": str(until)}))
    async with under_load(agents, per_second=10):
        notice = await server.line("notice", mark)
        await asyncio.to_thread(_ask_often, server.port)
        await agents.ana.ping()
        until.touch()
        assert (await blocked)["message"] == "awake"
    line = sleeper.line_of("mods/sleeper/mod.py", "while not")
    assert notice["message"].startswith("sleeper blocked ")
    assert notice["message"].endswith((f"mods/sleeper/mod.py:{line}", f"mods/sleeper/mod.py:{line + 1}"))
    assert agents.ledger.faults() == NOTHING


async def _in_flight(server: Running, mod_id: str) -> None:
    """Wait until a handler of the mod is running."""
    control = connect(server.workspace.root)
    running: list[str] = []
    async with asyncio.timeout(PATIENCE):
        while mod_id not in running:
            status = await asyncio.to_thread(control.status)
            running = [each["mod_id"] for each in status["mods"] if each["in_flight"]]


def _ask_often(port: int) -> None:
    """Get a hundred answers of /healthz, one after the other."""
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    for _ in range(100):
        line.request("GET", "/healthz")
        assert line.getresponse().read() == b'{"ok":true}'
    line.close()
