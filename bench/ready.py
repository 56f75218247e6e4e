"""(d) From the command to the first answer to /api/health, and the resident memory then; (e) what idling costs."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from bench.agents import Line
from bench.harness import Options, Table, median, ratio, spread, take_turns
from bench.networks import OURS, THEIRS, command, missing, sides, write_network
from bench.processes import cpu_seconds, free_port, resident_mb, running

_SETTLE = 2.0
_LONGEST = 60.0


def measure(options: Options) -> Table:
    """The table."""
    memory: dict[str, list[float]] = {side: [] for side in sides()}
    starts: dict[str, Callable[[], float | None]] = {side: partial(_start, side, memory[side]) for side in sides()}
    times = take_turns(starts, options.count(9, 3))
    seconds = options.count(20, 5)
    idle = {side: _idle(side, seconds) for side in sides()}
    rows = (
        ("first answer of /api/health, ms", *_both(times)),
        ("resident memory then, MB", *_both(memory)),
        (f"processor while idle for {seconds} s, % of a core", *_both({side: [cpu] for side, cpu in idle.items()}, 2)),
    )
    notes = ("One mod; median / p95; less is better. Ours watches files meanwhile, OpenAgents does not.",)
    return Table("Start and rest", ("", OURS, THEIRS, "ours : theirs"), rows, (*notes, *missing()))


def _both(samples: dict[str, list[float]], digits: int = 0) -> tuple[str, str, str]:
    ours, theirs = samples[OURS], samples.get(THEIRS, [])
    return spread(ours, digits), spread(theirs, digits), ratio(ours, theirs) if median(theirs or [0]) else "-"


def _start(side: str, memory: list[float]) -> float:
    """Milliseconds to the first healthy answer."""
    port = free_port()
    with tempfile.TemporaryDirectory() as name:
        write_network(Path(name), side, port)
        started = command(side, port)
        assert started is not None
        began = time.perf_counter()
        with running(started, Path(name)) as process:
            _healthy(port)
            took = (time.perf_counter() - began) * 1000
            memory.append(resident_mb(process.pid))
    return took


def _healthy(port: int) -> None:
    line, until = Line(port), time.monotonic() + _LONGEST
    while line.ask("GET", "/api/health") is None:
        if time.monotonic() > until:
            raise RuntimeError(f"nobody answers on {port}")
        time.sleep(0.002)
    line.close()


def _idle(side: str, seconds: float) -> float:
    """Percent of a core that a server needs while nobody asks for anything."""
    port = free_port()
    with tempfile.TemporaryDirectory() as name:
        write_network(Path(name), side, port)
        started = command(side, port)
        assert started is not None
        with running(started, Path(name)) as process:
            _healthy(port)
            time.sleep(_SETTLE)
            before = cpu_seconds(process.pid)
            time.sleep(seconds)
            return (cpu_seconds(process.pid) - before) / seconds * 100
