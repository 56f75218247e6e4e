"""Versions beside mods as lines: the one of an agent, the differences of a shadow. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from devserver.ui.glyphs import Style
from devserver.ui.look import View
from devserver.ui.segments import Line, Segment, dim, plain, strong
from devserver.ui.words import count, fine, shortened

_MOST_SHOWN = 60


def which_lines(values: Mapping[str, Any]) -> tuple[Line, ...]:
    """Return which version of a mod an agent gets, and why, as the control API says it."""
    known = "" if values.get("connected") else " (not registered)"
    head: Line = (
        strong(str(values["agent"])),
        plain(f"{known} gets "),
        strong(str(values["gets"])),
        plain(f": {values['why']}"),
    )
    rows: list[Line] = [
        (plain("  "), strong(str(each["mod_id"])), dim(f"  {each.get('out') or each['gets']}"))
        for each in values.get("lines") or ()
    ]
    return head, *rows


def compare_lines(row: Mapping[str, Any], view: View) -> tuple[Line, ...]:
    """Return what a shadow did differently, as the control API says it."""
    busy = f"{view.dot}{row['busy']} not compared (busy)" if row["busy"] else ""
    events, since = row["events"], str(row["since"])[11:16]
    head: Line = (
        strong(str(row["line"])),
        plain(f" against {row['main']}{view.dot}{count(events, 'event')} since {since}{busy}"),
    )
    part = f"{row['same'] / events * 100:6.1f} %" if events else ""
    lines: list[Line] = [head, (plain(f"  same          {row['same']:>6,}"), dim(part))]
    for each in row["differences"]:
        before, after = (shortened(str(each[which]), _MOST_SHOWN) for which in ("before", "after"))
        words = f"{each['event_name']}  {each['path']}  {before} {view.look.glyphs.arrow} "
        first = f"first: event {str(each['event_id'])[:8]}"
        lines.append(
            (Segment(f"  other         {each['count']:>6,}  ", Style.WARN), plain(f"{words}{after}  "), dim(first))
        )
    lines.append((plain(f"  raised        {row['raised']:>6,}"), dim(f"  {row['raised_first'] or ''}")))
    mine, theirs = row["times"], row["main_times"]
    if mine["p50_ms"] is not None and theirs["p50_ms"] is not None:
        arrow = view.look.glyphs.arrow
        times = (
            f"{each} {fine(theirs[f'{each}_ms'])} {arrow} {fine(mine[f'{each}_ms'])} ms" for each in ("p50", "p99")
        )
        lines.append((plain(f"  time          {view.dot.join(times)}"),))
    lines.append((plain(f"  sends         {row['held']:>6,} held"), dim("  none of them left")))
    lines.append((dim("  what it does outside the network (HTTP, files elsewhere) really happens"),))
    return tuple(lines)
