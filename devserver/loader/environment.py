"""The folder of packages on the import path: the one that the lock on disk names, at the very end.

The server's own packages come before it. It is never changed in place: another lock has another
folder, and code that runs from the former one stays complete. Imported packages of third parties
stay until a restart.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from devserver.loader.modules import LoadedModules
from devserver.market.folder import (
    Installed,
    NotInstalled,
    environments,
    find_installed,
    hash_of,
    installed_as,
    line_folder,
    lock_of,
    purge,
    write_whole,
)
from devserver.model.facts import PackageMoved
from devserver.model.names import LOCK
from devserver.sources.roots import Roots

_LIMIT = 8 * 1024 * 1024
"""The largest lock in bytes that is read."""


@dataclass(frozen=True, slots=True)
class Found:
    """The lock on disk: its installed packages, or why they miss. `digest` tells it from others."""

    digest: str | None = None
    installed: Installed | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """How a lock differs from what is loaded; modules, mods and distributions by their names.

    `moved`: the loaded modules that have other sources now, with their new places; `changes`: the
    versions of their distributions. `gone`: distributions that the lock no longer has. `imported`:
    third-party packages of which another version is imported, with both versions.
    """

    moved: Mapping[str, Path] = field(default_factory=dict)
    changes: Mapping[str, str] = field(default_factory=dict)
    gone: frozenset[str] = frozenset()
    imported: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    distribution: Mapping[str, str] = field(default_factory=dict)
    """The distribution of each of these modules."""
    blocked: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The distributions whose new version needs another imported package, with these."""


class Environment:
    """The packages that code of this network imports beside the server's own."""

    def __init__(self, roots: Roots, modules: LoadedModules) -> None:
        self._roots = roots
        self._modules = modules
        self.current: Installed | None = None
        self.digest: str | None = None
        """The lock that was dealt with last."""
        self.lacks = ""
        """Why none of it can be used, in words; empty if it is in use."""
        self.brought: Path | None = None
        """The folder in use, if it has more than the lock on disk names."""
        self._known: dict[Path, Installed] = {}
        """All folders that have been in use, to tell code that still runs from new code."""

    # What is on disk

    def look(self) -> Found:
        """Return the lock on disk, if its packages are installed."""
        try:
            with open(self._roots.workspace / LOCK, "rb") as file:
                data = file.read(_LIMIT)
        except FileNotFoundError:
            return Found()
        except OSError as error:
            return Found("unreadable", problem=f"{LOCK} cannot be read: {error.strerror}")
        digest = hash_of(data)
        try:
            return Found(digest, find_installed(self._roots.workspace, data))
        except NotInstalled as error:
            return Found(digest, problem=str(error))

    def is_behind(self) -> bool:
        """Return whether the lock on disk is new, or its missing packages have come."""
        found = self.look()
        return found.digest != self.digest or (self.lacks != "" and found.installed is not None)

    @property
    def mods(self) -> Mapping[str, str]:
        """Return the mods of the lock, by path, with distributions: the allow list from outside."""
        return {} if self.current is None else self.current.mods

    def folder_of(self, line: str) -> Path | None:
        """Return where a version of a mod lies beside the others (`wiki_extras@2`), or None."""
        if self.current is None or line not in self.current.packages:
            return None
        return line_folder(self.current.folder, line)

    def versions_of(self, names: Collection[str | None]) -> dict[str, str]:
        """Return the versions of these distributions, as far as they were brought for this run."""
        if self.current is None or self.brought is None:
            return {}
        return {name: package.version for name, package in self.current.packages.items() if name in names}

    # Switching

    def use(self, found: Found) -> None:
        """Put the folder of this lock on the import path, in the place of the former one."""
        before, now = self.current, found.installed
        self.lacks, self.brought = found.problem, None
        self.current, self.digest = now, found.digest
        for each in filter(None, (before,)):
            if (entry := str(each.folder)) in sys.path:
                sys.path.remove(entry)
        if now is not None:
            self._known[now.folder.resolve()] = now
            sys.path.append(str(now.folder))
        importlib.invalidate_caches()
        self._roots.use_installed(None if now is None else now.folder, () if now is None else now.tops_of_mods)
        used = {self._roots.installed_in(path) for path in self._modules.digests}
        self._roots.drop_installed([each for each in self._roots.installed if each not in used])

    def begin(self) -> None:
        """Use the installed packages of the lock, if any: before anything starts, and silently."""
        found = self.look()
        if found.installed is not None:
            self.use(found)

    def add(self, folder: Path) -> None:
        """Use a folder that has more than the lock on disk names, until that changes."""
        installed = installed_as(folder)
        if installed is not None:
            self.use(Found(self.digest, installed))
            self.brought = folder

    def back_to(self, paths: Iterable[Path]) -> Found | None:
        """Use the folder of packages that these sources lie in, if it is another one; return the
        one in use until then.

        `settle` has to follow.
        """
        wanted, before = self._folder_of(paths), self.current
        if wanted is None or (before is not None and wanted.folder == before.folder):
            return None
        forth = Found(self.digest, before)
        data = lock_of(wanted.folder)
        self.use(Found(None if data is None else hash_of(data), wanted))
        return forth

    def settle(self, forth: Found, *, went: bool) -> None:
        """End what `back_to` began: let the lock on disk name that folder if it `went` well; else
        use the former one again."""
        data = lock_of(self.current.folder) if self.current is not None else None
        if not went:
            self.use(forth)
        elif data is not None:
            write_whole(self._roots.workspace / LOCK, data)

    def purge(self) -> None:
        """Remove the folders of other locks. At a start alone: an undo may need one. Blocks."""
        purge(self._roots.workspace, [] if self.current is None else [self.current.folder])

    def end(self) -> None:
        """Restore the import path."""
        self.use(Found())

    def _folder_of(self, paths: Iterable[Path]) -> Installed | None:
        """Return the folder of packages that these sources lie in."""
        # Not among the roots: an undo may bring back code of a folder that nothing runs from now.
        return next(
            (known for path in paths for folder, known in self._known.items() if path.is_relative_to(folder)), None
        )

    def is_elsewhere(self, file: Path) -> bool:
        """Return whether a source lies in a former folder of packages."""
        is_current = self.current is not None and file.is_relative_to(self.current.folder)
        return file.is_relative_to(environments(self._roots.workspace)) and not is_current

    def moved_since(self, before: Installed | None) -> tuple[PackageMoved, ...]:
        """Return the packages that came, went or moved since another folder was in use."""
        old = {} if before is None else before.packages
        new = {} if self.current is None else self.current.packages
        pairs = {name: (old.get(name), new.get(name)) for name in (*new, *old)}
        return tuple(
            PackageMoved(name, was.version if was is not None else None, now.version if now is not None else None)
            for name, (was, now) in pairs.items()
            if (was and was.identity) != (now and now.identity)
        )

    # What it would change

    def news(self, found: Found) -> News:
        """Return the differences of this lock from what is loaded."""
        now = found.installed or Installed(Path())
        moved: dict[str, Path] = {}
        changes: dict[str, str] = {}
        gone, owners = set(), {}
        for name, before, owner in self._loaded():
            owners[name] = owner
            new = now.packages.get(owner)
            old = before.packages[owner]
            if new is None:
                gone.add(owner)
            elif new.identity != old.identity:
                moved[name] = now.place_of(name)
                changes[owner] = f"{old.version} → {new.version}" if old.version != new.version else "other files"
        imported = self._imported_otherwise(now)
        blocked = {
            name: tuple(each for each in imported if each in now.with_needed(name))
            for name in {*now.mods.values(), *now.lines}
        }
        return News(
            moved=moved,
            changes=changes,
            gone=frozenset(gone),
            imported=imported,
            distribution=owners,
            blocked={name: each for name, each in blocked.items() if each},
        )

    def _loaded(self) -> Iterable[tuple[str, Installed, str]]:
        """Yield each loaded module of a folder of packages, with that and its distribution."""
        for name, loaded in self._modules.current.items():
            folder = self._roots.installed_in(loaded.path)
            before = self._known.get(folder) if folder is not None else None
            owner = before.owner(name.partition(".")[0]) if before is not None else None
            if before is not None and owner is not None:
                yield name, before, owner

    def _imported_otherwise(self, now: Installed) -> dict[str, tuple[str, str]]:
        """Return the packages of which this process imported another version than the lock's."""
        found: dict[str, tuple[str, str]] = {}
        of_mods = {*now.mods.values(), *now.lines}
        for each in self._known.values():
            for name, package in each.packages.items():
                new = now.packages.get(name)
                if new is None or name in of_mods or new.identity == package.identity:
                    continue
                if any(_comes_from(top, each.folder) for top in package.tops):
                    found[name] = (package.version, new.version)
        return found


def _comes_from(top: str, folder: Path) -> bool:
    """Return whether a top module was imported from a folder."""
    module = sys.modules.get(top)
    file = getattr(module, "__file__", None) or next(iter(getattr(module, "__path__", ())), None)
    return isinstance(file, str) and Path(file).is_relative_to(folder)
