"""Which files may be reloaded: below a root, outside environments, caches and hidden folders.

And which of them may be executed: those that other users of the machine cannot have written. Looks
at names and at the file system; imports nothing.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from devserver.sources.files import unrecorded

if TYPE_CHECKING:
    from devserver.model.change import Digest

REFUSED: Digest = "refused"
"""Stands for the digest of a source at a refused place: it changes when that is mended."""

_OWN_PACKAGE = Path(__file__).resolve().parents[1]
_NEVER = frozenset({"__pycache__", "node_modules", "site-packages", "dist-packages"})
_BASE_OF_MODS = ("openagents", Path("core", "base_mod.py"), "mods")
"""The package of OpenAgents that mods build upon as they do on ours, a file by which it is
recognised, and the folder of its own mods."""
_TELLING = frozenset({*_NEVER, _BASE_OF_MODS[2], _OWN_PACKAGE.name})
"""Names that may or may not be sources independently of their neighbours in a folder."""


class Roots:
    """The folders whose Python files are sources of mods. The first is network.yaml's."""

    def __init__(self, workspace: Path) -> None:
        self.workspace = workspace.resolve()
        self._inside = f"{os.path.normcase(self.workspace)}{os.sep}"
        self._folders: list[Path] = [self.workspace]
        self.asked: tuple[str, ...] = ()
        self._holding: dict[str, bool] = {}
        """By folder, whether it is a place for sources."""
        self._inner: dict[str, list[str]] = {}
        """By folder, itself and those above it that lie in a root."""
        self._environments: dict[Path, bool] = {}
        self._bases: dict[Path, bool] = {}
        self._installed: dict[Path, frozenset[str]] = {}
        """The folders of packages that mods run from, the current first, with mods' top names."""
        self._current: Path | None = None

    @property
    def own(self) -> Path:
        """Our own package, which is never reloaded."""
        return _OWN_PACKAGE

    @property
    def folders(self) -> tuple[Path, ...]:
        """All roots, the workspace first."""
        return (*self._folders, *(folder / top for folder, tops in self._installed.items() for top in sorted(tops)))

    @property
    def entries(self) -> tuple[Path, ...]:
        """The folders in which top modules of mods are searched, beside the import path. Of the
        folders of packages the current one alone: new imports never come from another one."""
        parents = (each.parent for each in self._folders[1:])
        return (self.workspace, *parents, *(() if self._current is None else (self._current,)))

    def ask(self, folder: Path) -> None:
        """Let all files below a folder of the import path be reloaded, as a person asks."""
        self.add(folder)
        self.asked = (*self.asked, str(folder.resolve()))

    def add(self, folder: Path) -> None:
        """Let the files under `folder` be reloaded too."""
        resolved = folder.resolve()
        # Below a hidden part of a root there are no sources, unless a person asks for it.
        if not any(resolved.is_relative_to(each) and self._is_plain(each, resolved / "x") for each in self._folders):
            self._folders.append(resolved)
            self._forget()

    def use_installed(self, folder: Path | None, tops: Iterable[str]) -> None:
        """Let these tops of a folder be sources. Modules from other folders stay sources."""
        self._current = None if folder is None else folder.resolve()
        if self._current is not None:
            others = {path: names for path, names in self._installed.items() if path != self._current}
            self._installed = {self._current: frozenset(tops), **others}
        self._forget()

    def drop_installed(self, folders: Iterable[Path]) -> None:
        """Note that nothing runs from these folders of packages any more."""
        for each in folders:
            if each != self._current:
                self._installed.pop(each, None)
        self._forget()

    @property
    def installed(self) -> tuple[Path, ...]:
        """The folders of packages that mods may run from, the current one first."""
        return tuple(self._installed)

    def installed_in(self, path: Path) -> Path | None:
        """Return the folder of packages that a file lies in."""
        return next((each for each in self._installed if path.is_relative_to(each)), None)

    def _forget(self) -> None:
        self._holding.clear()
        self._inner.clear()

    def holds(self, path: Path) -> bool:
        """Return whether `path` may be a source: in a root, not ours, not installed, not hidden."""
        return self._holds_name(*os.path.split(_real(path)))

    def holds_in(self, folder: str) -> bool:
        """Return whether a folder is a place for sources of any name, as `holds`."""
        return self._holds_name(_real(folder), "x")

    def _holds_name(self, folder: str, name: str) -> bool:
        if name in _TELLING or name.startswith(".") or (self._installed and Path(folder) in self._installed):
            return self._holds(Path(folder, name))
        known = self._holding.get(folder)
        if known is None:
            known = self._holding[folder] = self._holds(Path(folder, name))
        return known

    def _holds(self, real: Path) -> bool:
        if real.is_relative_to(_OWN_PACKAGE):
            return False
        if any(real.is_relative_to(root) and self._is_plain(root, real) for root in self._folders):
            return True
        installed = self.installed_in(real) if self._installed else None
        if installed is None:
            return False
        top = real.relative_to(installed).parts[:1]
        named = {each.removesuffix(".py") for each in top} & self._installed[installed]
        return bool(named) and self._is_plain(installed, real)

    def holds_data(self, path: Path) -> bool:
        """Return whether `path` may be data that mods read: as `holds`, and links lead anywhere.

        A shared prompt is linked from outside, and Kubernetes mounts files through hidden folders.
        """
        if self.holds(path):
            return True
        named = Path(os.path.abspath(path))
        return any(named.is_relative_to(root) and self._is_plain(root, named) for root in self._folders)

    def why_refused(self, path: Path) -> str | None:
        """Return why a source must not be executed; None if it may, or does not exist.

        Refused are links that lead out of the workspace, and files that other users may have
        written: files and folders of the workspace that are world-writable, or that belong to
        another user than us and root.
        """
        # As texts: each module that is imported is looked at, and objects of paths take longer than the system.
        real = _real(path)
        if self.is_inside(path) and not self.is_inside(real):
            return "resolves outside the workspace through a link; remove the link, or list the real package"
        folder = os.path.dirname(real)
        folders = self._inner.get(folder)
        if folders is None:
            above, roots = Path(real).parents, {*map(str, self._folders)}
            outer = next((n for n in range(len(above) - 1, -1, -1) if str(above[n]) in roots), 0)
            folders = self._inner[folder] = [*map(str, above[:outer])]
        for each in (real, *folders):
            try:
                found = os.stat(each)
            except OSError:
                return None
            # With the sticky bit only the owner of a file can replace it.
            if found.st_mode & stat.S_IWOTH and not (each != real and found.st_mode & stat.S_ISVTX):
                return f"{os.path.basename(each)} is writable by every user of this machine (chmod o-w)"
            if hasattr(os, "getuid") and found.st_uid not in (os.getuid(), 0):
                return f"{os.path.basename(each)} belongs to another user"
        return None

    def is_inside(self, path: Path | str) -> bool:
        """Return whether a path names a place in the workspace, wherever links lead."""
        return f"{os.path.normcase(path)}{os.sep}".startswith(self._inside)

    def judged(self, path: Path, digest: Digest | None) -> Digest | None:
        """Return the digest of a path's content, or REFUSED for a source that must not run."""
        if digest is None or path.suffix != ".py" or self.why_refused(path) is None:
            return digest
        return REFUSED

    def shown(self, path: Path) -> str:
        """Return a path as people read it: relative to the workspace if it lies in it."""
        return str(path.relative_to(self.workspace)) if path.is_relative_to(self.workspace) else str(path)

    def _is_plain(self, root: Path, path: Path) -> bool:
        parts = path.relative_to(root).parts
        if any(part in _NEVER or (part.startswith(".") and part != "..") for part in parts):
            return False
        folders = [root, *(root.joinpath(*parts[: n + 1]) for n in range(len(parts) - 1))]
        if any(
            self._is_base(folder) and inner != _BASE_OF_MODS[2] for folder, inner in zip(folders, parts, strict=True)
        ):
            return False
        return not any(self._is_environment(each) for each in folders[1:])

    def _is_base(self, folder: Path) -> bool:
        """Return whether a folder is a checkout of openagents: a reloaded class of its own would
        not be the base of other mods."""
        name, told_by, _ = _BASE_OF_MODS
        if folder.name != name:
            return False
        known = self._bases.get(folder)
        if known is None:
            known = self._bases[folder] = (folder / told_by).is_file()
        return known

    def _is_environment(self, folder: Path) -> bool:
        known = self._environments.get(folder)
        if known is None:
            known = self._environments[folder] = (folder / "pyvenv.cfg").is_file()
        return known


def _real(path: Path | str) -> str:
    """Return a path with its links followed, as `os.path.realpath`: Linux knows it of an open file, and need not
    be asked folder by folder."""
    try:
        with unrecorded():
            handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except (OSError, AttributeError):
        return os.path.realpath(path)
    try:
        real = os.readlink(f"/proc/self/fd/{handle}")
    except OSError:
        real = ""
    finally:
        os.close(handle)
    # A file that was just deleted is called so.
    return os.path.realpath(path) if not real.startswith("/") or real.endswith(" (deleted)") else real
