"""Recorded events as lines: one line for each, or all about one. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from devserver.ui.glyphs import Style
from devserver.ui.look import View
from devserver.ui.segments import Line, Segment, dim, plain, strong


def event_line(row: Mapping[str, Any], view: View) -> Line:
    """When, which, from whom to whom, how long its way was, what came of it, and what is in it.

    Args:
        row: as `model.trace.row_to_dict` makes it.
    """
    glyphs = view.look.glyphs
    at = datetime.fromisoformat(str(row["time"])).astimezone().strftime("%H:%M:%S")
    way = f"  {row.get('source_id') or 'unknown'} {glyphs.arrow} {row.get('destination_id') or 'network'}"
    good = row.get("success") is True
    sign = Segment(f"  {glyphs.dot if good else glyphs.failed} ", Style.GOOD if good else Style.BAD)
    payload = row.get("payload")
    told = dim(f"  {json.dumps(payload, ensure_ascii=False)}") if payload else plain("")
    return (
        plain(f"{at} "),
        dim(f"{row.get('host', '')}#{row['number']} "),
        strong(str(row.get("event_name"))),
        plain(way),
        sign,
        plain(str(row.get("message") or ("ok" if good else "failed"))),
        dim(f"  {duration(row['took_ms'])}"),
        told,
    )


def event_lines(event: Mapping[str, Any], view: View) -> list[Line]:
    """Return an event in lines: visits, events on its behalf, receivers, answer, errors."""
    arrow = view.look.glyphs.arrow
    rows = [_visit(each) for each in event["way"]]
    rows += [(f"  {arrow} #{each['number']} {each['event_name']}", each["took_ms"], "") for each in event["children"]]
    rows += [(f"  {arrow} {each['agent']}", *_delivery(each)) for each in event["deliveries"]]
    width = max((len(what) for what, _, _ in rows), default=0)
    lines = [event_line({**event, "payload": None}, view)]
    for what, took, said in rows:
        lines.append((plain(f"{what:<{width}}  "), dim(f"{duration(took):>8}  "), plain(said)))
    lines += [(plain("  payload  "), dim(each)) for each in _json(event["payload"])]
    lines += [(plain("  answer   "), dim(each)) for each in _json(event["answer"]["data"])]
    for error in event["errors"]:
        lines += _error(error)
    lines += [(dim(f"  log      {level} {words}"),) for _, _, level, _, _, words in event["logs"]]
    return lines


def duration(ms: float) -> str:
    """Return a time with three digits, in the unit that fits these."""
    if ms < 1:
        return f"{ms * 1000:.0f} µs"
    return f"{ms:.3g} ms" if ms < 1000 else f"{ms / 1000:.3g} s"


def _visit(visit: Mapping[str, Any]) -> tuple[str, float, str]:
    name = f"  {visit['mod_id']} v{visit['generation']}" if visit["generation"] else f"  {visit['mod_id']}"
    held = f", waited {duration(visit['held_ms'])} at its gate" if visit["held_ms"] else ""
    return name, visit["took_ms"], f"{visit['said'].replace('_', ' ')}{held}"


def _delivery(delivery: Mapping[str, Any]) -> tuple[float, str]:
    if "read_us" in delivery:
        return delivery["read_us"] / 1000, "has read it"
    return delivery["waits_us"] / 1000, "waits for it"


def _json(value: Any) -> Iterator[str]:
    if value:
        yield from json.dumps(value, ensure_ascii=False, indent=2).splitlines()


def _error(error: Mapping[str, Any]) -> list[Line]:
    place = f" at {error['file']}:{error['line']}" if error["file"] else ""
    lines: list[Line] = [
        (Segment(f"  {error['mod_id']} raised {error['kind']}: {error['message']}{place}", Style.BAD),)
    ]
    return lines + [(dim(f"  {number:>6} │ {text}"),) for number, text in error["excerpt"]]
