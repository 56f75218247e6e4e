"""Replay: one event again, a save with pins to the line that tells of them, the process, what pins cost a save, how
long a pin holds the mods, and sessions.

The network is the sample. A save with 20 pins, which are run again right after it as in a server, takes turns with
one without, and each begins when all that the one before has led to is over.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pickle
import statistics
import sys
import tempfile
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from shutil import copy, copytree
from typing import Any

from bench.harness import Options, Result, Table, Target, at_most, figure
from devserver.agent_network import AgentNetwork
from devserver.model.change import FilesChanged
from devserver.model.event import Event
from devserver.model.facts import Fact, PlanDone, Replayed
from devserver.model.principal import LOCAL
from devserver.network.recorder import Recorder
from devserver.replay.code import code_now
from devserver.replay.host import Host
from devserver.server.private_folder import PrivateFolder
from devserver.server.recording import Recording
from devserver.server.replays import Replays
from devserver.sources.files import sources_now

_ROOT = Path(__file__).parents[1]
_PINS = 20
_REST = 0.05
"""Seconds between two saves."""
_MIB = 1024 * 1024
_WINDOW = 10_000
"""Events of one window."""


def measure(options: Options) -> Result:
    """The table and the targets of the contract."""
    with tempfile.TemporaryDirectory(prefix="oa-dev-bench-") as folder:
        copy(_ROOT / "network.yaml", folder)
        copytree(_ROOT / "mods", Path(folder, "mods"))
        # The mods beside this file are on the path of the bench too, and are not the network's.
        sys.path.insert(0, folder)
        with contextlib.chdir(folder):
            found = asyncio.run(_measured(Path(folder), options))
    rows = tuple((name, *(figure(each) for each in values)) for name, values in found["rows"].items())
    table = Table(
        "Replay (ms)",
        ("what", "p50", "p95"),
        rows,
        ("the process runs at nice 10: on a loaded machine everything else goes first",),
    )
    return Result((table,), tuple(found["targets"]), samples={"replay": found["samples"]})


async def _measured(folder: Path, options: Options) -> dict[str, Any]:
    runs_pins = [False]

    def after_saves(fact: Fact) -> None:
        if runs_pins[0] and isinstance(fact, PlanDone):
            replays.saved(fact)

    network = AgentNetwork.load(folder, tell=after_saves)
    recorder = network.record()
    await network.initialize()
    host = Host(folder, os.environ)
    facts: list[Fact] = []
    tasks: list[asyncio.Task[object]] = []
    replays = Replays(
        network,
        recorder,
        host,
        PrivateFolder(folder, "pins"),
        redact=lambda value: value,
        tell=facts.append,
        begin=lambda work: tasks.append(_task(work)),
    )
    try:
        began = time.perf_counter()
        await host.follow(code_now(network.engine), network.config)
        ready = (time.perf_counter() - began) * 1000
        rss = _rss(host.pid)
        page = Event(event_name="wiki.page.create", source_id="ana", payload=_PAYLOAD)
        await network.ingest(page, LOCAL)
        event = {"event_name": "wiki.page.edit", "source_id": "ana", "payload": _PAYLOAD}
        names = [f"pin-{number}" for number in range(_PINS)]
        await replays.pin(event, name=names[0])
        single = await _single(replays, network, host, options.count(200, 40))
        saves = Saves(network, folder, facts, tasks, runs_pins)
        told = [(await saves.save(pins=True))[1] for _ in range(options.count(60, 10))]
        await asyncio.gather(*(replays.pin(event, name=each) for each in names[1:]))
        plain: list[float] = []
        pinned: list[float] = []
        for number in range(2 * options.count(60, 10)):
            # Each side follows each side equally often: what ran last has left its traces in caches.
            side = number % 4 in (1, 2)
            (pinned if side else plain).append((await saves.save(pins=side))[0])
        again = await _session(network, host, options.count(10_000, 1_000))
        bare, recorded = await _recorded(network, recorder, replays, folder, options.count(16, 2))
        held = await _held(replays, network, event, options.count(5, 2))
    finally:
        await host.end()
        await network.shutdown()
    slower = statistics.median(pinned) / statistics.median(plain)
    more = [one - other for one, other in zip(recorded, bare, strict=True)]
    return {
        "rows": {
            "one event again, warm": _figures(single),
            "save to the line of its pin": _figures(told),
            "save, nothing replayed": _figures(plain),
            "save, 20 pins replayed behind it": _figures(pinned),
            "mods held by a pin of 1 MiB": _figures(held),
        },
        "targets": (
            at_most("one event again, warm (p50)", statistics.median(single), 10, "ms"),
            at_most("save to the line of its pin (p50)", statistics.median(told), 60, "ms"),
            at_most("the process is ready", ready, 500, "ms"),
            at_most("memory of the process", rss, 60, "MiB"),
            at_most("mods held by a pin of 1 MiB (p50)", statistics.median(held), 10, "ms"),
            at_most("a session, for each event", statistics.median(more), 0.5, "µs"),
            at_most("10,000 events of a session again", again, 15, "s"),
            Target("a save with pins beside one without", "at most 1.03 times", f"{slower:.3f} times", slower <= 1.03),
        ),
        "samples": {"single": single, "told": told, "plain": plain, "pinned": pinned, "held": held, "session": more},
    }


def _rss(pid: int | None) -> float:
    return int(Path(f"/proc/{pid}/status").read_text().split("VmRSS:")[1].split()[0]) / 1024


_PAYLOAD = {"page_path": "home", "title": "Home", "wiki_content": "hello"}


def _task(work: Coroutine[Any, Any, object]) -> asyncio.Task[object]:
    return asyncio.get_running_loop().create_task(work)


def _figures(samples: list[float]) -> tuple[float, float]:
    ordered = sorted(samples)
    return statistics.median(ordered), ordered[len(ordered) * 95 // 100]


async def _single(replays: Replays, network: AgentNetwork, host: Host, times: int) -> list[float]:
    code, samples = code_now(network.engine), []
    message = {"do": "run", "name": "bench", "seconds": 5.0}
    event = {"event_name": "wiki.page.create", "source_id": "ana", "payload": _PAYLOAD}
    await host.keep(code, network.config, "bench", {"event": event})
    for _ in range(times):
        began = time.perf_counter()
        await host.ask(code, network.config, message, 5.0)
        samples.append((time.perf_counter() - began) * 1000)
    return samples


async def _held(replays: Replays, network: AgentNetwork, event: dict[str, Any], times: int) -> list[float]:
    """The milliseconds that pins of a state of 1 MiB hold the mods."""
    state = network.mods["mods.wiki"].state
    state["large"] = [{"number": number, "text": f"{number:0170}"} for number in range(5_300)]
    size = len(pickle.dumps(state["large"]))
    assert 0.9 * _MIB < size < _MIB, size
    held = [float((await replays.pin(event, name=f"large-{number}"))["held_ms"]) for number in range(times)]
    del state["large"]
    return held


async def _session(network: AgentNetwork, host: Host, count: int) -> float:
    """The seconds that 10,000 events of a session take, from so many of them."""
    event = {"event_name": "wiki.page.get", "source_id": "ana", "payload": {"page_path": "home"}}
    events = [{"event_name": "wiki.page.create", "source_id": "ana", "payload": _PAYLOAD}, *([event] * (count - 1))]
    began = time.perf_counter()
    message = {"do": "session", "events": events, "seconds": 5.0, "most_seconds": 600.0}
    answer = await host.ask(code_now(network.engine), network.config, message, 600.0)
    assert all(each["success"] for each in answer["all"])
    return (time.perf_counter() - began) * 10_000 / count


async def _recorded(
    network: AgentNetwork, recorder: Recorder, replays: Replays, folder: Path, rounds: int
) -> tuple[list[float], list[float]]:
    """The microseconds an event takes on its thread, in turns without and with a session that is recorded; the thread
    that writes runs beside it. Each turn is long: the beginning of a session is no event's cost."""
    recording = Recording(network, recorder, lambda: replays, clean=lambda raw: raw, tell=lambda fact: None)
    found: tuple[list[float], list[float]] = ([], [])
    for number in range(rounds * 2):
        is_recorded = number % 4 in (1, 2)
        if is_recorded:
            await recording.start()
        began = time.thread_time()
        for _ in range(_WINDOW):
            get = Event(event_name="wiki.page.get", source_id="ana", payload={"page_path": "home"})
            await network.process_event(get)
        found[is_recorded].append((time.thread_time() - began) / _WINDOW * 1e6)
        recording.stop()
    return found


@dataclass(slots=True)
class Saves:
    """Saves of a mod, one after the other. `runs_pins`: whether the pins are run again after the next one."""

    network: AgentNetwork
    folder: Path
    facts: list[Fact]
    tasks: list[asyncio.Task[object]]
    runs_pins: list[bool]
    number: int = 0

    async def save(self, *, pins: bool) -> tuple[float, float]:
        """Milliseconds until the save is carried out, and until its pins are told."""
        mod = self.folder / "mods" / "wiki" / "mod.py"
        text = mod.read_text().partition("\nnumber = ")[0]
        self.number += 1
        self.runs_pins[0] = pins
        mod.write_text(f"{text}\nnumber = {self.number}\n")
        began = time.perf_counter()
        await self.network.submit(FilesChanged(sources_now([mod])))
        done = time.perf_counter()
        while self.tasks:
            await self.tasks.pop()
        told = time.perf_counter()
        assert not pins or isinstance(self.facts[-1], Replayed)
        await self.network.engine.quiet()
        await asyncio.sleep(_REST)
        return (done - began) * 1000, (told - began) * 1000
