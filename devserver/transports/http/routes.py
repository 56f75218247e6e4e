"""The table of routes: method, path, scope, and endpoint. A route without a scope cannot be in it.

Paths are exact: no patterns, no decoding, so that the router finds the route that the gate judged.
Only a route that is declared so answers below its path.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from devserver.model.principal import Principal, Scope
from devserver.transports.http.answers import Answer

if TYPE_CHECKING:
    from devserver.transports.http.websocket import WebSocket

WEBSOCKET = "WEBSOCKET"
METHODS = frozenset({"GET", "POST", WEBSOCKET})


@dataclass(slots=True)
class Request:
    """A request that passed the gate. `who`: its sender, for the audit log; `asked_on`: the other host that it was
    made on, as that says."""

    principal: Principal
    body: Mapping[str, Any] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    who: str = "unknown"
    asked_on: str = ""


Endpoint = Callable[[Request], Coroutine[Any, Any, Answer]]
"""Answers a request."""
Begin = Callable[[Request, Callable[[Answer | None, BaseException | None], None]], bool]
"""Answers a request without a task: has the answer, or an exception, told. False, with nothing done,
where it may have to wait on this thread."""
Socket = Callable[["WebSocket"], None]
"""Speaks on an open WebSocket."""


@dataclass(frozen=True, slots=True)
class Route:
    """One row: `endpoint` answers a request, `begin` does so more quickly where it can, `socket` serves
    a WebSocket.

    `page`: a browser may be led to it. `waits`: its answer may take long, and repeating the request
    gives the same answer; so it is cancelled if its client goes away, and repeated after a restart
    in place. `uploads`: agents of this machine send files with it, so that its body may be larger.
    `below`: it also answers for everything below its path, which ends with /.
    """

    method: str
    path: str
    scope: Scope
    endpoint: Endpoint | None = None
    begin: Begin | None = None
    socket: Socket | None = None
    page: bool = False
    waits: bool = False
    uploads: bool = False
    below: bool = False


class RouteTable:
    """Routes by path and method. Raises ValueError for a route that is incompletely declared, or
    declared twice."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._routes: dict[str, dict[str, Route]] = {}
        self._below: list[str] = []
        for route in routes:
            problem = self._problem(route)
            if problem is not None:
                raise ValueError(f"{route.method} {route.path}: {problem}")
            self._routes.setdefault(route.path, {})[route.method] = route
            self._below += [route.path] if route.below else []

    def __iter__(self) -> Iterator[Route]:
        return (route for by_method in self._routes.values() for route in by_method.values())

    def at(self, path: str) -> Mapping[str, Route]:
        """Return the routes of a path by method; none for an unknown path."""
        found = self._routes.get(path)
        if found is None:
            above = next((each for each in self._below if path.startswith(each)), "")
            found = self._routes.get(above, {})
        return found

    def _problem(self, route: Route) -> str | None:
        if not isinstance(route.scope, Scope):
            return "a route declares the scope that it needs"
        if route.method not in METHODS:
            return f"a route's method is one of {', '.join(sorted(METHODS))}"
        if not route.path.startswith("/") or set(route.path) & set("{}%?#"):
            return "a route's path is exact and begins with /"
        if route.below and not route.path.endswith("/"):
            return "a route that answers below its path ends with /"
        is_socket = route.method == WEBSOCKET
        if (route.socket is not None, route.endpoint is None) != (is_socket, is_socket):
            return "a route has an endpoint, and a WebSocket route a socket instead"
        if route.method in self.at(route.path):
            return "declared twice"
        return None
