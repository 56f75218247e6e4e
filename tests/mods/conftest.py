"""What the tests of the sample mods share: a network that records, and a way to start and ask a mod."""

from __future__ import annotations

import asyncio
import inspect
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from devserver import BaseMod, Event, EventResponse, Refused
from devserver.config.typed import fitted
from devserver.live.handlers import collect_handlers

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:
    # `mods` lies beside network.yaml and is part of no installed package.
    sys.path.append(str(ROOT))

Ask = Callable[..., Awaitable[EventResponse | None]]
Start = Callable[..., Awaitable[Any]]


class FakeNetwork:
    """Implements `devserver.mod.Network`: keeps agents and channels, records what is sent, delivers nothing."""

    def __init__(self, storage: Path) -> None:
        self.sent: list[Event] = []
        self.refuse = False
        self.meanwhile: Callable[[Event], Awaitable[object]] | None = None
        self._storage = storage
        self._agents: dict[str, str] = {}
        self._channels: dict[str, list[str]] = {}

    def join(self, *agents: str, group: str = "guest") -> None:
        """Register agents without telling any mod."""
        self._agents.update(dict.fromkeys(agents, group))

    def sent_to(self, agent_id: str) -> list[Event]:
        """What was sent to one agent, in order."""
        return [event for event in self.sent if event.destination_id == f"agent:{agent_id}"]

    @property
    def network_id(self) -> str:
        return "fake"

    @property
    def network_name(self) -> str:
        return "Fake"

    async def process_event(self, event: Event) -> EventResponse:
        if self.meanwhile is not None:
            await self.meanwhile(event)
        self.sent.append(event)
        return EventResponse(success=not self.refuse, message="recorded")

    def agents(self) -> dict[str, dict[str, Any]]:
        return {agent: {} for agent in self._agents}

    def agent_group(self, agent_id: str) -> str | None:
        return self._agents.get(agent_id)

    def create_channel(self, channel: str) -> None:
        self._channels.setdefault(channel, [])

    def remove_channel(self, channel: str) -> None:
        self._channels.pop(channel, None)

    def add_channel_member(self, channel: str, agent_id: str) -> None:
        self._channels[channel].append(agent_id)

    def remove_channel_member(self, channel: str, agent_id: str) -> None:
        self._channels[channel].remove(agent_id)

    def channel_members(self, channel: str) -> tuple[str, ...]:
        return tuple(self._channels.get(channel, ()))

    async def load_mod(self, mod_path: str, config: Mapping[str, Any] | None = None) -> EventResponse:
        return EventResponse(success=False, message="the fake network loads nothing")

    async def unload_mod(self, mod: str) -> EventResponse:
        return EventResponse(success=False, message="the fake network unloads nothing")

    async def reload_mod(self, mod: str) -> EventResponse:
        return EventResponse(success=False, message="the fake network reloads nothing")

    def storage_path(self, mod_name: str) -> Path:
        path = self._storage / mod_name
        path.mkdir(parents=True, exist_ok=True)
        return path


class Pause:
    """Stops the fake network at its first event until `go` is set; `reached` says that it stands there."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self.go = asyncio.Event()

    async def __call__(self, event: Event) -> None:
        if not self.reached.is_set():
            self.reached.set()
            await self.go.wait()


@pytest.fixture
def network(tmp_path: Path) -> FakeNetwork:
    """A network without agents."""
    return FakeNetwork(tmp_path)


@pytest.fixture
def pause(network: FakeNetwork) -> Pause:
    """A pause that the network makes at its first event."""
    network.meanwhile = made = Pause()
    return made


@pytest.fixture
def start(network: FakeNetwork) -> Start:
    """Start a mod as the network does: made, configured, given its state, bound, initialized, told of the agents."""

    async def started(mod_class: type[BaseMod], config: Any = None, state: dict[str, Any] | None = None) -> BaseMod:
        mod = mod_class()
        mod.config = fitted(mod_class.Config, config or {}, closed=True)
        mod.state = {} if state is None else state
        mod.bind_network(network)
        assert await _settled(mod.initialize()) is True
        for agent_id in network.agents():
            mod.handle_register_agent(agent_id, {})
        return mod

    return started


@pytest.fixture
def ask() -> Ask:
    """Ask a mod as the network does: the handlers whose patterns cover the name, until one answers."""

    async def asked(mod: BaseMod, name: str, payload: Any = None, by: str = "ana", **facts: Any) -> Any:
        event = Event(event_name=name, source_id=by, payload=payload or {}, **facts)
        for handler in collect_handlers(mod).find(name):
            try:
                answer = await _settled(handler(event))
            except Refused as refused:
                return refused.answer()
            if answer is not None:
                return answer
        return None

    return asked


async def _settled(result: Any) -> Any:
    return await result if inspect.isawaitable(result) else result
