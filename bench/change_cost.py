"""The cost of a change: from save to served, by the number of mods and of watched files, and what idling costs."""

from __future__ import annotations

import contextlib
import itertools
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from bench.agents import Line, event, register, wait_for_mod
from bench.harness import Options, Plot, Result, Table, Target, at_most, median, spread, take_turns
from bench.networks import IN_A_FOLDER, OURS, command, write_files, write_many
from bench.processes import cpu_seconds, free_port, running, wait_for_port
from bench.save_to_served import by_rename
from bench.subjects import asker, mod_text

_MODS, _FILES = (1, 10, 100, 1000), (100, 1000, 10_000, 50_000)
_IDLE_FILES, _IDLE_AT_MOST = 5000, 1.5
_SETTLE = 8.0
"""Seconds after which a server has done what it does once: it gets ready for commands some seconds after its start."""
_FLAT = {"mods": 1.2, "watched files": 1.5}


def measure(options: Options) -> Result:
    """The two curves and the idling."""
    rounds = options.count(20, 3)
    by_mods = _curve({mods: partial(network, mods, 0) for mods in _small(_MODS, options)}, rounds)
    by_files = _curve({files: partial(network, 1, files) for files in _small(_FILES, options)}, rounds)
    idle = _idle(options.count(20, 4))
    notes = (
        "One mod of 100 lines is saved by rename; milliseconds, median / p95. The other mods are packages with a module"
        f" of 13 lines; the other files are modules that no mod imports, {IN_A_FOLDER} to a folder. They take turns.",
    )
    tables = (
        _table("The cost of a change, by number of mods", "mods", by_mods, notes),
        _table("The cost of a change, by number of watched files", "files", by_files, ()),
        Table("Idling", ("files", "% of a core"), ((f"{_IDLE_FILES:,}", f"{idle:.2f}"),)),
    )
    targets = (
        _flat("mods", by_mods),
        _flat("watched files", by_files),
        at_most(f"idle, {_IDLE_FILES:,} files", idle, _IDLE_AT_MOST, "% of a core"),
    )
    samples = {
        "mods": {str(count): each for count, each in by_mods.items()},
        "files": {str(count): each for count, each in by_files.items()},
    }
    return Result(tables, targets, (_plot(by_mods, by_files),), {}, samples)


Curve = dict[int, list[float]]


def _small(counts: Sequence[int], options: Options) -> Sequence[int]:
    """The whole range, or what is made quickly."""
    return counts[:2] if options.quick else counts


@contextlib.contextmanager
def network(mods: int, files: int) -> Iterator[Callable[[], float]]:
    """A running network; what saves its first mod, and gives the milliseconds until it is served."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name, contextlib.ExitStack() as stack:
        folder, port = Path(name), free_port()
        file = folder / "mods" / "bench_mod" / "mod.py"
        last = write_many(folder, OURS, port, mods)
        write_files(folder, files)
        file.write_text(mod_text(OURS, 0, 100))
        started = command(OURS, port)
        assert started is not None
        wait_for_port(port, stack.enter_context(running(started, folder)))
        # The last that is listed is the last to be there.
        wait_for_mod(port, last if mods > 1 else "bench.number.get")
        yield _saver(file, port)


def _saver(file: Path, port: int) -> Callable[[], float]:
    numbers = itertools.count(1)
    ask = asker(Line(port), event("bench-saver", register(port, "bench-saver"), "bench.number.get"))

    def save() -> float:
        number = next(numbers)
        text = mod_text(OURS, number, 100)
        began = time.perf_counter()
        by_rename(file, text)
        while (answer := ask()) is None or answer["number"] != number:
            if time.perf_counter() - began > 20:
                raise RuntimeError(f"save {number} was not served")
            time.sleep(0.0005)
        took = (time.perf_counter() - began) * 1000
        time.sleep(0.1)
        return took

    return save


def _curve(
    networks: dict[int, Callable[[], contextlib.AbstractContextManager[Callable[[], float]]]], rounds: int
) -> Curve:
    with contextlib.ExitStack() as stack:
        saves = {str(count): stack.enter_context(each()) for count, each in networks.items()}
        take_turns(saves, 1)
        return {int(count): samples for count, samples in take_turns(saves, rounds).items()}


def _idle(seconds: int) -> float:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder, port = Path(name), free_port()
        last = write_many(folder, OURS, port, 1)
        write_files(folder, _IDLE_FILES)
        started = command(OURS, port)
        assert started is not None
        with running(started, folder) as process:
            wait_for_port(port, process)
            wait_for_mod(port, last)
            time.sleep(_SETTLE)
            before = cpu_seconds(process.pid)
            time.sleep(seconds)
            return (cpu_seconds(process.pid) - before) / seconds * 100


def _table(title: str, what: str, curve: Curve, notes: tuple[str, ...]) -> Table:
    first = median(next(iter(curve.values())))
    rows = tuple((f"{count:,}", spread(each), f"{median(each) / first:.2f}×") for count, each in curve.items())
    return Table(title, (what, "ms", "× the first"), rows, notes)


def _flat(what: str, curve: Curve) -> Target:
    medians = [median(each) for each in curve.values()]
    return at_most(f"cost of a change, most {what} over fewest", medians[-1] / medians[0], _FLAT[what], "×")


def _plot(by_mods: Curve, by_files: Curve) -> Plot:
    series = {
        name: [(float(count), median(each)) for count, each in curve.items()]
        for name, curve in (("mods", by_mods), ("watched files", by_files))
    }
    return Plot("change-cost", "Save to served", "lines", "how many", "ms", series, log=True)
