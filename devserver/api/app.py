"""Puts the API together: one table of routes, the gate before it, and Starlette to find the way.

What else a server serves, such as its dashboard, it passes as `routes`; they stand in the same table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import BaseRoute, WebSocketRoute
from starlette.routing import Route as HttpRoute

from devserver.api.control import Control, ControlApi
from devserver.api.gate import Gate, own_hosts
from devserver.api.guard import Guard, Serving
from devserver.api.inbound import Joining
from devserver.api.ports import ServedNetwork
from devserver.api.push import HELLO_SECONDS, Push
from devserver.api.routes import WEBSOCKET, Route, RouteTable
from devserver.api.wire import HOLD_SECONDS, Wire
from devserver.model.principal import Scope
from devserver.network.audit import Audit

NEW_AGENTS_PER_MINUTE = 64


def make_app(
    network: ServedNetwork,
    control: Control,
    *,
    token: str,
    port_of: Callable[[], int],
    allowed_hosts: Iterable[str] = (),
    routes: Iterable[Route] = (),
    hold: float = HOLD_SECONDS,
    hello_seconds: float = HELLO_SECONDS,
    new_agents_per_minute: int = NEW_AGENTS_PER_MINUTE,
) -> Starlette:
    """The application to serve, with the arguments of `protocol.uvicorn_options()`.

    Arguments: `token` this run's admin token; `port_of` the port that is bound, asked with each request;
    `allowed_hosts` the Hosts besides loopback that are us; `routes` more of them; `hold` and `hello_seconds` how long
    a poll and the first message of a WebSocket are waited for; `new_agents_per_minute` how many strangers may join.
    Raises ValueError for an empty token and for a route that is not fully declared.
    """
    if not token:
        raise ValueError("the control API needs a token")
    audit = Audit()
    joining = Joining(network, per_minute=new_agents_per_minute)
    wire = Wire(network, joining, audit, port_of=port_of, hold=hold)
    push = Push(network, joining, audit, hello_seconds=hello_seconds)
    table = RouteTable(
        (
            *wire.routes(),
            Route(WEBSOCKET, "/ws", Scope.JOIN, socket=push),
            *ControlApi(control, token).routes(),
            *routes,
        )
    )
    gate_at = _gates(table, tuple(allowed_hosts), token)
    middleware = [Middleware(Guard, gate=lambda: gate_at(port_of()), audit=audit)]
    return Starlette(routes=[_found_by_starlette(each) for each in table], middleware=middleware)


def _gates(table: RouteTable, names: tuple[str, ...], token: str) -> Callable[[int], Gate]:
    """The gate for the port that is bound; made once, not with each request."""

    @lru_cache(maxsize=2)
    def gate_at(port: int) -> Gate:
        return Gate(table, own_hosts(port, names), token)

    return gate_at


def _found_by_starlette(route: Route) -> BaseRoute:
    if route.socket is not None:
        return WebSocketRoute(route.path, route.socket)
    assert route.endpoint is not None  # RouteTable sees to it
    return HttpRoute(route.path, Serving(route.endpoint), methods=[route.method])
