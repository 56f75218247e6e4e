"""The columns of an error count characters, whatever the letters before it are."""

from __future__ import annotations

from pathlib import Path

import pytest

from devserver.reload.error_facts import error_facts


@pytest.mark.parametrize("before", ["a = 1", "a = 'ä'", "a = '漢字'", "a = '🙂é'"])
def test_the_caret_stands_under_what_failed(tmp_path: Path, before: str) -> None:
    """Python counts bytes of UTF-8 there; people, and editors, count characters."""
    path = tmp_path / "mod.py"
    line = f"{before}; missing()"
    path.write_text(f"{line}\n", encoding="utf-8")
    with pytest.raises(NameError) as raised:
        exec(compile(path.read_bytes(), str(path), "exec"), {})
    where = error_facts(raised.value, lambda file: file == str(path)).where
    assert where is not None
    assert where.column is not None and where.end_column is not None
    assert line[where.column - 1 : where.end_column - 1] == "missing"


def test_without_its_source_an_error_has_a_line_and_no_column(tmp_path: Path) -> None:
    """A file that is gone cannot be counted in."""
    path = tmp_path / "gone.py"
    with pytest.raises(NameError) as raised:
        exec(compile("\nmissing()", str(path), "exec"), {})
    where = error_facts(raised.value, lambda file: file == str(path)).where
    assert where is not None
    assert (where.line, where.column) == (2, None)
