"""Pins in a real server: each save is replayed, no agent notices, and nothing is left when the server is gone."""

from __future__ import annotations

import asyncio
import os
import signal
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


@pytest.mark.parametrize(
    ("saves", "pins"),
    [
        pytest.param(5, 2, id="5 saves, 2 pins"),
        pytest.param(200, 20, id="200 saves, 20 pins", marks=pytest.mark.slow),
    ],
)
async def test_saves_with_pins_cost_no_agent_anything(
    workspace: Workspace, server: Running, agents: Crowd, saves: int, pins: int
) -> None:
    """Nothing is lost, repeated, reordered or cut off, and no event of a replay is delivered to anyone. On a quiet
    machine the answers of agents take as long as they do during as many saves without pins. A change is told with the
    paths that differ, and what was there before."""
    without: list[float] = []
    if saves > 100 and os.getloadavg()[0] < 1.0:  # fewer, or another load beside it, tell nothing about slow answers
        await saved(workspace, server, agents, range(1000, 1000 + saves))
        without, agents.ledger.took = agents.ledger.took, []
    await pinned(server, pins)
    told = await saved(workspace, server, agents, range(saves))
    assert agents.ledger.faults() == NOTHING
    assert (told["of"], told["differ"], told["cannot"]) == (pins, 0, 0), told
    assert told["same"] == len(told["pins"]) > 0
    mark = server.mark()
    workspace.replace(WIKI, "Created page", "Made page")
    generation = saves * (2 if without else 1) + 2
    told = await server.line("replayed", mark, generation=generation)
    change = {"path": "answer.message", "before": "Created page page-0", "after": "Made page page-0", "kind": "changed"}
    assert (told["mods"], told["pins"][0]["differences"]) == ({"wiki": generation}, [change])
    if without:
        slower = {part: at(agents.ledger.took, part) / at(without, part) for part in (50, 99)}
        assert slower[50] <= 1.2 and slower[99] <= 1.5, (slower, at(without, 50), at(without, 99))


def at(took: list[float], percent: int) -> float:
    return sorted(took)[len(took) * percent // 100]


async def saved(workspace: Workspace, server: Running, agents: Crowd, numbers: range) -> dict[str, Any]:
    """Save the wiki so often under load; the last line about pins, if there are any."""
    text, mark = workspace.read(WIKI), server.mark()
    async with under_load(agents, per_second=100.0):
        for number in numbers:
            mark = server.mark()
            workspace.write(WIKI, f"{text}\nnumber = {number}\n")
            outcome = await server.outcome("wiki", mark)
            assert (outcome["status"], outcome["agents"]["dropped"]) == ("applied", 0)
        if not server.told("replayed") and not (await asked(server, "pins", None))["pins"]:
            return {}
        return dict(await server.line("replayed", mark, generation=outcome["generation"]))


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
