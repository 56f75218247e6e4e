"""Running mods and agents, as embedders, agents and people see them: descriptions, instances, statistics."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from devserver.live.generation import Generation
from devserver.live.registry import Registry
from devserver.model.config import NetworkConfig
from devserver.model.event import Event
from devserver.model.facts import Outcome, Status
from devserver.model.lifecycle import Action
from devserver.model.split import label_of
from devserver.network.agents import Directory
from devserver.sources.files import read_bytes

_README_BYTES = 64 * 1024

_NOTICES = {
    Action.LOAD: "system.notification.mod_loaded",
    Action.UNLOAD: "system.notification.mod_unloaded",
    Action.RELOAD: "system.notification.mod_reloaded",
}


class RunningMods(Mapping[str, Any]):
    """The instances of running mods by path, in the order in which they are asked. A view, never a copy.

    For a mod of openagents that is the author's own instance. Called, it gives a description of each mod instead.
    """

    def __init__(self, registry: Registry, describe: Callable[[Generation], dict[str, Any]]) -> None:
        self._registry = registry
        self._describe = describe

    def __call__(self) -> list[dict[str, Any]]:
        """Describe each mod; `name` is its path, as OpenAgents calls it."""
        return [{"name": each.mod_path, **self._describe(each)} for each in self._live]

    @property
    def _live(self) -> list[Generation]:
        """The live generations without lines: agents and embedders see one mod."""
        return [each for each in self._registry.live if label_of(each.mod_id) is None]

    def __getitem__(self, mod_path: str) -> Any:
        for each in self._registry.live:
            if each.mod_path == mod_path:
                return getattr(each.instance, "inner", each.instance)
        raise KeyError(mod_path)

    def __iter__(self) -> Iterator[str]:
        return (each.mod_path for each in self._live)

    def __len__(self) -> int:
        return len(self._live)


def described(generation: Generation, failed: Outcome | None, line: Mapping[str, Any]) -> dict[str, Any]:
    """Describe a generation. `failed`: the last attempt on its mod, if that failed; `line`: keys about its version."""
    instance = generation.instance
    return {
        "mod_id": generation.mod_id,
        "mod_path": generation.mod_path,
        "generation": generation.number,
        "state": generation.state.value,
        "loaded_at": generation.loaded_at,
        "version": str(instance.version),
        "description": _description(generation),
        "config": dict(generation.config),
        "listed": generation.listed,
        "in_flight": len(generation.calls),
        "handled": generation.handled,
        "errors": generation.failed,
        "last_error": str(failed.error) if failed is not None and failed.error else None,
        **line,
    }


def _description(generation: Generation) -> str:
    """Return what a mod is for, in a line: from its manifest, else its class."""
    said = "" if generation.manifest is None else generation.manifest.description
    return (said or type(generation.instance).__doc__ or "").strip().partition("\n")[0]


def mod_event(outcome: Outcome) -> Event | None:
    """Return the event that tells agents of an outcome; None where no mod has changed."""
    name = _NOTICES.get(outcome.action)
    if name is None or outcome.status is not Status.APPLIED:
        return None
    payload = {"mod_id": outcome.mod_id, "mod_path": outcome.mod_path, "generation": outcome.generation}
    event = Event(event_name=name, source_id="system:system", source_type="system", payload=payload)
    event.destination_id = "agent:broadcast"
    return event


def readme_of(config: NetworkConfig, workspace: Path) -> str:
    """Return the text that introduces a network, as OpenAgents finds it: its profile's, else README.md beside it."""
    written = config.profile.get("readme")
    if isinstance(written, str) and written:
        return written
    try:
        data = read_bytes(workspace / "README.md")
    except OSError:
        return ""
    return "" if data is None else data[:_README_BYTES].decode("utf-8", "replace")


def agent_stats(directory: Directory, *, described: bool = True) -> dict[str, Any]:
    """Say which agents there are and who is in which group, in the names of OpenAgents' statistics. Only where they
    are to be `described`, what agents say of themselves is read: it may be megabytes.
    """
    agents, config = directory.agents(), directory.config
    groups: dict[str, list[str]] = {}
    for agent in agents:
        groups.setdefault(agent.group, []).append(agent.agent_id)
    named = {each.name: each for each in config.groups.values()}
    names = dict.fromkeys((*named, config.default_group))
    return {
        "agents": {
            agent.agent_id: {
                "capabilities": (metadata := agent.metadata).get("capabilities", []),
                "metadata": metadata,
                "last_seen": time.time() - directory.silence(agent),
                # Clients of OpenAgents know no other transport that is spoken here.
                "transport_type": "http",
                "transport": agent.transport,
                "address": None,
                "group": agent.group,
                "connected": directory.is_connected(agent),
            }
            for agent in (agents if described else ())
        },
        "groups": groups,
        "group_config": [
            {
                "name": name,
                "description": named[name].description if name in named else "",
                "agent_count": len(groups.get(name, ())),
                "metadata": dict(named[name].metadata) if name in named else {},
                "has_password": name in named and bool(named[name].password_hash),
            }
            for name in names
        ],
        "default_agent_group": config.default_group,
        "requires_password": config.requires_password,
    }
