"""The control API for networks of several hosts: which there are, and the engine between them."""

from __future__ import annotations

from typing import Any, Protocol

from devserver.model.principal import Scope
from devserver.transports.http.answers import Answer, told
from devserver.transports.http.routes import Request, Route


class HostsKnown(Protocol):
    """What is known of the hosts."""

    def rows(self) -> dict[str, Any] | None:
        """The engine and the hosts; None in a network of one process."""


class HostsApi:
    """The endpoint, over one server."""

    def __init__(self, known: HostsKnown) -> None:
        self._known = known

    def routes(self) -> tuple[Route, ...]:
        """Return the table of its routes."""
        return (Route("GET", "/_dev/hosts", Scope.READ, self.hosts),)

    async def hosts(self, request: Request) -> Answer:
        """The engine and the hosts; both null in a network of one process."""
        return told(self._known.rows() or {"network": None, "engine": None, "hosts": None})
