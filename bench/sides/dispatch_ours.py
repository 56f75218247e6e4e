"""Events per second through our network in this process: `python dispatch_ours.py MODS`.

Prints "ready"; for each line on stdin it measures for that many seconds and prints the rate.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from pathlib import Path

from devserver import AgentNetwork, Event

MOD = """\
from devserver import BaseMod, Event, EventResponse, mod_event_handler

class Bench(BaseMod):
    @mod_event_handler("bench.mod{n}.ask")
    async def ask(self, event: Event) -> EventResponse:
        return EventResponse(True, "answered")

    @mod_event_handler("bench.mod{n}.one")
    async def one(self, event: Event) -> None:
        return None

    @mod_event_handler("bench.mod{n}.two")
    async def two(self, event: Event) -> None:
        return None
"""


async def main(mods: int) -> None:
    """Load the mods, and measure as asked."""
    with tempfile.TemporaryDirectory() as name:
        network = AgentNetwork.load(write(Path(name), mods))
        await network.initialize()
        assert len(network.running_mods()) == mods
        print("ready", flush=True)
        for line in sys.stdin:
            print(await rate(network, f"bench.mod{mods - 1}.ask", float(line)), flush=True)
        await network.shutdown()


def write(folder: Path, mods: int) -> Path:
    """A network.yaml with so many mods, each a module of its own."""
    (folder / "mods").mkdir()
    for number in range(mods):
        (folder / "mods" / f"bench_{number}.py").write_text(MOD.format(n=number))
    rows = "".join(f"    - name: mods.bench_{number}\n" for number in range(mods))
    (folder / "network.yaml").write_text(f"network:\n  name: bench\n  mods:\n{rows}")
    return folder


async def rate(network: AgentNetwork, name: str, seconds: float) -> float:
    """Events per second, each made again and awaited."""
    began = time.perf_counter()
    until, count = began + seconds, 0
    while time.perf_counter() < until:
        answer = await network.process_event(Event(event_name=name, source_id="agent:bench"))
        assert answer.success
        count += 1
    return count / (time.perf_counter() - began)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
