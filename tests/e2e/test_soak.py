"""Hundreds of reloads: nothing of the generations before is left."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from rig.agents import Crowd
from rig.mods import INSPECTOR, PART, SOAKED
from rig.running import Running
from rig.workspace import Workspace

WARM_UP = 20
"""Reloads before the first count: caches and the allocator have grown to their size then."""
MOST_GROWTH = 5 * 1024
"""KiB of resident memory that five hundred reloads may add: what the allocator does not give back."""


@pytest.fixture
def soaked(workspace: Workspace) -> Workspace:
    """A workspace with a mod to be reloaded and one that counts; asked for before `server` starts."""
    workspace.add_mod("soaked", SOAKED)
    workspace.write("mods/soaked/part.py", PART)
    workspace.add_mod("inspector", INSPECTOR)
    return workspace


@pytest.mark.parametrize("reloads", [60, pytest.param(500, marks=pytest.mark.slow)])
async def test_reloads_leave_nothing_behind(soaked: Workspace, server: Running, agents: Crowd, reloads: int) -> None:
    """After any number of reloads threads, files, tasks, modules and classes are as many as before them."""
    await _reload(soaked, server, range(1, WARM_UP))
    before, memory = await _counts(server, agents), _resident(server.pid)
    await _reload(soaked, server, range(WARM_UP, WARM_UP + reloads))
    answer = await agents.bea.ask("soaked.number.get")
    assert answer["data"] == {"number": WARM_UP + reloads - 1, "seen": WARM_UP + reloads}
    after = await _counts(server, agents)
    assert {name: count for name, count in after.items() if count > before[name]} == {}
    assert _resident(server.pid) - memory < MOST_GROWTH


async def _reload(workspace: Workspace, server: Running, numbers: range) -> None:
    """Save the mod once for each number, in turns its own module and its part."""
    for number in numbers:
        mark = server.mark()
        workspace.write("mods/soaked/mod.py", SOAKED.replace("NUMBER = 0", f"NUMBER = {number}"))
        assert (await server.outcome("soaked", mark))["status"] == "applied"


async def _counts(server: Running, agents: Crowd) -> dict[str, Any]:
    """What the process holds, when the last old generation has ended."""
    found = await _count(server, agents)
    async with asyncio.timeout(60):
        while found["classes"] > 2:
            found = await _count(server, agents)
    return found


async def _count(server: Running, agents: Crowd) -> dict[str, Any]:
    answer = await agents.bea.ask("inspector.counts.get")
    return {**answer["data"], "files": _open_files(server.pid)}


def _open_files(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def _resident(pid: int) -> int:
    """The resident memory of a process in KiB."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))
