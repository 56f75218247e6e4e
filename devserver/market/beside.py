"""Which wheel a version beside a mod is (`wiki_extras@2`): chosen by uv alone, before all is resolved together.

What is locked stays while it suits what network.yaml says. Nothing is installed here, and nothing of a wheel runs.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from devserver.errors import DevServerError
from devserver.market import uv
from devserver.market.folder import private_folder
from devserver.market.lock import NAME, Facts, Lock, Locked, LockedLine, read_lock, written
from devserver.market.package import MOST_BYTES, Package, wheel_of
from devserver.market.packages import parse_package
from devserver.market.places import WHEEL_PATIENCE, fetched
from devserver.market.wants import Beside, Wants, project_of
from devserver.model.names import normal
from devserver.model.split import main_of


class NotBeside(DevServerError):
    """A version that cannot run beside its mod. The text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """How versions are looked for: where texts for uv are written, and what of a resolution counts here, too."""

    folder: Path
    workspace: Path
    before: str = ""
    offline: bool = False


def lines_of(wants: Wants, old: Lock, upgrade: Collection[str] | None, search: Search) -> tuple[LockedLine, ...]:
    """Return the versions beside mods: the locked one where it suits, else the newest that does.

    `upgrade` names distributions that may move; None: all of them. Raises NotBeside, UvFailed,
    UvMissing, BadLock, and what reading a wheel raises.
    """
    return tuple(_kept(each, old, upgrade) or _found(each, wants, search) for each in wants.beside)


def _kept(wanted: Beside, old: Lock, upgrade: Collection[str] | None) -> LockedLine | None:
    known = old.line(wanted.line)
    if known is None or upgrade is None or known.name != normal(wanted.name):
        return None
    may_move = known.name in {normal(each) for each in upgrade} or wanted.line in upgrade
    suits = parse_package(f"{wanted.name}{wanted.versions}").allows(known.version)
    return known if suits and not may_move else None


def _found(wanted: Beside, wants: Wants, search: Search) -> LockedLine:
    folder = private_folder(search.folder / wanted.line)
    texts = {
        "pyproject.toml": project_of(wanted.line.replace("@", "-at-"), [f"{wanted.name}{wanted.versions}"]),
        "uv.toml": wants.settings(search.workspace),
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    target = folder / NAME
    target.unlink(missing_ok=True)
    asked = uv.Resolution(folder=folder, lock=target, before=search.before, offline=search.offline, alone=True)
    uv.resolve(asked)
    text = target.read_text(encoding="utf-8")
    [found] = read_lock(written(text, Facts(), search.workspace).encode()).packages
    return _line(wanted, found, _wheel(found, search.workspace))


def _wheel(found: Locked, workspace: Path) -> Package:
    """Return the wheel that was found, as data. Raises NotBeside where the index said other."""
    if "://" in found.where:
        data = fetched(found.where, patience=WHEEL_PATIENCE, most=MOST_BYTES)
    else:
        data = (workspace / found.where).read_bytes()
    package = wheel_of(data, unquote(urlsplit(found.where).path.rpartition("/")[2]))
    if package.sha256 not in found.hashes:
        raise NotBeside(f"{found.name} {found.version} is not what its index says: sha256 {package.sha256[:8]}… found")
    return package


def _line(wanted: Beside, found: Locked, package: Package) -> LockedLine:
    named, path = f"{found.name} {found.version}", main_of(wanted.line)
    if package.native:
        raise NotBeside(f"{named} has machine code ({package.native[0]}), of which a process has one version")
    if path not in package.mods:
        raise NotBeside(f"{named} does not bring {path}: it brings {', '.join(package.mods) or 'no mod'}")
    if "." in path:
        raise NotBeside(
            f"{path} is a part of {path.partition('.')[0]}: a version beside it would share the rest of that"
        )
    return LockedLine(
        line=wanted.line,
        name=normal(found.name),
        version=found.version,
        where=found.where,
        sha256=package.sha256,
        requires=package.requires,
    )


def lock_for(line: LockedLine, workspace: Path) -> str:
    """Return the text of a lock of this one wheel, as uv installs it from any folder."""
    place = line.where if "://" in line.where else (workspace.resolve() / line.where).as_uri()
    wheel = f'{{ url = "{place}", hashes = {{ sha256 = "{line.sha256}" }} }}'
    rows = ['lock-version = "1.0"', 'created-by = "oa-dev"', 'requires-python = ">=3.11"', "", "[[packages]]"]
    return "\n".join((*rows, f'name = "{line.name}"', f'version = "{line.version}"', f"wheels = [{wheel}]", ""))
