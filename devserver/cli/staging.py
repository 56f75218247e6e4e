"""What `add` names, as packages of an index: a listed name, a wheel, a folder, a repository.

All but the first become a wheel in the folder index of the workspace, so that a clone has it, too.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from devserver.cli.exits import Exit, Problem
from devserver.market.catalogue import BUILT_IN, Catalogue, entries_of, find, near_names
from devserver.market.package import Package, read_wheel
from devserver.market.places import shown
from devserver.market.sync import Files
from devserver.market.wheel import build_built_in, build_wheel, needed_built_in
from devserver.model.config import NetworkConfig
from devserver.model.names import is_range

FOLDER = "mods-index"
"""The folder of wheels of a workspace that names none."""

_NAME = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)\s*(?P<versions>[<>=!~].*)?")
_GIT = "git+"
_GIT_PATIENCE = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """A distribution to add. `place`: its origin, in words; `index`: a folder to be listed."""

    name: str
    versions: str = ""
    place: str = ""
    index: str = ""
    origin: str = ""
    listed: bool = False
    """Whether a catalogue lists it, so that `show` knows it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A person's options. `build`: run others' build; `exactly`, `from_index`: a literal name."""

    build: bool = False
    exactly: bool = False
    from_index: bool = False


class Stage:
    """The folder index of a workspace, which gets wheels that no index has.

    `files` remembers the new ones. Raises Problem for an argument that is not found, and the errors
    of the builders of wheels.
    """

    def __init__(self, config: NetworkConfig, workspace: Path, files: Files) -> None:
        self._workspace = workspace
        self._files = files
        folders = [each for each in config.indexes if "://" not in each]
        self._index = next(iter(folders), FOLDER)
        self._is_listed = bool(folders)

    def given(self, what: str, catalogues: Sequence[Catalogue], asked: Asked) -> Given:
        """Find the package that a person names, and put its wheel into the index, if necessary."""
        if what.startswith(_GIT):
            return self.repository(what)
        path = Path(what).expanduser()
        if what.endswith(".whl"):
            return self._put(path, path.name, path.name)
        if "/" in what or what.startswith("."):
            return self.folder(path, build=asked.build)
        return self.named(what, catalogues, asked)

    def named(self, what: str, catalogues: Sequence[Catalogue], asked: Asked) -> Given:
        """Find a name, perhaps with versions, of a catalogue or an index."""
        parts = _NAME.fullmatch(what.strip())
        if parts is None or not is_range(parts["versions"] or ""):
            raise Problem(
                f"{what[:100]!a} names no mod", "write a name, as in polls or polls~=1.0, a wheel or a folder"
            )
        name, versions = parts["name"], (parts["versions"] or "").replace(" ", "")
        found = find(catalogues, name)
        if found is None:
            return Given(name=self._unlisted(name, catalogues, asked), versions=versions, place="an index")
        reason = found.entry.blocked_for(found.version or "")
        if reason:
            raise Problem(f"{found.name} is blocked by {shown(found.catalogue.name)}: {reason}", code=Exit.FATAL)
        if found.catalogue.name != BUILT_IN:
            return Given(name=found.name, versions=versions, place=shown(found.catalogue.name), listed=True)
        with tempfile.TemporaryDirectory(prefix="oa-dev-add-") as folder:
            for each in needed_built_in(found.name):
                # No index has it but this one; if another catalogue lists it, its index is asked.
                if (needed := find(catalogues, each)) is not None and needed.catalogue.name == BUILT_IN:
                    self._put(build_built_in(each, Path(folder)), "what is built in", "built in")
            given = self._put(build_built_in(found.name, Path(folder)), "what is built in", "built in")
        return replace(given, versions=versions, listed=True)

    def _unlisted(self, name: str, catalogues: Sequence[Catalogue], asked: Asked) -> str:
        known = [each.name for each in entries_of(catalogues)]
        near = near_names(name, known)
        if near and not asked.exactly:
            hint = f"Did you mean {' or '.join(near[:3])}? --exactly takes the name literally"
            raise Problem(f"no catalogue here lists {name}", hint, Exit.FATAL)
        if not asked.from_index:
            raise Problem(
                f"no catalogue here lists {name}",
                "oa-dev search shows the available mods; --from-index takes it from an index nevertheless",
                Exit.FATAL,
            )
        return name

    def folder(self, path: Path, *, build: bool) -> Given:
        """Build a folder with a pyproject.toml."""
        if not path.is_dir():
            raise Problem(f"there is no folder {path}")
        with tempfile.TemporaryDirectory(prefix="oa-dev-add-") as folder:
            return self._put(_built(path, Path(folder), build=build), str(path), path.resolve().name)

    def repository(self, what: str) -> Given:
        """Build a repository at a revision: `git+file:///srv/polls@v1.0.0`, `git+https://…`."""
        address, at, revision = what.removeprefix(_GIT).rpartition("@")
        if not at or "/" in revision:
            address, revision = what.removeprefix(_GIT), "HEAD"
        if not address.startswith(("file://", "https://", "ssh://")) or revision.startswith("-"):
            raise Problem(
                f"{shown(what)} is not a repository", "write git+file://, git+https:// or git+ssh://, and @REVISION"
            )
        with tempfile.TemporaryDirectory(prefix="oa-dev-add-") as folder:
            clone, out = Path(folder) / "clone", Path(folder) / "out"
            _git(["clone", "--quiet", "--no-checkout", "--", address, str(clone)], Path(folder))
            _git(["checkout", "--quiet", "--detach", revision], clone)
            commit = _git(["rev-parse", "HEAD"], clone).strip()
            origin = f"{_GIT}{shown(address)}@{commit}"
            return self._put(_built(clone, out, build=False), origin, origin)

    def _put(self, wheel: Path, place: str, origin: str) -> Given:
        """Put a wheel into the workspace's index."""
        package = read_wheel(wheel)
        target = self._workspace / self._index / wheel.name
        data = wheel.read_bytes()
        if target.exists() and target.read_bytes() != data:
            named = f"{package.name} {package.version}"
            raise Problem(
                f"{self._index} has another {named} already: a version never changes", "raise its version", Exit.FATAL
            )
        self._files.write(target, data)
        return Given(
            name=package.name,
            # The given package is wanted, though the index may have newer ones.
            versions=f"=={package.version}" if self._has_others(package) else "",
            place=place,
            index="" if self._is_listed else self._index,
            origin=origin,
        )

    def _has_others(self, package: Package) -> bool:
        prefix = package.name.replace("-", "_").replace(".", "_").lower()
        others = (self._workspace / self._index).glob("*.whl")
        return sum(each.name.lower().startswith(f"{prefix}-") for each in others) > 1


def _built(folder: Path, into: Path, *, build: bool) -> Path:
    into.mkdir(parents=True, exist_ok=True)
    if build:
        from devserver.market.uv import build as run_build

        return run_build(folder, into, isolated=False)
    if not (folder / "pyproject.toml").is_file():
        raise Problem(f"{folder} has no pyproject.toml", f"oa-dev pack {folder} makes a wheel of it", Exit.FATAL)
    _refuse_foreign_build(folder)
    return build_wheel(folder, into)


def _refuse_foreign_build(folder: Path) -> None:
    try:
        values = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise Problem(f"{folder / 'pyproject.toml'} cannot be read: {error}", code=Exit.FATAL) from error
    backend = str((values.get("build-system") or {}).get("build-backend", "setuptools"))
    if backend != "uv_build":
        raise Problem(
            f"{folder.name} is built by {backend.partition('.')[0]}, which runs code of others",
            "--build runs it; what uv_build builds needs no code of its own",
            Exit.FATAL,
        )


def _git(arguments: Sequence[str], folder: Path) -> str:
    quiet = {"GIT_TERMINAL_PROMPT": "0", "GIT_LFS_SKIP_SMUDGE": "1"}
    command = ["git", "-c", "core.hooksPath=/dev/null", "-c", "protocol.ext.allow=never", *arguments]
    try:
        done = subprocess.run(
            command, cwd=folder, env={**os.environ, **quiet}, capture_output=True, text=True, timeout=_GIT_PATIENCE,
            check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Problem(f"git could not bring it: {type(error).__name__}", code=Exit.FATAL) from error
    if done.returncode != 0:
        said = done.stderr.strip().splitlines()
        raise Problem("git could not bring it", said[-1][:200] if said else "", Exit.FATAL)
    return done.stdout
