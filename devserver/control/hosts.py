"""The control API for networks of several hosts: which there are, moves between them, and what people ask of another.

The command line and the page ask the host that they are at. What changes mods is carried out where network.yaml is; the
events of one host are read there (`host` in the query). A person has passed the gate of the host that was asked first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Protocol

from devserver.control import bodies
from devserver.control.bodies import read
from devserver.model.principal import Kind, Principal, Scope
from devserver.transports.http.answers import Answer, refused, told
from devserver.transports.http.routes import Endpoint, Request, Route

COMMANDS = frozenset(f"/_dev/{each}" for each in ("reload", "load", "unload", "undo", "redo", "move"))
"""What the host that has network.yaml carries out for all."""
_EVENTS = frozenset(f"/_dev/{each}" for each in ("feed", "search", "event"))
"""What each host knows of its own events alone."""
_OF_HOST = Principal(Kind.ANONYMOUS, "host", frozenset())


class HostsKnown(Protocol):
    """What is known of the hosts."""

    @property
    def name(self) -> str:
        """The name of this one; empty in a network of one process."""

    @property
    def author(self) -> str:
        """The host that has network.yaml."""

    @property
    def allows(self) -> bool: ...

    def rows(self) -> dict[str, Any] | None:
        """The engine and the hosts; None in a network of one process."""

    async def ask(self, host: str, path: str, request: Request) -> Answer: ...
    async def read(self, host: str, path: str, request: Request) -> Answer:
        """Ask a host for its events, for as long as it is there."""

    async def move(self, mod: str, to: str) -> dict[str, Any]:
        """Bring a mod to another host. Raises Malformed where it cannot be tried."""


class HostsApi:
    """The endpoints, over one server, and the way to those of other hosts."""

    def __init__(self, known: HostsKnown) -> None:
        self._known = known
        self._own: dict[str, Endpoint] = {}

    def routes(self) -> tuple[Route, ...]:
        return (
            Route("GET", "/_dev/hosts", Scope.READ, self.hosts),
            Route("POST", "/_dev/move", Scope.ADMIN, self.move),
        )

    async def hosts(self, request: Request) -> Answer:
        """The engine and the hosts; both null in a network of one process."""
        return told(self._known.rows() or {"network": None, "engine": None, "hosts": None})

    async def move(self, request: Request) -> Answer:
        """Bring a mod to another host, with its state."""
        body = read(bodies.models.Move, request)
        return told(await self._known.move(body.mod, body.to))

    def over_hosts(self, routes: Iterable[Route]) -> Iterator[Route]:
        """Return the routes; those that another host may have to answer lead there."""
        for each in routes:
            if each.endpoint is None or each.path not in COMMANDS | _EVENTS:
                yield each
                continue
            self._own[each.path] = each.endpoint
            yield replace(each, endpoint=self._led(each.path, each.endpoint))

    def _led(self, path: str, own: Endpoint) -> Endpoint:
        async def answer(request: Request) -> Answer:
            known, is_command = self._known, path in COMMANDS
            host = known.author if is_command else request.query.get("host", "")
            if host in ("", known.name):
                return await own(request)
            return await (known.ask(host, path, request) if is_command else known.read(host, path, request))

        return answer

    async def answer(self, path: str, by: str, body: Mapping[str, Any], query: Mapping[str, str]) -> Answer:
        """Answer what a person asks at another host. `by`, the name that it gives itself."""
        own, known = self._own.get(path), self._known
        if own is None or not known.allows:
            why = "dev.hosts.commands is false" if own is not None else f"there is no {path} for other hosts"
            return refused("not_from_there", f"host {known.name} refuses what is asked on {by}: {why}", 403)
        if path in COMMANDS and known.name != known.author:
            return refused("not_the_author", f"network.yaml is on {known.author}; ask again", 409)
        if body.get("config") or body.get("anyway"):
            # A host may have what is on disk run, and nothing of its own.
            sentence = f"a mod is given a configuration, or loaded despite a warning, on {known.name} alone"
            return refused("not_from_there", sentence, 403)
        rest = {name: value for name, value in query.items() if name != "host"}
        return await own(Request(_OF_HOST, body, rest, who=f"host {by}", asked_on=by))
