"""The answer of `oa-dev status` as lines. Pure; shows what the server says and leaves out what it does not say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from devserver.model.facts import Status
from devserver.ui.glyphs import Style
from devserver.ui.look import View
from devserver.ui.segments import Line, Segment, dim, joined, plain, strong
from devserver.ui.words import listed, took

_LATER_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"))


def status_lines(values: Mapping[str, Any], view: View) -> tuple[Line, ...]:
    """A running network in lines.

    Args:
        values: `name`, `url`, `uptime_s`, `mods` and `down` (each with `mod_id`, `mod_path`, `generation`, `state`,
            and the errors `failed` and `raised`), `agents` (each with `agent_id` and `transport`), `refused` (errors
            of network.yaml), and `paused` and `waiting` (names of files that were saved and not applied). An error is
            null, or has `kind`, `message`, `file`, `line` and `column`.
    """
    return (
        _head(values, view),
        *(line for each in (*_rows(values.get("mods")), *_rows(values.get("down"))) for line in _mod(each, view)),
        _agents(_rows(values.get("agents")), view),
        *_waiting(values, view),
        *(_problem(each, "not applied", view, "  ") for each in _rows(values.get("refused"))),
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


def _mod(row: Mapping[str, Any], view: View) -> tuple[Line, ...]:
    dot, number = f" {view.look.glyphs.dot} ", row.get("generation")
    name, version = str(row.get("mod_id")), f" v{number}" if number else ""
    details = joined((str(row.get("mod_path", "")), str(row.get("state", ""))), dot)
    failed, raised = row.get("failed"), row.get("raised")
    problems = []
    if isinstance(failed, Mapping):
        problems.append(_problem(failed, "saved code, not running", view))
    if not isinstance(failed, Mapping) and (held := _held(row.get("outcome"))):
        problems.append((Segment(f"    {view.look.glyphs.held} ", Style.WARN), plain(held)))
    if isinstance(raised, Mapping):
        often = f" {view.look.glyphs.times}{raised['times']}" if raised.get("times", 1) > 1 else ""
        problems.append(_problem(raised, f"on {raised.get('event_name')}{often}", view))
    return ((plain("  "), strong(name), plain(version), dim(f"  {details}")), *problems)


def _held(outcome: object) -> str:
    """Why the latest step of a mod did not happen; nothing where it did."""
    is_held = isinstance(outcome, Mapping) and outcome.get("status") == Status.SKIPPED
    return str(outcome.get("reason") or "") if is_held and isinstance(outcome, Mapping) else ""


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


def _problem(error: Mapping[str, Any], what: str, view: View, indent: str = "    ") -> Line:
    """What is wrong, and where."""
    place = ":".join(str(error[each]) for each in ("file", "line", "column") if error.get(each) is not None)
    told = joined((f"{error.get('kind')}: {error.get('message')}", what, place), f" {view.look.glyphs.dot} ")
    return (Segment(f"{indent}{view.look.glyphs.failed} ", Style.BAD), plain(told))


def _rows(values: object) -> list[Mapping[str, Any]]:
    if not isinstance(values, Sequence) or isinstance(values, str):
        return []
    return [each for each in values if isinstance(each, Mapping)]
