"""What the text helpers that mods share do."""

from __future__ import annotations

import pytest

from mods.lib.text import clean_line, excerpt, finds, title_problem


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [("  a \t\n b ", "a b"), ("a\x00\x1b[0m", "a[0m"), ("​\x07", ""), ("é ü", "é ü"), ("a\ud800b", "ab")],
)
def test_a_clean_line_is_one_line_of_visible_text(text, cleaned):
    """White space is collapsed, what cannot be printed is gone."""
    assert clean_line(text) == cleaned


def test_a_title_has_something_to_see_and_an_end():
    """Measured after cleaning."""
    assert title_problem("  Guide  ", longest=5) is None
    assert title_problem(" \x00 ") == "a title needs at least one visible character"
    assert title_problem("Guides", longest=5) == "a title has at most 5 characters, this one has 6"


def test_an_excerpt_says_that_it_goes_on():
    """Only where it does."""
    assert excerpt("abc", 3) == "abc"
    assert excerpt("abcd", 3) == "abc..."


def test_every_word_has_to_be_found_somewhere():
    """Folded as cases go, so that ß finds SS."""
    assert finds("STRASSE lang", "Die Straße", "ist lang")
    assert not finds("straße kurz", "Die Straße", "ist lang")
