"""The large table: made once, only read afterwards. Knows no events."""

from __future__ import annotations

import math
from dataclasses import dataclass

SERIES = 16
"""How many measured things there are; row by row, each in turn."""


@dataclass(frozen=True, slots=True)
class Summary:
    """What a question about a series yields: how many values there are, and the least, mean and greatest of them."""

    count: int
    least: float | None
    mean: float | None
    greatest: float | None


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Table:
    """Rows of (series, minute, value), in the order of minutes."""

    rows: list[tuple[int, int, float]]

    def summary(self, series: int, first_minute: int, last_minute: int) -> Summary:
        """Return the values of a series from `first_minute` to `last_minute`, both included."""
        # Each minute is a run of SERIES rows, so a range of minutes is a slice.
        part = self.rows[first_minute * SERIES : (last_minute + 1) * SERIES]
        values = [value for each, _minute, value in part if each == series]
        if not values:
            return Summary(0, None, None, None)
        return Summary(len(values), min(values), math.fsum(values) / len(values), max(values))


def build(rows: int) -> Table:
    """Return a table of so many rows, the same one each time: a daily wave of its own height for
    each series."""
    return Table([_row(index) for index in range(rows)])


def _row(index: int) -> tuple[int, int, float]:
    minute, series = divmod(index, SERIES)
    wave = math.sin(2 * math.pi * minute / (24 * 60))
    return series, minute, round(100 + (series + 1) * wave, 3)
