"""Replay in words: results of pinned events after a save, of one run, and the differences. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import takewhile
from operator import eq
from typing import Any

from devserver.model.facts import PinReplayed, PinResult, Replayed
from devserver.model.observation import Differs
from devserver.ui.glyphs import RICH, Glyphs, Style
from devserver.ui.look import View
from devserver.ui.segments import Block, Line, Segment, dim, plain, strong
from devserver.ui.words import count, took

_MOST_NAMED = 2
_MOST_SHOWN = 20
_MOST_PINS = 10
_SHORT = 40
_LONG = 400
_ALIKE = 1.2
"""The ratio of two times below which they are told as alike."""


def replayed(fact: Replayed, view: View) -> tuple[Block, ...]:
    """Return the results of the pinned events: a line, and one for each that is not the same."""
    head = (dim(f"{view.look.glyphs.quiet} ") if view.look.one_line else plain("  "), *_head(fact, view.look.glyphs))
    others = [each for each in fact.pins if each.result is not PinResult.SAME]
    body = [_pin_line(each, view) for each in others[:_MOST_PINS]]
    if len(others) > _MOST_PINS:
        body.append((dim(f"{len(others) - _MOST_PINS} more"),))
    return (Block(head, body=tuple(body)),)


def tail(fact: Replayed, view: View) -> str:
    """Return the words at the end of a save's own line, if all is the same; else empty."""
    if fact.count(PinResult.SAME) < len(fact.pins) or len(fact.pins) < fact.of:
        return ""
    return f"{view.dot}{''.join(each.text for each in _head(fact, view.look.glyphs))}"


def _head(fact: Replayed, glyphs: Glyphs) -> Line:
    ran = len(fact.pins)
    pinned = f"{ran} pinned: " if ran == fact.of else f"{ran} of {fact.of} pinned replayed: "
    time = dim(f" {glyphs.dot} {took(fact.duration_ms)}")
    same, differ = fact.count(PinResult.SAME), fact.count(PinResult.DIFFERS)
    if same == ran:
        return (plain(f"{pinned}{'all the same' if ran > 1 else 'the same'}"), time)
    parts = [f"{same} same"] if same else []
    parts += [f"{differ} differ{'s' if differ == 1 else ''}"] if differ else []
    parts += [f"{fixed} fixed"] if (fixed := fact.count(PinResult.FIXED)) else []
    parts += [f"{unsteady} unsteady"] if (unsteady := fact.count(PinResult.UNSTEADY)) else []
    parts += [f"{cannot} cannot be replayed"] if (cannot := fact.count(PinResult.CANNOT)) else []
    return (Segment(f"{pinned}{', '.join(parts)}", Style.WARN if differ or cannot else Style.GOOD), time)


def _pin_line(pin: PinReplayed, view: View) -> Line:
    name = (plain("" if view.look.one_line else "  "), strong(pin.words), plain("   "))
    glyphs = view.look.glyphs
    match pin.result:
        case PinResult.CANNOT:
            return (*name, Segment(pin.why, Style.WARN))
        case PinResult.FIXED:
            return (*name, Segment(f"fixed: {pin.why.replace(RICH.arrow, glyphs.arrow)}", Style.GOOD))
        case PinResult.UNSTEADY:
            return (*name, plain(f"unsteady: {brief(pin.differences, glyphs)}"), dim(f"   {pin.why}"))
        case _:
            shows = "d shows it" if view.keys else f"oa-dev pins show {pin.name}"
            return (*name, plain(brief(pin.differences, glyphs)), dim(f"   {shows}"))


def brief(differences: Sequence[Differs], glyphs: Glyphs) -> str:
    """Return the differences in a line: two changes with values, then added and removed by name."""
    changed = [each for each in differences if each.kind == "changed"]
    parts = [f"{each.path} {_one(each, glyphs, _SHORT)}" for each in changed[:_MOST_NAMED]]
    for sign, kind in (("+", "added"), ("-", "removed")):
        names = [_last(each.path) for each in differences if each.kind == kind]
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        parts += [f"{sign} {', '.join(names[:3])}{more}"] if names else []
    if len(changed) > _MOST_NAMED:
        parts.append(f"{len(changed) - _MOST_NAMED} more")
    return "; ".join(parts)


def _last(path: str) -> str:
    """Return the end of a path, by which a person knows it in a short line."""
    return path if "[" in path else path.rpartition(".")[2] or path


def _one(each: Differs, glyphs: Glyphs, most: int) -> str:
    # Of values that begin alike and are cut, the part that differs is shown.
    whole = (value(each.before, math.inf), value(each.after, math.inf))
    alike = sum(takewhile(bool, map(eq, *whole)))
    begin = max(0, alike - most // 2)
    return f"{value(each.before, most, begin)} {glyphs.arrow} {value(each.after, most, begin)}"


def value(given: Any, most: float = _LONG, begin: int = 0) -> str:
    """Return a value as JSON, cut to so many characters, of a longer one from `begin` on."""
    text = json.dumps(given, ensure_ascii=False, default=str)
    text = f"…{text[begin:]}" if begin and len(text) > most else text
    return text if len(text) <= most else f"{text[: int(most) - 1]}…"


def difference_lines(differences: Iterable[Differs], glyphs: Glyphs) -> tuple[Line, ...]:
    """Return a line for each difference: its path, the former and the present value."""
    lines: list[Line] = []
    found = list(differences)
    for each in found[:_MOST_SHOWN]:
        match each.kind:
            case "added":
                row = (Segment("+ ", Style.GOOD), plain(f"{each.path}: {value(each.after)}"))
            case "removed":
                row = (Segment("- ", Style.BAD), plain(f"{each.path}: {value(each.before)}"))
            case _:
                row = (Segment("~ ", Style.WARN), plain(f"{each.path}: {_one(each, glyphs, _LONG)}"))
        lines.append(row)
    if len(found) > _MOST_SHOWN:
        lines.append((dim(f"{len(found) - _MOST_SHOWN} more"),))
    return tuple(lines)


def differences_block(fact: Replayed | None, view: View) -> Block:
    """Return all differences after the latest save: key d."""
    pins = [each for each in fact.pins if each.differences] if fact is not None else []
    if not pins:
        words = "no pinned event has been replayed" if fact is None else "the pinned events did what they did before"
        return Block((dim(words),))
    body: list[Line] = []
    for each in pins:
        body += [
            (strong(each.words),),
            *((plain("  "), *row) for row in difference_lines(each.differences, view.look.glyphs)),
        ]
    return Block((dim("differences from the accepted results:"),), body=tuple(body))


def run_line(run: Mapping[str, Any], width: int) -> Line:
    """Return a run of an event: generations, answer, duration, how many receivers."""
    if "cannot" in run:
        return (plain(f"  {names_of(run):<{width}}   "), Segment(f"cannot be replayed: {run['cannot']}", Style.WARN))
    seen = run["seen"]
    style = Style.GOOD if seen["success"] else Style.BAD
    data = "" if seen["data"] is None else f"   {value(seen['data'], 100)}"
    said = "success" if seen["success"] else seen["message"] or "no success"
    told = f"   {count(len(seen['told']), 'agent')} told" if seen["told"] else ""
    return (
        plain(f"  {names_of(run):<{width}}   "),
        Segment(said, style),
        plain(data),
        dim(f"   {took(seen['took_us'] / 1000)}{told}"),
    )


def pace_words(took_us: Mapping[str, Sequence[int]]) -> str:
    """Return how long an event takes now beside before, as medians of runs, each sorted. A ratio is
    told only if every run of one side took longer than every run of the other."""
    before, now = took_us["before"], took_us["now"]
    one, other = (max(1, each[len(each) // 2]) for each in (before, now))
    times = f"{took(one / 1000)} before, {took(other / 1000)} now"
    apart = before[0] > now[-1] or now[0] > before[-1]
    if not apart or max(one, other) < _ALIKE * min(one, other):
        return f"takes as long, as far as {len(now)} runs can tell ({times})"
    return f"{max(one, other) / min(one, other):.1f}x {'slower' if other > one else 'faster'} ({times})"


def names_of(run: Mapping[str, Any]) -> str:
    """Return the generations that a run went through: `wiki v5`."""
    numbers = run["seen"]["generations"] if "seen" in run else {}
    return ", ".join(f"{mod_id} v{number}" for mod_id, number in numbers.items()) or run["on"]


def pin_line(pin: Mapping[str, Any], glyphs: Glyphs) -> Line:
    """Return a pin in the list: its event, its initial state, its last result."""
    number = "" if pin["number"] is None else f" (#{pin['number']})"
    last = pin["last"]
    unsteady = f"; came to both results on the same code {count(pin['flips'], 'time')}" if pin["flips"] else ""
    told = "not run since" if last is None else last["result"] + (f": {last['why']}" if last["why"] else "")
    style = Style.WARN if last is not None and last["result"] in ("differs", "cannot") else Style.PLAIN
    return (
        strong(pin["name"]),
        plain(f"  {pin['event_name']}{number}  {glyphs.dot} {state_words(pin)} {glyphs.dot} "),
        Segment(told + unsteady, style),
    )


def state_words(pin: Mapping[str, Any]) -> str:
    kept = [f"{mod_id} ({count(each['keys'], 'key')})" for mod_id, each in pin["state"].items() if "keys" in each]
    lost = [f"{mod_id} until this run ends: {each['lost']}" for mod_id, each in pin["state"].items() if "lost" in each]
    return f"state of {', '.join((*kept, *lost))}" if kept or lost else "fresh mods"
