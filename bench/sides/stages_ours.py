"""Where our network spends the time of an event: `python stages_ours.py MODS`.

Prints "ready"; for each line on stdin it sends that many events, unprofiled and profiled, and prints JSON:
`microseconds` an event, and `parts`, the share of each stage.
"""

# mypy: disable-error-code="import-not-found"
# It stands beside what it imports when it is run.

from __future__ import annotations

import asyncio
import cProfile
import json
import pstats
import sys
import tempfile
import time
from pathlib import Path

import dispatch_ours

from devserver import AgentNetwork, Event

_STAGES = {
    "model/event.py": "the event and its answer are made",
    "bench_": "the handler itself",
    "network/answers.py": "a repeat is looked for, the answer remembered",
    "network/dispatch.py": "the way: which mods, gate, asking",
    "registry.py": "the way: which mods, gate, asking",
    "network/route.py": "the way: which mods, gate, asking",
    "generation.py": "the call is begun and ended",
    "agent_network.py": "the facade",
    "home.py": "the facade",
}
_OTHERS = "everything else (asyncio, the loop of this measure)"


async def main(mods: int) -> None:
    """Load the mods, and measure as asked."""
    with tempfile.TemporaryDirectory() as name:
        network = AgentNetwork.load(dispatch_ours.write(Path(name), mods))
        await network.initialize()
        print("ready", flush=True)
        for line in sys.stdin:
            print(json.dumps(await stages(network, f"bench.mod{mods - 1}.ask", int(line))), flush=True)
        await network.shutdown()


async def stages(network: AgentNetwork, name: str, count: int) -> dict[str, object]:
    """What `count` events cost, and where."""
    began = time.perf_counter()
    await send(network, name, count)
    took = time.perf_counter() - began
    profile = cProfile.Profile(builtins=False)
    profile.enable()
    await send(network, name, count)
    profile.disable()
    spent: dict[str, float] = {}
    for (file, _, _), (_, _, own, _, _) in pstats.Stats(profile).stats.items():  # type: ignore[attr-defined]
        stage = next((told for part, told in _STAGES.items() if part in file), _OTHERS)
        spent[stage] = spent.get(stage, 0.0) + own
    whole = sum(spent.values())
    parts = {stage: own / whole for stage, own in sorted(spent.items(), key=lambda each: -each[1])}
    return {"microseconds": took / count * 1e6, "parts": parts}


async def send(network: AgentNetwork, name: str, count: int) -> None:
    """Send that many events, one after the other."""
    for _ in range(count):
        await network.process_event(Event(event_name=name, source_id="agent:bench"))


asyncio.run(main(int(sys.argv[1])))
