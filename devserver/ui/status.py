"""The answer of `oa-dev status` as lines. Pure; shows what the server says and leaves out what it does not say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from devserver.ui.glyphs import Style
from devserver.ui.look import View
from devserver.ui.segments import Line, Segment, dim, plain, strong
from devserver.ui.words import listed, took

_LATER_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"))


def status_lines(values: Mapping[str, Any], view: View) -> tuple[Line, ...]:
    """A running network in lines.

    Args:
        values: `name`, `url`, `uptime_s`, `mods` (each with `mod_id`, `mod_path`, `generation`, `state`), `agents`
            (each with `agent_id` and `transport`), `last_error` (null, or `kind`, `message`, `file`, `line` and
            perhaps `mod_id`), and `paused` and `waiting` (names of files that were saved and not applied).
    """
    return (
        _head(values, view),
        *(_mod(each, view) for each in _rows(values.get("mods"))),
        _agents(_rows(values.get("agents")), view),
        *_waiting(values, view),
        *_last_error(values.get("last_error"), view),
    )


def uptime(seconds: float) -> str:
    """A long duration in its largest unit: `12.0 s`, `5 min`, `3 h`."""
    for size, unit in _LATER_UNITS:
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return took(seconds * 1000)


def _head(values: Mapping[str, Any], view: View) -> Line:
    name, url = str(values.get("name") or "network"), str(values.get("url", ""))
    up = values.get("uptime_s")
    words = f" {view.look.glyphs.dot} up {uptime(up)}" if isinstance(up, int | float) else ""
    return (strong(name), plain(f"  {url}"), dim(words))


def _mod(row: Mapping[str, Any], view: View) -> Line:
    name, generation = str(row.get("mod_id")), row.get("generation")
    details = f"  {row.get('mod_path', '')} {view.look.glyphs.dot} {row.get('state', '')}"
    return (plain("  "), strong(name), plain(f" v{generation}"), dim(details))


def _agents(rows: Sequence[Mapping[str, Any]], view: View) -> Line:
    names = [f"{row.get('agent_id')} ({row.get('transport', 'unknown')})" for row in rows]
    return (plain(f"  {len(rows)} agents" if len(rows) != 1 else "  1 agent"), dim(_listed(names, view)))


def _waiting(values: Mapping[str, Any], view: View) -> tuple[Line, ...]:
    names = values.get("waiting")
    names = [str(each) for each in names] if isinstance(names, list) else []
    if not names and values.get("paused") is not True:
        return ()
    words = "  paused" if values.get("paused") is True else "  not applied"
    return ((Segment(words, Style.WARN), dim(_listed(names, view))),)


def _listed(names: Sequence[str], view: View) -> str:
    return f": {listed(names, view.look.glyphs.more)}" if names else ""


def _last_error(error: object, view: View) -> tuple[Line, ...]:
    if not isinstance(error, Mapping):
        return ()
    place = f"{error['file']}:{error.get('line')}" if error.get("file") else ""
    dot = f" {view.look.glyphs.dot} "
    words = dot.join(each for each in (str(error.get("mod_id") or ""), place) if each)
    told = f"{error.get('kind')}: {error.get('message')}"
    return ((Segment(f"  {view.look.glyphs.failed} ", Style.BAD), plain(told), dim(f"{dot}{words}" if words else "")),)


def _rows(values: object) -> list[Mapping[str, Any]]:
    if not isinstance(values, Sequence) or isinstance(values, str):
        return []
    return [each for each in values if isinstance(each, Mapping)]
