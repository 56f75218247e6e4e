"""A line of another author: a log record of a mod or library, or a print. Values only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

PRINTED = "print"
"""The level of what was printed."""


@dataclass(frozen=True, slots=True)
class Said:
    """One line: its author ("wiki v2", or a logger), level, words, and what belongs to them.

    `trace` is the whole trace of an exception that was logged, "" without one.
    """

    who: str
    level: str
    words: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    trace: str = field(default="", repr=False)
    bound: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
    """Of a log record: `mod`, `generation`, `event_name` and `agent`, as far as they are known."""


Say = Callable[[Said], None]
