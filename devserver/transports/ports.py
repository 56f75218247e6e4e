"""The part of the network that transports use.

`AgentNetwork` satisfies it; tests bring a small one of their own.
"""

from __future__ import annotations

from typing import Protocol

from devserver.model.config import NetworkConfig
from devserver.model.event import Event, EventResponse
from devserver.model.principal import Principal
from devserver.network.system import Joinable


class ServedNetwork(Joinable, Protocol):
    """A network as transports see it."""

    @property
    def config(self) -> NetworkConfig:
        """Its network.yaml."""

    async def ingest(self, event: Event, principal: Principal) -> EventResponse:
        """Take an event of `principal`, whose id is the event's `source_id`, on its whole way."""
