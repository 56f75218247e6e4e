"""A restart in place: how long agents wait for their next answer, beside a restart of the process as peers do it.

One agent asks without pause on a kept connection; a pause is the longest time between two of its answers around a
restart. `uvicorn --reload` restarts its worker after a save, OpenAgents is ended and started by hand.
"""

from __future__ import annotations

import contextlib
import json
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench import reloaders, upstream
from bench.agents import Line, event, fresh, register, wait_for_mod
from bench.harness import Options, Result, Table, Target, many
from bench.networks import OURS, command, write_network
from bench.processes import free_port, running, wait_for_port, wait_until
from bench.save_to_served import by_rename

MODS = (1, 100, 1000)
WANTED_MS = 400
_AROUND = 0.3
"""Seconds before and after a restart in which an agent asks."""
_LOOKS_AFTER = 1.0
"""Seconds after which a peer sees a save that follows a start."""


@dataclass(slots=True)
class Asker:
    """Asks again and again on a thread of its own; `at` are the times of its answers."""

    ask: Callable[[], Any]
    at: list[float] = field(default_factory=list)
    ends: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Ask until `ends`."""
        while not self.ends.is_set():
            if self.ask() is not None:
                self.at.append(time.monotonic())
            else:
                self.ends.wait(0.002)

    def longest_ms(self) -> float:
        """The longest time between two answers."""
        return max(after - before for before, after in zip(self.at, self.at[1:], strict=False)) * 1000


def measure(options: Options) -> Result:
    """The table."""
    times = {mods: options.count(12, 3) if mods < MODS[-1] else 6 for mods in MODS[: options.count(3, 2)]}
    found = {f"oa-dev, {many(mods, 'mod')}: restart in place": _ours(mods, each) for mods, each in times.items()}
    failed: list[str] = []
    for name, start in (("uvicorn --reload", reloaders.start("uvicorn --reload")), _openagents()):
        try:
            found[name] = _peer(start, options.count(5, 2))
        except RuntimeError as error:
            failed.append(f"{name} was not measured: {error}")
    rows = tuple((name, *_figures(*each)) for name, each in found.items())
    pauses, cuts = next(iter(found.values()))
    median = statistics.median(pauses)
    targets = (
        Target("pause of a restart in place, 1 mod", f"{WANTED_MS} ms", f"{median:.0f} ms", median <= WANTED_MS),
        Target("connections lost by restarts in place", "0", str(cuts), cuts == 0),
    )
    columns = ("restart", "longest wait, median", "p99", "connections lost a restart")
    each = ", ".join(f"{len(waits)} × {name}" for name, (waits, _) in found.items())
    notes = (f"{each}; an agent asks without pause on a kept connection.", *failed)
    samples = {"longest wait, ms": {name: waits for name, (waits, _) in found.items()}}
    return Result((Table("A restart in place", columns, rows, notes),), targets, (), {}, samples)


def _openagents() -> tuple[str, Any]:
    return upstream.BY_RESTART, upstream.start(upstream.BY_RESTART)


def _figures(pauses: list[float], cuts: int) -> tuple[str, str, str]:
    ordered = sorted(pauses)
    p99 = ordered[min(len(ordered) - 1, round(len(ordered) * 0.99))]
    return f"{statistics.median(pauses):.0f} ms", f"{p99:.0f} ms", f"{cuts / len(pauses):g}"


@contextlib.contextmanager
def _served(mods: int) -> Iterator[tuple[int, str]]:
    """A server of ours with so many mods: its port and its token."""
    names = ("mods.bench_mod", *(f"mods.other{number}" for number in range(mods - 1)))
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder, port = Path(name), free_port()
        write_network(folder, OURS, port, names)
        started = command(OURS, port)
        assert started is not None
        with running(started, folder, PYTHONPATH=str(folder)) as process:
            wait_for_port(port, process)
            wait_for_mod(port, "bench.answer.get")
            file = folder / ".oa-dev" / "run.json"
            wait_until(file.exists, "the run file is there", 30.0)
            yield port, json.loads(file.read_text())["token"]


def _ours(mods: int, times: int) -> tuple[list[float], int]:
    """The longest waits in milliseconds, and how many connections were lost."""
    pauses, cuts = [], 0
    with _served(mods) as (port, token):
        control = Line(port, token)
        for number in range(times):
            line, name = Line(port, token), f"agent{number}"
            body = event(name, register(port, name, token), "bench.answer.get")
            asker = Asker(lambda line=line, body=body: line.ask("POST", "/api/send_event", fresh(body)))  # type: ignore[misc]
            pauses.append(_around(asker, lambda: _restart(control)))
            cuts += line.cuts
            line.close()
    return pauses, cuts


def _restart(control: Line) -> None:
    """Ask for a restart in place, and wait for what it came to."""
    after = (control.ask("GET", "/_dev/reloads") or {})["next"]
    control.ask("POST", "/_dev/restart", {})

    def done() -> bool:
        found = (control.ask("GET", f"/_dev/reloads?after={after}&seconds=5") or {}).get("reloads", [])
        return any("restarted" in each for each in found)

    wait_until(done, "it has restarted", 120.0)


def _peer(start: Any, times: int) -> tuple[list[float], int]:
    pauses = []
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name, start(Path(name)) as subject:
        wait_until(lambda: (subject.ask() or {}).get("number") == 0, "the first code answers", 60.0, 0.005)
        before = subject.cuts()
        for number in range(1, times + 1):

            def again(number: int = number) -> None:
                by_rename(subject.file, subject.text(number, 20))
                subject.after_save()
                wait_until(lambda: (subject.ask() or {}).get("number") == number, "the new code answers", 60.0, 0.005)

            # A supervisor looks at the files again only after its worker has begun: a save until then is lost.
            time.sleep(_LOOKS_AFTER)
            pauses.append(_around(Asker(subject.ask), again, alone=subject.ask))
        return pauses, subject.cuts() - before


def _around(asker: Asker, restart: Callable[[], None], alone: Any = None) -> float:
    """The longest wait of an asker around a restart. `alone`: the restart itself asks, on the only connection."""
    if alone is not None:
        began = time.monotonic()
        # Whoever waits for the new code asks all the time: what it waits is what an agent would.
        restart()
        return (time.monotonic() - began) * 1000
    thread = threading.Thread(target=asker.run, daemon=True)
    thread.start()
    time.sleep(_AROUND)
    restart()
    time.sleep(_AROUND)
    asker.ends.set()
    thread.join()
    return asker.longest_ms()
