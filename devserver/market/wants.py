"""What network.yaml and mods of the workspace need of other people's code, as texts for uv.

One resolution for everything: network.yaml is a virtual project, and each mod of the workspace,
each further version of a mod and oa-dev itself is a virtual package in it: conflicts are named by
names that people know.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from devserver.errors import DevServerError
from devserver.market.lock import LockedLine
from devserver.model.names import normal

PROJECT = "network-yaml"
SERVER = "oa-dev-itself"
PYTHON = ">=3.11,<3.14"

_EXTRA = re.compile(r"""extra == ["']([A-Za-z0-9._-]+)["']""")
_VALID_VERSION = re.compile(r"[0-9]+(\.[0-9]+)*((a|b|rc|\.post|\.dev)[0-9]+)?")


class BadWants(DevServerError):
    """Needs that uv cannot resolve: an invalid requirement, or two needs of one name."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A mod of network.yaml from outside: its distribution, its accepted versions, its line."""

    mod_path: str
    name: str
    versions: str = ""
    line: int | None = None


@dataclass(frozen=True, slots=True)
class Needing:
    """A mod of the workspace, or a further version of a mod, that needs packages. `who` is its name
    for people (`mods.search`, `wiki_extras@2`), `place` where its needs are written."""

    who: str
    version: str
    requires: tuple[str, ...]
    place: str = ""

    @property
    def virtual(self) -> str:
        """The name of its virtual package."""
        return normal(self.who.replace("@", "-at-"))


@dataclass(frozen=True, slots=True)
class Beside:
    """A version of a mod that network.yaml wants beside it: `line` as in `wiki_extras@2`, `place` where it says so."""

    line: str
    name: str
    versions: str
    place: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wants:
    """Everything that is resolved together. `server`: the packages of oa-dev, which cannot move.

    `indexes` are as network.yaml names them, `packages` whether Python's own comes last, `cooldown`
    the least age in seconds of a release of a remote index.
    """

    listed: tuple[Listed, ...] = ()
    needing: tuple[Needing, ...] = ()
    beside: tuple[Beside, ...] = ()
    server: Mapping[str, str] = field(default_factory=dict)
    extras: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The requirements of each of them, from which its extras are taken."""
    server_version: str = "0"
    indexes: tuple[str, ...] = ()
    packages: str = "default"
    cooldown: float = 0.0
    file: str = "network.yaml"

    @property
    def empty(self) -> bool:
        """Whether nothing from outside is needed."""
        return not self.listed and not self.beside and not any(each.requires for each in self.needing)

    @property
    def needs_default(self) -> bool:
        """Whether an index of other people is asked."""
        return self.packages == "default" or any("://" in each for each in self.indexes)

    @property
    def digest(self) -> str:
        """The digest that ties a lock to these wants, without the server's own packages."""
        listed = sorted((each.name, each.mod_path, each.versions) for each in self.listed)
        needing = sorted((each.who, *each.requires) for each in self.needing if each.requires)
        beside = [[each.line, each.name, each.versions] for each in self.beside]
        said = [listed, needing, self.indexes, self.packages, *([beside] if beside else [])]
        return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:16]

    @property
    def virtual(self) -> tuple[str, ...]:
        """The virtual packages, which no lock names: of the workspace and this process."""
        return (*(each.virtual for each in self.needing if each.requires), *self.server)

    def with_lines(self, lines: Iterable[LockedLine]) -> Wants:
        """These wants, and what the versions beside mods need: all of it suits one process, or nothing does."""
        places = {each.line: each.place for each in self.beside}
        more = (Needing(each.line, each.version, each.requires, places.get(each.line, "")) for each in lines)
        return replace(self, needing=(*self.needing, *more))

    def who(self, virtual: str) -> Needing | None:
        """Return the name for people behind a virtual package."""
        return next((each for each in self.needing if each.virtual == normal(virtual)), None)

    def listing(self, name: str) -> Listed | None:
        """Return the entry of network.yaml that asks for a distribution."""
        return next((each for each in self.listed if normal(each.name) == normal(name)), None)

    def before(self, now: datetime) -> str:
        """Return when remote releases are too young, in uv's form; empty without a limit."""
        if not self.cooldown:
            return ""
        return datetime.fromtimestamp(now.timestamp() - self.cooldown, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    def texts(self, workspace: Path) -> dict[str, str]:
        """Return the files to resolve, by their path below `.oa-dev/resolve/`. Raises BadWants."""
        needing = [each for each in self.needing if each.requires]
        self._expect_apart(needing)
        found = {
            f"{each.virtual}/pyproject.toml": project_of(each.virtual, each.requires, each.version) for each in needing
        }
        # The packages of this process are described without asking an index: a machine without
        # network can resolve.
        for name, version in self.server.items():
            found[f"{SERVER}/{name}/pyproject.toml"] = _with_extras(name, version, tuple(self.extras.get(name, ())))
        wanted = [*(f"{each.name}{each.versions}" for each in self.listed), *self.virtual]
        places = {each.virtual: each.virtual for each in needing} | {each: f"{SERVER}/{each}" for each in self.server}
        sources = [f"{name} = {{ path = {_text(place)} }}" for name, place in places.items()]
        rows = [project_of(PROJECT, wanted), "[tool.uv.sources]", *sources]
        found["pyproject.toml"] = "\n".join((*rows, ""))
        found["uv.toml"] = self.settings(workspace)
        return found

    def _expect_apart(self, needing: Iterable[Needing]) -> None:
        taken = {normal(each.name): each.name for each in self.listed} | {PROJECT: self.file, SERVER: "oa-dev"}
        for each in needing:
            other = taken.setdefault(each.virtual, each.who)
            if other is not each.who:
                raise BadWants(f"{each.who} and {other} cannot be told apart: rename one of them")

    def settings(self, workspace: Path, *, dated: bool = True) -> str:
        """Return the indexes in order, for uv: the first with a name wins, for needs of others too.

        `dated` false takes releases of the listed indexes without dates.
        """
        rows = ['index-strategy = "first-index"']
        rows += ["no-index = true"] if not self.indexes and self.packages != "default" else []
        for number, each in enumerate(self.indexes):
            is_last = number == len(self.indexes) - 1 and self.packages != "default"
            url = each if "://" in each else _folder_url(workspace, each)
            rows += ["", "[[index]]", f"name = {_text(f'index-{number}')}", f"url = {_text(url)}"]
            rows += [] if "://" in each else ['format = "flat"']
            rows += ["exclude-newer = false"] if not dated and "://" in each else []
            # The default index replaces Python's own, which is not asked then.
            rows += ["default = true"] if is_last else []
        return "\n".join((*rows, ""))


def _folder_url(workspace: Path, folder: str) -> str:
    path = (workspace / folder).resolve()
    if not path.is_dir():
        raise BadWants(f"dev.indexes: there is no folder {folder}")
    return path.as_uri()


def project_of(name: str, requires: Iterable[str], version: str = "0") -> str:
    """Return the text of a project that needs this and nothing else. Raises BadWants."""
    valid = version if _VALID_VERSION.fullmatch(version) else "0"
    rows = ["[project]", f"name = {_text(name)}", f"version = {_text(valid)}", f"requires-python = {_text(PYTHON)}"]
    return "\n".join((*rows, "dependencies = [", *(f"  {_text(_requirement(each))}," for each in requires), "]", ""))


@lru_cache(maxsize=256)
def _with_extras(name: str, version: str, requires: tuple[str, ...]) -> str:
    """Describe a package of this process: its needs are here, and only its extras may need more."""
    from packaging.requirements import Requirement  # slow to import, for locking alone

    extras: dict[str, list[str]] = {}
    for each in map(Requirement, requires):
        for extra in _EXTRA.findall(str(each.marker or "")):
            each.marker = None
            extras.setdefault(normal(extra), []).append(str(each))
    rows = [f"{_text(extra)} = [{', '.join(map(_text, needs))}]" for extra, needs in sorted(extras.items())]
    return "\n".join((project_of(name, (), version), "[project.optional-dependencies]", *rows, ""))


@lru_cache(maxsize=1024)
def _requirement(text: str) -> str:
    """Return a project's requirement: name and versions, no address. Raises BadWants."""
    from packaging.requirements import InvalidRequirement, Requirement  # slow to import

    try:
        found = Requirement(text)
    except InvalidRequirement as error:
        raise BadWants(f"{text!a} is not a requirement of a package: write it like idna>=3,<4") from error
    if found.url is not None:
        raise BadWants(f"{text!a} names an address: only packages of an index are installed; oa-dev add takes a folder")
    return str(found)


def _text(value: str) -> str:
    """Return a text as TOML has it; JSON's are TOML's if they are ASCII."""
    return json.dumps(value)


def own_packages(name: str, requires_of: Mapping[str, Any]) -> dict[str, str]:
    """Return the packages that a distribution needs, without itself, each with its version.

    `requires_of` gives for a normalised name the version and the requirements of an installed one.
    """
    from packaging.requirements import Requirement  # slow to import, and few runs ask

    found: dict[str, str] = {}
    waiting = [normal(name)]
    while waiting:
        _, requires = requires_of.get(waiting.pop(), ("", ()))
        for each in map(Requirement, requires):
            needed = normal(each.name)
            if (
                needed in requires_of
                and needed not in found
                and (each.marker is None or each.marker.evaluate({"extra": ""}))
            ):
                found[needed] = requires_of[needed][0]
                waiting.append(needed)
    return found
