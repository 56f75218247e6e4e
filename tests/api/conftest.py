"""The real application on loopback, over a network that is held in memory."""

import asyncio
import contextlib
import json
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import httpx
import pytest
import pytest_asyncio
import websockets

from devserver.live.loops import Done, SameLoop
from devserver.model.change import Trigger
from devserver.model.config import AgentGroup, NetworkConfig
from devserver.model.event import Event, EventResponse
from devserver.model.facts import PlanDone
from devserver.model.plan import Plan
from devserver.model.principal import Principal
from devserver.network.agents import Directory
from devserver.network.identity import secret_digest
from devserver.network.running import agent_stats
from devserver.network.system import PREFIX, run_system
from devserver.server.app import make_app
from devserver.transports.http.serving import HttpServer

TOKEN = "admin-token-of-this-run"


class SmallNetwork:
    """A network without mods: what it takes in it delivers, after `on_event` has had its say."""

    def __init__(self, config: NetworkConfig) -> None:
        self.config = config
        self.directory = Directory(config)
        self.taken: list[tuple[Event, Principal]] = []
        self.on_event: Callable[[Event], Awaitable[EventResponse | None]] | None = None

    async def ingest(self, event: Event, principal: Principal) -> EventResponse:
        self.taken.append((event, principal))
        if event.event_name.startswith(PREFIX):
            return await run_system(self, event, principal)
        answer = await self.on_event(event) if self.on_event else None
        if answer is not None:
            return answer
        delivery = self.directory.deliver(event)
        return EventResponse(True, f"delivered to {delivery.delivered}", {"delivered": delivery.delivered})

    def take(self, event: Event, principal: Principal, done: Done) -> bool:
        SameLoop().begin(done, self.ingest, event, principal)
        return True

    async def register_agent(self, agent_id, metadata, **keywords):
        return self.directory.register(agent_id, metadata, **keywords)

    async def unregister_agent(self, agent_id):
        return self.directory.unregister(agent_id)

    def get_network_stats(self, *, described=True):
        agents = {"agent_count": len(self.directory.agents()), **agent_stats(self.directory)}
        return {"network_id": "network-1", "uptime_seconds": 1.0, "dynamic_mods": {"count": 1}, **agents}

    def mods(self):
        return [{"name": "mods.wiki", "mod_id": "wiki", "version": "1.2", "config": {"key": "hidden-config"}}]

    async def load_mod(self, mod_path, config=None, *, trusted=True, generation=None):
        return EventResponse(True, "loaded", {"mod_path": mod_path, "trusted": trusted})

    async def unload_mod(self, mod, *, generation=None):
        return EventResponse(True, "unloaded", {"mod_id": mod})

    async def reload_mod(self, mod, *, generation=None):
        return EventResponse(True, "reloaded", {"mod_id": mod})


class SmallControl:
    """A server that remembers what was asked of it."""

    def __init__(self) -> None:
        self.triggers: list[Trigger] = []
        self.sent: list[tuple[Event, str | None]] = []
        self.done = PlanDone(Plan("asked"), (), 1.5)

    def status(self, *, mods=True):
        return {"mods": [{"mod_id": "wiki", "generation": 3}]}

    def why(self, name):
        return {"kind": "unknown", "name": name, "reason": "no such mod"}

    def catalogue(self):
        return {"mods": [{"mod_id": "wiki", "generation": 3, "handlers": []}]}

    async def submit(self, trigger: Trigger) -> PlanDone:
        self.triggers.append(trigger)
        return self.done

    async def send(self, event: Event, as_agent: str | None) -> EventResponse:
        self.sent.append((event, as_agent))
        return EventResponse(True, "sent", {"n": 1})


@dataclass(frozen=True)
class Answered:
    """What came back over a raw socket."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key == name]

    @property
    def code(self) -> str:
        return json.loads(self.body)["code"]


class Served:
    """A running server and ways to talk to it."""

    def __init__(self, network: SmallNetwork, control: SmallControl, listener: socket.socket) -> None:
        self.network = network
        self.control = control
        self.port = listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.token = TOKEN
        self.server: HttpServer
        # Nothing here is encrypted; to read the certificates of all authorities is half the cost of a test.
        self.http = httpx.AsyncClient(base_url=self.url, timeout=30, verify=False)

    @contextlib.asynccontextmanager
    async def line(self) -> AsyncIterator["Line"]:
        """A connection on which bytes are sent as they are."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        yield Line(reader, writer, b"127.0.0.1:%d" % self.port)
        writer.close()

    async def raw(self, request: bytes) -> Answered:
        """Send bytes as they are over a connection of their own; the answer."""
        async with self.line() as line:
            return await line.ask(request)

    async def join(self, agent_id: str, *, trusted: bool = False, **values) -> str:
        """Register an agent over HTTP, with the token where it is `trusted`; its secret."""
        bearer = {"Authorization": f"Bearer {self.token}"} if trusted else {}
        answer = await self.http.post("/api/register", json={"agent_id": agent_id, **values}, headers=bearer)
        return answer.json()["secret"]

    async def send(self, agent_id: str, secret: str, to: str = "", **values) -> dict:
        """Send an event over HTTP as an unmodified client does."""
        body = {"event_id": values.pop("event_id", "e1"), "event_name": "test.event", "payload": {}, "metadata": {}}
        body |= {"source_id": agent_id, "secret": secret, "target_agent_id": to, "visibility": "network", **values}
        return (await self.http.post("/api/send_event", json=body)).json()

    async def poll(self, agent_id: str, secret: str) -> dict:
        """Poll once."""
        return (await self.http.get("/api/poll", params={"agent_id": agent_id, "secret": secret})).json()

    async def polling(self, agent_id: str, secret: str) -> asyncio.Task:
        """A poll that is being held."""
        task = asyncio.create_task(self.poll(agent_id, secret))
        await self.until(lambda: self.network.directory.agent(agent_id).outbox.awaited)
        return task

    async def secret_of(self, agent_id: str) -> str:
        """A new secret of an agent, for a test that did not keep the one it was given."""
        agent = self.network.directory.agent(agent_id)
        agent.secret_hash = secret_digest("known")
        return "known"

    def connections(self) -> list:
        """The connections that are open, as the server's protocols."""
        return list(self.server.connections)

    async def agent_that_does_not_read(self, agent_id: str) -> "Unread":
        """An agent on a WebSocket with a small buffer, which reads nothing more until it is asked to."""
        secret = await self.join(agent_id)
        own = socket.socket()
        own.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 128 * 1024)
        own.connect(("127.0.0.1", self.port))
        line = await websockets.connect(f"ws://127.0.0.1:{self.port}/ws", sock=own, max_queue=1, ping_interval=None)
        await line.send(json.dumps({"type": "register", "agent_id": agent_id, "secret": secret}))
        assert json.loads(await line.recv())["type"] == "registered"
        line.transport.pause_reading()
        return Unread(line, secret)

    async def until(self, fact: Callable[[], bool]) -> None:
        """Wait until something is so."""
        async with asyncio.timeout(60):
            while not fact():  # noqa: ASYNC110 - what makes it so knows nothing of this test
                await asyncio.sleep(0)

    def socket(self, **options):
        """A WebSocket to /ws."""
        return websockets.connect(f"ws://127.0.0.1:{self.port}/ws", **options)

    @contextlib.asynccontextmanager
    async def agent(self, agent_id: str, **values):
        """An agent on a WebSocket, and what it was told when it registered."""
        async with self.socket() as line:
            await line.send(json.dumps({"type": "register", "agent_id": agent_id, **values}))
            yield line, json.loads(await line.recv())


@dataclass(frozen=True)
class Unread:
    """A WebSocket that no one reads."""

    line: websockets.ClientConnection
    secret: str

    async def read_all(self) -> tuple[list[int], tuple[int, str]]:
        """The numbers of all events that were on their way, and why the line was closed."""
        self.line.transport.resume_reading()
        seen = []
        try:
            while True:
                seen.append(json.loads(await self.line.recv())["event"]["payload"]["n"])
        except websockets.ConnectionClosed as ended:
            assert ended.rcvd is not None
            return seen, (ended.rcvd.code, ended.rcvd.reason)


@dataclass(frozen=True)
class Line:
    """A raw connection to the server; @HOST@ in what is sent stands for the server's own."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    host: bytes

    async def ask(self, request: bytes) -> Answered:
        """Send a request and read its answer, which may come before all of the request has gone."""
        self.writer.write(request.replace(b"@HOST@", self.host))
        async with asyncio.timeout(60):
            return await self._answer(bodiless=request.startswith(b"HEAD"))

    async def _answer(self, *, bodiless: bool) -> Answered:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.strip().split("\r\n")
        headers = [(name.lower(), value) for name, _, value in (line.partition(": ") for line in lines)]
        length = 0 if bodiless else next(int(value) for name, value in headers if name == "content-length")
        return Answered(int(first.split()[1]), headers, await self.reader.readexactly(length))


def config(**settings) -> NetworkConfig:
    groups = {"team": AgentGroup("team", "team-hash", "The team", {"secret": "hidden-group"})}
    return NetworkConfig(name="Test network", groups=groups, **settings)


@contextlib.asynccontextmanager
async def serving(network: SmallNetwork, **options) -> AsyncIterator[Served]:
    """A server for as long as the context lasts."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(1024)
    control = SmallControl()
    served = Served(network, control, listener)
    options = {"hold": 20.0, "new_agents_per_minute": 1000, **options}
    app = make_app(network, control, token=TOKEN, port_of=lambda: served.port, **options)
    served.server = server = HttpServer(app)
    server.begin([listener])
    try:
        yield served
    finally:
        network.directory.close()
        await served.http.aclose()
        await server.end()
        listener.close()


@pytest.fixture
def network() -> SmallNetwork:
    return SmallNetwork(config())


@pytest.fixture
async def served(network, caplog) -> AsyncIterator[Served]:
    """A server that must not have failed inside when the test ends."""
    async with serving(network) as running:
        yield running
    failures = [record for record in caplog.get_records("call") if record.levelno >= logging.ERROR]
    assert failures == []


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def shared() -> AsyncIterator[Served]:
    """One server for the tests of a module that change nothing in it."""
    async with serving(SmallNetwork(config())) as running:
        yield running


@pytest.fixture
def serve():
    """Make a server with other options: `async with serve(network, hold=0) as served`."""
    return serving


@pytest.fixture
def network_with():
    """Make a network with other settings."""
    return lambda **settings: SmallNetwork(config(**settings))
