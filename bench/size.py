"""Start and size: time to ready and memory by mods and files, imports, and memory over many loads and unloads."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from bench import peers
from bench.agents import Line, wait_for_mod
from bench.harness import Options, Result, Table, Target, at_most, many, ratio, spread, take_turns
from bench.networks import OURS, THEIRS, command, missing, sides, write_files, write_many
from bench.processes import free_port, resident_mb, running, wait_until

_SIDES = Path(__file__).parent / "sides"
_MODS, _FILES = (1, 100, 1000), (1000, 10_000, 50_000)
_MOST_GROWTH = 2048.0
_IMPORTS = (
    "import sys, time; before = time.perf_counter(); import {module}; "
    "print((time.perf_counter() - before) * 1000, len(sys.modules))"
)
_ENTRY = {OURS: "devserver.server.server", THEIRS: "openagents.core.network"}
_CYCLES = {OURS: "cycles_ours.py", THEIRS: "cycles_openagents.py"}


def measure(options: Options) -> Result:
    """The tables."""
    growth, growing = _growth(options.count(1000, 200))
    tables = (_starts(options), _files(options), _imports(options.count(9, 2)), growing)
    return Result(tables, (growth,), (), peers.environment("openagents").versions)


def _starts(options: Options) -> Table:
    rows = []
    for mods in _MODS[: options.count(3, 2)]:
        memory: dict[str, list[float]] = {side: [] for side in sides()}
        health: dict[str, list[float]] = {side: [] for side in sides()}
        starts: dict[str, Callable[[], float | None]] = {
            side: partial(_start, side, mods, 0, memory[side], health[side]) for side in sides()
        }
        # A thousand take long: fewer of them.
        times = take_turns(starts, options.count(5 if mods < 1000 else 2, 2))
        rows += [
            (f"{many(mods, 'mod')}: health answers, ms", *_both(health)),
            (f"{many(mods, 'mod')}: the last of them answers, ms", *_both(times)),
            (f"{many(mods, 'mod')}: resident MB", *_both(memory)),
        ]
    notes = ("From the command; median / p95; less is better.", *missing())
    return Table("Start and size", ("", OURS, THEIRS, "ours : theirs"), tuple(rows), notes)


def _both(samples: dict[str, list[float]]) -> tuple[str, str, str]:
    ours, theirs = samples[OURS], samples.get(THEIRS, [])
    return spread(ours, 0), spread(theirs, 0), ratio(ours, theirs)


def _start(side: str, mods: int, files: int, memory: list[float], health: list[float]) -> float:
    """Milliseconds until the last mod answers; notes when health answered, and the megabytes in the end."""
    port = free_port()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        last = write_many(Path(name), side, port, mods)
        write_files(Path(name), files)
        started = command(side, port)
        assert started is not None
        began = time.perf_counter()
        with running(started, Path(name)) as process:
            line = Line(port)
            wait_until(lambda: line.ask("GET", "/api/health") is not None, "health answers", 120)
            health.append((time.perf_counter() - began) * 1000)
            wait_for_mod(port, last)
            took = (time.perf_counter() - began) * 1000
            memory.append(resident_mb(process.pid))
    return took


def _files(options: Options) -> Table:
    rows = []
    for files in _FILES[: options.count(3, 1)]:
        memory: list[float] = []
        times = [_start(OURS, 1, files, memory, []) for _ in range(options.count(3, 1))]
        rows.append((f"{files:,}", spread(times, 0), spread(memory, 0)))
    notes = ("Modules below mods/ that no mod imports; one mod. OpenAgents watches nothing.",)
    return Table("Start beside many files", ("files", "ms until the mod answers", "resident MB"), tuple(rows), notes)


def _imports(rounds: int) -> Table:
    count: dict[str, int] = {}

    def once(side: str) -> float:
        program = _IMPORTS.format(module=_ENTRY[side])
        ended = subprocess.run([_python(side), "-c", program], capture_output=True, text=True, check=True)
        took, modules = ended.stdout.split()
        count[side] = int(modules)
        return float(took)

    times = take_turns({side: partial(once, side) for side in sides()}, rounds)
    rows = tuple((f"`import {_ENTRY[side]}`", spread(each, 0), str(count[side])) for side, each in times.items())
    return Table("Imports", ("", "ms", "modules in sys.modules"), rows)


def _python(side: str) -> str:
    found = peers.openagents()
    return sys.executable if side == OURS or found is None else str(found / "python")


def _growth(count: int) -> tuple[Target, Table]:
    found = {
        side: json.loads(
            subprocess.check_output(
                [_python(side), str(_SIDES / _CYCLES[side]), str(count)], text=True, stderr=subprocess.DEVNULL
            )
        )
        for side in sides()
    }
    rows = tuple(
        (side, f"{each['ms']:.2f}", f"{each['growth']:,.0f}", f"{each['tasks']:g}") for side, each in found.items()
    )
    notes = (
        f"A mod is loaded and unloaded {count:,} times in one process; growth since the first hundred (or half). Ours"
        " loads the code anew each time, OpenAgents the code that it has loaded once.",
    )
    columns = ("", "ms a load and unload", "growth, KiB", "tasks left")
    target = at_most(f"growth over {count:,} loads and unloads", found[OURS]["growth"], _MOST_GROWTH, "KiB")
    return target, Table("Memory over loads and unloads", columns, rows, notes)
