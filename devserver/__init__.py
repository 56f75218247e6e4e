"""A hot-reload development server for OpenAgents networks.

The names that mod authors and embedders need, and nothing else. Each is imported on first use: a
mod needs no network, and a command that asks a running server needs none of them.
`devserver.testing` is imported by name.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from devserver.agent import Agent
    from devserver.agent_network import AgentNetwork
    from devserver.errors import AgentError
    from devserver.mod import BaseMod, Refused, mod_event_handler
    from devserver.model.event import Event, EventResponse

__all__ = ["Agent", "AgentError", "AgentNetwork", "BaseMod", "Event", "EventResponse", "Refused", "mod_event_handler"]
__version__ = "0.2.0"


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'devserver' has no attribute {name!r}")
    if name == "AgentNetwork":
        from devserver import agent_network as home
    elif name == "Agent":
        from devserver import agent as home  # type: ignore[no-redef]
    elif name == "AgentError":
        from devserver import errors as home  # type: ignore[no-redef]
    else:
        from devserver import mod as home  # type: ignore[no-redef]
    found = globals()[name] = getattr(home, name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
