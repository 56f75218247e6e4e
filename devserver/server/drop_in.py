"""The drop-in for `openagents.core.network`: scripts keep their imports and run on our network.

`install` answers the names under which OpenAgents keeps its network class. The rest of that package
stays theirs. If the package is not installed, its events and its base class for mods are answered
with ours, too. As there, a network that has started listens for agents.
"""

from __future__ import annotations

import secrets
import socket
import tempfile
from collections.abc import Mapping
from copy import copy
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import yaml

from devserver.agent_network import AgentNetwork
from devserver.bridge.network import EventGateway, Topology
from devserver.config.network_yaml import parse_network
from devserver.errors import EventRefused
from devserver.loader.substitutes import Contents, Substitutes, is_installed
from devserver.mod import BaseMod, mod_event_handler
from devserver.model.config import NetworkConfig
from devserver.model.event import Event, EventResponse
from devserver.model.logs import logger
from devserver.server.app import make_app
from devserver.server.sockets import bind
from devserver.transports.http.serving import HttpServer

_log = logger("devserver.openagents")
_NETWORKS = ("openagents.core.network", "openagents.sdk.network")
_REGISTRATION = (
    "transport_type", "metadata", "certificate", "force_reconnect", "password_hash", "requested_group",
)  # fmt: skip
"""The arguments of OpenAgents' `register_agent` beside the id."""
_PACKAGES = ("openagents", "openagents.core", "openagents.sdk", "openagents.models")

_installed: Substitutes | None = None


class OpenAgentsNetwork(AgentNetwork):
    """Our network under the names that code for OpenAgents uses, with private ones of its tests."""

    def __init__(self, config: Any, workspace_path: str | Path | None = None, **options: Any) -> None:
        """Make a network from a `NetworkConfig`, ours or that of openagents. Without
        `workspace_path` its files lie in a temporary folder that ends with the network."""
        self._temporary = None if workspace_path else tempfile.TemporaryDirectory(prefix="oa-dev-")
        folder = Path(workspace_path or (self._temporary.name if self._temporary else ""))
        super().__init__(config if isinstance(config, NetworkConfig) else config_from(config), folder, **options)

    @classmethod
    def create_from_config(
        cls, config: Any, port: int | None = None, workspace_path: str | Path | None = None
    ) -> OpenAgentsNetwork:
        """Make a network as the class does; `port` replaces that of the configuration."""
        wanted = config if isinstance(config, NetworkConfig) else config_from(config)
        return cls(wanted if port is None else replace(wanted, port=port), workspace_path)

    async def register_agent(self, agent_id: str, *given: Any, **options: Any) -> Any:
        """Register an agent as ours, or, with `transport_type`, as OpenAgents: with a response."""
        if "transport_type" not in options and (not given or given[0] is None or isinstance(given[0], Mapping)):
            return await super().register_agent(agent_id, *given, **options)
        asked = dict(zip(_REGISTRATION, given, strict=False)) | options
        password, group = asked.get("password_hash") or "", asked.get("requested_group")
        try:
            made = await super().register_agent(agent_id, asked.get("metadata"), password_hash=password, group=group)
        except EventRefused as refusal:
            return _in_kind(EventResponse(False, str(refusal)))
        data = {"secret": made.secret, "assigned_group": made.agent.group}
        return _in_kind(EventResponse(True, f"Agent {agent_id} registered successfully", data))

    @cached_property
    def event_gateway(self) -> EventGateway:
        """Channels and their members; and events, as tests of OpenAgents send them."""
        gateway = EventGateway(self.directory)
        vars(gateway)["process_event"] = self._process_event
        vars(gateway)["poll_events"] = self._poll_events
        vars(gateway)["subscribe"] = self._subscribe
        return gateway

    @cached_property
    def topology(self) -> Topology:
        """The agents of the network; and what tests of OpenAgents ask of its context."""
        topology = super().topology
        vars(topology)["network_context"] = SimpleNamespace(
            network_name=self.network_name,
            workspace_path=str(self.workspace),
            get_readme=lambda: self.get_network_stats()["readme"],
        )
        return topology

    def get_network_stats(self, *, described: bool = True) -> dict[str, Any]:
        """Return the statistics; without a readme it is None, as there."""
        stats = super().get_network_stats(described=described)
        return {**stats, "readme": stats["readme"] or None}

    async def _process_event(self, event: Any, enable_delivery: bool = True) -> Any:
        """Send an event on its way. Without delivery the mods alone see it."""
        if enable_delivery or str(event.destination_id).startswith("mod:"):
            return await self.process_event(event)
        seen = copy(event)
        seen.destination_id = None
        answer = await self.process_event(seen)
        event.source_agent_group = seen.source_agent_group
        return answer

    def _subscribe(self, agent_id: str, event_patterns: list[str], channels: list[str] | None = None) -> Any:
        """Let an agent receive only what its subscriptions cover, this one added."""
        return self.directory.subscribe(agent_id, event_patterns, channels)

    async def _poll_events(self, agent_id: str) -> list[Any]:
        """Hand over all events that wait for an agent."""
        agent = self.directory.agent(agent_id)
        waiting = [] if agent is None else agent.outbox.take_nowait()
        return [_event_in_kind(each.event) for each in waiting]

    async def unregister_agent(self, agent_id: str, *, dropped: bool = False) -> Any:
        """Unregister an agent, answering as OpenAgents does: with a response."""
        left = await super().unregister_agent(agent_id, dropped=dropped)
        words = "unregistered successfully" if left else "is not registered"
        return _in_kind(EventResponse(left, f"Agent {agent_id} {words}"))

    _listening: socket.socket | None = None
    _connections: HttpServer | None = None

    async def initialize(self) -> bool:
        """Start the network, and listen for agents on its port, or on the next free one, which is logged."""
        started = await super().initialize()
        self._listening = bind(self.config.host, self.config.port, strict=False)
        if self.port != self.config.port:
            _log.warning("port %d is in use; agents find this network at port %d", self.config.port, self.port)
        app = make_app(self, None, token=secrets.token_urlsafe(32), port_of=lambda: self.port)
        self._connections = HttpServer(app, self.directory.accounts)
        self._connections.begin((self._listening,))
        return started

    @property
    def port(self) -> int:
        """The port of this network for agents; that of network.yaml before it listens."""
        return self.config.port if self._listening is None else int(self._listening.getsockname()[1])

    async def shutdown(self) -> bool:
        """End the network and its connections, and remove its temporary folder if it has one."""
        ended = await super().shutdown()
        if self._connections is not None and self._listening is not None:
            await self._connections.end()
            self._listening.close()
            self._connections = self._listening = None
        if self._temporary is not None:
            self._temporary.cleanup()
        return ended

    @property
    def _dynamic_mod_ids(self) -> set[str]:
        return set(self.get_loaded_mods())

    async def _handle_system_mod_load(self, event: Any) -> Any:
        return await self.process_external_event(event)

    _handle_system_mod_unload = _handle_system_mod_load


def _in_kind(answer: EventResponse) -> Any:
    """Return an answer as OpenAgents has it, if the package is installed."""
    if not is_installed("openagents"):
        return answer
    from openagents.models.event_response import (  # type: ignore[import-not-found, unused-ignore]
        EventResponse as Theirs,
    )

    return Theirs(**answer.to_dict())


def _event_in_kind(event: Event) -> Any:
    """Return an event as OpenAgents has it, if the package is installed."""
    if not is_installed("openagents"):
        return event
    from openagents.models.event import Event as Theirs  # type: ignore[import-not-found, unused-ignore]

    return Theirs(**event.to_dict())


def create_network(config: Any) -> OpenAgentsNetwork:
    """Make a network from a path to its network.yaml, or from a `NetworkConfig`."""
    if isinstance(config, str | Path):
        return OpenAgentsNetwork.load(config)
    return OpenAgentsNetwork.create_from_config(config)


def config_from(config: Any) -> NetworkConfig:
    """Read the `NetworkConfig` of openagents as if it were a network.yaml. Raises ConfigError."""
    values = config.model_dump(mode="json", exclude_none=True, exclude_unset=True)
    # In a file the profile stands beside the network, in a `NetworkConfig` in it.
    beside = {"network_profile": profile} if (profile := values.pop("network_profile", None)) else {}
    return parse_network(yaml.safe_dump({"network": values, **beside}), type(config).__name__)


def install() -> None:
    """Answer the imports of OpenAgents' network with ours from now on, in this process. Twice is once."""
    global _installed
    if _installed is not None:
        return
    modules = dict.fromkeys(_NETWORKS, _network)
    if is_installed("openagents"):
        _installed = Substitutes(modules)
    else:
        ours: dict[str, Contents] = {
            "openagents.models.event": lambda: {"Event": Event},
            "openagents.models.event_response": lambda: {"EventResponse": EventResponse},
            "openagents.core.base_mod": _base_mod,
            "openagents.sdk.base_mod": _base_mod,
        }
        _installed = Substitutes({**modules, **ours}, _PACKAGES)
    _installed.install()


def uninstall() -> None:
    """Stop answering."""
    global _installed
    if _installed is not None:
        _installed.remove()
        _installed = None


def _network() -> Mapping[str, Any]:
    return {
        "AgentNetwork": OpenAgentsNetwork,
        "AgentNetworkServer": OpenAgentsNetwork,
        "EnhancedAgentNetwork": OpenAgentsNetwork,
        "create_network": create_network,
        "create_enhanced_network": create_network,
    }


def _base_mod() -> Mapping[str, Any]:
    return {"BaseMod": BaseMod, "mod_event_handler": mod_event_handler, "Event": Event, "EventResponse": EventResponse}
