"""Counting at a small and constant cost, in plain lists and dicts of bounded size. Reads no clock."""

from __future__ import annotations

from typing import Any

State = dict[str, Any]

WINDOW = 300
"""How far back rates go, in seconds: one slot for each."""

EMPTY = -1


def prepare(state: State, now: float) -> None:
    """Make sure that the counters are there; what has been counted stays. `now` is in seconds of a monotonic clock."""
    state.setdefault("since", now)
    state.setdefault("total", 0)
    state.setdefault("events", {})
    state.setdefault("agents", {})
    state.setdefault("unnamed", {"events": 0, "agents": 0})
    # A ring: slot s % WINDOW holds the events of the second `seconds[slot]`.
    state.setdefault("seconds", [EMPTY] * WINDOW)
    state.setdefault("per_second", [0] * WINDOW)


def add(state: State, kind: str, name: str, most: int) -> None:
    """Count one for `name` among `kind` ("events" or "agents"); from the `most`-th name on, new ones share a place."""
    names = state[kind]
    if name in names:
        names[name] += 1
    elif len(names) < most:
        names[name] = 1
    else:
        state["unnamed"][kind] += 1


def tick(state: State, now: float) -> None:
    """Count one event at `now`."""
    state["total"] += 1
    second = int(now)
    slot = second % WINDOW
    if state["seconds"][slot] != second:
        state["seconds"][slot] = second
        state["per_second"][slot] = 0
    state["per_second"][slot] += 1


def rate(state: State, now: float, window: int) -> dict[str, Any]:
    """Return how many events the last `window` seconds saw, and how many that is per second since
    counting began."""
    oldest = int(now) - window
    seen = sum(
        events
        for second, events in zip(state["seconds"], state["per_second"], strict=True)
        if second != EMPTY and oldest < second <= int(now)
    )
    counted_for = min(window, max(1.0, now - state["since"]))
    return {"events": seen, "per_second": round(seen / counted_for, 3)}


def top(state: State, kind: str, limit: int) -> list[dict[str, Any]]:
    """Return the `limit` most frequent names of a kind, with their counts."""
    ranked = sorted(state[kind].items(), key=lambda item: (-item[1], item[0]))
    return [{"name": name, "count": number} for name, number in ranked[:limit]]
