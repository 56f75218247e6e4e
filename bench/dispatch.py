"""(b) Events per second through `process_event` in one process, by the number of mods; the last one answers."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from bench import peers
from bench.harness import Options, Table, rates, ratio, take_turns
from bench.networks import OURS, THEIRS, missing

_SIDES = Path(__file__).parent / "sides"
_WINDOW = 0.5


def measure(options: Options) -> Table:
    """The table."""
    counts = (1, 10, 100, 1000)
    rows = tuple(_row(mods, options.count(10, 3)) for mods in counts)
    notes = ("Events per second, median / p5 of windows of 0.5 s that both sides take in turns; more is better.",)
    return Table("Dispatch in one process", ("mods", OURS, THEIRS, "ours : theirs"), rows, (*notes, *missing()))


def _row(mods: int, rounds: int) -> tuple[str, ...]:
    with contextlib.ExitStack() as stack:
        sides = {OURS: stack.enter_context(_side(sys.executable, "dispatch_ours.py", mods))}
        found = peers.openagents()
        if found is not None:
            sides[THEIRS] = stack.enter_context(_side(str(found / "python"), "dispatch_openagents.py", mods))
        samples = take_turns({name: side.rate for name, side in sides.items()}, rounds)
    theirs = samples.get(THEIRS, [])
    return f"{mods:,}", rates(samples[OURS]), rates(theirs), ratio(samples[OURS], theirs)


class _Side:
    """A process that measures itself when it is asked to."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def rate(self) -> float:
        """One window."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{_WINDOW}\n")
        self._process.stdin.flush()
        return float(self.line())

    def line(self) -> str:
        """What it says next. Raises RuntimeError where it has ended."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._process.args!r} has ended")
        return line


@contextlib.contextmanager
def _side(python: str, program: str, mods: int) -> Iterator[_Side]:
    pipe = subprocess.PIPE
    command = [python, str(_SIDES / program), str(mods)]
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True) as process:
        side = _Side(process)
        side.line()
        yield side
