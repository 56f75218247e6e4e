"""From the write of a file to the first answer of the new code, on a connection that is kept where it is kept."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from bench import networks, node, peers, reloaders, upstream
from bench.harness import Options, Plot, Result, Table, Target, at_least, at_most, median, quotient, spread, take_turns
from bench.subjects import FLOOR, OURS, Start, Subject, floor, ours

Write = Callable[[Path, str], None]
Cell = tuple[int, str]
"""How many lines, and how they were saved."""

_ASK_EVERY = 0.0005
_PAUSE = (0.05, 0.15)
"""Seconds between two saves, at random: no subject shall be able to fall into step with them."""
_LONGEST = {False: 1.5, True: 15.0}
"""Seconds after which a save was missed, by those that keep their process and those that start again."""
_MISSES = 1
"""After how many misses from its first on a subject is asked no more in that cell."""


def in_place(file: Path, text: str) -> None:
    """Truncate and write."""
    file.write_text(text)


def by_rename(file: Path, text: str) -> None:
    """Write beside, and rename over."""
    beside = file.with_name(f".{file.name}.swp")
    beside.write_text(text)
    os.replace(beside, file)


WRITES: dict[str, Write] = {"in place": in_place, "by rename": by_rename}


@dataclass(slots=True)
class Kept:
    """What a subject's saves did to connection, state and requests."""

    saves: int = 0
    failed: int = 0
    tokens: set[str] = field(default_factory=set)

    def cells(self) -> tuple[str, str, str]:
        """As the table has it: connection, state, failed requests a save."""
        state = "kept" if len(self.tokens) <= 1 else "lost"
        per_save = self.failed / max(1, self.saves)
        # A new process has a new connection, also where the client did not notice.
        line = "lost" if self.failed or state == "lost" else "kept"
        return line, state, f"{per_save:.1f}" if per_save else "0"


@dataclass(frozen=True, slots=True)
class Group:
    """Subjects that run side by side and take turns. `cells` has the rounds of each; of 0 the first save counts."""

    starts: dict[str, Start]
    slow: bool
    cells: dict[Cell, int]


Samples = dict[Cell, dict[str, list[float]]]


def measure(options: Options) -> Result:
    """The tables: everyone on 100 lines, the quick ones on 20 and 1,000 lines too."""
    quick, slow, missing = _subjects()
    hundred = tuple((100, how) for how in WRITES)
    others = tuple((lines, how) for lines in (20, 1000) for how in WRITES)
    cells = (*hundred, *others) if not options.quick else hundred
    rounds = {**dict.fromkeys(cells, 10), **dict.fromkeys(hundred, options.count(20, 4))}
    groups = [Group(quick, False, rounds)]
    # They take seconds: in the quick run one sample each, the first.
    groups += [Group(slow, True, dict.fromkeys(hundred, 3) if not options.quick else {hundred[0]: 0})]
    taken = [_group(each, missing) for each in groups]
    # Ours is in both groups: what is told of its connections is from its turns with the quick ones.
    kept = {**taken[1][1], **taken[0][1]}
    found = [samples for samples, _ in taken]
    return _result(found, kept, cells, missing)


def _subjects() -> tuple[dict[str, Start], dict[str, Start], dict[str, str]]:
    """Those that keep their process, those that start again, and why others are missing."""
    missing: dict[str, str] = {}
    quick: dict[str, Start] = {OURS: ours, FLOOR: floor}
    slow: dict[str, Start] = {OURS: ours}
    for name in (node.BUN, node.VITE_MESSAGE, node.VITE_MODULE):
        why = node.missing(name)
        quick |= {name: node.start(name)} if why is None else {}
        missing |= {name: why} if why is not None else {}
    for name, each in reloaders.RELOADERS.items():
        why = reloaders.missing(name)
        (slow if each.slow else quick).update({name: reloaders.start(name)} if why is None else {})
        missing |= {name: why} if why is not None else {}
    if peers.openagents() is None:
        return quick, slow, {**missing, networks.THEIRS: peers.why_missing()}
    quick[upstream.BY_EVENTS] = upstream.start(upstream.BY_EVENTS)
    slow[upstream.BY_RESTART] = upstream.start(upstream.BY_RESTART)
    return quick, slow, missing


def _group(group: Group, missing: dict[str, str]) -> tuple[Samples, dict[str, Kept]]:
    with contextlib.ExitStack() as stack:
        subjects = _started(stack, group.starts, missing)
        numbers = itertools.count(1)
        samples: Samples = {}
        kept = {name: Kept() for name in subjects}
        for cell, rounds in group.cells.items():
            lines, how = cell
            saves: dict[str, Callable[[], float | None]] = {
                name: partial(_save, subject, kept[name], WRITES[how], numbers, lines, group.slow)
                for name, subject in subjects.items()
            }
            # The first save of each kind fills caches, and lets every watcher find its feet.
            first = take_turns(saves, 1)
            samples[cell] = take_turns(saves, rounds, _MISSES) if rounds else first
        assert subjects[OURS].cuts() == 0, "a save has cut a connection"
    return samples, kept


def _started(stack: contextlib.ExitStack, starts: dict[str, Start], missing: dict[str, str]) -> dict[str, Subject]:
    """Start subjects, which end with the stack; those that do not start are missing."""
    subjects: dict[str, Subject] = {}
    folders = [stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)) for _ in starts]
    contexts = [start(Path(folder)) for start, folder in zip(starts.values(), folders, strict=True)]
    with ThreadPoolExecutor(4) as threads:
        for name, context, subject in zip(starts, contexts, threads.map(_enter, contexts), strict=True):
            if subject is None:
                missing[name] = "it did not start"
            else:
                stack.push(context)
                subjects[name] = subject
    return subjects


def _enter(context: contextlib.AbstractContextManager[Subject]) -> Subject | None:
    """The subject of a context that is entered; None where it does not start."""
    try:
        return context.__enter__()
    except (RuntimeError, OSError):
        return None


def _save(
    subject: Subject, kept: Kept, write: Write, numbers: itertools.count[int], lines: int, slow: bool
) -> float | None:
    """Milliseconds from the write to the first answer with the new number; None where it never came."""
    number = next(numbers)
    text = subject.text(number, lines)
    # What was cut off for being idle is connected again before it counts.
    if (before := subject.ask()) is not None:
        kept.tokens.add(before["token"])
    cuts, began = subject.cuts(), time.perf_counter()
    write(subject.file, text)
    try:
        subject.after_save()
    except RuntimeError:
        # A server that did not come back has missed the save.
        return None
    while (answer := subject.ask()) is None or answer["number"] != number:
        if time.perf_counter() - began > _LONGEST[slow]:
            return None
        time.sleep(_ASK_EVERY)
    took = (time.perf_counter() - began) * 1000
    kept.saves += 1
    kept.failed += subject.cuts() - cuts
    kept.tokens.add(answer["token"])
    time.sleep(random.uniform(*_PAUSE))
    return took


# Telling


def _result(found: Sequence[Samples], kept: dict[str, Kept], cells: Sequence[Cell], missing: dict[str, str]) -> Result:
    hundred, ranked = cells[:2], _ranked(found)
    rows = tuple(_row(name, found, kept, hundred) for name in ranked)
    columns = ("", *(f"{how}, ms" for _, how in hundred), "× ours", "connection", "state", "failed requests a save")
    notes = (
        "A module of 100 lines; median / p95 in milliseconds; less is better. Asked every 0.5 ms on one connection,"
        " made anew where it is cut. *State* is what the process keeps beside the edited module. The floor answers"
        " without HTTP; it shows what the machine allows. *Never*: the save was missed, or old code went on serving.",
        f"Those that start a process anew take turns among themselves (and with {OURS} again), fewer times.",
        *(f"Missing: {name}: {why}." for name, why in missing.items()),
    )
    tables = [Table("Save to served", columns, rows, notes)]
    if len(cells) > 2:
        tables.append(_by_size(found[0], cells[2:]))
    samples = {
        f"{lines} lines {how}, {whose}": dict(taken)
        for whose, each in zip(("one process", "a process anew"), found, strict=True)
        for (lines, how), taken in each.items()
    }
    return Result(tuple(tables), _targets(found), (_plot(found, ranked),), _versions(), samples)


def _pick(found: Sequence[Samples], cell: Cell, name: str) -> tuple[list[float], list[float]] | None:
    """The samples of a subject and of ours in the same turns; None where it was not asked."""
    for samples in found:
        if name in samples.get(cell, {}):
            return samples[cell][name], samples[cell][OURS]
    return None


def _ranked(found: Sequence[Samples]) -> list[str]:
    """The subjects, the quickest first."""

    def rank(name: str) -> float:
        picked = [_pick(found, (100, how), name) for how in WRITES]
        return min((median(each[0]) for each in picked if each is not None and each[0]), default=float("inf"))

    return sorted({name for samples in found for each in samples.values() for name in each}, key=rank)


def _row(name: str, found: Sequence[Samples], kept: dict[str, Kept], hundred: Sequence[Cell]) -> tuple[str, ...]:
    picked = [_pick(found, cell, name) for cell in hundred]
    times = ["-" if each is None else _time(*each) for each in picked]
    against = [quotient(*each) for each in picked if each is not None and each[0]]
    times_ours = " / ".join(f"{each:.2g}" if each < 10 else f"{each:.0f}" for each in against)
    return name, *times, times_ours or "-", *(kept[name].cells() if against else ("-", "-", "-"))


def _time(samples: list[float], ours: list[float]) -> str:
    """Median and p95, and how many saves were missed: ours misses none."""
    if not samples:
        return "never"
    missed = len(ours) - len(samples)
    return spread(samples) + (f" ({missed} missed)" if missed else "")


def _by_size(samples: Samples, cells: Sequence[Cell]) -> Table:
    names = list(samples[cells[0]])
    rows = tuple((name, *(_time(samples[cell][name], samples[cell][OURS]) for cell in cells)) for name in names)
    return Table("By size of the module", ("", *(f"{lines:,} lines, {how}" for lines, how in cells)), rows)


def _targets(found: Sequence[Samples]) -> tuple[Target, ...]:
    ours_at = [found[0][100, how][OURS] for how in WRITES]
    targets = [at_most("save to served, 100 lines", max(map(median, ours_at)), 5, "ms")]
    floors = [found[0][100, how].get(FLOOR, []) for how in WRITES]
    if all(floors):
        times = max(quotient(*each) for each in zip(ours_at, floors, strict=True))
        targets.append(at_most("save to served, 100 lines, against the floor", times, 3, "×"))
    picked = _pick(found, (100, "in place"), "uvicorn --reload")
    if picked is not None and picked[0]:
        targets.append(at_least("quicker than uvicorn --reload", quotient(*picked), 30, "×"))
    return tuple(targets)


def _plot(found: Sequence[Samples], ranked: Sequence[str]) -> Plot:
    picked = {name: _pick(found, (100, "in place"), name) for name in ranked}
    series = {name: [(0.0, median(each[0]))] for name, each in picked.items() if each is not None and each[0]}
    return Plot("save", "Save to served, 100 lines in place", "bars", "milliseconds (median)", "", series, log=True)


def _versions() -> dict[str, str]:
    names = ("reloaders", "flask", "hmr", "node", "openagents")
    return {package: number for name in names for package, number in peers.environment(name).versions.items()}
