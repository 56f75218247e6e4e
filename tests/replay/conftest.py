"""A network that runs here, and the replay process beside it."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from pinning_network import Make, Pinning, Replayed

from devserver.agent_network import AgentNetwork
from devserver.replay.host import Host
from devserver.server import replays


@pytest.fixture
def replayed(tmp_path: Path) -> Make:
    """Make a network of files, with a replay process that runs once it is asked. `dev`: lines below dev:."""

    @asynccontextmanager
    async def make(dev: str = "", **mods: str) -> AsyncIterator[Replayed]:
        folder = tmp_path / "network"
        (folder / "mods").mkdir(parents=True)
        for name, text in mods.items():
            (folder / "mods" / f"{name}.py").write_text(text, encoding="utf-8")
        lines = "".join(f"    - name: mods.{name}\n" for name in mods)
        (folder / "network.yaml").write_text(
            f"network:\n  name: Replayed\n  mods:\n{lines}dev:\n{dev}", encoding="utf-8"
        )
        network = AgentNetwork.load(folder)
        await network.initialize()
        host = Host(network.workspace, os.environ)
        try:
            yield Replayed(network, host)
        finally:
            await host.end()
            await network.shutdown()

    return make


@pytest.fixture
def pinning(replayed: Make, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Make a network of files whose events can be pinned, at once: noise of whole seconds has tests of its own."""
    monkeypatch.setattr(replays, "NOISE_SECONDS", 0.01)
    # A busy machine runs all of them, too: what is told without a turn has a test of its own.
    monkeypatch.setattr(replays, "SAVE_SECONDS", 60.0)

    @asynccontextmanager
    async def make(**mods: str) -> AsyncIterator[Pinning]:
        async with replayed(**mods) as net:
            yield Pinning(net.network, net.host)

    return make
