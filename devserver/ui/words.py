"""Small phrases that several lines share: durations, counts, agents. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from devserver.model.facts import AgentsSeen, Held


def took(milliseconds: float) -> str:
    """Return a duration as people read it: `0.8 ms`, `14 ms`, `1.2 s`."""
    if milliseconds >= 1000:
        return f"{milliseconds / 1000:.1f} s"
    return f"{milliseconds:.0f} ms" if milliseconds >= 1 or milliseconds == 0 else f"{milliseconds:.1f} ms"


def fine(milliseconds: float) -> str:
    """Return the digits of a time that may be of microseconds: `0.041`, `0.4`, `2.1`, `120`."""
    return f"{milliseconds:.2g}" if milliseconds < 99.5 else f"{milliseconds:.0f}"


def count(number: int, thing: str) -> str:
    """Return `1 agent`, `3 agents`."""
    return f"{number} {thing}" if number == 1 else f"{number:,} {thing}s"


def shortened(text: str, most: int) -> str:
    """Return at most so many characters of a text, with a mark where some are missing."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def receipt(agents: AgentsSeen, held: Held) -> str:
    """Return how the agents fared, and what waited: `3 agents, 0 dropped, 2 events held 9 ms`."""
    words = f"{count(agents.connected, 'agent')}, {agents.dropped} dropped"
    return f"{words}, {count(held.events, 'event')} held {took(held.longest_ms)}" if held.events else words


def listed(names: Sequence[str], more: str, most: int = 8) -> str:
    """Names with commas; what goes beyond `most` is counted."""
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" {more} {rest} more" if rest > 0 else "")


def session_words(done: Mapping[str, Any]) -> str:
    events = count(done["events"], "event")
    return f"session {done['path']} ({events}, {max(1, done['bytes'] // 1024):,} KiB)"
