"""Many agents on our WebSocket at once, as bare sockets: only to learn when each of them has got something."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import selectors
import socket
import time
from collections.abc import Iterator
from typing import Any

_HANDSHAKE = (
    "GET /ws HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\nAuthorization: Bearer {token}\r\n\r\n"
)
_LONGEST = 30.0


def frame(message: dict[str, Any]) -> bytes:
    """A message of a client as it goes over the wire: masked with zeros, which leave it as it is."""
    data = json.dumps(message).encode()
    length = bytes([0x80 | len(data)]) if len(data) < 126 else bytes([0xFE]) + len(data).to_bytes(2, "big")
    return b"\x81" + length + bytes(4) + data


@contextlib.contextmanager
def crowd(port: int, agents: int, token: str) -> Iterator[list[socket.socket]]:
    """So many registered agents. The `token` of the run lets as many join as like to."""
    with contextlib.ExitStack() as stack:
        lines = [stack.enter_context(_joined(port, f"crowd-{number}", token)) for number in range(agents)]
        yield lines


def _joined(port: int, agent_id: str, token: str) -> socket.socket:
    line = socket.create_connection(("127.0.0.1", port))
    line.settimeout(_LONGEST)
    key = base64.b64encode(os.urandom(16)).decode()
    line.sendall(_HANDSHAKE.format(port=port, key=key, token=token).encode())
    _until(line, b"\r\n\r\n")
    line.sendall(frame({"type": "register", "agent_id": agent_id}))
    _until(line, b'"registered"')
    return line


def _until(line: socket.socket, what: bytes) -> None:
    heard = b""
    while what not in heard:
        data = line.recv(65536)
        if not data:
            raise RuntimeError(f"the server has cut the connection after {heard!r}")
        heard += data


def milliseconds_to_all(lines: list[socket.socket], event: dict[str, Any]) -> tuple[float, float]:
    """Have the first agent send an event to all; how long until the median and the last of the others has it."""
    took: list[float] = []
    with selectors.DefaultSelector() as selector:
        for line in lines[1:]:
            selector.register(line, selectors.EVENT_READ)
        began = time.perf_counter()
        lines[0].sendall(frame({"type": "send", "id": "1", "event": event}))
        while selector.get_map():
            ready = selector.select(_LONGEST)
            if not ready:
                raise RuntimeError(f"{len(selector.get_map())} agents did not get the event")
            for key, _ in ready:
                _until(key.fileobj, b'"event"')  # type: ignore[arg-type]
                took.append((time.perf_counter() - began) * 1000)
                selector.unregister(key.fileobj)
    _until(lines[0], b'"response"')
    return sorted(took)[len(took) // 2], took[-1]
