"""The commands `pack`, `publish` and `index`: from a mod to a wheel, and to an index."""

from __future__ import annotations

import hashlib
import tempfile
import textwrap
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from devserver import __version__
from devserver.cli.exits import Exit, Problem
from devserver.cli.output import say, say_json
from devserver.errors import DevServerError
from devserver.loader.packed import try_import
from devserver.market import packing, uv
from devserver.market.index import FILE, IsThere, publish_to, write_index
from devserver.market.package import Package, PackageRefused, read_wheel
from devserver.market.packing import PROJECT, CannotPack, Packing, imports_of, look, stage, undeclared
from devserver.market.places import shown
from devserver.market.wheel import build_wheel
from devserver.model.names import is_loopback
from devserver.ui.words import count


def pack(folder: Path, into: Path, *, build: bool, as_json: bool) -> int:
    """Build the wheel of a mod or package, and check that it loads where nothing else of it is.

    Exits with 5 if it does not load, makes imports that no package can, or imports undeclared
    packages: then no wheel is written.
    """
    try:
        found = look(folder, __version__)
    except CannotPack as error:
        raise Problem(str(error), error.hint) from error
    if found.backend != packing.BACKEND and not build:
        raise Problem(
            f"{found.folder.name} is built by {found.backend[:100]}, which is code that would run",
            "--build runs it; uv_build needs none",
        )
    if found.is_new:
        (found.folder / PROJECT).write_text(found.project, encoding="utf-8")
        if not as_json:
            say(f"wrote {found.folder.name}/{PROJECT}, from what the mod declares:")
            for line in textwrap.indent(found.project, "  ").splitlines():
                say(line)
    # From a copy: a backend may write beside the sources that it builds.
    with tempfile.TemporaryDirectory(prefix="oa-dev-pack-") as scratch:
        try:
            staged = stage(found, Path(scratch))
            wheel = _built(found, staged, Path(scratch) / "out")
            package = read_wheel(wheel)
            problems, notes, handlers = _checked(found, staged, package, wheel, Path(scratch) / "apart")
            if problems:
                return _not_packed(found, problems, as_json=as_json)
            into.mkdir(parents=True, exist_ok=True)
            target = into / wheel.name
            target.write_bytes(wheel.read_bytes())
        except PackageRefused as error:
            return _not_packed(found, (str(error),), as_json=as_json)
        except OSError as error:
            raise Problem(f"{into} cannot be written: {error.strerror}", code=Exit.FATAL) from error
    return _packed(target, package, (*found.notes, *notes), handlers, as_json=as_json)


def _built(found: Packing, staged: Path, out: Path) -> Path:
    """Build a wheel; one of uv comes out in one form, so that its bytes are the same every time."""
    if found.backend == packing.BACKEND:
        return build_wheel(staged, out)
    out.mkdir()
    return uv.build(staged, out, isolated=False)


def _checked(
    found: Packing, staged: Path, package: Package, wheel: Path, apart: Path
) -> tuple[tuple[str, ...], tuple[str, ...], int]:
    """Return a wheel's problems, checks that were impossible, and how many handlers it has."""
    imports = imports_of(staged, found)
    if imports.problems:
        return imports.problems, (), 0
    if not package.mods:
        return ("it has no entry point openagents.mods, so it is not a mod",), (), 0
    with zipfile.ZipFile(wheel) as archive:
        # Its entries were looked at when it was read.
        archive.extractall(apart)
    tried = try_import(apart, package.mods)
    missing = undeclared(imports, package.requires, tried.distributions or {})
    only_here = () if missing else tried.missing
    notes = [f"not checked whether it imports: {each} is not installed here" for each in only_here]
    return (*missing, *tried.problems), tuple(notes), sum(tried.handlers.values())


def _not_packed(found: Packing, problems: Sequence[str], *, as_json: bool) -> int:
    if as_json:
        say_json({"success": False, "name": found.folder.name, "problems": list(problems)})
    else:
        say(f"{found.folder.name} was not packed:")
        for each in problems:
            say(f"  {each}")
    return Exit.MOD_ERRORS


def _packed(wheel: Path, package: Package, notes: Sequence[str], handlers: int, *, as_json: bool) -> int:
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    values: dict[str, Any] = {
        "success": True, "file": str(wheel), "name": package.name, "version": package.version, "sha256": digest,
        "handlers": handlers, "notes": list(notes),
    }  # fmt: skip
    if as_json:
        say_json(values)
        return Exit.CLEAN
    say(f"{wheel}   sha256 {digest[:8]}… · the same bytes every time")
    checked = f"it imports, {count(handlers, 'handler')}, " if not any("not checked" in each for each in notes) else ""
    say(f"  checked: {checked}every package it imports is declared")
    for each in notes:
        say(f"  {each}")
    return Exit.CLEAN


def index(folder: Path, *, as_json: bool) -> int:
    """List the mods of a folder of wheels in its index.json. Exits with 1 if one cannot be."""
    try:
        found = write_index(folder)
    except OSError as error:
        raise Problem(f"{folder / FILE} cannot be written: {error.strerror}", code=Exit.FATAL) from error
    except DevServerError as error:
        raise Problem(str(error), code=Exit.FATAL) from error
    entries = found.catalogue.entries
    releases = sum(len(each.releases) for each in entries.values())
    if as_json:
        say_json(
            {"file": str(folder / FILE), "mods": len(entries), "releases": releases, "left_out": dict(found.refused)}
        )
    else:
        say(f"{folder / FILE}: {count(len(entries), 'mod')}, {count(releases, 'release')}")
        for name, reason in found.refused.items():
            say(f"  left out {name}: {reason}")
    return Exit.FATAL if found.refused else Exit.CLEAN


def publish(wheel: Path, to: str, *, as_json: bool) -> int:
    """Publish a wheel: into a folder, which lists it, or to an address, by uv."""
    try:
        if "://" in to:
            return _upload(wheel, to, as_json=as_json)
        reviewed, listed = publish_to(Path(to), wheel)
    except (IsThere, PackageRefused) as error:
        raise Problem(str(error), code=Exit.FATAL) from error
    except OSError as error:
        raise Problem(f"{to} cannot be written: {error.strerror}", code=Exit.FATAL) from error
    package = reviewed.package
    if as_json:
        say_json(_published(package, str(Path(to) / FILE)))
    else:
        say(f"{Path(to) / FILE} + {package.name} {package.version} ({count(len(listed.catalogue.entries), 'mod')})")
    return Exit.CLEAN


def _upload(wheel: Path, url: str, *, as_json: bool) -> int:
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(parts.hostname or "")):
        raise Problem(f"{shown(url)} is not asked", "an address begins with https:// (http:// on this machine alone)")
    package = read_wheel(wheel)
    try:
        uv.publish([wheel.resolve()], url)
    except uv.UvFailed as error:
        raise Problem(*_why_not(package, shown(url), error), Exit.FATAL) from error
    if as_json:
        say_json(_published(package, shown(url)))
    else:
        say(f"{shown(url)} + {package.name} {package.version}")
    return Exit.CLEAN


def _why_not(package: Package, place: str, error: uv.UvFailed) -> tuple[str, str]:
    """Return an index's refusal as a sentence with a hint."""
    said = f"{error} {error.said}"
    named = f"{package.name} {package.version}"
    if "409" in said or "already exists" in said.lower():
        return f"{place} has {named} already: a version never changes", "raise the version, and pack it again"
    if any(each in said for each in ("401", "403", "redentials", "authenticat")):
        return (
            f"{place} does not let you publish {named}",
            "credentials are uv's: UV_PUBLISH_TOKEN, or a trusted publisher",
        )
    return f"{named} was not published to {place}: {error}", error.said.replace("\n", " · ")[:300]


def _published(package: Package, place: str) -> dict[str, Any]:
    return {"published": package.name, "version": package.version, "sha256": package.sha256, "to": place}
