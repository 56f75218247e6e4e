"""Several hosts: what an event and a delivery cost over a second host, beside the same in one process.

Two hosts with their agents, in one process of their own, with a real nats-server between them: what is measured is the
way between hosts, without HTTP.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

from bench.harness import Options, Result, Table, Target, at_least, at_most

_SIDE = Path(__file__).parent / "sides" / "hosts_pair.py"
_MS = 1000.0
_LONGEST = 180.0
"""Seconds for all of it: two hosts that do not find each other would wait for ever."""


def measure(options: Options) -> Result:
    """The table, with the targets of the contract; without a nats-server there is nothing to measure with."""
    missing = _missing()
    if missing:
        return Result((Table("Several hosts", ("",), (("nothing was measured",),), (missing,)),))
    found = asyncio.run(_run(options.count(2000, 300)))
    far, here = found["delivery_far"], found["delivery_here"]
    all_far, all_here = found["broadcast_far"], found["broadcast_here"]
    rows = (
        ("event through a second host and back, one at a time", _times(found["far"]), _times(found["here"])),
        (
            "delivery to an agent on another host, kept on disk",
            _times(far),
            _times(here),
        ),
        ("asks a second into one host, 100 in flight", f"{found['asks']:,.0f}", f"{found['asks_here']:,.0f}"),
        (
            "to 100 agents, half of them on the other host",
            _times(all_far),
            _times(all_here),
        ),
        ("an agent changes its door, 100 events behind it", _times(found["move"]), "-"),
    )
    notes = (
        "Milliseconds, median / p99. Two hosts in one process: they share its core, and a third is the engine's.",
        f"nats-server {found['version']}.",
    )
    table = Table("Several hosts", ("what", "two hosts", "one process"), rows, notes)
    return Result((table,), _targets(found), (), {"nats-server": str(found["version"])}, {})


def _targets(found: dict[str, list[float]]) -> tuple[Target, ...]:
    return (
        at_most("hosts: event through a second host, median", _median(found["far"]) * _MS, 1.0, "ms"),
        at_most("hosts: delivery to another host, median", _median(found["delivery_far"]) * _MS, 1.0, "ms"),
        at_least("hosts: asks a second into one host", float(found["asks"]), 10_000, "a second"),  # type: ignore[arg-type]
    )


def _missing() -> str:
    """A note on what is not installed here; empty where all is."""
    if importlib.util.find_spec("nats") is None:
        return "Missing: nats-py, of the extra `hosts`."
    from devserver.hosts.engine import find_binary

    return "" if find_binary() is not None else "Missing: a nats-server, on PATH or of the extra `hosts`."


async def _run(samples: int) -> dict[str, list[float]]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(_SIDE), str(samples), stdout=subprocess.PIPE, cwd=Path(__file__).parents[1]
    )
    try:
        out, _ = await asyncio.wait_for(process.communicate(), _LONGEST)
    except TimeoutError:
        process.kill()
        await process.wait()
        raise RuntimeError(f"{_SIDE.name} did not end in {_LONGEST:g} s") from None
    if process.returncode:
        raise RuntimeError(f"{_SIDE.name} ended with {process.returncode}")
    found: dict[str, list[float]] = json.loads(out)
    return found


def _median(samples: list[float]) -> float:
    return sorted(samples)[len(samples) // 2]


def _times(samples: list[float]) -> str:
    p99 = sorted(samples)[int(len(samples) * 0.99)]
    return f"{_median(samples) * _MS:.2f} / {p99 * _MS:.2f}"
