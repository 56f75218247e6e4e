"""Which files on disk may be reloaded: those under a watched root, outside environments, caches and hidden folders.

Looks at names and at the file system; imports nothing.
"""

from __future__ import annotations

import os
from pathlib import Path

_OWN_PACKAGE = Path(__file__).resolve().parents[2]
_NEVER = frozenset({"__pycache__", "node_modules", "site-packages", "dist-packages"})


class Roots:
    """The folders whose Python files are sources of mods. The first is the folder of network.yaml."""

    def __init__(self, workspace: Path) -> None:
        self.workspace = workspace.resolve()
        self._folders: list[Path] = [self.workspace]
        self._environments: dict[Path, bool] = {}

    @property
    def own(self) -> Path:
        """Our own package, which is never reloaded."""
        return _OWN_PACKAGE

    @property
    def folders(self) -> tuple[Path, ...]:
        """All roots, the workspace first."""
        return tuple(self._folders)

    def add(self, folder: Path) -> None:
        """Let the files under `folder` be reloaded too."""
        resolved = folder.resolve()
        if not any(resolved.is_relative_to(each) for each in self._folders):
            self._folders.append(resolved)

    def holds(self, path: Path) -> bool:
        """Whether `path`, links followed, is a place for sources: below a root, not ours, not installed, not hidden."""
        real = Path(os.path.realpath(path))
        if real.is_relative_to(_OWN_PACKAGE):
            return False
        return any(real.is_relative_to(root) and self._is_plain(root, real) for root in self._folders)

    def shown(self, path: Path) -> str:
        """A path as people read it: relative to the workspace where it lies in it."""
        return str(path.relative_to(self.workspace)) if path.is_relative_to(self.workspace) else str(path)

    def _is_plain(self, root: Path, path: Path) -> bool:
        parts = path.relative_to(root).parts
        if any(part in _NEVER or (part.startswith(".") and part != "..") for part in parts):
            return False
        return not any(self._is_environment(root.joinpath(*parts[: n + 1])) for n in range(len(parts) - 1))

    def _is_environment(self, folder: Path) -> bool:
        known = self._environments.get(folder)
        if known is None:
            known = self._environments[folder] = (folder / "pyvenv.cfg").is_file()
        return known
