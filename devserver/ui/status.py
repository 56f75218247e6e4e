"""The answer of `oa-dev status` as lines. Pure; shows what the server says and leaves out what it does not say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from devserver.model.facts import Status
from devserver.ui.glyphs import Style
from devserver.ui.look import View
from devserver.ui.segments import Line, Segment, dim, joined, plain, strong
from devserver.ui.words import count, fine, listed, took

_LATER_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"))


def status_lines(values: Mapping[str, Any], view: View) -> tuple[Line, ...]:
    """Return a running network in lines.

    Args:
        values: `name`, `url`, `uptime_s`, `mods` and `down` (each with `mod_id`, `mod_path`, `generation`, `state`,
            and the errors `failed` and `raised`), `agents` (each with `agent_id` and `transport`), `refused` (errors
            of network.yaml), `paused` and `waiting` (names of files that were saved and not applied), and
            `restart` (`reasons` of a restart that is needed, and why it `waits`; null where none is). An error is
            null, or has `kind`, `message`, `file`, `line` and `column`.
    """
    return (
        _head(values, view),
        *(line for each in (*_rows(values.get("mods")), *_rows(values.get("down"))) for line in _mod(each, view)),
        _agents([each for each in _rows(values.get("agents")) if not each.get("host")], view),
        *_hosts(values.get("hosts"), view),
        *_waiting(values, view),
        *_restart(values, view),
        *(_problem(each, "not applied", view, "  ") for each in _rows(values.get("refused"))),
    )


def memory_lines(values: Mapping[str, Any], view: View) -> tuple[Line, ...]:
    """Return the accounts of what is kept for agents: how much of what, for whom, and its bound."""
    return tuple(line for each in _rows(values.get("memory")) for line in _account(each, view))


def _account(row: Mapping[str, Any], view: View) -> tuple[Line, ...]:
    used, most = size_of(row.get("bytes", 0)), size_of(row.get("most", 0))
    refused = f", refused {row['refused']} times" if row.get("refused") else ""
    owners = [f"{each.get('owner')} {size_of(each.get('bytes', 0))}" for each in _rows(row.get("owners"))]
    lines: list[Line] = [
        (strong(str(row.get("name"))), plain(f"  {used} of {most}{refused}"), dim(f"  {row.get('keeps')}")),
        (dim(f"  beyond that, or {size_of(row.get('each', 0))} for one owner: {row.get('beyond')}"),),
    ]
    if owners:
        lines.append((plain("  most"), dim(_listed(owners, view))))
    return tuple(lines)


def size_of(count: float) -> str:
    """Return a number of bytes in its unit: `512 B`, `4.0 KiB`, `1.5 MiB`."""
    for unit in ("B", "KiB"):
        if count < 1024:
            return f"{count} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} MiB"


def held_lines(values: Mapping[str, Any], view: View) -> tuple[Line, ...]:
    """Return what holds replaced code of each mod, by its `old_code` (`proven`, `holders`)."""
    return tuple(line for each in _rows(values.get("mods")) for line in _old_code(each))


def _old_code(row: Mapping[str, Any]) -> tuple[Line, ...]:
    known = row.get("old_code")
    known = known if isinstance(known, Mapping) else {}
    holders = _rows(known.get("holders"))
    head: Line = (plain("  "), strong(str(row.get("mod_id"))), plain(f" v{row.get('generation')}  "))
    if not holders:
        words = "no old code is left" if known.get("proven") is True else "not yet proven: old code may be left"
        return ((*head, dim(words)),)
    return tuple(
        (*head, Segment(f"old code of {each.get('module')} is held by {each.get('what')}", Style.WARN))
        for each in holders
    )


def uptime(seconds: float) -> str:
    """Return a long duration in its largest unit: `12.0 s`, `5 min`, `3 h`."""
    for size, unit in _LATER_UNITS:
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return took(seconds * 1000)


def _head(values: Mapping[str, Any], view: View) -> Line:
    name, url = str(values.get("name") or "network"), str(values.get("url", ""))
    up = values.get("uptime_s")
    words = f"{view.dot}up {uptime(up)}" if isinstance(up, int | float) else ""
    return (strong(name), plain(f"  {url}"), dim(words))


def _mod(row: Mapping[str, Any], view: View) -> tuple[Line, ...]:
    number = row.get("generation")
    name, version = str(row.get("mod_id")), f" v{number}" if number else ""
    # A mod that declares no version has 0, which says nothing.
    declared = str(row.get("version", "")) if row.get("version") not in (None, "0") else ""
    said = joined((str(row.get("mod_path", "")), declared), " ")
    where = f"on {row['host']}" if row.get("host") else str(row.get("file") or "")
    details = joined((said, where, str(row.get("state", "")), _share(row, view)), view.dot)
    failed, raised = row.get("failed"), row.get("raised")
    problems = []
    if isinstance(failed, Mapping):
        problems.append(_problem(failed, "the saved version failed", view))
    if not isinstance(failed, Mapping) and (held := _held(row.get("outcome"))):
        problems.append((Segment(f"    {view.look.glyphs.held} ", Style.WARN), plain(held)))
    newer = row.get("newer_on_disk")
    if isinstance(newer, list) and newer and not isinstance(failed, Mapping):
        words = f"{listed([str(each) for each in newer], view.look.glyphs.more)} on disk differs from what runs"
        problems.append((Segment(f"    {view.look.glyphs.held} ", Style.WARN), plain(words)))
    if row.get("out"):
        problems.append(
            (Segment(f"    {view.look.glyphs.warning} ", Style.WARN), plain(f"gets no events: {row['out']}"))
        )
    if isinstance(raised, Mapping):
        often = f" {view.look.glyphs.times}{raised['times']}" if raised.get("times", 1) > 1 else ""
        problems.append(_problem(raised, f"on {raised.get('event_name')}{often}", view))
    return ((plain("  "), strong(name), plain(version), dim(f"  {details}")), *problems)


def _share(row: Mapping[str, Any], view: View) -> str:
    """Return which agents get a version of a mod that has several, and how its events fared."""
    if "label" not in row:
        return ""
    share = "shadow" if row.get("shadow") else f"{row.get('share', 0) * 100:.4g} %"
    agents = count(row.get("agents", 0), "agent")
    events = f"{count(row.get('events', 0), 'event')}, {row.get('failed_events', 0)} failed"
    p50 = row.get("p50_ms")
    return joined((share, agents, events, f"p50 {fine(p50)} ms" if p50 is not None else ""), view.dot)


def _held(outcome: object) -> str:
    """Return why the latest step of a mod did not happen; nothing where it did."""
    is_held = isinstance(outcome, Mapping) and outcome.get("status") == Status.SKIPPED
    return str(outcome.get("reason") or "") if is_held and isinstance(outcome, Mapping) else ""


def _agents(rows: Sequence[Mapping[str, Any]], view: View) -> Line:
    # A server of before says nothing of that: its agents are then shown as connected, as it meant them.
    here = [row for row in rows if row.get("connected") is not False]
    known = [str(row.get("agent_id")) for row in rows if row.get("connected") is False]
    names = [f"{row.get('agent_id')} ({row.get('transport', 'unknown')})" for row in here]
    count = f"  {len(here)} agents" if len(here) != 1 else "  1 agent"
    rest = dim(f"{view.dot}known, not connected{_listed(known, view)}" if known else "")
    return (plain(count), dim(_listed(names, view)), rest)


def _hosts(values: object, view: View) -> tuple[Line, ...]:
    """Return a line of the hosts, with the agents at the others; nothing for a network of one process."""
    rows = _rows(values.get("hosts")) if isinstance(values, Mapping) else ()
    if not rows:
        return ()
    names = [
        str(each.get("host"))
        + (" (this one)" if each.get("here") else " (away)" if each.get("state") == "away" else "")
        + ("" if each.get("here") or not each.get("agents") else f", {count(int(each['agents']), 'agent')}")
        for each in rows
    ]
    return ((plain(f"  {len(rows)} hosts" if len(rows) != 1 else "  1 host"), dim(_listed(names, view))),)


def _waiting(values: Mapping[str, Any], view: View) -> tuple[Line, ...]:
    names = values.get("waiting")
    names = [str(each) for each in names] if isinstance(names, list) else []
    if not names and values.get("paused") is not True:
        return ()
    words = "  paused" if values.get("paused") is True else "  not applied"
    return ((Segment(words, Style.WARN), dim(_listed(names, view))),)


def _restart(values: Mapping[str, Any], view: View) -> tuple[Line, ...]:
    needed = values.get("restart")
    if not isinstance(needed, Mapping):
        return ()
    reasons = [str(each) for each in needed.get("reasons") or ()]
    return ((Segment("  restart needed", Style.WARN), dim(_listed(reasons, view)), dim(f"; {needed.get('waits')}")),)


def _listed(names: Sequence[str], view: View) -> str:
    return f": {listed(names, view.look.glyphs.more)}" if names else ""


def _problem(error: Mapping[str, Any], what: str, view: View, indent: str = "    ") -> Line:
    place = ":".join(str(error[each]) for each in ("file", "line", "column") if error.get(each) is not None)
    told = joined((f"{error.get('kind')}: {error.get('message')}", what, place), view.dot)
    return (Segment(f"{indent}{view.look.glyphs.failed} ", Style.BAD), plain(told))


def _rows(values: object) -> list[Mapping[str, Any]]:
    if not isinstance(values, Sequence) or isinstance(values, str):
        return []
    return [each for each in values if isinstance(each, Mapping)]


def hosts_lines(values: Mapping[str, Any], view: View) -> tuple[Line, ...]:
    """The engine, then a row for each host: how far away, its mods, its agents, and what waits for it."""
    rows = [each for each in values.get("hosts") or () if isinstance(each, Mapping)]
    width = max((len(str(each.get("host"))) for each in rows), default=0)
    return (_engine(values.get("engine") or {}, view), *(_host(each, width) for each in rows))


def _engine(values: Mapping[str, Any], view: View) -> Line:
    if not values.get("connected"):
        return (Segment("engine unreachable", Style.WARN), dim(f"  {values.get('url')}"))
    started = "started here" if values.get("started_here") else ""
    parts = (str(values.get("url")), f"nats-server {values.get('version')}", started)
    return (strong("engine  "), dim(joined(parts, view.dot)))


def _host(row: Mapping[str, Any], width: int) -> Line:
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
