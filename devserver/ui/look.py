"""Decides how a stream is written to: signs or words, colours, links, one line or several.

Decides from its arguments (is it a terminal, the environment) and touches neither.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from devserver.ui.glyphs import ASCII, RICH, Glyphs

_LINKING = (
    "FORCE_HYPERLINK",
    "VTE_VERSION",
    "KITTY_WINDOW_ID",
    "WT_SESSION",
    "KONSOLE_VERSION",
    "DOMTERM",
    "WEZTERM_PANE",
    "GHOSTTY_RESOURCES_DIR",
    "ALACRITTY_WINDOW_ID",
)
"""Variables that only terminals with OSC 8 links set; others might print the link as litter."""

_LINKING_PROGRAMS = frozenset({"iTerm.app", "WezTerm", "vscode", "ghostty", "Hyper", "Tabby"})


@dataclass(frozen=True, slots=True)
class Look:
    """The abilities of a stream. `one_line`: each fact is one line, without art."""

    glyphs: Glyphs = ASCII
    one_line: bool = True
    color: bool = False
    links: bool = False


@dataclass(frozen=True, slots=True)
class View:
    """Everything that telling a fact depends on beside the fact. `width` is in columns.

    `started`: the network answers already, so a failure leaves something running. `keys`: single
    keys are read.
    """

    look: Look = Look()
    width: int = 100
    started: bool = True
    keys: bool = False
    version: str = ""

    @property
    def dot(self) -> str:
        """The sign between two parts of a line, with its blanks."""
        return f" {self.look.glyphs.dot} "


def look_of(tty: bool, environ: Mapping[str, str], color: bool | None = None, encoding: str = "utf-8") -> Look:
    """Return how to write to a stream.

    `color` is an explicit choice. Otherwise NO_COLOR wins over FORCE_COLOR (as in CPython itself),
    and both over the terminal. A terminal that is dumb, or one in CI, is written to like a file.
    """
    full = tty and environ.get("TERM") != "dumb" and not environ.get("CI")
    return Look(
        glyphs=RICH if full and _encodes(RICH.here, encoding) else ASCII,
        one_line=not full,
        color=_colored(full, environ) if color is None else color,
        links=full and (any(map(environ.get, _LINKING)) or environ.get("TERM_PROGRAM") in _LINKING_PROGRAMS),
    )


def _colored(full: bool, environ: Mapping[str, str]) -> bool:
    if environ.get("NO_COLOR"):
        return False
    forced = environ.get("FORCE_COLOR")
    if forced:
        return forced != "0"
    return full


def _encodes(text: str, encoding: str) -> bool:
    try:
        text.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True
