"""Finds the network.yaml that a command is about: the one that was named, or the one in the working directory.

Only there: a command that searched upwards would run code that its caller did not mean. Reads no file.
"""

from __future__ import annotations

import os
import stat
from itertools import islice
from pathlib import Path

from devserver.cli.exits import Problem

NAME = "network.yaml"


def network_file(given: Path | None) -> Path:
    """The file to read, as an absolute path. Raises Problem with what was looked for where there is none."""
    folder = working_directory()
    return _named(folder / given, given) if given is not None else _here(folder)


def working_directory() -> Path:
    """The directory that the command was called in. Raises Problem where it was removed meanwhile."""
    try:
        return Path.cwd()
    except OSError as error:
        raise Problem(f"the working directory cannot be used: {error.strerror}", "change to another one") from error


def _named(path: Path, given: Path) -> Path:
    mode = _mode(path)
    if mode is None:
        raise Problem(f"there is no file {given}", _others(path.parent))
    if stat.S_ISDIR(mode):
        inside = _mode(path / NAME) is not None
        raise Problem(f"{given} is a directory", f"did you mean {given / NAME}?" if inside else f"it holds no {NAME}")
    return path


def _here(folder: Path) -> Path:
    if _mode(folder / NAME) is not None:
        return _named(folder / NAME, Path(NAME))
    parent = next((each for each in folder.parents if _is_there(each / NAME)), None)
    if parent is not None:
        path = os.path.relpath(parent / NAME, folder)
        raise Problem(f"no {NAME} in {folder}", f"there is one further up, name it: {path}")
    below = sorted(each.parent.name for each in _below(folder))
    if below:
        raise Problem(f"no {NAME} in {folder}", f"there is one further down: cd {below[0]}")
    raise Problem(f"no {NAME} in {folder}", _others(folder) or "make one: oa-dev new network DIR")


def _below(folder: Path) -> list[Path]:
    """The networks one folder further down, of which a few will do."""
    try:
        return list(islice(folder.glob(f"*/{NAME}"), 10))
    except OSError:
        return []


def _is_there(path: Path) -> bool:
    try:
        return _mode(path) is not None
    except Problem:
        # Further up there may be directories that are not ours to read.
        return False


def _mode(path: Path) -> int | None:
    """The mode of what is at a path, None for nothing. Raises Problem where that cannot be known."""
    try:
        return path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise Problem(f"{path} cannot be looked at: {reason}") from error


def _others(folder: Path) -> str:
    """The YAML files that are there instead."""
    try:
        found = sorted(each.name for each in folder.iterdir() if each.suffix in (".yaml", ".yml"))
    except OSError:
        return ""
    return f"there is {', '.join(found[:3])}" if found else ""
