"""What measures are made of: samples, their median and p95, tables, and sides that take turns. Measures nothing."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Options:
    """How thoroughly to measure."""

    quick: bool = False

    def count(self, full: int, quick: int) -> int:
        """One of two numbers."""
        return quick if self.quick else full


@dataclass(frozen=True, slots=True)
class Table:
    """One measure's result. `notes` say how it was measured, and what is missing."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()

    def markdown(self) -> str:
        """The table as Markdown."""
        lines = [f"## {self.title}", "", _row(self.columns), _row(tuple("---" for _ in self.columns))]
        lines += [_row(each) for each in self.rows]
        return "\n".join([*lines, *(f"\n{note}" for note in self.notes), ""])


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def take_turns(sides: Mapping[str, Callable[[], float | None]], rounds: int) -> dict[str, list[float]]:
    """Samples of all sides, round by round, so that what the machine does besides hits all of them alike.

    A side that returns None in a round has no sample of it.
    """
    samples: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds):
        # Each round begins with another side: none is always the one after the noisiest.
        names = list(sides)[number % len(sides) :] + list(sides)[: number % len(sides)]
        for name in names:
            sample = sides[name]()
            if sample is not None:
                samples[name].append(sample)
    return samples


def median(samples: Sequence[float]) -> float:
    """The median."""
    return statistics.median(samples)


def p95(samples: Sequence[float]) -> float:
    """The value that 95 % of the samples do not exceed (nearest rank)."""
    ordered = sorted(samples)
    return ordered[max(0, -(-len(ordered) * 95 // 100) - 1)]


def p5(samples: Sequence[float]) -> float:
    """The value that 95 % of the samples reach."""
    return -p95([-each for each in samples])


def rates(samples: Sequence[float]) -> str:
    """Median and p5 of what is better the more it is; a dash where there are no samples."""
    return f"{median(samples):,.0f} / {p5(samples):,.0f}" if samples else "-"


def spread(samples: Sequence[float], digits: int = 1) -> str:
    """Median and p95, as in `8.1 / 12.4`; a dash where there are no samples."""
    return f"{median(samples):,.{digits}f} / {p95(samples):,.{digits}f}" if samples else "-"


def ratio(one: Sequence[float], other: Sequence[float]) -> str:
    """How many times the median of `other` the median of `one` is."""
    return f"{median(one) / median(other):,.2f}×" if one and other else "-"
