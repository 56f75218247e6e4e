"""What recording costs an event, and the longest pause for garbage: `python recorder_ours.py MODS AGENTS`.

Prints "ready"; for each line on stdin it prints JSON: `bare` and `recorded`, microseconds an event of windows that take
turns, two mods asked; `pauses`, the milliseconds of each collection while that many agents are sent events.
"""

# mypy: disable-error-code="import-not-found"
# It stands beside what it imports when it is run.

from __future__ import annotations

import asyncio
import gc
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import dispatch_ours

from devserver import AgentNetwork, Event
from devserver.live import garbage
from devserver.model.principal import LOCAL

TWO = """\
from devserver import BaseMod, EventResponse, mod_event_handler

class Two(BaseMod):
    @mod_event_handler("bench.two")
    async def two(self, event):
        return {answer}
"""
_WINDOW = 1000
_MOST_PAUSED_AT = 20_000


async def main(mods: int, agents: int) -> None:
    """Load the mods, register the agents, and measure as asked."""
    garbage.begin_start()
    with tempfile.TemporaryDirectory() as name:
        folder = dispatch_ours.write(Path(name), mods)
        for mod, answer in (("passes", "None"), ("answers", 'EventResponse(True, "answered", {"page": "home"})')):
            (folder / "mods" / f"{mod}.py").write_text(TWO.format(answer=answer))
        file = folder / "network.yaml"
        file.write_text(f"{file.read_text()}    - name: mods.passes\n    - name: mods.answers\n")
        bare = AgentNetwork.load(folder)
        await bare.initialize()
        garbage.end_start()
        recorded = AgentNetwork(bare.config, bare.workspace)
        recorded.engine.registry = bare.engine.registry
        recorded._dispatcher._registry = bare.engine.registry
        recorded.record()
        for number in range(agents):
            await recorded.register_agent(f"agent_{number}")
        garbage.settle()
        print("ready", flush=True)
        for line in sys.stdin:
            print(json.dumps(await measured(bare, recorded, int(line))), flush=True)
        await bare.shutdown()


async def measured(bare: AgentNetwork, recorded: AgentNetwork, rounds: int) -> dict[str, list[float]]:
    """Windows of both networks in turns, then the pauses while agents are sent events."""
    found: dict[str, list[float]] = {"bare": [], "recorded": [], "pauses": []}
    for number in range(rounds):
        sides = [("bare", bare), ("recorded", recorded)]
        for name, network in sides if number % 2 else reversed(sides):
            found[name].append(await window(network))
    began = 0.0

    def collected(phase: str, info: dict[str, Any]) -> None:
        nonlocal began
        if phase == "start":
            began = time.perf_counter()
        else:
            found["pauses"].append((time.perf_counter() - began) * 1000)

    gc.callbacks.append(collected)
    for number in range(min(_MOST_PAUSED_AT, rounds * _WINDOW)):
        event = Event(event_name="bench.to", source_id="agent:a", destination_id=f"agent:agent_{number % 1000}")
        await recorded.ingest(event, LOCAL)
        for agent in recorded.directory.agents()[:1] if number % 100 else recorded.directory.agents():
            agent.outbox.take_nowait()
    gc.callbacks.remove(collected)
    return found


async def window(network: AgentNetwork) -> float:
    """Microseconds an event."""
    began = time.perf_counter()
    for _ in range(_WINDOW):
        payload = {"page_path": "home", "content": "some words of a page"}
        await network.process_event(Event(event_name="bench.two", source_id="agent:bench", payload=payload))
    return (time.perf_counter() - began) / _WINDOW * 1e6


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))
