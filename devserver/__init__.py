"""A hot-reload development server for OpenAgents networks.

The names that mod authors and embedders need, and nothing else. `AgentNetwork` is imported on first use, so that a
mod's `from devserver import BaseMod` stays cheap.
"""

from typing import TYPE_CHECKING, Any

from devserver.mod import BaseMod, mod_event_handler
from devserver.model.event import Event, EventResponse

if TYPE_CHECKING:
    from devserver.agent_network import AgentNetwork

__all__ = ["AgentNetwork", "BaseMod", "Event", "EventResponse", "mod_event_handler"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name == "AgentNetwork":
        from devserver.agent_network import AgentNetwork

        return AgentNetwork
    raise AttributeError(f"module 'devserver' has no attribute {name!r}")
