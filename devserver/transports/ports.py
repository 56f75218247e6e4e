"""The part of the network that transports use.

`AgentNetwork` satisfies it; tests bring a small one of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from devserver.model.config import NetworkConfig
from devserver.model.event import Event, EventResponse
from devserver.model.principal import Principal
from devserver.network.agent import Registration
from devserver.network.agents import Directory


class ServedNetwork(Protocol):
    """A network as transports see it."""

    @property
    def directory(self) -> Directory:
        """Its agents."""

    @property
    def config(self) -> NetworkConfig:
        """Its network.yaml."""

    async def ingest(self, event: Event, principal: Principal) -> EventResponse:
        """Take an event of `principal`, whose id is the event's `source_id`, on its whole way."""

    async def register_agent(
        self,
        agent_id: str,
        metadata: Mapping[str, Any] | None,
        *,
        password_hash: str = "",
        group: str | None = None,
        transport: str = "http",
        secret: str | None = None,
        trusted: bool = False,
        near: bool = False,
    ) -> Registration:
        """Register an agent and tell the mods. Raises EventRefused."""

    async def unregister_agent(self, agent_id: str) -> bool:
        """Forget an agent and tell the mods; False when it was not there."""

    def stats(self) -> dict[str, Any]:
        """Return the result of `AgentNetwork.get_network_stats()`."""

    def mods(self) -> list[dict[str, Any]]:
        """Return its mods in order, each with at least `name` (the path in network.yaml), `mod_id`
        and `version`."""
