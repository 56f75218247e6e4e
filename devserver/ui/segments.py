"""Lines before they are printed: pieces of text with a style and perhaps a place. Values."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from devserver.ui.glyphs import Style


class Place(NamedTuple):
    """A file and a line that a piece of text links to."""

    file: str
    line: int


class Segment(NamedTuple):
    """A piece of text, its style, and its link. The text may be unsafe: printing escapes it."""

    text: str
    style: Style = Style.PLAIN
    place: Place | None = None


Line = tuple[Segment, ...]


class Lead(StrEnum):
    """The beginning of the first line of a block."""

    TIME = "time"
    INDENT = "indent"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Block:
    """How one fact is told: its line, and what stands below it where a fact may have several.

    `details` only make sense below each other (source with carets): a face of one line for a fact leaves them out.
    `lead` is what a face of several lines puts in front; one of single lines always puts the time.
    """

    head: Line
    body: tuple[Line, ...] = ()
    details: tuple[Line, ...] = ()
    after: tuple[Line, ...] = ()
    lead: Lead = Lead.TIME


def plain(text: str) -> Segment:
    """Text without a style."""
    return Segment(text)


def dim(text: str) -> Segment:
    """Text that may be overlooked."""
    return Segment(text, Style.DIM)


def strong(text: str) -> Segment:
    return Segment(text, Style.STRONG)


def joined(parts: Iterable[str], separator: str) -> str:
    """Return the parts that say something, each once, in order."""
    return separator.join(dict.fromkeys(each for each in parts if each))
