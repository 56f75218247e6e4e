"""Runs the measures and writes bench/RESULTS.md: `python -m bench [--quick] [NAME ...]`."""

from __future__ import annotations

import argparse
import datetime
from collections.abc import Callable
from pathlib import Path

from bench import dispatch, http_events, machine, ready, save_to_served
from bench.harness import Options, Table

RESULTS = Path(__file__).parent / "RESULTS.md"

MEASURES: dict[str, Callable[[Options], Table]] = {
    "save": save_to_served.measure,
    "dispatch": dispatch.measure,
    "http": http_events.measure,
    "ready": ready.measure,
}


def main() -> None:
    """Measure, print each table when it is there, and write all of them."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure oa-dev against its peers.")
    parser.add_argument("--quick", action="store_true", help="fewer samples: under two minutes")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(MEASURES)}; all where none")
    given = parser.parse_args()
    unknown = [each for each in given.names if each not in MEASURES]
    if unknown:
        parser.error(f"there is no measure {unknown[0]!r}, only {', '.join(MEASURES)}")
    tables = [_shown(MEASURES[name], Options(given.quick)) for name in given.names or MEASURES]
    if given.names:
        print("not written to RESULTS.md: only some of the measures were taken")
    else:
        RESULTS.write_text(_page(tables, given.quick), encoding="utf-8")


def _shown(measure: Callable[[Options], Table], options: Options) -> str:
    text = measure(options).markdown()
    print(text, flush=True)
    return text


def _page(tables: list[str], quick: bool) -> str:
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    how = "`python -m bench --quick`" if quick else "`python -m bench`"
    head = f"# Results\n\nWritten by {how} on {today}. {machine.description()} Load at the end: {machine.load()}.\n"
    return "\n".join([head, *tables])


if __name__ == "__main__":
    main()
