"""Makes the catalogue of a folder of wheels: mods, answers, needs, touches, read from these.

What people wrote into it stays: yanked or blocked versions with their reasons, the successors of
mods, and the dates of releases.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from devserver.config.regular import read_regular
from devserver.errors import DevServerError
from devserver.market.catalogue import (
    MOST_BYTES,
    BadCatalogue,
    Catalogue,
    Entry,
    Release,
    in_order,
    read_catalogue,
    written,
)
from devserver.market.folder import write_whole
from devserver.market.package import PackageRefused, read_wheel
from devserver.market.review import Review, review
from devserver.model.names import normal

FILE = "index.json"
_MOST_LISTED = 1000


class IsThere(DevServerError):
    """A release that an index has already, with other bytes: a version never changes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Indexed:
    """A new catalogue, and the files in its folder that it does not list, each with the reason."""

    catalogue: Catalogue
    refused: dict[str, str]

    @property
    def text(self) -> str:
        return written(self.catalogue.name, self.catalogue.made, self.catalogue.entries)


def read_index(folder: Path, *, named: str = "") -> Catalogue:
    """Read the catalogue of a folder of wheels, or make it. Raises BadCatalogue."""
    shown = named or folder.name
    try:
        data = read_regular(folder / FILE, MOST_BYTES)
    except OSError as error:
        raise BadCatalogue(f"{shown}/{FILE} cannot be read: {error.strerror}") from error
    if data is None:
        return made(folder, named=named).catalogue
    return read_catalogue(data, folder, named=shown)


def made(folder: Path, *, named: str = "") -> Indexed:
    """Make the catalogue of a folder of wheels. Raises BadCatalogue if there is a bad one."""
    if not folder.is_dir():
        raise BadCatalogue(f"there is no folder {named or folder.name}")
    before = read_index(folder, named=named) if (folder / FILE).exists() else None
    found: dict[str, dict[str, Review]] = {}
    names: dict[str, str] = {}
    refused: dict[str, str] = {}
    for path in sorted(folder.glob("*.whl")):
        try:
            reviewed = review(read_wheel(path))
            if not reviewed.package.mods:
                raise PackageRefused("no_mod", "it is not a mod (it has no entry point openagents.mods)")
        except PackageRefused as error:
            refused[path.name] = str(error)
            continue
        name = names.setdefault(normal(reviewed.package.name), reviewed.package.name)
        found.setdefault(name, {})[reviewed.package.version] = reviewed
    # A warning outlasts the wheels that it is about.
    old = before.entries if before is not None else {}
    entries = {name: kept for name, entry in old.items() if (kept := _warning(entry)) is not None}
    for name, versions in found.items():
        known = before.find(name) if before is not None else None
        entries[known[0] if known is not None else name] = _entry(versions, known[1] if known is not None else Entry())
    name = before.name if before is not None and not named else named or folder.name
    catalogue = Catalogue(name=name, made=_now(), entries=entries, where=folder)
    return Indexed(catalogue=catalogue, refused=refused)


def write_index(folder: Path) -> Indexed:
    """Write the index.json of a folder of wheels. Raises BadCatalogue, OSError."""
    found = made(folder)
    write_whole(folder / FILE, found.text.encode())
    return found


def publish_to(folder: Path, wheel: Path) -> tuple[Review, Indexed]:
    """Put a wheel into a folder, and list it there. Raises IsThere, PackageRefused, BadCatalogue, OSError."""
    reviewed = review(read_wheel(wheel))
    package = reviewed.package
    if not package.mods:
        raise PackageRefused("no_mod", f"{wheel.name} is not a mod (it has no entry point openagents.mods)")
    there = folder / wheel.name
    if there.exists() and there.resolve() != wheel.resolve():
        other = read_wheel(there).sha256
        if other != package.sha256:
            raise IsThere(
                f"{package.name} {package.version} is in {folder.name} already, with other bytes "
                f"(sha256 {other[:8]}…, this is {package.sha256[:8]}…): a version never changes, raise it"
            )
    folder.mkdir(parents=True, exist_ok=True)
    if there.resolve() != wheel.resolve():
        write_whole(there, wheel.read_bytes())
    return reviewed, write_index(folder)


def _entry(versions: dict[str, Review], old: Entry) -> Entry:
    newest = versions[in_order(versions)[0]].package
    gone = _warning(old)
    releases = {version: release_of(each, old.releases.get(version)) for version, each in versions.items()}
    return Entry(
        summary=newest.summary,
        license=newest.license,
        homepage=newest.homepage,
        keywords=list(newest.keywords[:_MOST_LISTED]),
        mods=list(newest.mods[:_MOST_LISTED]),
        releases=(gone.releases if gone is not None else {}) | releases,
        blocked=old.blocked,
        replaced_by=old.replaced_by,
    )


def _warning(entry: Entry) -> Entry | None:
    """Return what stays of an entry without its wheels: its blocked versions."""
    blocked = {version: each for version, each in entry.releases.items() if entry.blocked or each.blocked}
    return entry.model_copy(update={"releases": blocked}) if entry.blocked or blocked else None


def release_of(reviewed: Review, old: Release | None = None) -> Release:
    """Return a wheel as a catalogue lists it; `old` is its present listing of that version."""
    package = reviewed.package
    same = old is not None and old.sha256 == package.sha256
    return Release(
        file=package.file,
        sha256=package.sha256,
        size=package.size,
        requires_python=package.requires_python,
        requires=list(package.requires[:_MOST_LISTED]),
        answers=list(reviewed.answers[:_MOST_LISTED]),
        touches={kind: rows[:_MOST_LISTED] for kind, rows in reviewed.touched().items()},
        files=reviewed.files,
        lines=reviewed.lines,
        made=old.made if old is not None and same else _now()[:10],
        yanked=old.yanked if old is not None else False,
        blocked=old.blocked if old is not None else None,
    )


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
