"""Restarts in place under load: agents over HTTP, held polls and a WebSocket notice nothing but a pause."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from restarts import KEEPER, asked, restarted
from rig.agents import crowd, under_load
from rig.ledger import NOTHING
from rig.running import Running, serving
from rig.workspace import Workspace


async def _restarts_under_load(server: Running, times: int, per_second: float) -> None:
    async with crowd(server.port) as made:
        async with under_load(made, per_second):
            for number in range(times):
                await asked(server, "keeper.page.add", text=str(number))
                line = await restarted(server)
                # Three agents have five connections: two poll and send, one has a WebSocket.
                assert line["connections"]["kept"] >= 5
                assert line["agents"] == {"connected": 3, "dropped": 0}
        assert made.ledger.faults() == NOTHING
    said = await asked(server, "keeper.page.add", text="last")
    assert said == {"pages": [*map(str, range(times)), "last"]}


async def test_agents_notice_nothing_of_restarts(workspace: Workspace) -> None:
    """Nothing is lost, doubled, refused or out of order, no connection ends, and state is kept."""
    workspace.add_mod("keeper", KEEPER)
    async with serving(workspace) as server:
        await _restarts_under_load(server, 2, 100)


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_agents_notice_nothing_of_twenty_restarts_at_200_events_a_second(workspace: Workspace) -> None:
    """The same, longer."""
    workspace.add_mod("keeper", KEEPER)
    async with serving(workspace) as server:
        await _restarts_under_load(server, 20, 200)


async def test_a_websocket_in_the_middle_of_a_message_goes_on(server: Running) -> None:
    """Half of a frame before the restart and half of it after are one message."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(
        b"GET /ws HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n" % server.port
    )
    assert b"101" in await reader.readuntil(b"\r\n\r\n")
    hello = _frame({"type": "register", "agent_id": "dan"})
    writer.write(hello)
    assert (await _message(reader))["type"] == "registered"
    ping = _frame({"type": "ping", "id": 7})
    writer.write(ping[:10])
    await writer.drain()
    await restarted(server)
    writer.write(ping[10:])
    told = [await _message(reader)]
    while told[-1]["type"] != "pong":
        told.append(await _message(reader))
    assert told.pop() == {"type": "pong", "id": 7}
    # Agents hear of mods as after any reload.
    names = {each["event"]["event_name"] for each in told}
    assert names <= {"system.notification.mod_reloaded"}
    writer.close()


def _frame(values: dict[str, object]) -> bytes:
    """A masked text frame of less than 126 bytes (RFC 6455, 5.2); its mask is all zeros."""
    data = json.dumps(values).encode()
    assert len(data) < 126
    return bytes([0x81, 0x80 | len(data), 0, 0, 0, 0]) + data


async def _message(reader: asyncio.StreamReader) -> dict[str, Any]:
    """The next text message of the server, up to 64 KiB."""
    head = await reader.readexactly(2)
    length = head[1] if head[1] < 126 else int.from_bytes(await reader.readexactly(2), "big")
    values: dict[str, Any] = json.loads(await reader.readexactly(length))
    return values
