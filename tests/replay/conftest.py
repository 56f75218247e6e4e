"""A network that runs here, and the replay process beside it."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from devserver.agent_network import AgentNetwork
from devserver.model.change import FilesChanged
from devserver.model.facts import PlanDone
from devserver.model.observation import Observation
from devserver.replay.code import code_now
from devserver.replay.host import Host
from devserver.sources.files import sources_now


class Replayed:
    """A network in this process, and a replay process that follows it."""

    def __init__(self, network: AgentNetwork, host: Host) -> None:
        self.network = network
        self.host = host
        self.folder = network.workspace

    async def ask(self, message: Mapping[str, Any], seconds: float = 5.0) -> dict[str, Any]:
        """Ask the replay process about the code that runs now."""
        return await self.host.ask(code_now(self.network.engine), self.network.config, message, seconds)

    async def answer(self, name: str, payload: Mapping[str, Any] | None = None, **more: Any) -> dict[str, Any]:
        """Run an event, and give what the process says of it."""
        seconds = more.pop("seconds", 5.0)
        event = {"event_name": name, "source_id": "ana", "payload": dict(payload or {})}
        return await self.ask({"do": "run", "event": event, "seconds": seconds, **more}, seconds)

    async def run(self, name: str, payload: Mapping[str, Any] | None = None, **more: Any) -> Observation:
        """Run an event, and give what it was seen to do."""
        answer = await self.answer(name, payload, **more)
        assert "seen" in answer, answer
        return Observation.from_dict(answer["seen"])

    async def save(self, path: str, text: str) -> PlanDone:
        """Save a file, and have it reloaded."""
        file = self.folder / path
        file.write_text(text, encoding="utf-8")
        return await self.network.submit(FilesChanged(sources_now([file])))


Make = Callable[..., Any]


@pytest.fixture
def replayed(tmp_path: Path) -> Make:
    """Make a network of files, with a replay process that runs once something is asked of it."""

    @asynccontextmanager
    async def make(**mods: str) -> AsyncIterator[Replayed]:
        folder = tmp_path / "network"
        (folder / "mods").mkdir(parents=True)
        for name, text in mods.items():
            (folder / "mods" / f"{name}.py").write_text(text, encoding="utf-8")
        lines = "".join(f"    - name: mods.{name}\n" for name in mods)
        (folder / "network.yaml").write_text(f"network:\n  name: Replayed\n  mods:\n{lines}", encoding="utf-8")
        network = AgentNetwork.load(folder)
        await network.initialize()
        host = Host(network.workspace, os.environ)
        try:
            yield Replayed(network, host)
        finally:
            await host.end()
            await network.shutdown()

    return make
