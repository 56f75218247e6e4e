"""Every container that grows with what agents do has a bound, and shrinks when they leave.

The test looks for itself: it walks over everything that a network holds, lets agents do what agents
can do, and asks for the bound of each container that has grown. A new container that grows has to
be entered here with its bound, or be bounded.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import inspect
import socket
import sys
import weakref
from collections import OrderedDict, deque
from collections.abc import Iterator
from functools import _lru_cache_wrapper
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from workspaces import until

from devserver import AgentNetwork
from devserver.errors import EventRefused
from devserver.model.event import Event
from devserver.model.principal import ANONYMOUS, Principal
from devserver.model.split import Rule
from devserver.server.app import make_app
from devserver.transports.http.serving import HttpServer
from devserver.transports.inbound import Joining, principal_of
from devserver.transports.strict import Malformed

CONTAINERS = (dict, list, set, deque, OrderedDict, tuple, frozenset)

BOUNDS = {
    "Directory._agents": "max_connections of network.yaml",
    "Directory._looks": "as many as agents",
    "Channels._members[]": "agents that are registered, in channels that mods made",
    "Agent.subscriptions": "account of subscriptions",
    "Subscription.event_patterns": "account of subscriptions, 100 for an agent",
    "Subscription.channels": "account of subscriptions, 100 for a subscription",
    "Outbox._events": "account of outboxes, limits.outbox_events",
    "Answers._given": "account of answers",
    "_Sender.answers": "account of answers",
    "_Sender.answers[]": "account of answers",
    "_Sender.order": "account of answers",
    "Choice.known": "cleared when it has 10,000 senders",
    "Tally.times": "the last 1,000",
    "Tally._failures": "10,000",
    "Rate._times": "new agents per minute",
    "Audit._seen": "100 kinds a second",
    "RoutingTable._memory": "cleared when it has 10,000 names",
    "Audit._seen[]": "100 kinds a second",
    "HttpServer.connections": "the limit of file descriptors",
    "HttpServer.known_heads[]": "256 heads, then cleared",
    "HttpConnection._headers": "128 headers, 64 KiB",
    "HttpConnection._headers[]": "128 headers, 64 KiB",
    "WebSocket._fragments": "account of connections, 1024 for a message",
}
"""What may grow with what agents do, and up to where."""


FEW_KEYS = {"content", "told_fields", "_form_of"}
"""Caches without a size, by names that only we write: the files of the page, the fields and forms of our facts."""


def own(thing: object) -> bool:
    """Whether an object is of a class of ours."""
    return type(thing).__module__.startswith("devserver")


def attributes(thing: object) -> Iterator[tuple[str, Any]]:
    """The attributes of an object, from its dictionary and its slots."""
    yield from getattr(thing, "__dict__", {}).items()
    for kind in type(thing).__mro__:
        for name in getattr(kind, "__slots__", ()):
            # Before Python 3.11.4 a dataclass with slots has a __weakref__ that cannot be read.
            with contextlib.suppress(AttributeError, TypeError):
                yield name, getattr(thing, name)


def sizes(*roots: object) -> dict[str, int]:
    """How many things are in the containers of each name, summed over all objects that hold one of that name."""
    found: dict[str, int] = {}
    seen: set[int] = set()
    waiting: list[tuple[str, object]] = [("", root) for root in roots]
    for name, module in list(sys.modules.items()):
        if name.startswith("devserver"):
            waiting += [(f"{name}.{key}", value) for key, value in vars(module).items()]
    while waiting:
        name, thing = waiting.pop()
        if id(thing) in seen or isinstance(thing, type | ModuleType):
            continue
        seen.add(id(thing))
        if isinstance(thing, CONTAINERS):
            found[name] = found.get(name, 0) + len(thing)
            inside = [*thing.keys(), *thing.values()] if isinstance(thing, dict) else list(thing)
            waiting += [(f"{name}[]", each) for each in inside if isinstance(each, CONTAINERS) or own(each)]
        elif own(thing):
            waiting += [(f"{type(thing).__name__}.{key}", value) for key, value in attributes(thing)]
    return found


async def live_a_life(network: AgentNetwork, joining: Joining, names: list[str]) -> None:
    """Have agents do everything that agents can do, also what is refused."""
    for name in names:
        made = await joining.register({"agent_id": name, "metadata": {"about": name}}, "http", ANONYMOUS)
        principal = principal_of(network, made.agent)
        for event_name, payload in (
            ("note.heard.post", {"from": name}),
            ("note.unheard.post", {"from": name}),
            ("note.failed.post", {"from": name}),
            ("system.subscribe_events", {"event_patterns": ["note.*", f"{name}.*"], "channels": [name]}),
            ("system.add_channel_member", {"channel_id": "general"}),
            ("system.add_channel_member", {"channel_id": f"none-{name}"}),
            ("system.list_agents", {}),
            (f"system.unknown_{name.replace('-', '_')}", {}),
        ):
            await ask(network, principal, event_name, payload)
        await ask(network, principal, f"note.{name.replace('-', '')}.post", {}, to="agent:broadcast")
        with contextlib.suppress(EventRefused, Malformed):
            await joining.register({"agent_id": name, "secret": "wrong"}, "http", ANONYMOUS)


async def ask(
    network: AgentNetwork, principal: Principal, event_name: str, payload: dict[str, Any], to: str | None = None
) -> None:
    event = Event(event_name=event_name, source_id=principal.id, payload=payload, destination_id=to)
    await network.ingest(event, principal)


MOD = """
from devserver import BaseMod, mod_event_handler
class HearMod(BaseMod):
    def initialize(self):
        self.network.create_channel("general")
    @mod_event_handler("note.heard.post")
    @mod_event_handler("note.failed.post")
    async def hear(self, event):
        if event.event_name == "note.failed.post":
            raise ValueError
        return {"heard": event.payload["from"]}
"""


@pytest.fixture
async def network(tmp_path: Path) -> Any:
    (tmp_path / "mods").mkdir()
    (tmp_path / "mods" / "hear.py").write_text(MOD)
    (tmp_path / "mods" / "see.py").write_text(MOD.replace("heard", "unheard"))
    (tmp_path / "network.yaml").write_text("network: {name: Test, mods: [{name: mods.hear}, {name: mods.see}]}\n")
    made = AgentNetwork.load(tmp_path)
    await made.initialize()
    yield made
    await made.shutdown()


async def test_whatever_grows_with_agents_has_a_bound_and_shrinks_when_they_leave(network: AgentNetwork) -> None:
    """What is not in the table may not have grown; what is kept for agents is gone when they are."""
    joining = Joining(network, per_minute=100_000)
    recorder = network.record()
    # Half of the agents is in another version of one mod; a copy of the other sees their events, too.
    assert (await network.try_mod("hear", Rule(share=0.5))).success
    assert (await network.try_mod("see", Rule(shadow=True))).success
    roots = (network, joining)
    found = []
    for names in ([f"first-{n}" for n in range(20)], [f"second-{n}" for n in range(100)]):
        await live_a_life(network, joining, names)
        # At most a hundred events wait for a copy, and 64 to be written as rows.
        await network._dispatcher.shadows.catch_up()
        recorder.take_in()
        found.append(sizes(*roots))
    before, after = found
    grown = {name for name, size in after.items() if size - before.get(name, 0) >= 50}
    assert grown - set(BOUNDS) == set()
    accounts = {each["name"]: each["bytes"] for each in network.directory.accounts.rows()}
    assert all(accounts[each] > 0 for each in ("outboxes", "answers", "identities", "subscriptions"))
    for agent in network.directory.agents():
        await network.unregister_agent(agent.agent_id)
    left = sizes(*roots)
    passing = {
        "Rate._times",
        "Audit._seen",
        "Audit._seen[]",
        "RoutingTable._memory",
        "Choice.known",
        "Tally.times",
        "Tally._failures",
    }
    assert {each for each in grown if left.get(each, 0) > 0} <= passing
    left_bytes = {each["name"]: each["bytes"] for each in network.directory.accounts.rows()}
    # What has happened is kept for people, also when its agents have gone.
    assert left_bytes | {"recorder": 0} == dict.fromkeys(accounts, 0)


async def speak(port: int, number: int) -> asyncio.StreamWriter:
    """Open a connection and leave it in the middle of something: a head, a body, a fragmented message, a request."""
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    host = b"Host: 127.0.0.1:%d\r\n" % port
    post = b"POST /api/register HTTP/1.1\r\n" + host + b"Content-Type: application/json\r\n"
    upgrade = b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    shake = b"GET /ws HTTP/1.1\r\n" + host + upgrade + b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    writer.write(
        (
            b"GET /api/health?n=%d HTTP/1.1\r\nX-Number: %d\r\n" % (number, number),
            post + b"Content-Length: 9999\r\nX-Number: %d\r\n\r\n{" % number,
            post + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n",
            shake + b"\x01\x81\0\0\0\0{",
        )[number % 4]
    )
    return writer


async def test_what_connections_hold_has_a_bound_and_goes_with_them(network: AgentNetwork) -> None:
    """The same walk over the server, with clients that stop in the middle of what they send."""
    accounts = network.directory.accounts
    app = make_app(network, None, token="token", port_of=lambda: port)  # type: ignore[arg-type]
    server = HttpServer(app, accounts)
    with socket.create_server(("127.0.0.1", 0), backlog=512) as listener:
        port = listener.getsockname()[1]
        server.begin([listener])
        writers = [await speak(port, number) for number in range(20)]
        await until(lambda: sum(each.size > 0 for each in server.connections) == 20)
        before = sizes(network, server)
        writers += [await speak(port, number) for number in range(200)]
        await until(lambda: sum(each.size > 0 for each in server.connections) == 220)
        after = sizes(network, server)
        grown = {name for name, size in after.items() if size - before.get(name, 0) >= 50}
        assert grown - set(BOUNDS) == set()
        assert server.account.used == sum(each.size for each in server.connections) > 0
        for each in writers:
            each.close()
        await until(lambda: not server.connections)
        assert server.account.used == 0
        left = sizes(network, server)
        passing = {"HttpServer.known_heads[]"}
        assert {each for each in grown if left.get(each, 0) > 0} <= passing
        await server.end()


async def test_an_event_that_has_ended_its_way_is_freed_at_once(network: AgentNetwork) -> None:
    """No circle keeps it until Python's collector runs: large events would pile up by the hundred megabyte."""
    joining = Joining(network, per_minute=100)
    agents = [(await joining.register({"agent_id": each}, "http", ANONYMOUS)).agent for each in ("ana", "bob")]
    principal = principal_of(network, agents[0])

    class Payload(dict[str, Any]):
        pass

    gc.collect()
    gc.disable()
    try:
        for name, to in (("note.heard.post", None), ("note.unheard.post", "bob"), ("system.ping_agent", None)):
            payload = Payload({"from": "ana"})
            freed = weakref.ref(payload)
            await ask(network, principal, name, payload, to)
            del payload
            assert freed() is None, name
    finally:
        gc.enable()


def test_every_cache_of_ours_has_a_size() -> None:
    """A cache by name or id grows with what agents send."""
    caches = [
        (name, value.cache_parameters()["maxsize"])
        for module_name, module in list(sys.modules.items())
        if module_name.startswith("devserver")
        for name, value in vars(module).items()
        if isinstance(value, _lru_cache_wrapper) and inspect.signature(value).parameters
    ]
    assert caches
    assert [name for name, most in caches if most is None and name not in FEW_KEYS] == []
