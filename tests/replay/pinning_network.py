"""A network that runs here with its replay process, and its pins."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any

from devserver.agent_network import AgentNetwork
from devserver.model import facts
from devserver.model.change import FilesChanged
from devserver.model.event import Event
from devserver.model.facts import Fact, PlanDone
from devserver.model.observation import Observation
from devserver.model.principal import LOCAL
from devserver.model.trace import EVENT_ID, NUMBER
from devserver.network.recorder import row_of
from devserver.replay.code import code_now
from devserver.replay.host import Host
from devserver.server.private_folder import PrivateFolder
from devserver.server.redact import Redactor
from devserver.server.replays import Replays
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


class Pinning(Replayed):
    """A network whose events are recorded and pinned, as in a server. `facts`: what was told."""

    def __init__(self, network: AgentNetwork, host: Host, redactor: Redactor | None = None) -> None:
        super().__init__(network, host)
        self.redactor = redactor or Redactor("a-token-that-nothing-holds", lambda digest: False)
        self.facts: list[Fact] = []
        self._tasks: list[asyncio.Task[object]] = []
        self.recorder = network.record()
        self.replays = self.made()

    def made(self) -> Replays:
        """Replay as a run that begins now makes it."""
        return Replays(
            self.network,
            self.recorder,
            self.host,
            PrivateFolder(self.folder, "pins"),
            redact=self.redactor.plain,
            tell=self.facts.append,
            begin=lambda work: self._tasks.append(asyncio.create_task(work)),
        )

    async def send(self, name: str, payload: Mapping[str, Any] | None = None, **more: Any) -> int:
        """Send an event for real; its number."""
        event = Event(event_name=name, source_id="ana", payload=dict(payload or {}), **more)
        await self.network.ingest(event, LOCAL)
        rows = [json.loads(row_of(each)) for each in self.recorder.newest()]
        return next(row[NUMBER] for row in rows if row[EVENT_ID] == event.event_id)

    async def saved(self, path: str, text: str) -> Facts:
        """Save a file, and give what the pins came to."""
        return await self.told_of(await self.save(path, text))

    async def told_of(self, done: PlanDone) -> Facts:
        """Give what the pins came to after a plan."""
        before = len(self.facts)
        self.replays.saved(done)
        while self._tasks:
            await self._tasks.pop()
        (fact,) = [each for each in self.facts[before:] if isinstance(each, Facts)]
        return fact


Facts = facts.Replayed
Make = Callable[..., Any]
