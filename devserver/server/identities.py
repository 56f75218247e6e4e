"""The agents' identities on disk, so that agents go on where they were when the server is started again.

OpenAgents clients register once in their life: a server that has forgotten them refuses their polls for ever. Kept are
ids, metadata, groups and the SHA-256 of secrets, in a file of this user alone. Decides nothing about agents.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from devserver.errors import DevServerError
from devserver.network.agents import Directory
from devserver.network.identity import agent_id_problem
from devserver.server.runfile import read_private, write_private

NAME = "identities.json"
DELAY = 0.05
"""Seconds between a change that nobody waits for and its being written: many of them are one write."""

_MOST_BYTES = 64 * 1024 * 1024
_DIGEST = re.compile(r"[0-9a-f]{64}")

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Waiting:
    """Somebody who waits until the change with a number is written."""

    change: int
    loop: asyncio.AbstractEventLoop
    done: asyncio.Future[None]

    def let_go(self) -> None:
        # A loop that has ended has nobody who waits.
        with contextlib.suppress(RuntimeError):
            self.loop.call_soon_threadsafe(_set, self.done)


def _set(done: asyncio.Future[None]) -> None:
    if not done.done():
        done.set_result(None)


class IdentityStore:
    """The file `.oa-dev/identities.json` of a workspace, and the directory whose agents it holds.

    A thread of its own writes, one whole file at a time: what changes meanwhile goes into the next, however many agents
    come at once. `tell` is told in a sentence when the file cannot be used; agents then come and go as without it.
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
        self._waiting: list[_Waiting] = []
        self._is_told = False

    def follow(self, directory: Directory) -> None:
        """Give a directory back the agents that were here before, and write down every change from now on."""
        try:
            directory.import_identities(self.load())
        except DevServerError as error:
            self._tell(f"agents of an earlier run are not known any more: {error}")
        self._directory = directory
        directory.on_change.append(self._changed)

    def load(self) -> list[Row]:
        """The rows of the file; none where there is no file. Raises DevServerError for a file not to be believed."""
        data = read_private(self._workspace, NAME, _MOST_BYTES)
        try:
            rows = json.loads(data) if data is not None else []
        except (ValueError, RecursionError) as error:
            raise DevServerError(f"{NAME} is damaged") from error
        if not isinstance(rows, list):
            raise DevServerError(f"{NAME} is damaged")
        return [row for row in rows if _is_sound(row)]

    def save(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Write these rows, at once and whole. Raises OSError or DevServerError where that cannot be."""
        write_private(self._workspace, NAME, _as_text(list(rows)))

    async def written(self) -> None:
        """Go on once everything that has changed before is on disk, or was found not to be writable."""
        loop = asyncio.get_running_loop()
        with self._news:
            if self._directory is None or self._written >= self._changes:
                return
            waiting = _Waiting(self._changes, loop, loop.create_future())
            self._waiting.append(waiting)
            self._news.notify()
        await waiting.done

    def close(self) -> None:
        """Write what is still to be written, and follow no more: what leaves from now on comes back next time."""
        with self._news:
            directory, self._directory = self._directory, None
            self._news.notify()
        if directory is not None:
            directory.on_change.remove(self._changed)
        if self._writer is not None:
            # Waited for: it must not see the agents of a network that has ended.
            self._writer.join()

    def _changed(self, agent_id: str, came: bool, transport: str) -> None:
        """Something is to be written. From any thread."""
        with self._news:
            self._changes += 1
            if self._writer is None and self._directory is not None:
                self._writer = threading.Thread(
                    target=self._write_on, args=(self._directory,), name="oa-dev identities", daemon=True
                )
                self._writer.start()
            self._news.notify()

    # On the writer's thread

    def _write_on(self, directory: Directory) -> None:
        while (change := self._next()) is not None:
            self._write(directory)
            with self._news:
                self._written = change
                ready = [each for each in self._waiting if each.change <= change]
                self._waiting = [each for each in self._waiting if each.change > change]
            for each in ready:
                each.let_go()

    def _next(self) -> int | None:
        """The number of the latest change, once it is to be written; None at the end."""
        with self._news:
            self._news.wait_for(lambda: self._written < self._changes or self._directory is None)
            if self._written == self._changes:
                return None
            self._news.wait_for(lambda: self._waiting or self._directory is None, self._delay)
            return self._changes

    def _write(self, directory: Directory) -> None:
        try:
            self.save(directory.export_identities())
        except (OSError, DevServerError) as error:
            if not self._is_told:
                self._tell(f"agents will have to register again after a restart: {NAME} cannot be written ({error})")
            self._is_told = True
        else:
            self._is_told = False


def _as_text(rows: list[Mapping[str, Any]]) -> str:
    try:
        return orjson.dumps(rows).decode() + "\n"
    except TypeError:
        # Numbers beyond 64 bit, or lone surrogates, in the metadata of an agent.
        return json.dumps([dict(each) for each in rows]) + "\n"


def _is_sound(row: object) -> bool:
    """Whether a row says all that an agent needs, and nothing that `Directory.register` would have refused."""
    if not isinstance(row, dict):
        return False
    texts = ("agent_id", "secret_sha256", "group", "transport")
    return (
        all(isinstance(row.get(name), str) for name in texts)
        and isinstance(row.get("metadata"), dict)
        and agent_id_problem(row["agent_id"]) is None
        and _DIGEST.fullmatch(row["secret_sha256"]) is not None
    )
