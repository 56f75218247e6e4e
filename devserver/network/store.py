"""The agents' identities on disk, so that agents go on where they were when the server is started again.

OpenAgents clients register once in their life: a server that has forgotten them refuses their polls for ever. Kept are
ids, metadata, groups and the SHA-256 of secrets, in a file of this user alone. Decides nothing about agents.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from devserver.errors import DevServerError
from devserver.network.agents import Directory
from devserver.network.identity import agent_id_problem
from devserver.runfile import read_private, write_private

NAME = "identities.json"
DELAY = 0.05
"""Seconds between a change and its being written: many agents that come together are one write."""

_MOST_BYTES = 64 * 1024 * 1024
_DIGEST = re.compile(r"[0-9a-f]{64}")

Row = dict[str, Any]


class IdentityStore:
    """The file `.oa-dev/identities.json` of a workspace, and the directory whose agents it holds.

    `tell` is told in a sentence when the file cannot be used; agents then come and go as without it.
    """

    def __init__(self, workspace: Path, tell: Callable[[str], None], *, delay: float = DELAY) -> None:
        self._workspace = workspace
        self._tell = tell
        self._delay = delay
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._directory: Directory | None = None
        self._due: threading.Timer | None = None

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
        write_private(self._workspace, NAME, json.dumps([dict(each) for each in rows]) + "\n")

    def close(self) -> None:
        """Write what is still to be written, and follow no more: what leaves from now on comes back next time."""
        # A write on its way is waited for: it must not see the agents of a network that has ended.
        with self._writing:
            directory, self._directory = self._directory, None
            if directory is None:
                return
            directory.on_change.remove(self._changed)
            due = self._take_due()
            if due is not None:
                due.cancel()
                self._write(directory)

    def _changed(self, agent_id: str, came: bool, transport: str) -> None:
        """Something is to be written. From any thread."""
        with self._lock:
            if self._due is None and self._directory is not None:
                self._due = threading.Timer(self._delay, self._write_now)
                self._due.daemon = True
                self._due.start()

    def _write_now(self) -> None:
        with self._writing:
            if self._take_due() is not None and self._directory is not None:
                self._write(self._directory)

    def _take_due(self) -> threading.Timer | None:
        with self._lock:
            due, self._due = self._due, None
        return due

    def _write(self, directory: Directory) -> None:
        try:
            self.save(directory.export_identities())
        except (OSError, DevServerError) as error:
            self._tell(f"agents will have to register again after a restart: {NAME} cannot be written ({error})")


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
