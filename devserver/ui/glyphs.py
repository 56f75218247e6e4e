"""Tables: the look of each style and each sign. No rules."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Style(StrEnum):
    """The meaning of a piece of text to the eye."""

    PLAIN = "plain"
    DIM = "dim"
    STRONG = "strong"
    GOOD = "good"
    BAD = "bad"
    WARN = "warn"
    NOTE = "note"


SGR: dict[Style, str] = {
    Style.PLAIN: "",
    Style.DIM: "2",
    Style.STRONG: "1",
    Style.GOOD: "32",
    Style.BAD: "31",
    Style.WARN: "33",
    Style.NOTE: "36",
}
"""The terminal's own numbers (ECMA-48, "select graphic rendition") for each style; only the eight basic colours,
which every theme, light or dark, keeps readable."""


@dataclass(frozen=True, slots=True)
class Glyphs:
    """One set of signs. The defaults are for logs and dumb terminals: words instead of signs."""

    reloaded: str = "reloaded:"
    failed: str = "error:"
    warning: str = "warning:"
    note: str = "note:"
    quiet: str = "info:"
    add: str = "+"
    remove: str = "-"
    change: str = "~"
    held: str = "!"
    item: str = "-"
    dot: str = "-"
    arrow: str = "->"
    here: str = ">"
    gutter: str = "|"
    caret: str = "^"
    more: str = "..."
    times: str = "x"


ASCII = Glyphs()
RICH = Glyphs(
    reloaded="↻",
    failed="✗",
    warning="⚠",
    note="!",
    quiet="·",
    item="➜",
    dot="·",
    arrow="→",
    here="❱",
    gutter="│",
    more="…",
    times="×",
)
