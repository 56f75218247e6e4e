"""A mod from elsewhere under load: upgrade after upgrade, no event fails and none is answered by two versions."""

from __future__ import annotations

import asyncio
import gc
import statistics
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from locked_wheels import lock, make_lazy_wheel, make_mod_wheel
from workspaces import Workspace

from devserver import Event
from devserver.model.change import LockChanged
from devserver.model.facts import Status


@pytest.fixture
async def workspace(tmp_path: Path) -> AsyncIterator[Workspace]:
    """A workspace that ends with its network."""
    found = Workspace(tmp_path)
    yield found
    await found.end()


@pytest.mark.slow
async def test_forty_upgrades_under_load_fail_nothing_and_mix_nothing(workspace: Workspace) -> None:
    """Eight agents ask all the time; each answer is of one version, and the state counts every one of them."""
    both = [make_lazy_wheel(workspace.folder / "mods-index", version) for version in ("1.0", "1.1")]
    lock(workspace.folder, both[0])
    await workspace.start("polls", home="thread")
    answers: list[list[str]] = []
    failed, waits, swaps = 0, [], []
    running = True

    async def ask(agent: str) -> None:
        nonlocal failed
        while running:
            began = time.perf_counter()
            response = await workspace.net.process_event(Event(event_name="polls.ask", source_id=agent))
            waits.append(time.perf_counter() - began)
            if response is None or not response.success:
                failed += 1
            else:
                answers.append(response.data["versions"])
            await asyncio.sleep(0)

    agents = [asyncio.create_task(ask(f"agent{number}")) for number in range(8)]
    for turn in range(40):
        lock(workspace.folder, both[(turn + 1) % 2])
        began = time.perf_counter()
        done = await workspace.net.submit(LockChanged())
        swaps.append(time.perf_counter() - began)
        assert [each.status for each in done.outcomes] == [Status.APPLIED]
        wanted = len(answers) + 250
        # The agents go on by themselves; nothing else tells how far they are.
        while len(answers) < wanted:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
    running = False
    await asyncio.gather(*agents)
    assert failed == 0
    assert [each for each in answers if len(set(each)) > 1] == []
    assert {each[0] for each in answers} == {"1.0", "1.1"}
    assert workspace.net.engine.registry.live[0].instance.state["asked"] == len(answers) >= 10_000
    p99 = sorted(waits)[int(len(waits) * 0.99)]
    print(f"swap median {statistics.median(swaps) * 1000:.1f} ms, p99 of an event {p99 * 1000:.1f} ms")


@pytest.mark.slow
async def test_two_hundred_mods_that_come_and_go_leave_nothing(workspace: Workspace) -> None:
    """No module, no entry of the import path, and less than 5 MiB."""
    import tracemalloc

    wheel = make_mod_wheel(workspace.folder / "mods-index", "polls", "1.0")
    await workspace.start()

    async def turn() -> None:
        lock(workspace.folder, wheel)
        await workspace.net.submit(LockChanged())
        await workspace.net.load_mod("polls")
        await workspace.net.unload_mod("polls")
        lock(workspace.folder)
        await workspace.net.submit(LockChanged())

    for _ in range(20):
        await turn()
    gc.collect()
    modules, path, tasks = set(sys.modules), list(sys.path), len(asyncio.all_tasks())
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(200):
            await turn()
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert "polls" not in sys.modules
    assert set(sys.modules) - modules == set()
    assert (sys.path, len(asyncio.all_tasks())) == (path, tasks)
    assert grown < 5 * 1024 * 1024
