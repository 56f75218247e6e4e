"""A folder in `.oa-dev` whose files only this user may read: pins and the like."""

from __future__ import annotations

from pathlib import Path

from devserver.server.runfile import create_private, names_of_private, read_private, remove_private, write_private


class PrivateFolder:
    """The folder `name` in the folder of the server of a workspace."""

    def __init__(self, workspace: Path, name: str) -> None:
        self._workspace, self._name = workspace, name

    def names(self) -> list[str]:
        """Return the names of the files, none without a folder. Raises as they are read."""
        return names_of_private(self._workspace, inner=self._name)

    def read(self, name: str, limit: int) -> bytes | None:
        """Read `limit` bytes of a file. Raises DevServerError if others could write or read it."""
        return read_private(self._workspace, name, limit, inner=self._name)

    def write(self, name: str, text: str) -> None:
        """Write a file, at once and whole. Raises OSError or DevServerError."""
        write_private(self._workspace, name, text, inner=self._name)

    def create(self, name: str) -> int:
        """Create a file to append to; return its descriptor. Raises OSError or DevServerError."""
        return create_private(self._workspace, name, inner=self._name)

    def remove(self, name: str) -> None:
        """Remove a file; a missing one is fine. Raises OSError or DevServerError."""
        remove_private(self._workspace, name, inner=self._name)
