"""Preserves the belongings of a mod that ends: its data in memory, its files, its channels.

Several openagents mods clear their data in `shutdown()`, and one then saves the cleared data over
its files. So, before `shutdown()`, a copy of the data is taken; afterwards emptied files are
restored; the next start of the same mod in this process gets the data back. Only plain data is
kept: tasks, locks and objects of its own are made again.
"""

from __future__ import annotations

import copy
import os
from collections import deque
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from devserver.network.agents import Directory
from devserver.network.compare import same

MOST_BYTES = 8 * 1024 * 1024
"""Larger files are not protected: a `shutdown()` would have to read them first."""

_BASE = frozenset({"_mod_name", "_network", "_config", "_event_handlers", "_workspace_manager"})
_SCALARS = (str, bytes, int, float, bool, type(None), datetime)
_CONTAINERS = (dict, list, set, frozenset, tuple, deque)
_EMPTY = frozenset({b"", b"{}", b"[]", b"null"})


@dataclass(frozen=True, slots=True)
class Kept:
    """The belongings of one mod when it ended."""

    attributes: Mapping[str, Any]
    config: Mapping[str, Any]
    agents: frozenset[str] = frozenset()
    channels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def data_of(instance: object) -> dict[str, Any]:
    """Copy the plain data among an instance's attributes; what two share is one in the copy."""
    plain = (*_SCALARS, *_CONTAINERS)
    found = {name: value for name, value in vars(instance).items() if name not in _BASE and isinstance(value, plain)}
    # References back to the mod stay; they would otherwise be copied with everything that it knows.
    return dict(_copied(found, {id(instance): instance}))


def _copied(value: Any, known: Mapping[int, Any]) -> Any:
    """Copy a value deeply if possible; what cannot be copied (a task, a lock) is shared."""
    try:
        # A memory of its own each time: a failed one holds halves of copies.
        return copy.deepcopy(value, dict(known))
    except Exception:
        # Any exception: copying runs the code of a mod's objects.
        if isinstance(value, dict):
            return {key: _copied(each, known) for key, each in value.items()}
        return [_copied(each, known) for each in value] if type(value) is list else value


def changed_since(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """Return the data that has changed. Objects that cannot be compared count as changed."""
    return {name: value for name, value in now.items() if name not in before or not same(before[name], value)}


def give_back(instance: object, kept: Kept, config: Mapping[str, Any]) -> None:
    """Give an instance the data of the one before it. Under a changed configuration, values that
    the instance has made of that win over the kept ones."""
    attributes = vars(instance)
    for name, value in kept.attributes.items():
        current = attributes.get(name)
        if config != kept.config and isinstance(current, dict) and isinstance(value, dict):
            value = {**value, **current}
        if not _refilled(current, value):
            setattr(instance, name, value)


def _refilled(current: Any, value: Any) -> bool:
    """Fill a container in place, which others may hold; return whether it can be filled."""
    if type(current) is not type(value) or not isinstance(current, dict | list | set | deque):
        return False
    current.clear()
    if isinstance(current, dict | set):
        current.update(value)
    else:
        current.extend(value)
    return True


class Channels:
    """The channels of a network at this moment, to see which of them disappear."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._before = {name: directory.channel_members(name) for name in directory.channels()}

    def gone(self) -> dict[str, tuple[str, ...]]:
        """Return the channels that have disappeared, with their members."""
        now = set(self._directory.channels())
        return {name: members for name, members in self._before.items() if name not in now}


def open_channels(directory: Directory, channels: Mapping[str, Collection[str]]) -> None:
    """Create channels again, with those of their members that are still here."""
    for name, members in channels.items():
        directory.create_channel(name)
        for agent_id in members:
            if directory.agent(agent_id) is not None:
                directory.add_channel_member(name, agent_id)


class Files:
    """The files of a mod at this moment, to restore those that are emptied or removed."""

    def __init__(self, folder: Path) -> None:
        self._before = {path: data for path, data in _contents(folder) if not _is_empty(data)}

    def put_back(self) -> tuple[Path, ...]:
        """Restore the files that are empty or gone; return them. Raises OSError if it cannot."""
        lost = tuple(path for path in self._before if _is_lost(path))
        for path in lost:
            _write(path, self._before[path])
        return lost


def files_in(folder: Path) -> Iterator[Path]:
    """Return the data files in a folder, at any depth, without sources and hidden folders."""
    for parent, folders, names in os.walk(folder):
        folders[:] = [each for each in folders if not each.startswith((".", "__"))]
        yield from (Path(parent, name) for name in names if not name.endswith((".py", ".pyc")))


def _contents(folder: Path) -> Iterator[tuple[Path, bytes]]:
    for path in files_in(folder):
        if path.is_file() and path.stat().st_size <= MOST_BYTES:
            yield path, path.read_bytes()


def _is_lost(path: Path) -> bool:
    return not path.exists() or (path.stat().st_size <= MOST_BYTES and _is_empty(path.read_bytes()))


def _is_empty(data: bytes) -> bool:
    return data.strip() in _EMPTY


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.tmp")
    beside.write_bytes(data)
    beside.replace(path)
