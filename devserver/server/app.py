"""Puts the API together: one table of routes, and the gate that alone can find a way to them.

Further parts of a server, such as its dashboard, come as `routes`, in the same table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from devserver.agent_network import AgentNetwork
from devserver.control.control import Control, ControlApi
from devserver.control.desk import DeskApi
from devserver.control.feed import FeedApi
from devserver.control.hosts import HostsApi
from devserver.control.lines import LinesApi
from devserver.control.page import PageApi
from devserver.control.receipts import ReceiptsApi
from devserver.control.replays import ReplayApi, Replayer
from devserver.control.shelf import ShelfApi
from devserver.model.principal import Scope
from devserver.network.audit import Audit
from devserver.server.studio import studio_routes
from devserver.server.views import LiveViews
from devserver.transports.http.gate import Gate, own_hosts
from devserver.transports.http.push import HELLO_SECONDS, Push
from devserver.transports.http.routes import WEBSOCKET, Route, RouteTable
from devserver.transports.http.serving import App
from devserver.transports.http.wire import HOLD_SECONDS, Wire
from devserver.transports.inbound import Joining, ServedNetwork

if TYPE_CHECKING:
    from devserver.server.server import Server

NEW_AGENTS_PER_MINUTE = 64


def make_app(
    network: ServedNetwork,
    control: Control | None,
    *,
    token: str,
    port_of: Callable[[], int],
    allowed_hosts: Iterable[str] = (),
    routes: Iterable[Route] = (),
    hosts: HostsApi | None = None,
    join_token: str | None = None,
    hold: float = HOLD_SECONDS,
    hello_seconds: float = HELLO_SECONDS,
    new_agents_per_minute: int = NEW_AGENTS_PER_MINUTE,
) -> App:
    """Return the application that `serving.HttpServer` serves.

    Arguments: `control`, the commands' side, None for agents alone; `token`, this run's admin
    token; `port_of`, the bound port, asked once, with the first request; `allowed_hosts`, our Hosts
    beside loopback; `routes`, further ones; `hosts`, leads to those of other hosts;
    `join_token`, which new agents from other machines have to show, None if none may come; `hold`
    and `hello_seconds`, the seconds that a poll and the first message of a WebSocket are waited
    for; `new_agents_per_minute`, the most strangers that may join.

    Raises ValueError for an empty token and for an incompletely declared route.
    """
    if not token:
        raise ValueError("the control API needs a token")
    audit, port = Audit(), cache(port_of)
    joining = Joining(network, per_minute=new_agents_per_minute, token=join_token)
    wire = Wire(network, joining, audit, port_of=port, hold=hold)
    push = Push(network=network, joining=joining, audit=audit, hello_seconds=hello_seconds)
    everything = (
        *wire.routes(),
        Route(WEBSOCKET, "/ws", Scope.JOIN, socket=push),
        *(() if control is None else ControlApi(control, token).routes()),
        *routes,
    )
    table = RouteTable(everything if hosts is None else hosts.over_hosts(everything))
    names = tuple(allowed_hosts)

    def gate() -> Gate:
        return Gate(table, own_hosts(port(), names), token, lambda: network.config.max_body)

    return App(gate=cache(gate), audit=audit)


def own_routes(
    server: Server,
    network: AgentNetwork,
    *,
    views: LiveViews,
    replaying: Replayer,
    page: PageApi,
    hosts: HostsApi,
    studio: Path | None,
) -> tuple[Route, ...]:
    """Return the routes of a server beside the agents' and `ControlApi`'s, without Studio's if there is no build."""
    return (
        *DeskApi(server).routes(),
        *FeedApi(views).routes(),
        *ReceiptsApi(views).routes(),
        *ReplayApi(replaying).routes(),
        *ShelfApi(network).routes(),
        *page.routes(),
        *LinesApi(server).routes(),
        *hosts.routes(),
        *(() if studio is None else studio_routes(studio)),
    )
