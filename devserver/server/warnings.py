"""Tells warnings of catalogues about mods that run, each once; nothing is unloaded for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from devserver.agent_network import AgentNetwork
from devserver.live.loops import run_in_thread
from devserver.model.facts import Fact

_SECONDS = 5.0


async def warn_of_blocked(network: AgentNetwork, tell: Callable[[Fact], None], seconds: float = _SECONDS) -> None:
    """Look periodically; without mods from elsewhere that costs nothing."""
    told: set[object] = set()
    while True:
        if network.engine.environment.mods:
            for each in await run_in_thread(network.blocked.running):
                if each not in told:
                    told.add(each)
                    tell(each.fact(runs=True))
        await asyncio.sleep(seconds)
