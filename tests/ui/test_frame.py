"""Carets stand under what is meant, whatever stands before it on the line."""

from __future__ import annotations

import pytest

from devserver.model.facts import Frame
from devserver.ui.escape import cells
from devserver.ui.frame import excerpt
from devserver.ui.glyphs import RICH
from devserver.ui.look import Look, View

VIEW = View(Look(RICH, one_line=False), width=60)


def drawn(text: str, column: int | None, end_column: int | None) -> list[str]:
    """The excerpt of a first line, as text."""
    lines = excerpt(Frame("mod.py", 1, column, end_column, "", ((1, text),)), VIEW)
    return ["".join(segment.text for segment in line) for line in lines]


def marked(text: str, column: int, end_column: int | None) -> str:
    """The part of the shown line that carets stand under, found by columns of the terminal."""
    shown, carets = drawn(text, column, end_column)
    start, stop = cells(carets[: carets.index("^")]), cells(carets)
    places = [(cells(shown[:number]), each) for number, each in enumerate(shown)]
    return "".join(each for place, each in places if start <= place < stop)


@pytest.mark.parametrize(
    ("text", "column", "end_column", "expected"),
    [
        ("x = board.addd(1)", 11, 15, "addd"),
        ("\t\tboard.addd(1)", 9, 13, "addd"),
        ("日本 = board.addd(1)", 12, 16, "addd"),
        ('name = "日本語"', 9, 12, "日本語"),
        ("x" * 500 + ".addd()", 502, 506, "addd"),
        ("f(\x1b[2J, addd)", 9, 13, "addd"),
        ("addd", 1, None, "a"),
        ("addd", 1, 1, "a"),
        ("call(", 5, 999, "("),
    ],
)
def test_carets_stand_under_what_is_marked(text: str, column: int, end_column: int | None, expected: str) -> None:
    """Tabs, wide characters, escapes and long lines do not move the carets."""
    assert marked(text, column, end_column) == expected


def test_a_column_beyond_the_line_is_marked_at_its_end() -> None:
    """Python reports the end of an unfinished line one column after it."""
    shown, carets = drawn("f(", 9, None)
    assert carets.rstrip().endswith("^")
    assert cells(carets) == cells(shown) + 1


def test_without_a_column_there_are_no_carets() -> None:
    """A place that is only a line shows the line."""
    assert drawn("x = 1", None, None) == ["❱ 1 │ x = 1"]


def test_without_source_there_is_no_excerpt() -> None:
    """A file that is gone still has its place named, without a line of source."""
    assert excerpt(Frame("mod.py", 7, 1, 2), VIEW) == ()


@pytest.mark.parametrize("length", [10, 1_000, 1_000_000])
def test_an_excerpt_never_exceeds_the_terminal(length: int) -> None:
    """A line of any length is shown around what is marked, within the width."""
    lines = drawn("x" * length, length // 2, length // 2 + 3)
    assert all(cells(line) + 9 <= 60 for line in lines)
