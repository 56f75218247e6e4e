"""What versions beside a mod cost: a split and a shadow in dispatch, and a second line in memory."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.agents import Line, event, fresh, register, wait_for_mod
from bench.dispatch import side
from bench.harness import Options, Result, Table, at_least, at_most, median, rates, spread
from bench.networks import OURS, command, mod_of, token
from bench.processes import free_port, running, wait_for_port

_COUNTS = (10, 100, 1000)
_SPLIT, _SHADOW, _P50, _P99, _MEMORY = 95.0, 70.0, 1.05, 1.1, 1.2
_MOD = """\
from {package} import BaseMod, Event, EventResponse, mod_event_handler


class Bench(BaseMod):
    @mod_event_handler("bench.NAME.get")
    async def get(self, event: Event) -> EventResponse:
        return EventResponse(True, "answered", {{"number": 1}})
"""
_APART = 0.004
"""Seconds between two events of the agent that times the answers of a mod with a shadow."""
_NETWORK = """\
network:
  name: bench
  mods:
    - name: mods.alone
    - name: mods.watched
      versions: [{label: next, shadow: true}]
"""


def measure(options: Options) -> Result:
    """The tables of dispatch, by number of mods, and of memory."""
    found = {mods: _sample(mods, options.count(40, 10) / 10) for mods in _COUNTS[: options.count(3, 1)]}
    rows = tuple(
        (
            f"{mods:,}",
            kind,
            rates(each["rates"][kind]),
            f"{_part(each['rates'], kind):.0f} %",
            spread(each["p50"][kind]),
        )
        for mods, each in found.items()
        for kind in each["rates"]
    )
    notes = (
        "Events per second of the thread's own time, in turns, from 100 agents; of a shadow with what it does itself.",
        "Then µs of one event until its answer, while nothing else is to be done.",
    )
    dispatch = Table(
        "Versions beside a mod", ("mods", "its versions", "events/s", "of alone", "µs, median / p95"), rows, notes
    )
    first, second = (found[_COUNTS[0]][each] for each in ("first", "second"))
    memory = Table(
        "Memory of a mod of 400 functions, in KiB",
        ("the mod", "a line beside it"),
        ((f"{first:,.0f}", f"{second:,.0f}"),),
    )
    waits = _waits(options.count(2000, 200))
    sender = Table(
        "What a sender sees of a shadow",
        ("a mod alone", "a mod with a shadow"),
        (tuple(spread(each) for each in waits.values()),),
        (
            "µs until the answer over HTTP, median / p95: one agent on a kept connection, which sends to both in turns,"
            f" an event every {_APART * 1000:.0f} ms; the shadow begins 50 ms after the answer. The event itself takes"
            " some tenths of a µs longer, to be kept for the shadow: see the first table, without HTTP.",
        ),
    )
    return Result((dispatch, memory, sender), _targets(found, second / first, waits))


def _sample(mods: int, seconds: float) -> dict[str, Any]:
    with side("versions_ours.py", str(mods)) as program:
        sample: dict[str, Any] = json.loads(program.ask(seconds))
    return sample


def _waits(events: int) -> dict[str, list[float]]:
    """The µs that an agent waits for each answer of a mod alone, and of one with a shadow of every event."""
    took: dict[str, list[float]] = {"alone": [], "watched": []}
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder, port = Path(name), free_port()
        for mod in took:
            mod_of(folder, OURS, mod, _MOD.replace("NAME", mod))
        (folder / "network.yaml").write_text(_NETWORK)
        with running(command(OURS, port) or [], folder) as process:
            wait_for_port(port, process)
            wait_for_mod(port, "bench.watched.get")
            secret, line = register(port, "bench"), Line(port)
            for number in range(2 * events):
                # Each comes as often after itself as after the other: what ran last leaves the machine warm.
                mod = ("alone", "watched", "watched", "alone")[number % 4]
                asked = fresh(event("bench", secret, f"bench.{mod}.get"))
                time.sleep(_APART)
                began = time.perf_counter()
                answer = line.ask("POST", "/api/send_event", asked)
                took[mod].append((time.perf_counter() - began) * 1e6)
                assert answer is not None and answer["success"], answer
            line.close()
            control = Line(port, token(OURS, folder))
            end = time.monotonic() + 5.0
            while (seen := _seen(control)) < events:
                if time.monotonic() > end:
                    raise RuntimeError(f"the shadow has seen {seen} of {events} events")
            control.close()
    return took


def _seen(control: Line) -> int:
    """How many events the shadow has seen."""
    compared = control.ask("GET", "/_dev/compare?mod=watched") or {}
    return int(compared["shadows"][0]["events"])


def _part(rates: dict[str, Sequence[float]], kind: str) -> float:
    """The rate of a kind in percent of that of the mod alone, turn by turn."""
    return median([one / other * 100 for one, other in zip(rates[kind], rates["alone"], strict=True)])


def _p99(samples: Sequence[float]) -> float:
    return sorted(samples)[int(len(samples) * 0.99)]


def _targets(found: dict[int, dict[str, Any]], memory: float, waits: dict[str, list[float]]) -> tuple[Any, ...]:
    p50, p99 = (of(waits["watched"]) / of(waits["alone"]) for of in (median, _p99))
    targets = [
        at_most("memory of a second line, of that of its mod", memory, _MEMORY, "×"),
        at_most("p50 of a mod with a shadow, as its sender sees it", p50, _P50, "×"),
        at_most("p99 of a mod with a shadow, as its sender sees it", p99, _P99, "×"),
    ]
    for mods, each in found.items():
        targets += [
            at_least(f"dispatch with a split at 10 %, {mods:,} mods", _part(each["rates"], "split"), _SPLIT, "%"),
            at_least(
                f"dispatch with a shadow of every event, {mods:,} mods", _part(each["rates"], "shadow"), _SHADOW, "%"
            ),
        ]
    return tuple(targets)
