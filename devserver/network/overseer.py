"""Ends handlers that run for too long, so that no sender waits for ever. Looks once a second; touches nothing else."""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections.abc import Callable

from devserver.generation import expire
from devserver.model.lifecycle import ModState
from devserver.registry import Registry

_INTERVAL = 0.25


class Overseer:
    """Watches the handlers of live generations. `limit` gives the longest a handler may run, in seconds."""

    def __init__(self, registry: Registry, limit: Callable[[], float]) -> None:
        self._registry = registry
        self._limit = limit
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Watch from now on, in the running loop, which is the mods'."""
        self._task = asyncio.get_running_loop().create_task(self._watch(), context=contextvars.Context())

    async def stop(self) -> None:
        """Watch no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(_INTERVAL)
            self.look(time.monotonic())

    def look(self, now: float) -> None:
        """End what has run too long at `now` (monotonic seconds). Lingering generations have a limit of their own."""
        limit = self._limit()
        for generation in self._registry.live:
            if generation.state is ModState.LIVE:
                for call in generation.handler_calls():
                    if now - call.started > limit:
                        expire(call, f"{generation.name}: the handler did not answer within {limit:g} s")
