"""One HTTP/1.1 connection that is opened once: when the server ends it, that is an error, never a reconnect."""

from __future__ import annotations

import asyncio
import json
from typing import Any, Self


class Refusal(ConnectionError):
    """The server answered with another status than 200."""


class Connection:
    """A kept connection to a server on this machine. One request at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int) -> None:
        self._reader, self._writer, self._port = reader, writer, port

    @classmethod
    async def open(cls, port: int) -> Self:
        """Connect."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 24)
        return cls(reader, writer, port)

    async def get(self, path: str) -> dict[str, Any]:
        """GET a JSON object. Raises Refusal, or ConnectionError or EOFError where the server ended the connection."""
        return await self._ask("GET", path, b"")

    async def post(self, path: str, values: dict[str, Any]) -> dict[str, Any]:
        """POST a JSON object and get one."""
        return await self._ask("POST", path, json.dumps(values).encode())

    def close(self) -> None:
        """End it from this side."""
        self._writer.close()

    async def _ask(self, method: str, path: str, body: bytes) -> dict[str, Any]:
        head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{self._port}\r\n"
        if body:
            head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        self._writer.write(head.encode() + b"\r\n" + body)
        status = int((await self._reader.readuntil(b"\r\n")).split()[1])
        length = await self._length()
        values = json.loads(await self._reader.readexactly(length))
        assert isinstance(values, dict)
        if status != 200:
            raise Refusal(f"{status} {values.get('message')}")
        return values

    async def _length(self) -> int:
        length = 0
        while (line := await self._reader.readuntil(b"\r\n")) != b"\r\n":
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        return length
