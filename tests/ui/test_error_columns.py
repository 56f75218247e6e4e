"""The columns of an error count characters, whatever the letters before it are."""

from __future__ import annotations

from pathlib import Path

import pytest
from workspaces import Workspace

from devserver.model.facts import ModError
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


def test_a_group_is_told_with_the_first_exception_in_it(tmp_path: Path) -> None:
    """Its own text says how many there are, and its place is that of the group of tasks."""
    path = tmp_path / "mod.py"
    path.write_text(
        "def fail():\n    raise KeyError('k')\ntry:\n    fail()\nexcept KeyError as error:\n    first = error\n"
    )
    found: dict[str, KeyError] = {}
    exec(compile(path.read_bytes(), str(path), "exec"), found)
    group = ExceptionGroup("many", [ExceptionGroup("some", [found["first"]]), ValueError()])
    facts = error_facts(group, lambda file: file == str(path))
    assert facts.where is not None
    assert (facts.kind, facts.where.line) == ("ExceptionGroup", 2)
    assert facts.message == "many (2 sub-exceptions): KeyError: 'k'"


async def test_the_place_of_an_error_is_in_a_file_of_mods(work: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Code that Python makes itself, as a dataclass's, lies in none, though its name reads as one of the working
    directory."""
    head = "from dataclasses import dataclass\n@dataclass(frozen=True)\nclass Page:\n    title: str"
    file = work.mod(
        "wiki", '@mod_event_handler("wiki.page.name")\ndef name(self, event):\n    Page("a").title = 1', head
    )
    monkeypatch.chdir(work.folder)
    network = await work.start("mods.wiki")
    await work.ask("wiki.page.name")
    [told] = work.told(ModError)
    assert told.error.where is not None
    assert (told.error.where.file, file.read_text().splitlines()[told.error.where.line - 1].strip()) == (
        "mods/wiki.py",
        'Page("a").title = 1',
    )
    assert not network.engine.is_own("<frozen importlib._bootstrap>")
