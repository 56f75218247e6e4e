"""The agents of a network as its statistics show them, in the names of OpenAgents."""

from __future__ import annotations

import time
from typing import Any

from devserver.network.agents import Directory


def agent_stats(directory: Directory) -> dict[str, Any]:
    """Say which agents there are and who is in which group, in the names of OpenAgents' statistics."""
    agents, config = directory.agents(), directory.config
    groups: dict[str, list[str]] = {}
    for agent in agents:
        groups.setdefault(agent.group, []).append(agent.agent_id)
    described = {each.name: each for each in config.groups.values()}
    names = dict.fromkeys((*described, config.default_group))
    return {
        "agents": {
            agent.agent_id: {
                "capabilities": agent.metadata.get("capabilities", []),
                "metadata": agent.metadata,
                "last_seen": time.time() - directory.silence(agent),
                # Clients of OpenAgents know no other transport that is spoken here.
                "transport_type": "http",
                "transport": agent.transport,
                "address": None,
                "group": agent.group,
                "connected": directory.is_connected(agent),
            }
            for agent in agents
        },
        "groups": groups,
        "group_config": [
            {
                "name": name,
                "description": described[name].description if name in described else "",
                "agent_count": len(groups.get(name, ())),
                "metadata": dict(described[name].metadata) if name in described else {},
                "has_password": name in described and bool(described[name].password_hash),
            }
            for name in names
        ],
        "default_agent_group": config.default_group,
        "requires_password": config.requires_password,
    }
