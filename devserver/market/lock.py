"""`pylock.oa-dev.toml`: all from outside the workspace, with hashes. Nothing else is loaded.

A lock of PEP 751, written by uv, with one table of our own. Read with `packaging.pylock`, which is
slow to import: the server reads the short record beside the packages instead (`folder`).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from devserver.errors import DevServerError
from devserver.model.names import LOCK

NAME = LOCK
LIMIT = 8 * 1024 * 1024
"""The largest lock in bytes that is read."""

_FILE_URL = re.compile(r'\burl = "(file://[^"\\]*)"')
_PATH = re.compile(r'\bpath = "([^"\\]*)"')
_PAIR = re.compile(r'"([A-Za-z0-9_.]+)" = "([A-Za-z0-9._-]+)"')
_LINE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*@[a-z0-9_]{1,20}")
_TABLES = ("mods", "server", "origins", "publishers")
"""The tables of texts among our facts."""
_SHA256 = re.compile(r"[0-9a-f]{64}")
_COMMENT = re.compile(r"^#.*\n?", re.MULTILINE)
_OURS = re.compile(r"^\[tool\.oa-dev\]", re.MULTILINE)


class BadLock(DevServerError):
    """A lock that cannot be used: invalid TOML, not a lock, or with places outside."""


@dataclass(frozen=True, slots=True)
class Locked:
    """One distribution of a lock. `hashes` are the SHA-256 of its files, one for each platform;
    `where` is that for this platform, a path beside the lock or an address."""

    name: str
    version: str
    hashes: tuple[str, ...]
    where: str
    here: bool = True
    """Whether it is for this platform and this version of Python."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedLine:
    """A version of a mod beside the one that is locked: one wheel, installed apart. `line` is as in `wiki_extras@2`.

    `where` is a path beside the lock or an address. `requires` is resolved together with all else.
    """

    line: str
    name: str
    version: str
    where: str
    sha256: str
    requires: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Facts:
    """The facts in our own table.

    `mods`: paths of mods, each with its distribution. `wants`: the digest of the resolved wants.
    `server`: the packages of oa-dev itself that the resolution used. `origins`: by distribution,
    the origin of packages that came from no index. `publishers`: the publishers of attested mods.
    `lines`: further versions of mods.
    """

    mods: Mapping[str, str] = field(default_factory=dict)
    wants: str = ""
    server: Mapping[str, str] = field(default_factory=dict)
    origins: Mapping[str, str] = field(default_factory=dict)
    lines: tuple[LockedLine, ...] = ()
    publishers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Lock:
    """A whole lock."""

    packages: tuple[Locked, ...] = ()
    facts: Facts = field(default_factory=Facts)

    @property
    def mods(self) -> Mapping[str, str]:
        """Return the paths of mods, each with its distribution."""
        return self.facts.mods

    @property
    def lines(self) -> tuple[LockedLine, ...]:
        """The versions of mods beside those in `packages`."""
        return self.facts.lines

    def line(self, name: str) -> LockedLine | None:
        """Return the version that is locked for a line, as in `wiki_extras@2`."""
        return next((each for each in self.lines if each.line == name), None)

    @property
    def here(self) -> tuple[Locked, ...]:
        """Return the packages of this platform and this Python."""
        return tuple(each for each in self.packages if each.here)

    def package(self, name: str) -> Locked | None:
        """Return the distribution of that name (normalised)."""
        return next((each for each in self.packages if each.name == name), None)

    @property
    def all_here(self) -> dict[str, Locked]:
        """What is for this platform, by name, versions of mods beside others by that of their line."""
        lines = {each.line: Locked(each.line, each.version, (each.sha256,), each.where) for each in self.lines}
        return {each.name: each for each in self.here} | lines

    @property
    def versions(self) -> dict[str, str]:
        """Each distribution for this platform with its version."""
        return {each.name: each.version for each in self.here}


def read_lock(data: bytes) -> Lock:
    """Read the lock in these bytes. Raises BadLock, with what is wrong with it."""
    import tomllib  # a start reads the record instead

    from packaging.pylock import Pylock, PylockValidationError

    try:
        values = tomllib.loads(data.decode("utf-8"))
        found = Pylock.from_dict(values)
    except (ValueError, RecursionError, PylockValidationError) as error:
        raise BadLock(f"{NAME} cannot be used: {error}") from error
    packages = tuple(_locked(each) for each in found.packages)
    return Lock(packages, _facts((values.get("tool") or {}).get("oa-dev") or {}))


def mods_said(data: bytes) -> dict[str, str]:
    """Return what an unreadable lock says of mods, as after a merge: both sides of it."""
    lines = (line for line in data.decode("utf-8", "replace").splitlines() if line.startswith("mods = {"))
    return {path: name for line in lines for path, name in _PAIR.findall(line)}


def _locked(package: Any) -> Locked:
    files = [*(package.wheels or ()), *filter(None, (package.archive, package.sdist))]
    places = [file.path or file.url or "" for file in files]
    for place in places:
        if not place.startswith(("http://", "https://")):
            _expect_inside(place)
    hashes = tuple(sorted(file.hashes["sha256"] for file in package.wheels or () if "sha256" in file.hashes))
    if not hashes:
        raise BadLock(f"{NAME}: {package.name} has no wheel with a sha256: only wheels with hashes are installed")
    here = package.marker is None or package.marker.evaluate()
    where = places[0] if len(places) == 1 else _for_here(package.wheels) or places[0]
    return Locked(str(package.name), str(package.version), hashes, where, here)


def _for_here(wheels: Any) -> str | None:
    """Return the place of the wheel for this platform, as an installer chooses it."""
    from packaging.tags import sys_tags  # slow to import, for installations alone
    from packaging.utils import InvalidWheelFilename, parse_wheel_filename

    best: dict[Any, int] = {tag: rank for rank, tag in enumerate(sys_tags())}
    found: list[tuple[int, str]] = []
    for each in wheels or ():
        place = each.path or each.url or ""
        with contextlib.suppress(InvalidWheelFilename):  # no installer would choose it
            tags = parse_wheel_filename(unquote(PurePosixPath(urlsplit(place).path).name))[3]
            found += [(best[tag], place) for tag in tags if tag in best]
    return min(found)[1] if found else None


def _expect_inside(place: str) -> None:
    path = PurePosixPath(place)
    if not place or path.is_absolute() or ".." in path.parts or "://" in place:
        raise BadLock(f"{NAME}: {place!a} lies outside of the workspace")


def _facts(values: Mapping[str, Any]) -> Facts:
    try:
        texts = {each: _texts(values.get(each, {})) for each in _TABLES}
        lines = tuple(_locked_line(each) for each in values.get("lines", ()))
        return Facts(
            texts["mods"], str(values.get("wants", "")), texts["server"], texts["origins"], lines, texts["publishers"]
        )
    except (TypeError, ValueError, AttributeError, KeyError) as error:
        raise BadLock(f"{NAME}: the table [tool.oa-dev] cannot be read: {error}") from error


def _locked_line(values: Mapping[str, Any]) -> LockedLine:
    requires = tuple(values.get("requires", ()))
    found = _texts({key: values[key] for key in ("line", "name", "version", "where", "sha256")})
    if not _LINE.fullmatch(found["line"]) or not _SHA256.fullmatch(found["sha256"]):
        raise ValueError(f"{found['line']!a} is not a version of a mod with a sha256")
    if not found["where"].startswith(("http://", "https://")):
        _expect_inside(found["where"])
    return LockedLine(**found, requires=tuple(_texts(dict.fromkeys(requires, ""))))


def _texts(values: Mapping[str, Any]) -> dict[str, str]:
    if not all(isinstance(each, str) for each in values.values()):
        raise ValueError("it holds texts only")
    return dict(values)


def written(resolved: str, facts: Facts, workspace: Path) -> str:
    """Return the text of a lock: uv's resolution, with paths beside the lock, and our facts."""
    text = without_facts(_COMMENT.sub("", resolved)).rstrip("\n")
    text = _FILE_URL.sub(lambda found: f"path = {json.dumps(place_in(workspace, found[1]))}", text)
    return f"{text}\n\n{_table(facts)}"


def absolute(text: str, workspace: Path) -> str:
    """Return the text of a lock as uv reads it anywhere: files with their whole address."""
    base = workspace.resolve()
    return _PATH.sub(lambda found: f'url = "{(base / found[1]).as_uri()}"', without_facts(text))


def without_facts(text: str) -> str:
    """Return the text of a lock up to our table, which is always the last."""
    found = _OURS.search(text)
    return text if found is None else text[: found.start()]


def place_in(workspace: Path, url: str) -> str:
    """Return where a wheel is as a lock says it. Raises BadLock but for addresses and paths."""
    if not url.startswith("file://"):
        return url
    path, base = Path(unquote(urlsplit(url).path)), workspace.resolve()
    if not path.is_relative_to(base):
        raise BadLock(
            f"{path.name} lies outside of the workspace: a lock that is shared names no place of this machine"
        )
    return path.relative_to(base).as_posix()


def _table(facts: Facts) -> str:
    """Return our facts as TOML. ASCII texts of JSON are TOML's."""
    rows = ["[tool.oa-dev]", f"wants = {json.dumps(facts.wants)}"]
    for name in _TABLES:
        pairs = ", ".join(f"{json.dumps(k)} = {json.dumps(v)}" for k, v in sorted(getattr(facts, name).items()))
        rows.append(f"{name} = {{ {pairs} }}" if pairs else f"{name} = {{}}")
    for line in facts.lines:
        rows += ["", "[[tool.oa-dev.lines]]"]
        rows += [f"{name} = {json.dumps(getattr(line, name))}" for name in ("line", "name", "version", "where")]
        rows += [f"sha256 = {json.dumps(line.sha256)}", f"requires = {json.dumps(list(line.requires))}"]
    return "\n".join((*rows, ""))


def digest(packages: Iterable[Locked], lines: Iterable[LockedLine] = ()) -> str:
    """Return these packages' folder name: 12 hexadecimal digits over them and the platform."""
    rows = sorted((each.name, each.version, *each.hashes) for each in packages)
    beside = sorted((each.line, each.version, each.sha256) for each in lines)
    tag = (sys.implementation.cache_tag, sys.platform)
    return hashlib.sha256(json.dumps([rows, *beside, tag]).encode()).hexdigest()[:12]


def changed_contents(old: Lock, new: Lock) -> list[tuple[Locked, Locked]]:
    """Return the distributions with other files under the same version: a sign of tampering."""
    pairs = ((before, new.package(before.name)) for before in old.packages)
    return [
        (before, now)
        for before, now in pairs
        if now is not None and now.version == before.version and not set(now.hashes) & set(before.hashes)
    ]
