"""Events per second through OpenAgents' network in this process: `python dispatch_openagents.py MODS`.

Run with a Python that has `openagents`. Prints "ready"; for each line on stdin it measures for that many seconds and
prints the rate.
"""

# mypy: disable-error-code="import-not-found,misc,untyped-decorator"
# Its imports are those of another environment.

from __future__ import annotations

import asyncio
import logging
import sys
import time

logging.disable(logging.INFO)

from openagents.core.base_mod import BaseMod, mod_event_handler  # noqa: E402
from openagents.core.network import AgentNetwork  # noqa: E402
from openagents.models.event import Event  # noqa: E402
from openagents.models.event_response import EventResponse  # noqa: E402
from openagents.models.network_config import NetworkConfig  # noqa: E402


def bench_mod(number: int) -> BaseMod:
    """A mod with three handlers of names that only it listens to."""

    class Bench(BaseMod):
        @mod_event_handler(f"bench.mod{number}.ask")
        async def ask(self, event: Event) -> EventResponse:
            return EventResponse(success=True, message="answered")

        @mod_event_handler(f"bench.mod{number}.one")
        async def one(self, event: Event) -> None:
            return None

        @mod_event_handler(f"bench.mod{number}.two")
        async def two(self, event: Event) -> None:
            return None

    return Bench(f"mods.bench_{number}")


async def main(mods: int) -> None:
    """Add the mods, and measure as asked."""
    network = AgentNetwork.create_from_config(NetworkConfig(name="bench"))
    for number in range(mods):
        mod = bench_mod(number)
        mod.bind_network(network)
        mod.initialize()
        network.mods[mod.mod_name] = mod
    print("ready", flush=True)
    for line in sys.stdin:
        print(await rate(network, f"bench.mod{mods - 1}.ask", float(line)), flush=True)


async def rate(network: AgentNetwork, name: str, seconds: float) -> float:
    """Events per second, each made again and awaited."""
    began = time.perf_counter()
    until, count = began + seconds, 0
    while time.perf_counter() < until:
        answer = await network.process_event(Event(event_name=name, source_id="agent:bench"))
        assert answer.success
        count += 1
    return count / (time.perf_counter() - began)


asyncio.run(main(int(sys.argv[1])))
