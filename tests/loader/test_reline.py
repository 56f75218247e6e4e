"""Which edits only move code."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from devserver.loader.keeping import is_same_code
from devserver.loader.modules import Text, compile_text
from devserver.sources.effects import lines_for
from devserver.sources.imports import read_containers

SOURCE = b"class Tool:\n    size: int = 1\n    def go(self):\n        return [1, 2.0]\n"


def text(data: bytes) -> Text:
    """A reading of a source."""
    return compile_text(Path("m.py"), data, "digest")


@pytest.mark.parametrize("moved", [b"\n# why\n" + SOURCE, SOURCE.replace(b"[1, 2.0]", b"[1,  2.0]  # two")])
def test_comments_and_blank_lines_move_code(moved: bytes) -> None:
    """Also where the first line of a class is compiled into it, as Python 3.13 does."""
    assert is_same_code(text(SOURCE), text(moved))


@pytest.mark.parametrize(
    "changed",
    [
        SOURCE.replace(b"2.0", b"2"),
        SOURCE.replace(b"= 1", b"= True"),
        SOURCE.replace(b"size", b"width"),
        SOURCE.replace(b"= 1\n", b'= 1\n    "how large"\n'),
    ],
)
def test_another_value_type_name_or_text_is_a_change(changed: bytes) -> None:
    """Also what compiles to the same: the text below a field."""
    assert not is_same_code(text(SOURCE), text(changed))


@pytest.mark.parametrize(
    "deep",
    [
        "if x == 0: pass\n" + "".join(f"elif x == {n}: pass\n" for n in range(400)),
        f"from mods import hub\nhub.made({'+'.join(['x'] * 400)})\nNAMES = [{'+'.join(['x'] * 400)}]\n",
        f"R = {'[' * 190}{']' * 190}\n",
        f"KEY = {1 << 20_000:#x}\n",
    ],
)
def test_long_chains_are_read_to_their_end(deep: str) -> None:
    """Of `elif`, of operators, of digits: by all that reads a source for a save."""
    source = deep.encode()
    assert is_same_code(text(source), text(source + b"# why\n"))
    assert lines_for(source, "mods.hub") == lines_for(source + b"# why\n", "mods.hub")
    assert read_containers(source).keys() <= {"R"}


def test_what_compiles_to_something_else_is_told_without_a_tree(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trees take longer to make and compare than all else that a save waits for."""
    before, after = text(SOURCE), text(SOURCE.replace(b"[1", b"[3"))
    monkeypatch.setattr(ast, "parse", None)
    assert not is_same_code(before, after)
