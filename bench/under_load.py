"""Reload under load: how long events wait around a swap, those of the reloaded mod and those of the others.

Three cases: a module of 100 lines, one of 1,000, and one whose import takes 300 ms.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.agents import connect, wait_for_mod
from bench.harness import Options, Plot, Points, Result, Table, Target, at_most, p99, spread, tail
from bench.networks import OURS, command, write_network
from bench.processes import free_port, running, wait_for_port
from bench.save_to_served import by_rename

_EVERY = 0.002
_SECONDS_APART = 0.7
_MOD = """\
NUMBER = {number}
import time
from devserver import BaseMod, EventResponse, mod_event_handler

time.sleep({pause})


class {name}(BaseMod):
    @mod_event_handler("bench.{event}.get")
    async def get_number(self, event):
        return EventResponse(True, "", {{"number": NUMBER}})


"""
_FILLER = "def filler_{n}(value: int) -> int:\n    return value + {n}\n"


@dataclass(frozen=True, slots=True)
class Case:
    """A module that is saved again and again: so many lines, and so many seconds that its import takes."""

    title: str
    lines: int
    pause: float


CASES = (Case("100 lines", 100, 0.0), Case("1,000 lines", 1000, 0.0), Case("an import of 300 ms", 100, 0.3))


@dataclass(slots=True)
class Heard:
    """What one agent heard: (seconds, milliseconds) of each answer, and when it first saw each number."""

    took: Points = field(default_factory=list)
    swaps: list[float] = field(default_factory=list)
    failed: int = 0
    number: int = 0
    news: asyncio.Event = field(default_factory=asyncio.Event)


def measure(options: Options) -> Result:
    """The table and its plots."""
    saves = options.count(15, 2)
    found = {case: _case(case, saves) for case in CASES}
    rows = tuple(row for case, sides in found.items() for row in _rows(case, *sides))
    notes = (
        f"Two agents on WebSockets send an event each {_EVERY * 1000:g} ms, one to the reloaded mod and one to another;"
        " p50 / p99 / max of the answers in milliseconds. *Around a swap*: those sent between a save and 100 ms after"
        f" the first answer of the new code. {saves} saves a case.",
    )
    columns = ("module", "events of", "without saves", "around a swap", "save to served, median / p95", "failed")
    return Result(
        (Table("Reload under load", columns, rows, notes),),
        _targets(found),
        tuple(_plot(*each) for each in found.items()),
        {},
        {case.title: _samples(*sides) for case, sides in found.items()},
    )


Sides = tuple[Heard, Heard, list[float]]
"""What the agent of the reloaded mod heard, that of the other; when the saves were."""


def _text(name: str, number: int, lines: int, pause: float) -> str:
    text = _MOD.format(number=number, name=name.capitalize(), event=name, pause=pause)
    return text + "".join(_FILLER.format(n=n) for n in range((lines - text.count("\n")) // 2))


def _case(case: Case, saves: int) -> Sides:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder, port = Path(name), free_port()
        write_network(folder, OURS, port, ("mods.edited", "mods.other"))
        (folder / "mods" / "edited.py").write_text(_text("edited", 0, case.lines, case.pause))
        (folder / "mods" / "other.py").write_text(_text("other", 0, 20, 0.0))
        started = command(OURS, port)
        assert started is not None
        with running(started, folder) as process:
            wait_for_port(port, process)
            wait_for_mod(port, "bench.other.get")
            return asyncio.run(_watch(port, folder / "mods" / "edited.py", case, saves))


async def _watch(port: int, file: Path, case: Case, saves: int) -> Sides:
    began = time.perf_counter()
    heard = Heard(), Heard()
    asking = [
        asyncio.create_task(_ask(port, name, each, began))
        for name, each in zip(("edited", "other"), heard, strict=True)
    ]
    saved: list[float] = []
    for number in range(1, saves + 1):
        await asyncio.sleep(_SECONDS_APART)
        text = _text("edited", number, case.lines, case.pause)
        saved.append(time.perf_counter() - began)
        # In a thread: a write that waits for the disk would stop the clocks of the agents.
        await asyncio.to_thread(by_rename, file, text)
        await _news(heard[0], asking)
    await asyncio.sleep(_SECONDS_APART)
    for each in asking:
        each.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await each
    return *heard, saved


async def _news(heard: Heard, asking: list[asyncio.Task[None]]) -> None:
    """Wait for the new code. Raises RuntimeError where it is not served, or an agent cannot go on."""
    news = asyncio.create_task(heard.news.wait())
    done, _ = await asyncio.wait([news, *asking], timeout=10, return_when=asyncio.FIRST_COMPLETED)
    if news not in done:
        raise RuntimeError(f"the new code was not served, or an agent was cut off: {done or 'nothing was heard'}")
    heard.news.clear()


async def _ask(port: int, name: str, heard: Heard, began: float) -> None:
    """Send an event every now and then, also while others are on their way."""
    line = await connect(port, f"bench-{name}")
    sent: dict[str, float] = {}
    hearing = asyncio.create_task(_hear(line, sent, heard, began))
    try:
        while not hearing.done():
            identity = str(len(sent))
            sent[identity] = time.perf_counter()
            await line.send(json.dumps({"type": "send", "id": identity, "event": {"event_name": f"bench.{name}.get"}}))
            await asyncio.sleep(_EVERY)
        await hearing
    finally:
        hearing.cancel()
        await line.close()


async def _hear(line: object, sent: dict[str, float], heard: Heard, began: float) -> None:
    async for text in line:  # type: ignore[attr-defined]
        answer, now = json.loads(text), time.perf_counter()
        if answer["type"] != "response":
            # A network tells its agents of each reload.
            continue
        number = (answer.get("data") or {}).get("number")
        if number is None:
            heard.failed += 1
            continue
        heard.took.append((sent[answer["id"]] - began, (now - sent[answer["id"]]) * 1000))
        if number != heard.number:
            heard.number = number
            heard.swaps.append(now - began)
            heard.news.set()


def _samples(edited: Heard, other: Heard, saved: list[float]) -> dict[str, Any]:
    """All that was heard: seconds and milliseconds."""
    return {"reloaded": edited.took, "others": other.took, "saved": saved, "swapped": edited.swaps}


def _split(heard: Heard, saved: list[float], swaps: list[float]) -> tuple[list[float], list[float]]:
    """The milliseconds far from any swap, and those around one."""
    spans = list(zip(saved, (each + 0.1 for each in swaps), strict=True))
    calm: list[float] = []
    around: list[float] = []
    for at, took in heard.took:
        (around if any(begin <= at <= end for begin, end in spans) else calm).append(took)
    return calm, around


def _rows(case: Case, edited: Heard, other: Heard, saved: list[float]) -> list[tuple[str, ...]]:
    served = [(swap - save) * 1000 for save, swap in zip(saved, edited.swaps, strict=True)]
    rows: list[tuple[str, ...]] = []
    for name, heard, shown in (("the reloaded mod", edited, spread(served)), ("other mods", other, "")):
        calm, around = _split(heard, saved, edited.swaps)
        rows.append((case.title, name, tail(calm), tail(around), shown, str(heard.failed)))
    return rows


def _targets(found: dict[Case, Sides]) -> tuple[Target, ...]:
    return tuple(
        at_most(
            f"p99 of other mods' events around a swap, {case.title}",
            p99(_split(other, saved, edited.swaps)[1]),
            25,
            "ms",
        )
        for case, (edited, other, saved) in found.items()
    )


def _plot(case: Case, sides: Sides) -> Plot:
    edited, other, _ = sides
    end = edited.swaps[min(4, len(edited.swaps) - 1)] + 0.4
    series = {
        name: [each for each in heard.took if each[0] <= end]
        for name, heard in (("events of other mods", other), ("events of the reloaded mod", edited))
    }
    marks = tuple(each for each in edited.swaps if each <= end)
    title = f"Events while a module is saved: {case.title} (red: a swap)"
    name = f"under-load-{CASES.index(case) + 1}"
    return Plot(name, title, "points", "seconds", "milliseconds to the answer", series, marks, log=True)
