"""Clients of the agents' API: one that asks on a kept connection, many that keep a server busy, one on a WebSocket."""

from __future__ import annotations

import asyncio
import http.client
import json
import re
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import websockets
from websockets.asyncio.client import ClientConnection

from bench.processes import wait_until

_HEAD = "POST /api/send_event HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
_MODS_SECONDS = 180.0
"""How long a thousand mods may take on a busy machine."""
_LENGTH = re.compile(rb"(?i)content-length: *(\d+)")
_SUCCESS = re.compile(rb'"success": ?true')


class Line:
    """A kept HTTP connection. `cuts` counts how often the server ended it, or was not there."""

    def __init__(self, port: int, token: str = "") -> None:
        self.cuts = 0
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._line = http.client.HTTPConnection("127.0.0.1", port, timeout=10)

    def ask(self, method: str, path: str, values: dict[str, Any] | None = None) -> dict[str, Any] | None:
        """The answer to a request, or None where the connection ended, or it was no JSON."""
        text = self.text(path, method, None if values is None else json.dumps(values))
        if text is None:
            return None
        try:
            answer: dict[str, Any] = json.loads(text)
        except ValueError:
            self.cuts += 1
            return None
        return answer

    def text(self, path: str, method: str = "GET", body: str | None = None) -> str | None:
        """The answer as it is, or None where the connection ended."""
        try:
            self._line.request(
                method, path, body, self._headers | ({"Content-Type": "application/json"} if body else {})
            )
            return self._line.getresponse().read().decode()
        except (OSError, http.client.HTTPException):
            self.cuts += 1
            self._line.close()
            return None

    def close(self) -> None:
        """End it."""
        self._line.close()


def register(port: int, agent_id: str, token: str = "") -> str:
    """Register an agent; its secret. Raises RuntimeError for a server that refuses.

    Ours lets some strangers join in a minute; who shows the `token` of its run may bring as many as it likes.
    """
    line = Line(port, token)
    answer = line.ask("POST", "/api/register", {"agent_id": agent_id, "metadata": {}})
    line.close()
    if answer is None or not answer.get("success"):
        raise RuntimeError(f"not registered: {answer}")
    return str(answer["secret"])


def event(agent_id: str, secret: str, name: str) -> dict[str, Any]:
    """The body of a send_event."""
    return {"event_name": name, "source_id": agent_id, "secret": secret, "payload": {}, "metadata": {}}


def fresh(body: dict[str, Any]) -> dict[str, Any]:
    """The body with an event id of its own: a repeated one would be answered from memory."""
    return {**body, "event_id": uuid.uuid4().hex}


def wait_for_mod(port: int, event_name: str, name: str = "bench-waits") -> None:
    """Return when a mod answers an event with a number: a server may listen before its mods are there."""
    line, body = Line(port), event(name, register(port, name), event_name)

    def answered() -> bool:
        answer = line.ask("POST", "/api/send_event", fresh(body))
        return answer is not None and "number" in (answer.get("data") or {})

    # Not too often: who asks takes from who loads.
    wait_until(answered, f"{event_name} is answered", _MODS_SECONDS, 0.01)
    line.close()


@dataclass(frozen=True, slots=True)
class Window:
    """What clients got in a window: answers in a second, and how many milliseconds each of them took.

    `failed` counts answers that say that the event was not answered, and cut connections.
    """

    rate: float
    milliseconds: list[float]
    failed: int = 0


async def ask_for(port: int, bodies: Sequence[dict[str, Any]], seconds: float) -> Window:
    """Have a client for each of `bodies` send it again and again, with one event on its way at a time."""
    loop = asyncio.get_running_loop()
    until = time.perf_counter() + seconds
    asking = [_Asking(port, body, until) for body in bodies]
    for each in asking:
        await loop.create_connection(lambda each=each: each, "127.0.0.1", port)  # type: ignore[misc]
    await asyncio.gather(*(each.done for each in asking))
    took = [sample for each in asking for sample in each.took]
    return Window(len(took) / seconds, took, sum(each.failed for each in asking))


class _Asking(asyncio.Protocol):
    """A client. As little work as can be: on a machine of two cores it takes from what it measures."""

    def __init__(self, port: int, body: dict[str, Any], until: float) -> None:
        self.took: list[float] = []
        self.failed = 0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._until = until
        # An id of its own for each event, all of one length: the request is made once.
        before, after = json.dumps({**body, "event_id": "@"}).encode().split(b"@")
        self._name = uuid.uuid4().hex[:16].encode()
        length = len(before) + len(self._name) + 12 + len(after)
        self._before = f"{_HEAD.format(port=port)}Content-Length: {length}\r\n\r\n".encode() + before + self._name
        self._after = after
        self._heard = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._ask()

    def _ask(self) -> None:
        self._began = time.perf_counter()
        if self._began < self._until:
            self._transport.write(self._before + b"%012d" % len(self.took) + self._after)
            return
        self.done.set_result(None)
        self._transport.close()

    def data_received(self, data: bytes) -> None:
        """Count an answer that is whole, and ask again."""
        self._heard += data
        head, end, body = self._heard.partition(b"\r\n\r\n")
        if not end or len(body) < int(_LENGTH.search(head)[1]):  # type: ignore[index]
            return
        self._heard = b""
        self.took.append((time.perf_counter() - self._began) * 1000)
        self.failed += _SUCCESS.search(body) is None
        self._ask()

    def connection_lost(self, error: Exception | None) -> None:
        """A server that cuts the connection fails the request that was on its way."""
        if not self.done.done():
            self.failed += 1
            self.done.set_result(None)


async def connect(port: int, agent_id: str) -> ClientConnection:
    """An agent on our WebSocket."""
    line = await websockets.connect(f"ws://127.0.0.1:{port}/ws", compression=None, max_queue=None)
    await line.send(json.dumps({"type": "register", "agent_id": agent_id}))
    said = json.loads(await line.recv())
    if said["type"] != "registered":
        raise RuntimeError(f"not registered: {said}")
    return line
