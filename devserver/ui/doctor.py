"""The findings of `oa-dev doctor`, as lines. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from devserver.ui.glyphs import Style
from devserver.ui.look import View
from devserver.ui.segments import Line, Segment, dim, plain, strong

_WIDEST = 30
"""Longer values do not push the notes of others away."""


@dataclass(frozen=True, slots=True)
class Row:
    """One finding: group, name, value, its source or meaning, and whether it is all right."""

    group: str
    name: str
    value: str
    note: str = ""
    good: bool = True


def doctor_lines(rows: Sequence[Row], view: View) -> tuple[Line, ...]:
    """Return a heading for each group, and its findings; problems are marked."""
    width = max((len(each.name) for each in rows), default=0)
    lines: list[Line] = []
    for number, row in enumerate(rows):
        if number == 0 or rows[number - 1].group != row.group:
            lines.append((strong(row.group),))
        values = [len(each.value) for each in rows if each.group == row.group and len(each.value) <= _WIDEST]
        sign = plain("  ") if row.good else Segment(f"{view.look.glyphs.held} ", Style.WARN)
        note = f"  {row.note}" if row.note else ""
        value = f"{row.value:<{max(values, default=0)}}" if note else row.value
        told = dim(note) if row.good else Segment(note, Style.WARN)
        lines.append((sign, plain(f"{row.name:<{width}}  {value}"), told))
    return tuple(lines)
