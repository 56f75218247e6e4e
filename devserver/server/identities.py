"""The agents' identities on disk, so that agents continue after a restart of the server.

OpenAgents clients register once in their life: a server that has forgotten them refuses their polls
for ever. Kept are ids, metadata, groups and the SHA-256 of secrets, in a file of this user alone:
one line for each change, so that a registration costs the same however many agents are known.
Decides nothing about agents.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from devserver.errors import DevServerError, EventRefused
from devserver.model.encoding import to_json
from devserver.network.agents import Directory
from devserver.network.identity import agent_id_problem
from devserver.server.runfile import append_private, open_private, rename_private, write_private

NAME = "identities.jsonl"
"""One JSON object a line: the row of an agent, or `{"gone": id}`. The last line about an agent counts."""

BEFORE = "identities.json"
"""The file of earlier versions: a list of rows. It is read if there is no other, and left."""

DELAY = 0.05
"""Seconds between a change without a waiting caller and its writing: many changes are one write."""

_MOST_LINE = 256 * 1024
_STALE_LINES = 1000
"""The most lines about forgotten agents in the file before it is written again."""

_DIGEST = re.compile(r"[0-9a-f]{64}")

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A caller that waits until the change with a number is written."""

    change: int
    loop: asyncio.AbstractEventLoop
    done: asyncio.Future[None]

    def let_go(self) -> None:
        # A loop that has ended has no waiting callers.
        with contextlib.suppress(RuntimeError):
            self.loop.call_soon_threadsafe(_set, self.done)


def _set(done: asyncio.Future[None]) -> None:
    if not done.done():
        done.set_result(None)


class IdentityStore:
    """The file `.oa-dev/identities.jsonl` of a workspace, and the directory whose agents it holds.

    A thread of its own writes: changes meanwhile go into the next write, however many agents come
    at once. `tell` is told in a sentence when the file cannot be used; agents then come and go
    without it.
    """

    def __init__(self, workspace: Path, tell: Callable[[str], None], *, delay: float = DELAY) -> None:
        self._workspace = workspace
        self._tell = tell
        self._delay = delay
        self._news = threading.Condition()
        self._directory: Directory | None = None
        self._writer: threading.Thread | None = None
        self._changes = 0
        self._written = 0
        self._changed_ids: dict[str, None] = {}
        self._waiting: list[_Waiting] = []
        self._is_told = False
        self._lines = 0
        """The number of lines in the file."""
        self._is_whole = False
        """Whether a line may be added to the file: not after a failed write."""

    def follow(self, directory: Directory) -> None:
        """Restore the former agents of a directory, and write down every change from now on."""
        try:
            directory.import_identities(self.load())
        except EventRefused as full:
            self._tell(f"not every agent of an earlier run is known: {full}")
        self.follow_again(directory)

    def follow_again(self, directory: Directory) -> None:
        """Write down every change from now on."""
        self._directory = directory
        directory.on_change.append(self._changed)
        directory.on_update.append(self._updated)

    def load(self) -> list[Row]:
        """Read the rows of the file. A damaged file, or one that others could have written, is kept
        aside and told of; its sound rows count if it is a file of this user alone."""
        rows: dict[str, Row] = {}
        try:
            lines = list(self._read_lines())
        except (DevServerError, OSError) as error:
            aside = self._keep_aside()
            self._tell(f"agents of an earlier run are not known any more: {error}{aside}")
            return []
        bad = 0
        for number, line in enumerate(lines, 1):
            row = _parsed(line)
            if isinstance(row, dict) and isinstance(row.get("gone"), str):
                rows.pop(row["gone"], None)
            elif isinstance(row, dict) and _is_sound(row):
                rows.pop(row["agent_id"], None)
                rows[row["agent_id"]] = row
            elif number < len(lines) or line.endswith(b"\n"):
                bad += 1
            # The last line may be cut off, if the process was killed while it wrote: its agent was
            # told nothing.
        if bad:
            aside = self._keep_aside()
            lost = f"{bad} of {len(lines)} lines cannot be read; {len(rows)} agents are known"
            self._tell(f"{NAME} is damaged: {lost}{aside}")
        self._lines = len(lines)
        self._is_whole = not bad and bool(lines) and lines[-1].endswith(b"\n")
        return list(rows.values())

    def _read_lines(self) -> Iterator[bytes]:
        stream = open_private(self._workspace, NAME)
        if stream is None:
            yield from self._lines_of_before()
            return
        with stream:
            while line := stream.readline(_MOST_LINE):
                yield line

    def _lines_of_before(self) -> Iterator[bytes]:
        stream = open_private(self._workspace, BEFORE)
        if stream is None:
            return
        with stream:
            rows = _parsed(stream.read())
        if not isinstance(rows, list):
            raise DevServerError(f"{BEFORE} is damaged")
        # Without line ends: an addition has to begin with all of them.
        yield from (json.dumps(row).encode() for row in rows)

    def _keep_aside(self) -> str:
        """Rename the file in the way; return its new name, as words."""
        aside = f"{NAME}.{int(time.time())}"
        try:
            rename_private(self._workspace, NAME, aside)
        except (OSError, DevServerError):
            return ""
        return f"; the file is kept as {aside}"

    def save(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Write these rows, at once and whole. Raises OSError or DevServerError if it cannot."""
        lines = [_line(row) for row in rows]
        write_private(self._workspace, NAME, "".join(lines))
        self._lines, self._is_whole = len(lines), True

    def add(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Append these rows. Raises OSError or DevServerError if that is impossible."""
        lines = [_line(row) for row in rows]
        self._is_whole = False
        append_private(self._workspace, NAME, "".join(lines))
        self._lines, self._is_whole = self._lines + len(lines), True

    async def written(self) -> None:
        """Wait until every earlier change is on disk, or cannot be written."""
        loop = asyncio.get_running_loop()
        with self._news:
            if self._directory is None or self._written >= self._changes:
                return
            waiting = _Waiting(self._changes, loop, loop.create_future())
            self._waiting.append(waiting)
            self._news.notify()
        await waiting.done

    def close(self) -> None:
        """Write the remaining changes, and stop following: agents that leave later come back."""
        with self._news:
            directory, self._directory = self._directory, None
            self._news.notify()
        if directory is not None:
            directory.on_change.remove(self._changed)
            directory.on_update.remove(self._updated)
        if self._writer is not None:
            # Waited for: it must not see the agents of a network that has ended.
            self._writer.join()
            self._writer = None

    def _changed(self, agent_id: str, came: bool, transport: str) -> None:
        self._updated(agent_id)

    def _updated(self, agent_id: str) -> None:
        """Have the row of an agent written. From any thread."""
        with self._news:
            self._changes += 1
            self._changed_ids[agent_id] = None
            if self._writer is None and self._directory is not None:
                self._writer = threading.Thread(
                    target=self._write_on, args=(self._directory,), name="oa-dev identities", daemon=True
                )
                self._writer.start()
            self._news.notify()

    # On the writer's thread

    def _write_on(self, directory: Directory) -> None:
        while (change := self._next()) is not None:
            with self._news:
                changed, self._changed_ids = self._changed_ids, {}
            self._write(directory, changed)
            with self._news:
                self._written = change
                ready = [each for each in self._waiting if each.change <= change]
                self._waiting = [each for each in self._waiting if each.change > change]
            for each in ready:
                each.let_go()

    def _next(self) -> int | None:
        """Return the number of the latest change, once it is to be written; None at the end."""
        with self._news:
            self._news.wait_for(lambda: self._written < self._changes or self._directory is None)
            if self._written == self._changes:
                return None
            # What no caller waits for gathers for a moment: many changes are one write.
            self._news.wait_for(lambda: self._waiting or self._directory is None, self._delay)
            return self._changes

    def _write(self, directory: Directory, changed: Iterable[str]) -> None:
        try:
            if self._is_whole and self._lines <= 2 * directory.count() + _STALE_LINES:
                self.add(directory.identity(agent_id) or {"gone": agent_id} for agent_id in changed)
            else:
                self.save(directory.export_identities())
        except FileNotFoundError:
            # The file, or its folder, was removed meanwhile.
            self._is_whole = False
            try:
                self.save(directory.export_identities())
            except (OSError, DevServerError) as error:
                self._tell_once(error)
        except (OSError, DevServerError) as error:
            self._tell_once(error)
        else:
            self._is_told = False

    def _tell_once(self, error: Exception) -> None:
        if not self._is_told:
            self._tell(f"agents will have to register again after a restart: {NAME} cannot be written ({error})")
        self._is_told = True


def _line(row: Mapping[str, Any]) -> str:
    return to_json(row).decode() + "\n"


def _parsed(line: bytes) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _is_sound(row: object) -> bool:
    """Return whether a row has all that an agent needs, and `Directory.register` allows."""
    if not isinstance(row, dict):
        return False
    texts = ("agent_id", "secret_sha256", "group", "transport")
    return (
        all(isinstance(row.get(name), str) for name in texts)
        and isinstance(row.get("metadata"), dict)
        and agent_id_problem(row["agent_id"]) is None
        and _DIGEST.fullmatch(row["secret_sha256"]) is not None
    )
