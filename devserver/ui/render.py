"""Blocks become text: escaped, cut, coloured, linked. All from outside passes `escape.safe`.

The only place that writes escape sequences for the terminal. Decides nothing about the words.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from devserver.ui.escape import LINE_LIMIT, cut, safe
from devserver.ui.glyphs import SGR
from devserver.ui.look import Look
from devserver.ui.segments import Block, Lead, Line, Place, Segment, plain

INDENT = 9
"""The indent of further lines of a block: the columns of `10:14:02 `."""

_ESC = "\x1b"
_LINK_LIMIT = 400


def render(block: Block, look: Look, time: str, root: Path | None = None) -> str:
    """Return a block as text with its line breaks.

    Args:
        time: the clock time that the first line begins with.
        root: the folder that relative file names in links are relative to.
    """
    if look.one_line:
        return f"{time} {render_line(_single(block), look, root)}\n"
    lead = {Lead.TIME: f"{time} ", Lead.INDENT: " " * INDENT, Lead.NOTHING: ""}[block.lead]
    below = "" if block.lead is Lead.NOTHING else " " * INDENT
    further = (*block.body, *block.details, *block.after)
    lines = [lead + render_line(block.head, look, root)]
    lines += [(below + render_line(each, look, root)).rstrip() for each in further]
    return "".join(f"{each}\n" for each in lines)


def _single(block: Block) -> Line:
    line = [*block.head]
    for number, each in enumerate((*block.body, *block.after)):
        if each:
            line += [plain(": " if number == 0 else "; "), *each]
    return tuple(line)


def render_line(line: Iterable[Segment], look: Look, root: Path | None = None) -> str:
    """Return a line as text, without a break: at most 4 KiB of words, only our escape sequences."""
    left, parts = LINE_LIMIT, []
    for segment in line:
        text = cut(safe(segment.text), left, look.glyphs.more)
        parts.append(_dressed(text, segment, look, root))
        left -= len(text.encode())
        if left <= 0:
            break
    return "".join(parts)


def _dressed(text: str, segment: Segment, look: Look, root: Path | None) -> str:
    number = SGR[segment.style]
    if look.color and number and text:
        text = f"{_ESC}[{number}m{text}{_ESC}[0m"
    uri = _uri(segment.place, root) if look.links and segment.place else None
    return f"{_ESC}]8;;{uri}{_ESC}\\{text}{_ESC}]8;;{_ESC}\\" if uri else text


def _uri(place: Place, root: Path | None) -> str | None:
    """Return the address of a place; the line is the fragment, as rich and kitty have it."""
    path = Path(place.file) if root is None else root / place.file
    if not path.is_absolute() or "\0" in place.file:
        return None
    # as_uri percent-encodes special characters, so nothing in a file's name can end the link.
    uri = f"{path.as_uri()}#{place.line}"
    return uri if len(uri) <= _LINK_LIMIT else None
