"""Keeps each measure's result in .bench/results/NAME.json, and writes bench/RESULTS.md of all that are there.

So a part can be measured again alone, on a quieter day; each part says when it was measured, and how busy it was then.
Measures nothing, draws nothing.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from bench.harness import Plot, Result, Table, Target
from bench.peers import FOLDER

RESULTS = Path(__file__).parent / "RESULTS.md"
_KEPT = FOLDER / "results"

_HEAD = """\
# Results

Each part is measured with every peer in the same run, in turns, so that what the machine does besides hits all of them
alike: **compare within a row, not between runs**. Figures are `median / p95` (or what the columns say) on a loaded or a
quiet machine: the line under each heading says when it was measured, and the load before and after (one core busy is
1.0). Ratios hold better than absolute times. *Quick* parts have few samples. A peer that is missing is named, with why.
`python -m bench` measures all, `python -m bench NAME` one part, `--quick` with fewer samples; the raw samples are below
`.bench/results`.
"""


_WHY = """\
Where an event of one client over HTTP spends its time: it goes to the thread of the mods and back, so that a mod that
blocks stalls no one else (OpenAgents answers nothing meanwhile, health included). That costs four looks at a selector,
two wake-ups over a pipe and two changes of threads, which on idle cores take longer than everything else;
on busy ones, or with many clients, they come in batches, and what is left is mostly asyncio, its sockets and dispatch
(*Where the time of a request goes*). A save costs more than in 0.1.0: it is followed by what proves that no old code is
left. A shadow's p50 is what an agent waits over HTTP; to keep an event for a shadow costs some tenths of a µs, and the
shadow itself runs after the answer (*Versions beside a mod*).

Why a save takes more than 5 ms and three times the floor: nothing on its way waits, and no part stands out (100 lines
in place, one mod, `oa-dev run` with a client that asks, each part in the quickest tenth of 60 saves on a busy machine,
6.3 ms in all, 2026-11-30): the write and its notification 0.4, the look at it 0.2, to the thread that reads 0.2,
reading until the file is whole 0.3, Python's compiler 0.8 (which the floor pays too), back to the plan 0.25, the plan
and telling it 0.7, finding the mod and its modules 0.5, to the thread that imports 0.15, import 1.1, to the thread of
mods 0.15, construction to the open gate 0.7, the question and its answer over HTTP 0.9 (asked again half a
millisecond after each answer, as the floor is). A third of the import notes what the code changes in the process:
without that, a handler of a logger or an entry in another module's table would outlive its code. A process that was
idle runs cold: in a loop, without HTTP, a save takes 3.1 ms of a processor, with what follows it.

Why 1,000 mods start later than in OpenAgents: each takes 1.8 ms of a processor on its way through all phases
(plan 0.2, finding 0.15, import 1.2, construction 0.15, `initialize()` 0.1, commit 0.05; in process,
2026-11-30), where a bare import of the same two files takes 0.3. Of the import 0.35 note what its code changes
in the process, 0.3 read, hash and compile the sources, and 0.25 ask the disk where each module lies and whether
others may have written it. 0.6 more in the server are its threads, the watch of 1,000 folders, and
network.yaml.
"""


@dataclasses.dataclass(frozen=True, slots=True)
class Taken:
    """A result with the circumstances in which it was measured."""

    name: str
    result: Result
    when: str
    quick: bool
    seconds: float
    load: tuple[str, str]
    machine: str


def keep(taken: Taken) -> None:
    """Write a result down, in place of the one of that name."""
    _KEPT.mkdir(parents=True, exist_ok=True)
    text = json.dumps(dataclasses.asdict(taken), ensure_ascii=False)
    (_KEPT / f"{taken.name}.json").write_text(text, encoding="utf-8")


def kept(names: Iterable[str]) -> list[Taken]:
    """The results that are there, in the order of `names`."""
    files = [_KEPT / f"{name}.json" for name in names]
    read = [_read(each) for each in files if each.exists()]
    return [each for each in read if each is not None]


def _read(file: Path) -> Taken | None:
    """A result, or None for one that another version of this program has kept."""
    try:
        return _taken(json.loads(file.read_text(encoding="utf-8")))
    except (KeyError, TypeError, ValueError):
        return None


def _taken(values: dict[str, Any]) -> Taken:
    result = values.pop("result")
    read = Result(
        tuple(Table(**{**each, "rows": tuple(map(tuple, each["rows"]))}) for each in result["tables"]),
        tuple(Target(**each) for each in result["targets"]),
        tuple(Plot(**each) for each in result["plots"]),
        result["versions"],
        result["samples"],
    )
    return Taken(**{**values, "load": tuple(values["load"])}, result=read)


def page(parts: Sequence[Taken], not_drawn: str | None, missing: Sequence[str]) -> str:
    """RESULTS.md. `not_drawn` says why there are no plots; `missing` names measures that were never taken."""
    lines = [_HEAD, *_machines(parts)]
    if missing:
        lines.append(f"Not measured yet: {', '.join(missing)}.\n")
    if not_drawn is not None:
        lines.append(f"No plots: {not_drawn}.\n")
    lines += _targets(parts)
    for part in parts:
        lines += _part(part, drawn=not_drawn is None)
    return "\n".join(lines).rstrip() + "\n"


def _machines(parts: Sequence[Taken]) -> list[str]:
    versions = {name: number for part in parts for name, number in part.result.versions.items()}
    peers = ", ".join(f"{name} {number}" for name, number in sorted(versions.items()))
    machines = [f"{each}\n" for each in dict.fromkeys(part.machine for part in parts)]
    return [*machines, f"Peers: {peers or 'none'}.\n"]


def _targets(parts: Sequence[Taken]) -> list[str]:
    rows = [
        (each.what, each.wanted, each.measured, "yes" if each.met else "**no**", part.name)
        for part in parts
        for each in part.result.targets
    ]
    table = Table("Targets", ("what", "wanted", "measured", "met", "part"), tuple(rows))
    return [*_table(table), _WHY] if rows else []


def _part(part: Taken, drawn: bool) -> list[str]:
    first, *others = part.result.tables
    how = " --quick" if part.quick else ""
    about = (
        f"`python -m bench{how} {part.name}`, {part.when}, {part.seconds:.0f} s, load {part.load[0]} → {part.load[1]}."
    )
    lines = _table(first, about)
    for each in others:
        lines += _table(each, level="###")
    if drawn:
        lines += [f"![{each.title}]({each.name}.png)\n" for each in part.result.plots]
    return lines


def _table(table: Table, about: str | None = None, level: str = "##") -> list[str]:
    lines = [f"{level} {table.title}", ""]
    lines += [about, ""] if about is not None else []
    lines += [_row(table.columns), _row(["---"] * len(table.columns)), *(_row(each) for each in table.rows)]
    return [*lines, *(f"\n{note}" for note in table.notes), ""]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def markdown(result: Result) -> str:
    """The tables of one result, for the screen."""
    return "\n".join(line for each in result.tables for line in _table(each))
