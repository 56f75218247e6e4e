"""Clients of the agents' HTTP API: one that asks on a kept connection, and many that keep a server busy."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import time
from typing import Any

_HEAD = "POST /api/send_event HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"


class Line:
    """A kept HTTP connection. `cuts` counts how often the server ended it, or was not there."""

    def __init__(self, port: int) -> None:
        self.cuts = 0
        self._line = http.client.HTTPConnection("127.0.0.1", port, timeout=10)

    def ask(self, method: str, path: str, values: dict[str, Any] | None = None) -> dict[str, Any] | None:
        """The answer to a request, or None where the connection ended."""
        body = None if values is None else json.dumps(values)
        try:
            self._line.request(method, path, body, {"Content-Type": "application/json"} if body else {})
            response = self._line.getresponse()
            answer: dict[str, Any] = json.loads(response.read())
        except (OSError, http.client.HTTPException, ValueError):
            self.cuts += 1
            self._line.close()
            return None
        return answer

    def close(self) -> None:
        """End it."""
        self._line.close()


def register(port: int, agent_id: str) -> str:
    """Register an agent; its secret. Raises RuntimeError for a server that refuses."""
    line = Line(port)
    answer = line.ask("POST", "/api/register", {"agent_id": agent_id, "metadata": {}})
    line.close()
    if answer is None or not answer.get("success"):
        raise RuntimeError(f"not registered: {answer}")
    return str(answer["secret"])


def event(agent_id: str, secret: str, name: str) -> dict[str, Any]:
    """The body of a send_event."""
    return {"event_name": name, "source_id": agent_id, "secret": secret, "payload": {}, "metadata": {}}


def events_per_second(port: int, body: dict[str, Any], clients: int, seconds: float) -> float:
    """How many events a number of clients get answered in a second, each with one on its way at a time."""
    return asyncio.run(_rate(port, body, clients, seconds))


async def _rate(port: int, body: dict[str, Any], clients: int, seconds: float) -> float:
    until = time.monotonic() + seconds
    counts = await asyncio.gather(*(_client(port, body, number, until) for number in range(clients)))
    return sum(counts) / seconds


async def _client(port: int, body: dict[str, Any], client: int, until: float) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    count = 0
    while time.monotonic() < until:
        # An event id of its own: a repeated one would be answered from memory.
        data = json.dumps({**body, "event_id": f"{client}-{count}-{until}"}).encode()
        writer.write(f"{_HEAD.format(port=port)}Content-Length: {len(data)}\r\n\r\n".encode() + data)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
        answer = await reader.readexactly(length)
        if b'"success":true' not in answer.replace(b" ", b""):
            raise RuntimeError(f"an event was refused: {answer!r}")
        count += 1
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return count
