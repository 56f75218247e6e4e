"""When an agent of openagents polls though it may be pushed to: as long as its server has no WebSocket."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from types import SimpleNamespace
from typing import Any

import pytest

from devserver.bridge import push


@pytest.mark.parametrize(
    ("status", "asked"),
    [(HTTPStatus.NOT_FOUND, 1), (HTTPStatus.UPGRADE_REQUIRED, 1), (HTTPStatus.SERVICE_UNAVAILABLE, 3), (None, 3)],
)
async def test_only_a_server_without_a_websocket_is_polled_from_then_on_and_asked_again_later(
    status: HTTPStatus | None, asked: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is crowded, or ends in the middle of the handshake, is asked for one at the next poll."""
    handshakes, polls = [], []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        handshakes.append(await reader.readuntil(b"\r\n\r\n"))
        if status is not None:
            writer.write(b"HTTP/1.1 %d No\r\nContent-Length: 0\r\n\r\n" % status)
        writer.close()

    async def poll(connector: Any) -> list[Any]:
        polls.append(connector)
        return []

    poll_messages = push._pushed(poll)
    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/api"
        known = {"agent_id": "ana", "metadata": {}, "password_hash": "", "secret": "s"}
        connector = SimpleNamespace(is_connected=True, base_url=url, **known)
        for _ in range(3):
            assert await poll_messages(connector) == []
        assert (len(polls), len(handshakes)) == (3, asked)
        monkeypatch.setattr(push, "AGAIN_SECONDS", 0.0)
        setattr(connector, push._POLLS, 0.0)
        for _ in range(2):
            await poll_messages(connector)
        assert len(handshakes) == asked + 2
