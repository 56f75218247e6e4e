"""Lines for subjects: those of one turn of the loop that have the same head go together, behind it, because a message
costs more than all that is in it.

Nothing waits for more to come: alone on its turn, a line travels alone. Runs on the control loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from devserver.hosts.work import Work

_MOST_BYTES = 64 * 1024
"""The size of a message, unless one line alone has more."""

MOST_LINES = 64
"""How many lines a message has: each may have its own answer, and the engine lets no more of them through."""


@dataclass(slots=True)
class _Bundle:
    to: str
    head: bytes
    number: int
    lines: list[bytes] = field(default_factory=list)
    size: int = 0


class Bundles:
    """`send` sends a message: where to, its bytes, its number."""

    def __init__(self, send: Callable[[str, bytes, int], Awaitable[None]]) -> None:
        self._send = send
        self._open: dict[str, _Bundle] = {}
        """The last bundle of each place."""
        self._due: list[_Bundle] = []
        self._number = 0
        self._sending = Work()

    def add(self, to: str, head: bytes, line: bytes) -> int:
        """Have a line sent behind that head, at the end of this turn of the loop; return the number of its message,
        from 1 on."""
        if not self._due:
            asyncio.get_running_loop().call_soon(self._send_all)
        bundle = self._open.get(to)
        # One with another head is not gone back to: lines go in their order.
        if (
            bundle is None
            or bundle.head != head
            or bundle.size + len(line) > _MOST_BYTES
            or len(bundle.lines) == MOST_LINES
        ):
            self._number += 1
            bundle = self._open[to] = _Bundle(to, head, self._number)
            self._due.append(bundle)
        bundle.lines.append(line)
        bundle.size += len(line)
        return bundle.number

    def _send_all(self) -> None:
        due, self._due, self._open = self._due, [], {}
        for each in due:
            self._sending.begin(self._send(each.to, b"\n".join((each.head, *each.lines)), each.number))

    async def end(self) -> None:
        """Wait until all is sent."""
        await asyncio.sleep(0)  # what was added on this turn is on its way with the next one
        await asyncio.gather(*self._sending, return_exceptions=True)
