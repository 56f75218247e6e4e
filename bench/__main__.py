"""Measures `oa-dev` against its peers: `python -m bench [--quick] [NAME ...]`.

Each measure is a module of its own with a `measure(options)`. What it finds is kept in .bench/results/NAME.json, and
bench/RESULTS.md is written of all that are kept, with the plots beside it: to measure a part again, name it. Peers are
installed below .bench/ when they are first needed.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence

from bench import (
    change_cost,
    dispatch,
    hosts,
    machine,
    market,
    needs,
    page,
    plots,
    recorder,
    replay,
    report,
    restart_pause,
    save_to_served,
    side_by_side,
    size,
    torture,
    under_load,
    versions,
    wire,
)
from bench.harness import Options, Result

MEASURES: dict[str, Callable[[Options], Result]] = {
    "save": save_to_served.measure,
    "dispatch": dispatch.measure,
    "wire": wire.measure,
    "load": under_load.measure,
    "restart": restart_pause.measure,
    "replay": replay.measure,
    "page": page.measure,
    "recorder": recorder.measure,
    "change": change_cost.measure,
    "needs": needs.measure,
    "versions": versions.measure,
    "market": market.measure,
    "hosts": hosts.measure,
    "size": size.measure,
    "openagents": side_by_side.measure,
    "torture": torture.measure,
}
_LONGEST = 400
"""Seconds after which a measure has failed: one that waits for what never comes does not cost the others."""


def main() -> None:
    """Measure, print each result when it is there, and write the page."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure oa-dev against its peers.")
    parser.add_argument("--quick", action="store_true", help="fewer samples: under two minutes")
    parser.add_argument("--write", action="store_true", help="measure nothing, write RESULTS.md of what is kept")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(MEASURES)}; all where none")
    given = parser.parse_args()
    unknown = [each for each in given.names if each not in MEASURES]
    if unknown:
        parser.error(f"there is no measure {unknown[0]!r}, only {', '.join(MEASURES)}")
    names = () if given.write else given.names or MEASURES
    failed = [name for name in names if not _measure(name, Options(given.quick))]
    _write(report.kept(MEASURES))
    if failed:
        sys.exit(f"failed, and left as they were: {', '.join(failed)}")


def _measure(name: str, options: Options) -> bool:
    """Take one measure and keep it; whether that went well. One that fails does not cost the others."""
    when = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    before, began = machine.load(), time.monotonic()
    try:
        with _ended_after(_LONGEST):
            result = MEASURES[name](options)
    except Exception:
        traceback.print_exc()
        return False
    seconds = time.monotonic() - began
    load = before, machine.load()
    report.keep(report.Taken(name, result, when, options.quick, seconds, load, machine.description()))
    print(f"{report.markdown(result)}\n({name}: {seconds:.0f} s)\n", flush=True)
    return True


@contextlib.contextmanager
def _ended_after(seconds: int) -> Iterator[None]:
    """Raise TimeoutError in the main thread once that is over, where the system has such a clock."""
    if not hasattr(signal, "setitimer"):
        yield
        return

    def over(number: int, frame: object) -> None:
        raise TimeoutError(f"not done after {seconds} s")

    signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _write(parts: Sequence[report.Taken]) -> None:
    wanted = [plot for part in parts for plot in part.result.plots]
    not_drawn = plots.draw(wanted, report.RESULTS.parent) if wanted else None
    missing = sorted(set(MEASURES) - {part.name for part in parts})
    report.RESULTS.write_text(report.page(parts, not_drawn, missing), encoding="utf-8")


if __name__ == "__main__":
    main()
