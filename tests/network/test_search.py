"""What people type to find events: the golden file says for each search which events of a small ring fit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from devserver.network.search import BadSearch, parse_search

GOLDEN = Path(__file__).parent / "golden/searches.json"

WIKI, OF_WIKI = "wiki.page.get", "mod:mods.wiki"
EVENTS = [
    # number, parent, at, took, name, source, destination, id, ok, said, way, to, full, payload
    [1, 0, 0, 900, WIKI, "ana", None, "5f3a01", True, "ok", [["wiki", 4, 0, 0, 800, 1]], [], [], {"p": "home"}],
    [2, 0, 0, 9000, "wiki.page.edit", "agent:ana", None, "5f3b02", True, "ok",
     [["analytics", 1, 0, 0, 9, 0], ["wiki", 5, 0, 3400, 800, 1]], [], [], {"text": "Über uns"}],
    [3, 2, 0, 40, "page.notification", OF_WIKI, "agent:critic", "aa", True, "delivered", [], ["critic"], [], {}],
    [4, 0, 0, 300, "kanban.task.move", "bob", "mod:kanban", "bb", False, "KeyError", [["kanban", 5, 0, 0, 9, 2]],
     [], [], {"column": "done soon", "n": 1287}],
    [5, 0, 0, 20, "note.take", "bob", "channel:critic", "cc", True, "ok", [["wiki", 5, 0, 0, 9, 2]], ["ana", 3],
     [], {}],
    [12, 0, 0, 2_000_001, "system.list_mods", None, None, "dd", True, "", [], [], [], None],
]  # fmt: skip


def entry(row: list[object]) -> bytes:
    """An event as the recorder keeps it; an answer of the kanban beside it."""
    line = json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode()
    return line + b'\n{"answer":[true,"","MOVED",""]}\n' if row[0] == 4 else line + b"\n"


def found(query: str) -> list[int]:
    """The numbers of the events that fit."""
    search = parse_search(query, pinned=[3, 5])
    return [row[0] for row in EVENTS if search.fits(entry(row))]  # type: ignore[misc]


@pytest.mark.parametrize(("query", "numbers"), json.loads(GOLDEN.read_text(encoding="utf-8")).items())
def test_a_search_finds(query: str, numbers: list[int]) -> None:
    """All its words have to fit."""
    assert found(query) == numbers


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("mod:", "mod: needs a value, as in mod:wiki"),
        ("wiki.* from:", "from: needs a value, as in from:ana"),
        ("v:new", "v:new is not a generation, as in v:5"),
        ("x" * 501, "a search has at most 500 characters"),
    ],
)
def test_a_word_that_says_nothing_is_refused_with_an_example(query: str, words: str) -> None:
    """So that a typing error does not look like a ring without events."""
    with pytest.raises(BadSearch) as refused:
        parse_search(query)
    assert str(refused.value) == words
