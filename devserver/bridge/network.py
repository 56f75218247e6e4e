"""The network as a mod of openagents sees it: the members that mods use there, on top of our own.

Keeps only which channels its mod has made. Other members of openagents' AgentNetwork do not exist.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from devserver.bridge.convert import event_from, response_to
from devserver.bridge.upstream import Upstream
from devserver.mod import Network
from devserver.model.event import BROADCAST
from devserver.network.agent import Agent
from devserver.network.agents import Directory

Value = TypeVar("Value")


class BridgedNetwork:
    """`self.network` of a bridged mod.

    Arguments: `handle` gives our network as the running generation of the mod has it; `workspace`
    is the folder of network.yaml.
    """

    a2a_registry = None
    a2a_task_store = None
    model_provider = None

    def __init__(
        self, handle: Callable[[], Network], directory: Directory, workspace: Path, upstream: Upstream
    ) -> None:
        self._handle = handle
        self._upstream = upstream
        self.workspace_manager = Workspace(workspace)
        self.topology = Topology(directory)
        self.event_gateway = EventGateway(directory)

    @property
    def network_id(self) -> str:
        return self._handle().network_id

    @property
    def network_name(self) -> str:
        return self._handle().network_name

    async def process_event(self, event: Any) -> Any:
        """Send an event through the network; return its result."""
        return response_to(await self._handle().process_event(event_from(event)), self._upstream)

    async def broadcast_event(self, event: Any) -> Any:
        """Send an event to every agent. Mods call this and the next one, though openagents 0.8.6 has neither."""
        return await self.send_event_to_agent(BROADCAST, event)

    async def send_event_to_agent(self, agent_id: str, event: Any) -> Any:
        """Send an event to one agent, whatever its visibility."""
        to_agent = replace(event_from(event), destination_id=f"agent:{agent_id}", visibility="network")
        return response_to(await self._handle().process_event(to_agent), self._upstream)


class Workspace:
    """The folders of mods' files: `mods/<name>` beside network.yaml, as in openagents.

    For `./my_mod` that is the folder of its own source; files that a mod writes there are its data
    and no change.
    """

    def __init__(self, folder: Path) -> None:
        self.workspace_path = folder
        self.mods_path = folder / "mods"

    def get_mod_storage_path(self, mod_name: str) -> Path:
        """Return the folder of a mod's data, made if it is missing."""
        folder = self.mods_path / mod_name
        folder.mkdir(parents=True, exist_ok=True)
        return folder


class Topology:
    """The agents of the network, always up to date."""

    a2a_registry = None

    def __init__(self, directory: Directory) -> None:
        self.agent_group_membership: Mapping[str, str] = _ByAgent(directory, lambda agent: agent.group)
        self.agent_registry: Mapping[str, Agent] = _ByAgent(directory, lambda agent: agent)


class _ByAgent(Mapping[str, Value]):
    """A value for each registered agent, by its id. A view, never a copy."""

    def __init__(self, directory: Directory, of: Callable[[Agent], Value]) -> None:
        self._directory = directory
        self._of = of

    def __getitem__(self, agent_id: str) -> Value:
        agent = self._directory.agent(agent_id)
        if agent is None:
            raise KeyError(agent_id)
        return self._of(agent)

    def __iter__(self) -> Iterator[str]:
        return (agent.agent_id for agent in self._directory.agents())

    def __len__(self) -> int:
        return len(self._directory.agents())


class EventGateway:
    """Channels and queues. `made` are the channels that did not exist before this mod made them."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self.made: set[str] = set()

    def create_channel(self, channel_id: str) -> None:
        """Make sure that a channel exists."""
        if channel_id not in self._directory.channels():
            self.made.add(channel_id)
        self._directory.create_channel(channel_id)

    def remove_channel(self, channel_id: str) -> None:
        """Forget a channel and its members."""
        self.made.discard(channel_id)
        self._directory.remove_channel(channel_id)

    def add_channel_member(self, channel_id: str, agent_id: str) -> None:
        """Let an agent receive the events of a channel."""
        self.create_channel(channel_id)
        self._directory.add_channel_member(channel_id, agent_id)

    def remove_channel_member(self, channel_id: str, agent_id: str) -> None:
        """Take an agent out of a channel."""
        self._directory.remove_channel_member(channel_id, agent_id)

    def get_channel_members(self, channel_id: str) -> list[str]:
        """Return the members of a channel; none for one that does not exist."""
        return list(self._directory.channel_members(channel_id))

    def list_channels(self) -> list[str]:
        return list(self._directory.channels())

    async def deliver_to_agent(self, event: Any, agent_id: str) -> bool:
        """Queue an event for an agent if its subscriptions cover it; return whether they did."""
        agent, ours = self._directory.agent(agent_id), event_from(event)
        return agent is not None and self._directory.wants(agent, ours) and self._directory.deliver_to(agent, ours)
