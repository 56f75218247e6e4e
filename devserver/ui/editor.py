"""Opens a file at its line in the editor of the person. Pure, except for `open_in`."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple

_IN_TERMINAL = frozenset({"vi", "vim", "nvim", "nano", "micro", "hx", "helix", "emacs", "kak", "ne", "joe"})
_PATTERNS = {
    **dict.fromkeys(("code", "code-insiders", "codium", "cursor", "windsurf"), "-g {file}:{line}"),
    **dict.fromkeys(("subl", "zed", "hx", "helix", "micro"), "{file}:{line}"),
    **dict.fromkeys(("idea", "pycharm", "charm"), "--line {line} {file}"),
}
_LINKS = {
    **{name: f"{name}://file{{path}}:{{line}}:{{column}}" for name in ("cursor", "windsurf", "zed", "vscodium")},
    **dict.fromkeys(("code", "vscode"), "vscode://file{path}:{line}:{column}"),
    "code-insiders": "vscode-insiders://file{path}:{line}:{column}",
    "codium": "vscodium://file{path}:{line}:{column}",
    **{name: f"{name}://open?file={{path}}&line={{line}}" for name in ("idea", "pycharm")},
}
"""The URL scheme of each editor in a browser; `{path}` is percent-encoded."""
_ANY = "+{line} {file}"
"""Arguments of vi, and nearly every editor of a terminal since."""

NO_EDITOR = "no editor is set: OA_DEV_EDITOR, VISUAL or EDITOR, as in OA_DEV_EDITOR='code -g {file}:{line}'"


class Edit(NamedTuple):
    """How a file is opened; `in_terminal`: the editor takes the terminal until it ends."""

    command: list[str]
    in_terminal: bool


def chosen_editor(setting: str | None, environ: Mapping[str, str]) -> str:
    """Return the editor that was set for `oa-dev`, else that of the environment; "" without one."""
    return setting or environ.get("VISUAL") or environ.get("EDITOR") or ""


def link_of(editor: str) -> str | None:
    """Return the address by which a browser opens a file here, with {path}, {line}, {column}."""
    words = _words(editor)
    return _LINKS.get(Path(words[0]).name) if words else None


def edit_of(editor: str, file: Path, line: int) -> Edit | None:
    """Return the command that opens a file at a line; None for an editor that names no program.

    `editor` may have `{file}` and `{line}` in it; otherwise they are added in that editor's form.
    """
    words = _words(editor)
    if not words:
        return None
    name = Path(words[0]).name
    if "{file}" not in editor:
        words += shlex.split(_PATTERNS.get(name, _ANY))
    filled = [each.replace("{file}", str(file)).replace("{line}", str(line)) for each in words]
    return Edit(filled, name in _IN_TERMINAL)


def _words(editor: str) -> list[str]:
    try:
        return shlex.split(editor)
    except ValueError:  # quotes that do not match
        return []


def open_in(edit: Edit, terminal: AbstractContextManager[object]) -> str:
    """Open it; return why that failed, or "". A terminal's editor is waited for, in `terminal`."""
    try:
        if edit.in_terminal:
            with terminal:
                subprocess.call(edit.command)
            return ""
        subprocess.Popen(
            edit.command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError as error:
        return f"{edit.command[0]} cannot be started: {error.strerror}"
    return ""
