"""The parts of the package openagents that the bridge uses, as types, and where they are found.

The package is looked up among the imported modules: a mod that extends its `BaseMod` has imported
it. Nothing here imports it before code of its users has, so that it need not be installed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

from devserver.loader.locate import imported

BASE_MODULES = ("openagents.sdk.base_mod", "openagents.core.base_mod")
"""The modules of its BaseMod: since 0.9, and before (there the second leads to the first)."""


class Entry(Protocol):
    """One row of a mod's table of handlers (`EventHandlerEntry`)."""

    handler: Callable[[Any], Awaitable[Any]]
    patterns: list[str]

    def model_copy(self, *, update: dict[str, Any]) -> Entry:
        """Return the same row with other values."""


class OpenAgentsMod(Protocol):
    """A mod as openagents 0.8.6 knows it (`openagents.core.base_mod.BaseMod`)."""

    _mod_name: str
    _config: dict[str, Any]
    _event_handlers: list[Entry]

    def update_config(self, config: dict[str, Any]) -> Any: ...
    def bind_network(self, network: Any) -> Any: ...
    def initialize(self) -> Any: ...
    def shutdown(self) -> Any: ...
    def process_event(self, event: Any) -> Awaitable[Any]: ...


@dataclass(frozen=True, slots=True)
class Upstream:
    """The three classes of the package that matter here."""

    base_mod: type[Any]
    event: type[Any]
    response: type[Any]


def find_upstream() -> Upstream | None:
    """Return the package's classes, if it has been imported."""
    for name in BASE_MODULES:
        module = imported(name)
        if module is not None:
            return Upstream(module.BaseMod, module.Event, module.EventResponse)
    return None


def upstream_of(event: Any) -> Upstream | None:
    """Return the package's classes if `event` is one of its events; None for other objects. Code
    that made such an event has imported the models of the package, and not necessarily its mods."""
    events = imported("openagents.models.event")
    if events is None or not isinstance(event, events.Event):
        return None
    # Then the package is there, and its answers lie beside its events.
    from openagents.models.event_response import EventResponse  # type: ignore[import-not-found, unused-ignore]

    return Upstream(object, events.Event, EventResponse)
