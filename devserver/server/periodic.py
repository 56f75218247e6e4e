"""What a run does from time to time: lets silent agents go, tells warnings of catalogues about mods that run."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from devserver.agent_network import AgentNetwork
from devserver.live.loops import run_in_thread
from devserver.model.facts import Fact

_SECONDS = 5.0


async def keep_presence(network: AgentNetwork) -> None:
    """Let go of agents that have been silent for longer than network.yaml allows."""
    while True:
        await asyncio.sleep(_SECONDS)
        for agent_id in network.directory.silent(time.monotonic()):
            # Mods hear of each: one that comes back meanwhile is silent no more when it is its turn.
            await network.unregister_agent(agent_id, dropped=True)


async def warn_of_blocked(network: AgentNetwork, tell: Callable[[Fact], None], seconds: float = _SECONDS) -> None:
    """Tell each warning once, and unload nothing. Free without mods from elsewhere."""
    told: set[object] = set()
    while True:
        if network.engine.environment.mods:
            for each in await run_in_thread(network.blocked.running):
                if each not in told:
                    told.add(each)
                    tell(each.fact(runs=True))
        await asyncio.sleep(seconds)
