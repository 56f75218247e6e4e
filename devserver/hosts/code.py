"""The code of a plan, by digest: published by the host that has network.yaml, fetched and checked by the others.

What travels is what a mod's imports lead to in the workspace, and the data files that lie beside them. Installed
packages do not: their lock does, and a host where it is not installed refuses. The code of a small change goes along
with the ask to build it, while it is being published: a save does not wait for the engine's disk.
"""

from __future__ import annotations

import asyncio
import os
import sys
from base64 import b64decode, b64encode
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from devserver.hosts.link import Link
from devserver.hosts.names import CODE, Names
from devserver.model.encoding import to_json
from devserver.model.names import LOCK, module_of
from devserver.sources.files import digest_of, read_bytes
from devserver.sources.graph import read_imports
from devserver.sources.imports import ancestors
from devserver.transports.strict import Malformed, parse_object

MOST_BYTES = 512 * 1024
"""The largest file that travels."""

_MOST_ALONG = 128 * 1024
"""The bytes of new files, and of the names of all, that go along with an ask."""

_MOST_FILES = 2000
_KEPT = 20
"""How many revisions are kept."""

_AT_ONCE = 16
"""How many files are on their way at a time."""

_NOTE = ".oa-dev/fetched.json"
BLOB, REVISION = "blob", "revision"
_SKIPPED = frozenset({"__pycache__", "node_modules"})


class BadCode(Exception):
    """Code of a revision that cannot be had, or is not what was published."""


def environment_of(lock: bytes | None) -> str:
    """The digest of what comes from outside: Python's version, and the lock."""
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    return digest_of(python.encode() + b"\n" + (lock or b""))[:16]


# On the host that has network.yaml


@dataclass(frozen=True, slots=True)
class Revision:
    """What a revision consists of. `manifest`: its files, each with its digest, and the environment; `new`: what is not
    published yet, by digest."""

    manifest: Mapping[str, Any]
    new: Mapping[str, bytes]

    def along(self) -> dict[str, Any] | None:
        """Return it as it goes along with an ask; None where it is too large for that."""
        if sum(map(len, (*self.new.values(), *self.manifest["files"]))) > _MOST_ALONG:
            return None
        return {**self.manifest, "new": {digest: b64encode(data).decode() for digest, data in self.new.items()}}


def files_of(
    mods: Iterable[str], workspace: Path, written: Collection[str] = (), texts: Mapping[Path, bytes] | None = None
) -> dict[str, bytes]:
    """The files that these mods (paths) are made from, by path in the workspace, with `/`.

    `written`: files that mods have written, which are their data; `texts`: bytes that count instead of the disk's.
    What is nowhere in the workspace is left out: an installed mod does not travel, and of any other the host says so.
    """
    found: dict[Path, bytes] = {}
    for mod in mods:
        module = module_of(mod)
        package = workspace.joinpath(*module.split("."))
        _add(f"{module}.mod" if (package / "mod.py").is_file() else module, found, workspace, texts or {})
        if package.is_dir():
            _add_data(package.rglob("*"), found, workspace, written)
    for folder in {path.parent for path in found} - {workspace}:
        _add_data(folder.iterdir(), found, workspace, written)
    lock = workspace / LOCK
    if (data := _read(lock)) is not None:
        found[lock] = data
    return {path.relative_to(workspace).as_posix(): data for path, data in found.items()}


def _add(entry: str, found: dict[Path, bytes], workspace: Path, texts: Mapping[Path, bytes]) -> None:
    """Add the modules that one leads to, through the imports that its source names."""
    pending, seen = [entry], set()
    for name in pending:
        if name in seen or name.endswith("*"):
            continue
        seen.add(name)
        pending += [each for each in ancestors(name) if each not in seen]
        path = _file_of(name, workspace)
        data = None if path is None else texts.get(path) or _read(path)
        if path is None or data is None:
            continue
        found[path] = data
        try:
            imports = read_imports(data, name, path.name == "__init__.py")
        except (SyntaxError, ValueError):
            continue  # it travels all the same: the host that compiles it says what is wrong
        pending += sorted(imports.eager | imports.lazy)


def _file_of(name: str, workspace: Path) -> Path | None:
    base = workspace.joinpath(*name.split("."))
    return next((each for each in (base / "__init__.py", base.with_suffix(".py")) if each.is_file()), None)


def _add_data(paths: Iterable[Path], found: dict[Path, bytes], workspace: Path, written: Collection[str]) -> None:
    for path in paths:
        parts = path.relative_to(workspace).parts
        if len(found) >= _MOST_FILES or path in found or str(path) in written or path.is_symlink():
            continue
        if any(each.startswith(".") or each in _SKIPPED for each in parts) or not path.is_file():
            continue
        # Modules come through imports: another mod beside this one is not its business.
        if path.suffix not in (".py", ".pyc") and (data := _read(path)) is not None:
            found[path] = data


def _read(path: Path) -> bytes | None:
    try:
        if path.stat().st_size > MOST_BYTES:
            return None
        return read_bytes(path)
    except OSError:
        return None


class Publisher:
    """Writes revisions. `link`: one that may write code."""

    def __init__(self, link: Link, names: Names) -> None:
        self._link, self._names = link, names
        self._there: dict[str, bytes] = {}
        """What is published, by digest."""
        self._revisions: dict[int, frozenset[str]] = {}
        self._room = asyncio.Semaphore(_AT_ONCE)

    def revision(self, files: Mapping[str, bytes]) -> Revision:
        """Return these files as what is to be published."""
        digests = {path: digest_of(data) for path, data in files.items()}
        new = {digest: files[path] for path, digest in digests.items() if digest not in self._there}
        return Revision({"files": digests, "environment": environment_of(files.get(LOCK))}, new)

    async def publish(self, revision: int, code: Revision) -> None:
        """Have a revision be there on return, with all its files. Raises EngineAway and others."""
        manifest, new = code.manifest, code.new
        self._revisions[revision] = frozenset(manifest["files"].values())
        # At once: each waits for a disk.
        await asyncio.gather(
            *(self._store(*key, b"", deletes=True) for key in self._spare()),
            *(self._store(BLOB, digest, data) for digest, data in new.items()),
            self._store(REVISION, str(revision), to_json(manifest)),
        )
        self._there |= new

    async def _store(self, kind: str, number: str, data: bytes, *, deletes: bool = False) -> None:
        async with self._room:
            await self._link.store(self._names.key(CODE, kind, number), data, deletes=deletes)

    async def published(self, digest: str) -> bytes | None:
        """Return what an earlier revision has published, also before this process. Raises EngineAway and others."""
        if digest in self._there:
            return self._there[digest]
        found = await self._link.last_value(self._names.bucket_stream(CODE), self._names.key(CODE, BLOB, digest))
        return None if found is None or found.is_deletion else found.data

    def _spare(self) -> list[tuple[str, str]]:
        """Forget old revisions; the keys of what they alone have."""
        old = sorted(self._revisions)[:-_KEPT]
        digests = frozenset[str]().union(*map(self._revisions.pop, old)).difference(*self._revisions.values())
        for digest in digests:
            self._there.pop(digest, None)
        return [*((REVISION, str(each)) for each in old), *((BLOB, digest) for digest in digests)]


# On the other hosts


class Copies:
    """The code of others in a folder of this host: exactly the files of the last revision that was fetched."""

    def __init__(self, link: Link, names: Names, folder: Path) -> None:
        self.folder = folder
        self.files: dict[str, str] = {}
        """The files that were fetched, by path, each with its digest."""
        self._noted = _noted(folder)
        self._link, self._names = link, names
        self._stream = names.bucket_stream(CODE)
        self._room = asyncio.Semaphore(_AT_ONCE)

    async def fetch(self, revision: int, along: Mapping[str, Any] | None = None) -> dict[Path, str | None]:
        """Have a revision's files; return those that differ, with digests. `along`: from the ask.

        Raises BadCode for what is missing or not what its digest says, and where this host has another environment.
        """
        files, environment = _manifest_of(along or await self._manifest(revision), revision)
        new = dict((along or {}).get("new") or {})
        wanted = {path: digest for path, digest in files.items() if self._differs(path, digest)}
        blobs = await asyncio.gather(*(self._blob(path, digest, new.get(digest)) for path, digest in wanted.items()))
        data = dict(zip(wanted, blobs, strict=True))
        lock = data.get(LOCK) or (_read(self.folder / LOCK) if LOCK in files else None)
        if environment_of(lock) != environment:
            raise BadCode(f"this host has the environment {environment_of(lock)}, the code is of {environment}")
        gone = self._noted - files.keys()
        for path, content in data.items():
            _write(self.folder / path, content)
        for path in gone:
            (self.folder / path).unlink(missing_ok=True)
        changed: dict[Path, str | None] = {self.folder / path: files[path] for path in data}
        self.files = files
        if self._noted != files.keys():
            self._noted = set(files)
            _write(self.folder / _NOTE, to_json(files))
        return changed | dict.fromkeys(self.folder / path for path in gone)

    async def _manifest(self, revision: int) -> Mapping[str, Any]:
        message = await self._link.last_value(self._stream, self._names.key(CODE, REVISION, str(revision)))
        if message is None or message.is_deletion:
            raise BadCode(f"revision {revision} is not published")
        try:
            return parse_object(message.data)
        except Malformed as error:
            raise BadCode(f"revision {revision} cannot be read: {error}") from error

    async def _blob(self, path: str, digest: str, along: str | None) -> bytes:
        data = None if along is None else _bytes_of(along)
        if data is None:
            async with self._room:
                message = await self._link.last_value(self._stream, self._names.key(CODE, BLOB, digest))
            if message is None or message.is_deletion:
                raise BadCode(f"{path} is missing: nothing has the digest {digest[:12]}")
            data = message.data
        if sha256(data).hexdigest() != digest:
            raise BadCode(f"{path} is not what was published: its digest is not {digest[:12]}")
        return data

    def _differs(self, path: str, digest: str) -> bool:
        data = _read(self.folder / path)
        return data is None or digest_of(data) != digest


def _manifest_of(values: Mapping[str, Any], revision: int) -> tuple[dict[str, str], str]:
    """Read a manifest: the files, each with its digest, and the environment. Raises BadCode."""
    try:
        files = {str(path): str(digest) for path, digest in dict(values["files"]).items()}
        environment = str(values["environment"])
    except (LookupError, TypeError, ValueError) as error:
        raise BadCode(f"revision {revision} cannot be read: {error}") from error
    for path in files:
        # A path must stay in the folder.
        parts = path.split("/")
        if path.startswith("/") or "\\" in path or "\0" in path or any(each in ("", ".", "..") for each in parts):
            raise BadCode(f"{path[:80]!r} is not a path of a workspace")
        if any(each.startswith(".") for each in parts):
            raise BadCode(f"{path[:80]!r} is hidden, and code is not")
    return files, environment


def _bytes_of(text: str) -> bytes:
    try:
        return b64decode(text)
    except ValueError:
        return b""  # which its digest is not that of


def _noted(folder: Path) -> set[str]:
    """The files that an earlier process of this host has fetched. All else there is data of mods."""
    try:
        return set(parse_object((folder / _NOTE).read_bytes()))
    except (OSError, Malformed):  # without the note nothing there is taken for code
        return set()


def _write(path: Path, data: bytes) -> None:
    """Write a file whole: who reads it meanwhile gets the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_bytes(data)
    beside.replace(path)
