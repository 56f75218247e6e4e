"""The version of a package that an import would get, and the one that is imported; the server's own
packages. Reads metadata, imports nothing."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from devserver.market.packages import parse_package
from devserver.model.declared import Declarations
from devserver.model.names import normal

if TYPE_CHECKING:
    from importlib.metadata import Distribution


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """A package that an import would get; `imported` is the version that Python has loaded of it, if it has.

    `tops` are its top modules; `needed_by` the packages that need it, each with its version and the requirement.
    """

    name: str
    version: str
    imported: str | None
    folder: Path
    tops: frozenset[str]
    needed_by: tuple[tuple[str, str, str], ...]


def installed(name: str) -> Installed | None:
    """Return the package of that name; None if not installed. Reads the metadata of all."""
    from importlib import metadata  # imported here: no start should wait for it

    found = _installed(_name(name) or name) if name else None
    if found is None:
        return None
    own = _name(found.name)
    return Installed(
        name=found.name,
        version=found.version,
        imported=_imported(own, found),
        folder=Path(str(found.locate_file(""))),
        tops=frozenset(_tops(found)),
        needed_by=tuple(sorted({row for each in metadata.distributions() for row in _needs(each, own)})),
    )


def _needs(each: Distribution, name: str) -> Iterator[tuple[str, str, str]]:
    """Yield the requirements of a package that name another one."""
    for text in each.requires or ():
        if _name(text) == name and "extra ==" not in text:
            yield each.name, each.version, text


def versions_of(declared: Iterable[Declarations]) -> tuple[dict[str, str], dict[str, str]]:
    """Return the packages that these declare, by canonical name: installed and imported."""
    names = {name for each in declared for text in each.packages if (name := _name(text))}
    found = {name: each for name in names if (each := _installed(name)) is not None}
    imported = {name: version for name, each in found.items() if (version := _imported(name, each)) is not None}
    return {name: each.version for name, each in found.items()}, imported


def _name(text: str) -> str:
    try:
        return parse_package(text).name
    except ValueError:
        return ""


def _installed(name: str) -> Distribution | None:
    # Here and not above: slow to import, and most mods declare no package.
    from importlib import metadata

    try:
        return metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return None


def _imported(name: str, installed: Distribution) -> str | None:
    """Return the version of a package whose modules Python has loaded; None if it has none."""
    root = Path(str(installed.locate_file("")))
    for top in _tops(installed):
        file = getattr(sys.modules.get(top), "__file__", None)
        if not isinstance(file, str):
            continue
        folder = Path(file).parent.parent if Path(file).stem == "__init__" else Path(file).parent
        if folder == root:
            return installed.version
        # Loaded from another folder, which has its own metadata.
        from importlib import metadata

        beside = next(iter(metadata.distributions(name=name, path=[str(folder)])), None)
        if beside is not None:
            return beside.version
    return None


def _tops(installed: Distribution) -> set[str]:
    written = installed.read_text("top_level.txt")
    if written is not None:
        return set(written.split())
    names = {Path(str(each)).parts[0] for each in installed.files or ()}
    return {name.removesuffix(".py") for name in names if not name.endswith(".dist-info") and name != ".."}


def installed_here() -> dict[str, tuple[str, tuple[str, ...]]]:
    """Return the server's packages: by normalised name, version and requirements."""
    return {each.name: (each.version, each.requires) for each in _scanned(tuple(sys.path))}


def server_packages() -> dict[str, str]:
    """Return the packages that this server needs, without itself, each with its version."""
    return dict(_needed(tuple(sys.path)))


@lru_cache(maxsize=1)
def _needed(path: tuple[str, ...]) -> dict[str, str]:
    from devserver.market.wants import own_packages

    return own_packages("oa-dev", {each.name: (each.version, each.requires) for each in _scanned(path)})


def tops_here() -> frozenset[str]:
    """Return the top modules of this server: its own, and those of the packages that it needs."""
    # The list of files of an editable installation does not name it.
    own, found = {"oa-dev", *server_packages()}, {__name__.partition(".")[0]}
    for each in _scanned(tuple(sys.path)):
        if each.name in own:
            rows = (line.partition(",")[0].strip('"') for line in each.listing.splitlines())
            files = (file.split("/")[0] for file in rows if file.endswith((".py", ".so")))
            found |= {first.partition(".")[0] for first in files if not first.startswith(".")}
    return frozenset(top for top in found if top.isidentifier())


@dataclass(frozen=True, slots=True)
class _Distribution:
    """An installed distribution: its normalised name, and `listing`, the text of its RECORD."""

    name: str
    version: str
    requires: tuple[str, ...]
    listing: str


@lru_cache(maxsize=1)
def _scanned(path: tuple[str, ...]) -> tuple[_Distribution, ...]:
    """Read what is installed on an import path, the first of a name; a command asks several times."""
    # Here and not above: slow to import, and needed by commands alone.
    from importlib import metadata

    site = [each for each in path if ".oa-dev" not in Path(each).parts]
    found: dict[str, _Distribution] = {}
    for each in metadata.distributions(path=site):
        # By its lines: a parser of mails takes a hundred times as long.
        head = (each.read_text("METADATA") or each.read_text("PKG-INFO") or "").partition("\n\n")[0]
        rows = [(key.lower(), value.strip()) for key, _, value in (line.partition(":") for line in head.splitlines())]
        said = dict(reversed(rows))
        if (name := said.get("name")) and normal(name) not in found:
            requires = tuple(value for key, value in rows if key == "requires-dist")
            listing = each.read_text("RECORD") or ""
            found[normal(name)] = _Distribution(normal(name), said.get("version", ""), requires, listing)
    return tuple(found.values())
