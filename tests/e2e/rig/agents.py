"""Agents as they are out there: two connections that poll over HTTP, or one WebSocket. They never reconnect."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import time
from collections.abc import AsyncIterator, Awaitable
from typing import Any, Protocol
from urllib.parse import urlencode

import websockets

from rig.http import Connection
from rig.ledger import Ledger

CHANNEL = "general"
POSTED = "thread.channel_message.post"
TOLD = "thread.channel_message.notification"
PATIENCE = 60.0
"""Seconds after which an answer counts as lost."""
MOST_UNANSWERED = 50
"""Posts of one load that may wait for their answers: half of what the server lets one connection have in flight."""

Answer = dict[str, Any]


class Asker(Protocol):
    """A sender of events that gets their answers."""

    name: str

    async def ask(self, event_name: str, payload: dict[str, Any] | None = None, **fields: Any) -> Answer:
        """Send an event; its answer."""


class Inbox:
    """What arrives at an agent: numbered posts go into the ledger, everything into `events`."""

    def __init__(self, name: str, ledger: Ledger) -> None:
        self.name = name
        self.events: list[dict[str, Any]] = []
        self.ledger = ledger
        self._leaving = False
        self._tasks: list[asyncio.Task[None]] = []

    def _start(self, work: Awaitable[None]) -> None:
        self._tasks.append(asyncio.ensure_future(self._until_closed(work)))

    async def _until_closed(self, work: Awaitable[None]) -> None:
        try:
            await work
        except (OSError, EOFError, websockets.ConnectionClosed) as error:
            if not self._leaving:
                self.ledger.closed.append(f"{self.name}: {type(error).__name__} {error}")

    async def _end(self) -> None:
        self._leaving = True
        for task in self._tasks:
            task.cancel()
        for ended in await asyncio.gather(*self._tasks, return_exceptions=True):
            if isinstance(ended, Exception):
                raise ended

    def _arrive(self, event: dict[str, Any]) -> None:
        self.events.append(event)
        text = event["payload"].get("content", {}).get("text", "") if event["event_name"] == TOLD else ""
        sender, _, number = text.partition(" ")
        if number.isdecimal():
            self.ledger.deliver(self.name, sender, int(number))


class PollingAgent(Inbox):
    """An agent as the OpenAgents client is one: it polls on one connection and sends on another."""

    async def join(self, port: int) -> None:
        """Register and begin to poll."""
        self._sends, self._polls = await Connection.open(port), await Connection.open(port)
        answer = await self._sends.post("/api/register", {"agent_id": self.name, "metadata": {}})
        self._secret = answer["secret"]
        self._start(self._poll())

    async def leave(self) -> None:
        """End the connections."""
        await self._end()
        self._sends.close()
        self._polls.close()

    async def ask(self, event_name: str, payload: dict[str, Any] | None = None, **fields: Any) -> Answer:
        """Send an event; its answer."""
        values = {"event_name": event_name, "source_id": self.name, "payload": payload or {}, **fields}
        async with asyncio.timeout(PATIENCE):
            return await self._sends.post("/api/send_event", {**values, "secret": self._secret})

    async def _poll(self) -> None:
        path = f"/api/poll?{urlencode({'agent_id': self.name, 'secret': self._secret})}"
        while True:
            answer = await self._polls.get(path)
            if not answer["success"]:
                self.ledger.errors.append(f"{self.name} polled: {answer}")
            for event in answer["messages"]:
                self._arrive(event)


class SocketAgent(Inbox):
    """An agent on one WebSocket. Any number of its events may be on their way."""

    async def join(self, port: int, token: str | None = None) -> None:
        """Register and begin to listen. With the admin token any number of agents may come."""
        headers = None if token is None else {"Authorization": f"Bearer {token}"}
        address = f"ws://127.0.0.1:{port}/ws"
        self._socket = await websockets.connect(address, max_size=1 << 24, additional_headers=headers)
        self._waiting: dict[Any, asyncio.Future[dict[str, Any]]] = {}
        self._ids = itertools.count()
        await self._socket.send(json.dumps({"type": "register", "agent_id": self.name}))
        registered = json.loads(await self._socket.recv())
        assert registered["type"] == "registered", registered
        self._start(self._listen())

    async def leave(self) -> None:
        """End the connection."""
        await self._end()
        await self._socket.close()

    async def ask(self, event_name: str, payload: dict[str, Any] | None = None, **fields: Any) -> Answer:
        """Send an event; its answer."""
        event = {"event_name": event_name, "payload": payload or {}, **fields}
        return await self._say({"type": "send", "event": event})

    async def ping(self) -> None:
        """Ping, and wait for the pong."""
        await self._say({"type": "ping"})

    async def _say(self, message: dict[str, Any]) -> dict[str, Any]:
        number = next(self._ids)
        self._waiting[number] = asyncio.get_running_loop().create_future()
        await self._socket.send(json.dumps({**message, "id": number}))
        async with asyncio.timeout(PATIENCE):
            return await self._waiting[number]

    async def _listen(self) -> None:
        async for raw in self._socket:
            message = json.loads(raw)
            if message["type"] == "event":
                self._arrive(message["event"])
            elif message["type"] == "error":
                self.ledger.errors.append(f"{self.name} was told: {message}")
            else:
                self._waiting.pop(message["id"]).set_result(message)


class Load:
    """Posts numbered messages to the channel, so many a second, until it is stopped."""

    def __init__(self, agent: Asker, ledger: Ledger, per_second: float) -> None:
        self._agent, self._ledger, self._pause = agent, ledger, 1 / per_second
        self._stopped = False
        self._places = asyncio.Semaphore(MOST_UNANSWERED)
        self._posts: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Post; returns when the last answer is there."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        while not self._stopped:
            async with self._places:
                self._begin()
            # The pace of a load; nothing is waited for here.
            due += self._pause
            await asyncio.sleep(max(0.0, due - loop.time()))
        await asyncio.gather(*self._posts)

    def stop(self) -> None:
        """Post no more."""
        self._stopped = True

    def _begin(self) -> None:
        number = self._ledger.send(self._agent.name)
        task = asyncio.create_task(self._post(number))
        self._posts.add(task)
        task.add_done_callback(self._posts.discard)

    async def _post(self, number: int) -> None:
        async with self._places:
            began = time.monotonic()
            answer = await post(self._agent, f"{self._agent.name} {number}")
            self._ledger.took.append(time.monotonic() - began)
        self._ledger.answers[self._agent.name, number] = answer


async def post(agent: Asker, text: str, **payload: Any) -> Answer:
    """Post a text to the channel that everyone is in."""
    return await agent.ask(POSTED, {"channel": CHANNEL, "content": {"text": text}, **payload})


class Crowd:
    """Three connected agents: `ana` on a WebSocket, `bea` and `cem` polling."""

    def __init__(self) -> None:
        self.ledger = Ledger(["ana", "bea", "cem"])
        self.ana = SocketAgent("ana", self.ledger)
        self.bea, self.cem = PollingAgent("bea", self.ledger), PollingAgent("cem", self.ledger)

    @property
    def agents(self) -> tuple[SocketAgent, PollingAgent, PollingAgent]:
        """All three."""
        return self.ana, self.bea, self.cem


@contextlib.asynccontextmanager
async def crowd(port: int) -> AsyncIterator[Crowd]:
    """Three agents for as long as the context lasts."""
    made = Crowd()
    joined = []
    try:
        for agent in made.agents:
            await agent.join(port)
            joined.append(agent)
        yield made
    finally:
        for agent in joined:
            await agent.leave()


@contextlib.asynccontextmanager
async def under_load(crowd: Crowd, per_second: float = 200.0) -> AsyncIterator[None]:
    """`ana` posts for as long as the context lasts; at its end everything has arrived, or the ledger says what not."""
    load = Load(crowd.ana, crowd.ledger, per_second)
    work = asyncio.create_task(load.run())
    try:
        yield
    finally:
        load.stop()
        await work
    await crowd.ledger.complete()
