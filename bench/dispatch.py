"""Events per second through `process_event` in one process, by the number of mods, and where ours spends its time."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from bench import peers
from bench.harness import (
    Options,
    Plot,
    Points,
    Result,
    Table,
    Target,
    at_least,
    at_most,
    many,
    median,
    quotient,
    rates,
    take_turns,
)
from bench.networks import OURS, THEIRS, missing

_SIDES = Path(__file__).parent / "sides"
_COUNTS = (1, 10, 100, 1000)
_FLAT = 1.3

Samples = dict[str, list[float]]


def measure(options: Options) -> Result:
    """The table by number of mods, and the one by stage."""
    counts = _COUNTS[: options.count(4, 3)]
    found = {mods: _sample(mods, options.count(10, 3), options.count(50, 15) / 100) for mods in counts}
    rows = tuple(
        (f"{mods:,}", rates(each[OURS]), rates(each.get(THEIRS, [])), _times(each)) for mods, each in found.items()
    )
    notes = (
        "Events per second, median / p5 of windows that the sides take in turns; more is better. The last mod answers.",
        *missing(),
    )
    table = Table("Dispatch in one process", ("mods", OURS, THEIRS, "ours : theirs"), rows, notes)
    series = {side: _curve(found, side) for side in (OURS, THEIRS) if side in found[1]}
    plot = Plot("dispatch", "Events per second by number of mods", "lines", "mods", "events/s", series, log=True)
    versions = peers.environment("openagents").versions
    samples = {many(mods, "mod"): dict(each) for mods, each in found.items()}
    return Result((table, _stages(options)), _targets(found), (plot,), versions, samples)


def _sample(mods: int, rounds: int, window: float) -> Samples:
    with contextlib.ExitStack() as stack:
        sides = {OURS: stack.enter_context(side("dispatch_ours.py", str(mods)))}
        found = peers.openagents()
        if found is not None:
            theirs = side("dispatch_openagents.py", str(mods), python=str(found / "python"))
            sides[THEIRS] = stack.enter_context(theirs)
        return take_turns({name: partial(each.rate, window) for name, each in sides.items()}, rounds)


def _times(samples: Samples) -> str:
    return f"{quotient(samples[OURS], samples[THEIRS]):,.1f}×" if samples.get(THEIRS) else "-"


def _curve(found: dict[int, Samples], name: str) -> Points:
    return [(float(mods), median(each[name])) for mods, each in found.items()]


def _targets(found: dict[int, Samples]) -> tuple[Target, ...]:
    speeds = [median(each[OURS]) for each in found.values()]
    flat = max(speeds) / min(speeds)
    targets = [at_most(f"dispatch: quickest of 1 to {max(found):,} mods over slowest", flat, _FLAT, "×")]
    if THEIRS in found[1]:
        wanted = {1: 4, 1000: 500}
        targets += [
            at_least(
                f"dispatch against OpenAgents, {many(mods, 'mod')}",
                quotient(found[mods][OURS], found[mods][THEIRS]),
                times,
                "×",
            )
            for mods, times in wanted.items()
            if mods in found
        ]
    return tuple(targets)


def _stages(options: Options) -> Table:
    """What an event costs in each part of the way, as told by a profile of so many events."""
    with side("stages_ours.py", "100") as program:
        said = json.loads(program.ask(options.count(20_000, 3_000)))
    whole = said["microseconds"]
    rows = tuple((name, f"{part * 100:.0f} %", f"{part * whole:.2f}") for name, part in said["parts"].items())
    notes = (
        f"100 mods, {whole:.1f} µs an event unprofiled. Shares of the time in each function itself, told by a profile"
        " (which makes calls dearer than they are); C functions count where they are called.",
    )
    return Table("Where the time of an event goes", ("stage", "share", "µs"), rows, notes)


class Side:
    """A process that measures itself when it is asked to."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def ask(self, how: object) -> str:
        """Its answer to a line."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{how}\n")
        self._process.stdin.flush()
        return self.line()

    def rate(self, seconds: float) -> float:
        """Its answer, where that is a number."""
        return float(self.ask(seconds))

    def line(self) -> str:
        """What it says next. Raises RuntimeError where it has ended."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._process.args!r} has ended")
        return line


@contextlib.contextmanager
def side(program: str, *arguments: str, python: str = sys.executable) -> Iterator[Side]:
    """A program of `sides`, once it says that it is ready."""
    pipe = subprocess.PIPE
    command = [python, str(_SIDES / program), *arguments]
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True) as process:
        found = Side(process)
        found.line()
        yield found
