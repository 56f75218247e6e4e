"""One line gives agents of openagents what is for them at once, by WebSocket, with what a poll guarantees."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("openagents")

from openagents.core.client import AgentClient
from openagents.models.event import Event
from served_process import PATIENCE, Running, serving

from devserver.bridge.push import pull, push

YAML = "network:\n  name: Home\n  mods: []\n"


class Client(AgentClient):
    """The client as it is, with what it received."""

    async def join(self, port: int) -> None:
        """Connect, and listen to everything."""
        self.received: asyncio.Queue[tuple[float, Event]] = asyncio.Queue()
        assert await self.connect_to_server(network_host="127.0.0.1", network_port=port)
        self.register_event_handler(self._receive, ["*"])

    async def _receive(self, event: Event) -> None:
        self.received.put_nowait((time.perf_counter(), event))

    async def tell(self, to: str, **payload: Any) -> None:
        """Send an event to another agent."""
        event = Event(event_name="note.text.post", source_id=self.agent_id, destination_id=to, payload=payload)
        assert (await self.send_event(event)).success

    async def next(self) -> tuple[float, Event]:
        """The next note, and when it came."""
        async with asyncio.timeout(PATIENCE):
            while (found := await self.received.get())[1].event_name != "note.text.post":
                continue
            return found


@pytest.fixture
def pushed() -> Any:
    push()
    push()
    yield
    pull()


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Running]:
    (tmp_path / "network.yaml").write_text(YAML)
    async with serving(tmp_path) as running:
        yield running


async def test_events_come_at_once_and_in_order(server: Running, pushed: None) -> None:
    """Far sooner than by a poll, which comes after 544 ms in the median; `bench` measures how much."""
    ana, ben = Client("ana"), Client("ben")
    await ana.join(server.port)
    await ben.join(server.port)
    await ana.tell("ben", number=-1)
    await ben.next()
    took = []
    for number in range(40):
        began = time.perf_counter()
        await ana.tell("ben", number=number)
        came, event = await ben.next()
        took.append((came - began) * 1000)
        assert event.payload["number"] == number
    assert statistics.median(took) <= 100
    for number in range(100):
        await ana.tell("ben", number=number)
    assert [(await ben.next())[1].payload["number"] for _ in range(100)] == list(range(100))
    assert await ben.disconnect()
    assert await ana.disconnect()


async def test_it_goes_on_after_the_server_was_killed(tmp_path: Path, pushed: None) -> None:
    """The same identity, with the next connection."""
    (tmp_path / "network.yaml").write_text(YAML)
    ana, ben = Client("ana"), Client("ben")
    async with serving(tmp_path) as first:
        port = first.port
        await ana.join(port)
        await ben.join(port)
        await ana.tell("ben", number=1)
        await ben.next()
        first.process.kill()
        await first.process.wait()
    async with serving(tmp_path, port):
        await ana.tell("ben", number=2)
        assert (await ben.next())[1].payload["number"] == 2
        await ana.disconnect()
        await ben.disconnect()


async def test_without_a_websocket_it_polls(server: Running, pushed: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that has none, as that of openagents, is polled as ever."""
    from devserver.agent import NoWebSocket, WebSocketLine

    async def refused(*_: object) -> None:
        raise NoWebSocket

    monkeypatch.setattr(WebSocketLine, "open", refused)
    ana, ben = Client("ana"), Client("ben")
    await ana.join(server.port)
    await ben.join(server.port)
    await ana.tell("ben", number=1)
    assert (await ben.next())[1].payload["number"] == 1
    await ana.disconnect()
    await ben.disconnect()
