"""What a part of a host does beside everything else, and whole numbers as others send them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any


class Work(set[asyncio.Future[Any]]):
    """What runs now. Ends with its part: asyncio alone would let a task be collected on its way."""

    def begin(self, work: Awaitable[Any]) -> asyncio.Future[Any]:
        """Have something done beside everything else."""
        task = asyncio.ensure_future(work)
        self.add(task)
        task.add_done_callback(self.discard)
        return task

    async def end(self) -> None:
        """End all of it, and wait for that. Never raises."""
        while self:
            for each in tuple(self):
                each.cancel()
            # Again where one goes on: wait_for of Python 3.11 loses a cancellation that comes with what it waits for.
            ended, _ = await asyncio.wait(tuple(self), timeout=0.1)
            for each in ended:
                each.cancelled() or each.exception()


def whole_number(value: object, otherwise: int = 0) -> int:
    """Return a value that another host has sent if it is a whole number."""
    return value if isinstance(value, int) and not isinstance(value, bool) else otherwise
