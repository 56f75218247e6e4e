"""What measures are made of: samples and their figures, tables, plots, targets, and sides that take turns."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Points = list[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Options:
    """How thoroughly to measure."""

    quick: bool = False

    def count(self, full: int, quick: int) -> int:
        """One of two numbers."""
        return quick if self.quick else full


@dataclass(frozen=True, slots=True)
class Table:
    """Figures. `notes` say how they were measured, and what is missing."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Plot:
    """A picture, as data: `kind` is bars, lines or points; `series` holds x and y; `marks` are moments on x.

    Of bars, each series is one bar: x is not looked at. `log` bends the axis of bars, and both axes of the others, but
    for y where it spans less than ten times.
    """

    name: str
    title: str
    kind: str
    x: str
    y: str
    series: dict[str, Points]
    marks: tuple[float, ...] = ()
    log: bool = False


@dataclass(frozen=True, slots=True)
class Target:
    """A figure that was promised: what, what is wanted, what was measured, and whether that keeps the promise."""

    what: str
    wanted: str
    measured: str
    met: bool


@dataclass(frozen=True, slots=True)
class Result:
    """What one measure found. `samples` are all figures that the tables are made of, by what and whose they are."""

    tables: tuple[Table, ...]
    targets: tuple[Target, ...] = ()
    plots: tuple[Plot, ...] = ()
    versions: dict[str, str] = field(default_factory=dict)
    samples: dict[str, dict[str, Any]] = field(default_factory=dict)


def figure(value: float) -> str:
    """Three digits, or more where it is that big."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def at_most(what: str, measured: float, limit: float, unit: str) -> Target:
    """A target for what is better the less it is."""
    return Target(what, f"at most {limit:,g} {unit}", f"{figure(measured)} {unit}", measured <= limit)


def at_least(what: str, measured: float, limit: float, unit: str) -> Target:
    """A target for what is better the more it is."""
    return Target(what, f"at least {limit:,g} {unit}", f"{figure(measured)} {unit}", measured >= limit)


def many(count: int, what: str) -> str:
    """As in `1 mod` and `1,000 mods`."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def take_turns(
    sides: Mapping[str, Callable[[], float | None]], rounds: int, misses: int | None = None
) -> dict[str, list[float]]:
    """Samples of all sides, round by round, so that what the machine does besides hits all of them alike.

    A side that returns None in a round has no sample of it; after `misses` rounds without any it is asked no more.
    """
    samples: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds):
        # Each round begins with another side: none is always the one after the noisiest.
        names = list(sides)[number % len(sides) :] + list(sides)[: number % len(sides)]
        for name in names:
            if misses is not None and number >= misses and not samples[name]:
                continue
            sample = sides[name]()
            if sample is not None:
                samples[name].append(sample)
    return samples


def median(samples: Sequence[float]) -> float:
    """The median."""
    return statistics.median(samples)


def share(samples: Sequence[float], percent: float) -> float:
    """The value that so many percent of the samples do not exceed (nearest rank)."""
    ordered = sorted(samples)
    return ordered[max(0, -int(-len(ordered) * percent // 100) - 1)]


def p95(samples: Sequence[float]) -> float:
    """The value that 95 % of the samples do not exceed."""
    return share(samples, 95)


def p99(samples: Sequence[float]) -> float:
    """The value that 99 % of the samples do not exceed."""
    return share(samples, 99)


def p5(samples: Sequence[float]) -> float:
    """The value that 95 % of the samples reach."""
    return -p95([-each for each in samples])


def rates(samples: Sequence[float]) -> str:
    """Median and p5 of what is better the more it is; a dash where there are no samples."""
    return f"{median(samples):,.0f} / {p5(samples):,.0f}" if samples else "-"


def spread(samples: Sequence[float], digits: int = 1) -> str:
    """Median and p95, as in `8.1 / 12.4`; a dash where there are no samples."""
    return f"{median(samples):,.{digits}f} / {p95(samples):,.{digits}f}" if samples else "-"


def tail(samples: Sequence[float], digits: int = 1) -> str:
    """Median, p99 and the worst; a dash where there are no samples."""
    if not samples:
        return "-"
    return f"{median(samples):,.{digits}f} / {p99(samples):,.{digits}f} / {max(samples):,.{digits}f}"


def ratio(one: Sequence[float], other: Sequence[float]) -> str:
    """How many times the median of `other` the median of `one` is."""
    return f"{quotient(one, other):,.2f}×" if one and other else "-"


def quotient(one: Sequence[float], other: Sequence[float]) -> float:
    """The median of `one` over the median of `other`; nan where either has no samples."""
    return median(one) / median(other) if one and other and median(other) else float("nan")
