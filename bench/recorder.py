"""What the recorder costs an event in process, and the longest pause for garbage in a network of a thousand mods."""

from __future__ import annotations

import json

from bench.dispatch import side
from bench.harness import Options, Result, Table, at_most, median, spread, tail

_MOST_US = 3.0
_MOST_PAUSE_MS = 25.0


def measure(options: Options) -> Result:
    """Both tables."""
    with side("recorder_ours.py", "2", "0") as program:
        cost = json.loads(program.ask(options.count(60, 20)))
    more = [one - other for one, other in zip(cost["recorded"], cost["bare"], strict=True)]
    recorder = Table(
        "The recorder, in one process, two mods asked",
        ("", "µs an event, median / p95"),
        (
            ("not recorded", spread(cost["bare"])),
            ("recorded", spread(cost["recorded"])),
            ("the recorder", spread(more)),
        ),
        ("Windows of 1,000 events that take turns.",),
    )
    with side("recorder_ours.py", "1000", "1000") as program:
        pauses = json.loads(program.ask(options.count(20, 5)))["pauses"] or [0.0]
    longest = Table(
        "Pauses for garbage, 1,000 mods and 1,000 agents",
        ("collections", "ms, median / p99 / worst"),
        ((f"{len(pauses):,}", tail(pauses, 2)),),
        ("While agents are sent events, after the start has been settled.",),
    )
    targets = (
        at_most("recorder, two mods asked", median(more), _MOST_US, "µs an event"),
        at_most("longest pause for garbage, 1,000 mods and 1,000 agents", max(pauses), _MOST_PAUSE_MS, "ms"),
    )
    samples = {"recorder": {"ours": more}, "pauses": {"ours": pauses}}
    return Result((recorder, longest), targets, samples=samples)
