"""Two hosts in this process, and one network of one host: prints samples as JSON (seconds; rates a second)."""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from timeit import repeat
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from devserver.agent_network import AgentNetwork
from devserver.hosts.engine import AUTHOR, CODE_WRITER, HOST, Engine, find_binary
from devserver.hosts.host import Host
from devserver.hosts.shared import fetch, write_workspace
from devserver.hosts.wanted import Wanted
from devserver.model.event import Event
from devserver.model.principal import LOCAL

MOD = """
from devserver import BaseMod, EventResponse, mod_event_handler

class EchoMod(BaseMod):
    @mod_event_handler("echo.say")
    async def say(self, event):
        return EventResponse(True, "said")
"""


Measured = Callable[[Path, Engine, int, AsyncExitStack], Awaitable[dict[str, Any]]]


async def run(measured: Measured, samples: int) -> None:
    """Measure with an engine, in an empty folder, and print the findings as JSON."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        engine = Engine(folder / "engine")
        await engine.start("bench", port=-1)
        try:
            async with AsyncExitStack() as ends:
                # In order, whatever fails: a task of a network that has not ended may wait for ever.
                found = await measured(folder, engine, samples, ends)
            print(json.dumps(found))
        finally:
            await engine.stop()


async def _measured(folder: Path, engine: Engine, samples: int, ends: AsyncExitStack) -> dict[str, Any]:
    alone, (author, first) = await begin(folder, engine, ends)
    creds = engine.record.credentials
    settings, of = await fetch(engine.url, creds(HOST), "door")
    write_workspace(folder / "door", settings, of)
    door, second = await with_host(Wanted("door", False, engine.url, creds(HOST)), folder / "door", ends)
    while not (first._members.alive("door") and second._members.alive("author")):  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    binary = find_binary()
    found: dict[str, Any] = {"version": binary.version if binary else ""}
    await door.register_agent("bob")
    await author.register_agent("ana")
    await alone.register_agent("bob")
    while author.directory.agent("bob") is None:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    found["far"] = await each_of(samples, lambda: _ask(door))
    found["here"] = await each_of(samples, lambda: _ask(alone))
    found["look"] = min(repeat("if own.far is not None: ...", globals={"own": alone._dispatcher}, number=100_000)) / 1e5
    found["asks"] = await _rate(samples, lambda: _ask(door))
    found["asks_here"] = await _rate(samples, lambda: _ask(alone))
    found["delivery_far"] = await _deliveries(samples, author, door)
    found["delivery_here"] = await _deliveries(samples, alone, alone)
    for number in range(50):
        await author.register_agent(f"a{number}")
        await door.register_agent(f"d{number}")
        await alone.register_agent(f"a{number}")
        await alone.register_agent(f"d{number}")
    while author.directory.count() < 102:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    few = max(20, samples // 20)
    found["broadcast_far"] = await each_of(few, lambda: send(author, "agent:broadcast"))
    found["broadcast_here"] = await each_of(few, lambda: send(alone, "agent:broadcast"))
    found["move"] = await _moves(author, door, 20)
    return found


async def begin(folder: Path, engine: Engine, ends: AsyncExitStack) -> tuple[AgentNetwork, tuple[AgentNetwork, Host]]:
    """A network of one process, and the author of one of several."""
    text = {"network": {"name": "bench", "node_id": "bench", "max_connections": 5000, "mods": [{"name": "mods.echo"}]}}
    (folder / "author" / "mods").mkdir(parents=True)
    (folder / "author" / "mods" / "echo.py").write_text(MOD)
    (folder / "author" / "network.yaml").write_text(json.dumps(text))
    alone = AgentNetwork.load(folder / "author")
    ends.push_async_callback(alone.shutdown)
    await alone.initialize()
    creds = engine.record.credentials
    wanted = Wanted("author", True, engine.url, creds(AUTHOR), creds(CODE_WRITER))
    return alone, await with_host(wanted, folder / "author", ends)


async def with_host(wanted: Wanted, folder: Path, ends: AsyncExitStack) -> tuple[AgentNetwork, Host]:
    network = AgentNetwork.load(folder, tell=lambda fact: None)
    ends.push_async_callback(network.shutdown)
    path = folder / "network.yaml"
    host = Host(wanted, network, folder=folder / "hosts", path=path, url="", tell=lambda fact: None)
    ends.push_async_callback(host.end)
    await host.begin()
    await network.initialize()
    await host.open()
    return network, host


async def _ask(network: AgentNetwork) -> None:
    answer = await network.ingest(Event(event_name="echo.say", source_id="bob"), LOCAL)
    assert answer.success, answer


async def send(network: AgentNetwork, to: str) -> None:
    answer = await network.ingest(Event(event_name="echo.note", source_id="ana", destination_id=to), LOCAL)
    assert answer.success, answer


async def _deliveries(samples: int, network: AgentNetwork, at: AgentNetwork) -> list[float]:
    """Send events to bob: the seconds until bob has each. What the sender is told comes behind, and is waited for."""
    agent, taken = at.directory.agent("bob"), []
    assert agent is not None
    for _ in range(samples):
        began = time.perf_counter()
        sending = asyncio.ensure_future(send(network, "agent:bob"))
        assert await agent.outbox.take(5.0)
        taken.append(time.perf_counter() - began)
        await sending
    return taken


async def _moves(author: AgentNetwork, door: AgentNetwork, times: int) -> list[float]:
    secret = (await door.register_agent("mover")).secret
    taken = []
    for number in range(times):
        here = (author, door)[number % 2]
        while (known := here.directory.agent("mover")) is None:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        for _ in range(100):
            await send(author, "agent:mover")
        began = time.perf_counter()
        await here.register_agent("mover", secret=secret)
        got = 0
        while got < 100:
            got += len(await known.outbox.take(1.0))
        taken.append(time.perf_counter() - began)
    return taken


async def each_of(samples: int, work: Callable[[], Awaitable[None]]) -> list[float]:
    taken = []
    for _ in range(samples):
        began = time.perf_counter()
        await work()
        taken.append(time.perf_counter() - began)
    return taken


async def _rate(samples: int, work: Callable[[], Awaitable[None]]) -> float:
    async def one() -> None:
        for _ in range(max(1, samples // 20)):
            await work()

    began = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(100)))
    return 100 * max(1, samples // 20) / (time.perf_counter() - began)


if __name__ == "__main__":
    asyncio.run(run(_measured, int(sys.argv[1])))
