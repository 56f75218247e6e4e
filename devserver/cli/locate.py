"""Finds the network.yaml of a command: the named one, or the nearest one from here upwards.

Upwards through folders of this user alone: a file that another user has put into a folder above is
not run. Reads no file.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from devserver.cli.exits import Problem

NAME = "network.yaml"


def network_file(given: Path | None) -> Path:
    """Return the file to read, as an absolute path; of a folder its network.yaml. Raises Problem if it is missing."""
    folder = working_directory()
    return _named(folder / given, given) if given is not None else _here(folder)


def workspace() -> Path:
    """Return the folder of the network that commands ask: the nearest from here upwards that has run or can run."""
    folder = working_directory()
    marks = (NAME, ".oa-dev/run.json")
    found = next((each for each in _upwards(folder) if any(_is_there(each / mark) for mark in marks)), None)
    # Where another network was joined from here, and this folder has none of its own.
    joined = sorted(folder.glob(".oa-dev/joined/*/.oa-dev/run.json")) if found is None else []
    return joined[0].parents[1] if len(joined) == 1 else found or folder


def _upwards(folder: Path) -> Iterator[Path]:
    """Return the folder and those above it, as far as they belong to this user."""
    yield folder
    for each in folder.parents:
        try:
            if each.stat().st_uid != os.geteuid():
                return
        except OSError:  # it may be a folder of anyone
            return
        yield each


def working_directory() -> Path:
    """Return the directory of the command. Raises Problem where it was removed meanwhile."""
    try:
        return Path.cwd()
    except OSError as error:
        raise Problem(f"the working directory cannot be used: {error.strerror}", "change to another one") from error


def _named(path: Path, given: Path) -> Path:
    mode = _mode(path)
    if mode is None:
        raise Problem(f"there is no file {given}", _others(path.parent))
    if not stat.S_ISDIR(mode):
        return path
    inside = _mode(path / NAME)
    if inside is None:
        raise Problem(f"there is no {NAME} in {given}", _others(path))
    if stat.S_ISDIR(inside):
        raise Problem(f"{given / NAME} is a directory")
    return path / NAME


def _here(folder: Path) -> Path:
    if (mode := _mode(folder / NAME)) is not None:
        if stat.S_ISDIR(mode):
            raise Problem(f"{NAME} is a directory")
        return folder / NAME
    above = next((each for each in _upwards(folder) if _is_there(each / NAME)), None)
    if above is not None:
        return above / NAME
    foreign = next((each for each in folder.parents if _is_there(each / NAME)), None)
    if foreign is not None:
        path = os.path.relpath(foreign / NAME, folder)
        raise Problem(f"no {NAME} in {folder}", f"there is one in a folder of another user, name it: {path}")
    below = sorted(each.parent.name for each in _below(folder))
    if below:
        raise Problem(f"no {NAME} in {folder}", f"there is one further down: cd {below[0]}")
    raise Problem(f"no {NAME} in {folder}", _others(folder) or "make one: oa-dev new network DIR")


def _below(folder: Path) -> list[Path]:
    """Return the networks one folder further down, at most a few."""
    try:
        return list(islice(folder.glob(f"*/{NAME}"), 10))
    except OSError:  # what cannot be listed gives no hint
        return []


def _is_there(path: Path) -> bool:
    try:
        return _mode(path) is not None
    except Problem:
        # Further up there may be directories that are not ours to read.
        return False


def _mode(path: Path) -> int | None:
    """Return the mode of the file at a path, None for nothing. Raises Problem if unknown."""
    try:
        return path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise Problem(f"{path} cannot be looked at: {reason}") from error


def _others(folder: Path) -> str:
    """Return the YAML files that are there instead."""
    try:
        found = sorted(each.name for each in folder.iterdir() if each.suffix in (".yaml", ".yml"))
    except OSError:
        return ""
    return f"there is {', '.join(found[:3])}" if found else ""
