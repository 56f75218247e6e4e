"""What versions beside a mod cost: a split and a shadow in dispatch, and a second line in memory."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from bench.dispatch import side
from bench.harness import Options, Result, Table, at_least, at_most, median, rates, spread

_COUNTS = (10, 100, 1000)
_SPLIT, _SHADOW, _P50, _MEMORY = 95.0, 70.0, 1.05, 1.2


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
    return Result((dispatch, memory), _targets(found, second / first))


def _sample(mods: int, seconds: float) -> dict[str, Any]:
    with side("versions_ours.py", str(mods)) as program:
        sample: dict[str, Any] = json.loads(program.ask(seconds))
    return sample


def _part(rates: dict[str, Sequence[float]], kind: str) -> float:
    """The rate of a kind in percent of that of the mod alone, turn by turn."""
    return median([one / other * 100 for one, other in zip(rates[kind], rates["alone"], strict=True)])


def _targets(found: dict[int, dict[str, Any]], memory: float) -> tuple[Any, ...]:
    targets = [at_most("memory of a second line, of that of its mod", memory, _MEMORY, "×")]
    for mods, each in found.items():
        p50 = median(each["p50"]["shadow"]) / median(each["p50"]["alone"])
        targets += [
            at_least(f"dispatch with a split at 10 %, {mods:,} mods", _part(each["rates"], "split"), _SPLIT, "%"),
            at_least(
                f"dispatch with a shadow of every event, {mods:,} mods", _part(each["rates"], "shadow"), _SHADOW, "%"
            ),
            at_most(f"p50 of a mod with a shadow, {mods:,} mods", p50, _P50, "×"),
        ]
    return tuple(targets)
