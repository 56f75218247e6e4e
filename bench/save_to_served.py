"""(a) From the write of a file to the first answer of the new code, on a connection that is kept where it is kept."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from bench import peers
from bench.harness import Options, Table, ratio, spread, take_turns
from bench.subjects import FLOOR, OURS, PEERS, Subject, floor, ours, peer

Write = Callable[[Path, str], None]

_ASK_EVERY = 0.0005
_LONGEST = 15.0
_PAUSE = (0.05, 0.15)
"""Seconds between two saves, at random: no subject shall be able to fall into step with them."""


def in_place(file: Path, text: str) -> None:
    """Truncate and write."""
    file.write_text(text)


def by_rename(file: Path, text: str) -> None:
    """Write beside, and rename over."""
    beside = file.with_name(f".{file.name}.swp")
    beside.write_text(text)
    os.replace(beside, file)


WRITES: dict[str, Write] = {"in place": in_place, "by rename": by_rename}


def measure(options: Options) -> Table:
    """The table."""
    rows = [_row(lines, how, (OURS, FLOOR), options.count(30, 8)) for lines in (20, 100, 1000) for how in WRITES]
    found, missing = _peers()
    for how in WRITES if not options.quick else ["in place"]:
        rows += [_row(100, how, (OURS, *found), options.count(30, 3))]
    columns = ("lines", "saved", OURS, FLOOR, *(name for name in PEERS if name in found))
    notes = (
        "Milliseconds, median / p95, and as a multiple of ours; less is better. Asked every 0.5 ms; subjects take turns"
        " and run side by side. The floor answers from a loop without HTTP; it shows what the machine allows.",
        "A peer that restarts its process ends every connection at each save; ours ends none.",
        *(f"Missing: {name} could not be installed or started." for name in missing),
    )
    return Table("Save to served", columns, tuple(_cells(each, columns) for each in rows), notes)


Samples = dict[str, list[float]]


def _peers() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The peers that serve, and those that do not."""
    _, not_installed = peers.reloaders()
    works = {name: package not in not_installed and _starts(name) for name, (package, _) in PEERS.items()}
    return tuple(name for name in works if works[name]), tuple(name for name in works if not works[name])


def _starts(name: str) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        try:
            with peer(PEERS[name][1], Path(folder)) as subject:
                return subject.ask() == 0
        except RuntimeError:
            # It has ended at once, or listens nowhere.
            return False


def _row(lines: int, how: str, names: tuple[str, ...], rounds: int) -> tuple[int, str, Samples]:
    with contextlib.ExitStack() as stack:
        subjects = {name: _subject(stack, name) for name in names}
        numbers = itertools.count(1)
        saves: dict[str, Callable[[], float | None]] = {
            name: partial(_save, subject, WRITES[how], numbers, lines) for name, subject in subjects.items()
        }
        # The first saves fill caches, and let every watcher find its feet.
        take_turns(saves, 2)
        samples = take_turns(saves, rounds)
        assert subjects[OURS].cuts() == 0, "a save has cut a connection"
    return lines, how, samples


def _subject(stack: contextlib.ExitStack, name: str) -> Subject:
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    if name == OURS:
        return stack.enter_context(ours(folder))
    return stack.enter_context(floor(folder) if name == FLOOR else peer(PEERS[name][1], folder))


def _save(subject: Subject, write: Write, numbers: itertools.count[int], lines: int) -> float | None:
    """Milliseconds from the write to the first answer with the new number; None where it never came."""
    number = next(numbers)
    text = subject.text(number, lines)
    began = time.perf_counter()
    write(subject.file, text)
    while subject.ask() != number:
        if time.perf_counter() - began > _LONGEST:
            return None
        time.sleep(_ASK_EVERY)
    took = (time.perf_counter() - began) * 1000
    time.sleep(random.uniform(*_PAUSE))
    return took


def _cells(row: tuple[int, str, Samples], columns: tuple[str, ...]) -> tuple[str, ...]:
    lines, how, samples = row
    return (f"{lines:,}", how, *(_cell(samples, name) for name in columns[2:]))


def _cell(samples: Samples, name: str) -> str:
    found = samples.get(name, [])
    if not found:
        return "-" if name not in samples else "never served"
    return spread(found) if name == OURS else f"{spread(found)} ({ratio(found, samples[OURS])})"
