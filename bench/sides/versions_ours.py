"""Events per second to a mod alone, one with a line at 10 %, and one with a shadow: `python versions_ours.py MODS`.

All three are in one network, so that nothing but their versions tells them apart. Prints "ready"; for each line on
stdin it measures each for that many seconds, in turns, and prints a JSON object: the rates by kind, the middles of the
time of a single event by kind in µs, and the KiB that a mod takes and that a line of it adds.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import tempfile
import time
import tracemalloc
from pathlib import Path
from statistics import median

from dispatch_ours import MOD

from devserver import AgentNetwork, Event
from devserver.model.split import Rule

KINDS = ("alone", "split", "shadow")
_TURNS = 30
_SENDERS = [f"agent:bench-{number}" for number in range(100)]
_LARGE = MOD + "".join(
    f"\n\ndef helper_{n}(value: int) -> str:\n    return f'{{{{value}}}} of {n}'\n" for n in range(400)
)


async def main(mods: int) -> None:
    """Load the mods, and measure as asked."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        memory = await _memory(_write(folder / "memory", ["large"], _LARGE))
        rest = [f"bench_{number}" for number in range(mods - len(KINDS))]
        network = AgentNetwork.load(_write(folder / "speed", [*KINDS, *rest], MOD))
        await network.initialize()
        await network.try_mod("split", Rule(share=0.1))
        await network.try_mod("shadow", Rule(shadow=True))
        print("ready", flush=True)
        for line in sys.stdin:
            print(json.dumps({**await _measure(network, float(line)), **memory}), flush=True)
        await network.shutdown()


def _write(folder: Path, names: list[str], text: str) -> Path:
    (folder / "mods").mkdir(parents=True)
    for name in names:
        (folder / "mods" / f"{name}.py").write_text(text.format(n=name))
    rows = "".join(f"    - name: mods.{name}\n" for name in names)
    (folder / "network.yaml").write_text(f"network:\n  name: bench\n  mods:\n{rows}")
    return folder


async def _memory(folder: Path) -> dict[str, float]:
    """What a mod takes, and what a line of it adds, in KiB."""
    network = AgentNetwork.load(folder)
    await network.initialize()
    tracemalloc.start()
    await network.unload_mod("large")
    before = _held()
    await network.load_mod("mods.large")
    first = _held() - before
    before = _held()
    await network.try_mod("large", Rule(share=0.1))
    second = _held() - before
    tracemalloc.stop()
    await network.shutdown()
    return {"first": first / 1024, "second": second / 1024}


def _held() -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


async def _measure(network: AgentNetwork, seconds: float) -> dict[str, dict[str, list[float]]]:
    rates: dict[str, list[float]] = {kind: [] for kind in KINDS}
    singles: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for _ in range(_TURNS):
        for kind in KINDS:
            rates[kind].append(await _rate(network, f"bench.mod{kind}.ask", seconds / _TURNS))
            singles[kind].append(await _single(network, f"bench.mod{kind}.ask"))
    return {"rates": rates, "p50": singles}


async def _rate(network: AgentNetwork, name: str, seconds: float) -> float:
    """Events per second of this thread's time, what a shadow does after them included."""
    began, until, count = time.thread_time(), time.perf_counter() + seconds, 0
    while time.perf_counter() < until:
        for sender in _SENDERS:
            await network.process_event(Event(event_name=name, source_id=sender))
            count += 1
        await asyncio.sleep(0)
    return count / (time.thread_time() - began)


async def _single(network: AgentNetwork, name: str) -> float:
    """The middle of the µs that one event takes until its answer, while its shadow has nothing else to do."""
    took = []
    for sender in _SENDERS:
        event = Event(event_name=name, source_id=sender)
        began = time.perf_counter()
        await network.process_event(event)
        took.append((time.perf_counter() - began) * 1e6)
        await asyncio.sleep(0)
    return median(took)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
