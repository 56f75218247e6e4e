"""The answer of `oa-dev hosts` as lines. Pure; shows what the server says and leaves out what it does not say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from devserver.ui.glyphs import Style
from devserver.ui.look import View
from devserver.ui.segments import Line, Segment, dim, joined, plain, strong
from devserver.ui.status import uptime
from devserver.ui.words import count


def hosts_lines(values: Mapping[str, Any], view: View) -> tuple[Line, ...]:
    """The engine, then a row for each host: how far away, its mods, its agents, and what waits for it."""
    rows = [each for each in values.get("hosts") or () if isinstance(each, Mapping)]
    width = max((len(str(each.get("host"))) for each in rows), default=0)
    return (_engine(values.get("engine") or {}, view), *(_host(each, width, view) for each in rows))


def _engine(values: Mapping[str, Any], view: View) -> Line:
    if not values.get("connected"):
        return (Segment("engine unreachable", Style.WARN), dim(f"  {values.get('url')}"))
    started = "started here" if values.get("started_here") else ""
    parts = (str(values.get("url")), f"nats-server {values.get('version')}", started)
    return (strong("engine  "), dim(joined(parts, f" {view.look.glyphs.dot} ")))


def _host(row: Mapping[str, Any], width: int, view: View) -> Line:
    name = strong(f"{row.get('host')}".ljust(width + 2))
    mods: Sequence[Mapping[str, Any]] = row.get("mods") or ()
    parts = [f"{count(len(mods), 'mod')}", f"{count(int(row.get('agents') or 0), 'agent')}"]
    parts += ["author"] if row.get("author") else []
    parts += ["up " + uptime(float(row["up_s"]))] if row.get("up_s") is not None else []
    parts += [f"{row['waiting']} deliveries wait"] if row.get("waiting") else []
    known = [f"{each['mod_id']} v{each['generation']}" for each in mods if each.get("generation")]
    rest = dim(f"  {', '.join(known)}") if known and not row.get("here") else plain("")
    return (name, _where(row), dim("  " + "  ".join(parts)), rest)


def _where(row: Mapping[str, Any]) -> Segment:
    if row.get("here"):
        return plain("here".ljust(10))
    if row.get("state") == "away":
        return Segment(f"away {float(row.get('silent_s') or 0):.0f} s".ljust(10), Style.WARN)
    trip = row.get("away_ms")
    return plain((f"{float(trip):.1f} ms" if trip is not None else "there").ljust(10))
