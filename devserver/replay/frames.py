"""The messages between a server and its replay process: each its length, then that many bytes.

The server writes pickles, which its own process reads; the answers are JSON, because mods have run
in that process.
"""

from __future__ import annotations

import asyncio
import json
import os
import pickle
import struct
from typing import Any

MOST_BYTES = 256 * 1024 * 1024
"""The longest message."""

_HEAD = struct.Struct("!I")


def packed(message: Any) -> bytes:
    data = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
    return _HEAD.pack(len(data)) + data


def read_message(descriptor: int) -> Any:
    """Read a message of the server; None if it has ended. Blocks."""
    head = _read(descriptor, _HEAD.size)
    if head is None:
        return None
    data = _read(descriptor, _HEAD.unpack(head)[0])
    return None if data is None else pickle.loads(data)


def _read(descriptor: int, size: int) -> bytes | None:
    pieces = []
    while size:
        piece = os.read(descriptor, min(size, 1 << 20))
        if not piece:
            return None
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)


def write_answer(descriptor: int, answer: dict[str, Any]) -> None:
    """Write an answer to the server. Blocks."""
    data = json.dumps(answer).encode()
    view = memoryview(_HEAD.pack(len(data)) + data)
    while view:
        view = view[os.write(descriptor, view) :]


async def read_answer(stream: asyncio.StreamReader) -> dict[str, Any]:
    """Read an answer of the replay process. Raises IncompleteReadError at its end, ValueError."""
    size = _HEAD.unpack(await stream.readexactly(_HEAD.size))[0]
    if size > MOST_BYTES:
        raise ValueError(f"an answer of {size} bytes")
    answer = json.loads(await stream.readexactly(size))
    if not isinstance(answer, dict):
        raise ValueError("an answer is an object")
    return answer
