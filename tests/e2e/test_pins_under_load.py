"""Pins in a real server: each save is replayed, no agent notices, and nothing is left when the server is gone."""

from __future__ import annotations

import asyncio
import signal
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rig.agents import Crowd, under_load
from rig.ledger import NOTHING
from rig.running import Running
from rig.workspace import Workspace

from devserver.cli.client import Client, connect

WIKI = "mods/wiki/mod.py"


async def asked(server: Running, what: str, body: dict[str, Any] | None) -> dict[str, Any]:
    """Have the server do something, as a command does; without a body, ask it."""
    client = _client(server)
    return await asyncio.to_thread(lambda: client.get(what) if body is None else client.post(what, body))


def _client(server: Running) -> Client:
    return connect(server.workspace.root)


def replay_processes(server: Running) -> list[int]:
    """The replay processes of a server."""
    found = []
    for task in Path(f"/proc/{server.pid}/task").glob("*/children"):
        for pid in task.read_text().split():
            if b"devserver.replay" in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(int(pid))
    return found


async def pinned(server: Running, count: int) -> None:
    """Pin so many events of the wiki, half of which are refused."""
    events = [
        {"page_path": f"page-{number}", "title": "" if number % 2 else "Title", "wiki_content": "text"}
        for number in range(count)
    ]
    wanted = ({"event_name": "wiki.page.create", "source_id": "ana", "payload": each} for each in events)
    bodies = [{"event": each, "name": f"pin-{number}"} for number, each in enumerate(wanted)]
    await asyncio.gather(*(asked(server, "pins", each) for each in bodies))


async def test_saves_with_pins_cost_no_agent_anything(workspace: Workspace, server: Running, agents: Crowd) -> None:
    """Nothing is lost, repeated, reordered or cut off, and no event of a replay is delivered to anyone. A change is
    told with the paths that differ, and what was there before."""
    await pinned(server, 2)
    await saved(workspace, server, agents, range(5), pins=2)
    assert agents.ledger.faults() == NOTHING
    mark = server.mark()
    workspace.replace(WIKI, "Created page", "Made page")
    told = await server.line("replayed", mark, generation=7)
    change = {"path": "answer.message", "before": "Created page page-0", "after": "Made page page-0", "kind": "changed"}
    assert (told["mods"], told["pins"][0]["differences"]) == ({"wiki": 7}, [change])


@pytest.mark.slow
@pytest.mark.timeout(400)
async def test_agents_cannot_tell_saves_with_pins_from_others(
    workspace: Workspace, server: Running, agents: Crowd
) -> None:
    """In turns of twenty saves, 200 with 20 pins and 200 without: nothing is lost or repeated, and a usual turn with
    pins answers no slower than some turn without, by p50 and by p99."""
    answered: dict[int, list[list[float]]] = {0: [], 20: []}
    for turn in range(20):
        pins = 20 if turn % 4 in (1, 2) else 0  # each follows each equally often: the machine changes in the meantime
        if turn % 4 == 1:
            await pinned(server, pins)
        if turn % 4 == 3:
            names = [each["name"] for each in (await asked(server, "pins", None))["pins"]]
            await asyncio.gather(*(asked(server, "pins/remove", {"name": each}) for each in names))
        agents.ledger.took = []
        await saved(workspace, server, agents, range(turn * 20, turn * 20 + 20), pins=pins)
        answered[pins].append(agents.ledger.took)
    assert agents.ledger.faults() == NOTHING
    for percent in (50, 99):
        without, with_pins = ([at(each, percent) for each in answered[pins]] for pins in (0, 20))
        assert statistics.median(with_pins) <= max(without), (percent, with_pins, without)


def at(took: list[float], percent: int) -> float:
    return sorted(took)[len(took) * percent // 100]


async def saved(workspace: Workspace, server: Running, agents: Crowd, numbers: range, *, pins: int) -> None:
    """Save the wiki so often under load; the last save is told as the same by so many pins."""
    text = workspace.read(WIKI).partition("\nnumber = ")[0]
    async with under_load(agents, per_second=100.0):
        for number in numbers:
            mark = server.mark()
            workspace.write(WIKI, f"{text}\nnumber = {number}\n")
            outcome = await server.outcome("wiki", mark)
            assert (outcome["status"], outcome["agents"]["dropped"]) == ("applied", 0)
        if pins:
            told = await server.line("replayed", mark, generation=outcome["generation"])
            assert (told["of"], told["same"]) == (pins, len(told["pins"])) > (pins, 0), told


async def test_nothing_of_replay_is_there_without_pins(workspace: Workspace, server: Running) -> None:
    """No process, and no import."""
    mark = server.mark()
    workspace.write(WIKI, workspace.read(WIKI) + "\nx = 1\n")
    await server.outcome("wiki", mark)
    assert replay_processes(server) == []
    program = "import sys, devserver.server.server; print([m for m in sys.modules if m.startswith('devserver.replay')])"
    done = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_the_replay_process_ends_with_its_server(
    workspace: Workspace, tmp_path: Path, number: signal.Signals
) -> None:
    """However that ends."""
    from rig.running import started

    server = await started(workspace, "--no-supervise")
    await server.line("ready")
    await pinned(server, 1)
    (pid,) = replay_processes(server)
    server.signal(number)
    await server.ended()
    async with asyncio.timeout(60):
        while _is_there(pid):  # noqa: ASYNC110 - nothing tells when a process has ended that is no child
            await asyncio.sleep(0.01)


def _is_there(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
