"""The place of an error opens in the editor that was chosen."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from devserver.ui.editor import chosen_editor, edit_of, open_in


@pytest.mark.parametrize(
    ("editor", "command"),
    [
        ("code", ["code", "-g", "/a b/c.py:7"]),
        ("/usr/bin/cursor --wait", ["/usr/bin/cursor", "--wait", "-g", "/a b/c.py:7"]),
        ("vim", ["vim", "+7", "/a b/c.py"]),
        ("hx", ["hx", "/a b/c.py:7"]),
        ("pycharm", ["pycharm", "--line", "7", "/a b/c.py"]),
        ("own --at {line} {file}", ["own", "--at", "7", "/a b/c.py"]),
        ("", None),
        ("'", None),
    ],
)
def test_each_editor_is_told_the_line_in_its_own_way(editor: str, command: list[str] | None) -> None:
    """A file with a space in its name stays one argument."""
    edit = edit_of(editor, Path("/a b/c.py"), 7)
    assert (edit.command if edit is not None else None) == command


def test_the_setting_goes_before_the_environment() -> None:
    """VISUAL before EDITOR, as everywhere."""
    environ = {"VISUAL": "vim", "EDITOR": "nano"}
    assert [chosen_editor(each, environ) for each in ("code", None)] == ["code", "vim"]
    assert chosen_editor(None, {}) == ""


def test_an_editor_of_the_terminal_has_the_terminal_while_it_runs(tmp_path: Path) -> None:
    """Keys are not read meanwhile; one that does not exist is a sentence."""
    steps: list[str] = []

    @contextmanager
    def terminal():
        steps.append("given")
        yield
        steps.append("taken back")

    vi = tmp_path / "vi"
    vi.write_text(f"#!{sys.executable}\nimport sys, pathlib\npathlib.Path(sys.argv[2]).write_text(sys.argv[1])\n")
    vi.chmod(0o755)
    edit = edit_of(str(vi), tmp_path / "opened", 3)
    assert edit is not None
    assert open_in(edit, terminal()) == ""
    assert ((tmp_path / "opened").read_text(), steps) == ("+3", ["given", "taken back"])
    missing = edit_of(str(tmp_path / "code"), tmp_path / "opened", 3)
    assert missing is not None
    assert "cannot be started" in open_in(missing, terminal())
