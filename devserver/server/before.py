"""The heritage of the image before: sockets, connections, the reasons of the restart."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any, Self

from devserver.agent_network import AgentNetwork
from devserver.model.facts import Restarted
from devserver.model.plan import StateMove
from devserver.server.image import take_memory
from devserver.transports.http.handover import HandedConnection

LISTENING = ("listening", "beside")
"""The names of the descriptors of listening sockets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Before:
    """The heritage: packed parts of the network, descriptors, connections, and the reasons."""

    values: Mapping[str, Any]
    connections: tuple[HandedConnection, ...]

    @classmethod
    def of(cls, environ: MutableMapping[str, str]) -> Self | None:
        """Read the memory file that the environment names; None for a first start."""
        values = take_memory(environ)
        if values is None:
            return None
        for each in values["descriptors"].values():
            os.set_inheritable(each, False)
        for each in values["connections"]:
            os.set_inheritable(each["descriptor"], False)
        return cls(values=values, connections=tuple(HandedConnection(**each) for each in values["connections"]))

    def is_wanted(self, host: str, port: int) -> bool:
        """Return whether the former address is the wanted one now."""
        return bool(tuple(self.values["server"]["address"]) == (host, port))

    def listening(self) -> list[socket.socket]:
        """Return the sockets that the image before listened on."""
        return [socket.socket(fileno=self.descriptors[name]) for name in LISTENING if name in self.descriptors]

    def close_listening(self) -> None:
        """Stop listening at the former address: another one is in use now."""
        for name in LISTENING:
            if name in self.descriptors:
                os.close(self.descriptors[name])

    @property
    def descriptors(self) -> Mapping[str, int]:
        """Return the descriptors that were handed on, by their names."""
        found: Mapping[str, int] = self.values["descriptors"]
        return found

    @property
    def cause(self) -> str:
        """The reasons in one text."""
        return "; ".join(self.values["restart"]["reasons"])

    def done(self, network: AgentNetwork, url: str, now: float) -> Restarted:
        """Return the fact that is told when this image serves, at `now` (seconds since 1970)."""
        restart = self.values["restart"]
        return Restarted(
            url=url,
            reasons=tuple(restart["reasons"]),
            pause_ms=(now - restart["paused"]) * 1000,
            duration_ms=(now - restart["asked"]) * 1000,
            kept=len(self.connections),
            agents=network.agents_since(network.agents_mark()),
            mods=tuple(StateMove(**each) for each in restart["mods"]),
            ended=tuple(restart["ended"]),
            failed=tuple(network.engine.restarts.arrivals),
        )
