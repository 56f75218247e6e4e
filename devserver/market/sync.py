"""From wants to locked and installed packages: resolve, install, review, then swap files.

Decides nothing about what runs: it changes the lock, network.yaml and `.oa-dev/env`, and a running
server follows the files. A failure or refusal leaves all of them unchanged.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import unquote, urlsplit

from devserver.errors import DevServerError
from devserver.market import folder as packages
from devserver.market import uv
from devserver.market.beside import Search, lines_of, lock_for
from devserver.market.explain import Explained, explain
from devserver.market.folder import Installed, line_folder
from devserver.market.lock import (
    LIMIT,
    NAME,
    Facts,
    Lock,
    Locked,
    absolute,
    changed_contents,
    mods_said,
    read_lock,
    written,
)
from devserver.market.package import Package, installed_package, read_wheel, refuse_shadowing
from devserver.market.places import shown
from devserver.market.releases import Attested, OtherPublisher, Release, releases_of, too_young
from devserver.market.review import Review, review
from devserver.market.wants import Listed, Wants
from devserver.model.names import normal
from devserver.model.split import main_of

_NO_DATE = "missing an upload date"
_ADDRESS = re.compile(r"https?://[^\s`'\")]+")
_RESOLVE = Path(".oa-dev", "resolve")


class NothingSuits(DevServerError):
    """No set of packages fits all wants. `why` has the two sides, or uv's own words."""

    def __init__(self, why: Explained) -> None:
        super().__init__("no set of packages suits all of network.yaml; nothing was changed, what runs keeps running")
        self.why = why


class OtherContents(DevServerError):
    """An index has other contents for a version than the lock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """A set of packages that fits all wants, and the lock before."""

    workspace: Path
    wants: Wants
    text: str
    """The lock as uv wrote it."""
    new: Lock
    old: Lock
    seconds: float = 0.0
    publishers: Mapping[str, str] = field(default_factory=dict)
    """The publishers of attested mods, by distribution."""
    verified: frozenset[str] = frozenset()
    """Those of them whose signatures were verified here."""
    young: tuple[str, ...] = ()
    """The releases that are younger than `dev.cooldown`, each as a sentence."""

    @property
    def came(self) -> tuple[Locked, ...]:
        """The new packages."""
        return tuple(each for name, each in self.new.all_here.items() if name not in self.old.all_here)

    @property
    def gone(self) -> tuple[Locked, ...]:
        """The packages that are not needed any more."""
        return tuple(each for name, each in self.old.all_here.items() if name not in self.new.all_here)

    @property
    def moved(self) -> tuple[tuple[Locked, Locked], ...]:
        """The packages with another version, or other files."""
        before = self.old.all_here
        pairs = ((before.get(name), each) for name, each in self.new.all_here.items())
        return tuple(
            (old, new)
            for old, new in pairs
            if old is not None and (old.version != new.version or not set(old.hashes) & set(new.hashes))
        )

    @property
    def same(self) -> bool:
        """Whether the lock has the same packages already."""
        return not (self.came or self.gone or self.moved)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """A lock whose packages are installed beside what runs: one step from being in effect."""

    workspace: Path
    resolved: Resolved
    folder: Path
    lock: Lock
    data: bytes
    seconds: float
    reviews: Mapping[str, Review] = field(default_factory=dict)
    """The reviews of new or moved mods, by distribution."""
    before: Mapping[str, Review] = field(default_factory=dict)
    """The former packages of those that have moved."""

    @property
    def mods(self) -> Mapping[str, str]:
        """Return the paths of mods, each with its distribution."""
        return self.lock.mods


# Reading


def lock_here(workspace: Path) -> Lock:
    """Return the lock of a workspace; an empty one if it is missing. Raises BadLock, OSError."""
    data = lock_bytes(workspace)
    return Lock() if data is None else read_lock(data)


def salvaged_lock(workspace: Path) -> Lock:
    """Return the readable part of a broken lock: the distributions of the mods that it named."""
    return Lock(facts=Facts(mods_said(lock_bytes(workspace) or b"")))


def lock_bytes(workspace: Path) -> bytes | None:
    try:
        with open(workspace / NAME, "rb") as file:
            return file.read(LIMIT)
    except FileNotFoundError:
        return None


def is_current(workspace: Path, lock: Lock, wants: Wants) -> bool:
    """Return whether a lock is of these wants and installed: then there is nothing to do."""
    if wants.empty and not lock.packages and not lock.lines:
        return True
    has_folder = (packages.folder_of(workspace, lock) / packages.RECORD).is_file()
    return lock.facts.wants == wants.digest and has_folder


# Resolving


def resolve(
    workspace: Path,
    wants: Wants,
    *,
    upgrade: Collection[str] = (),
    everything: bool = False,
    anew: bool = False,
    offline: bool = False,
    now: bool = False,
    new_publisher: bool = False,
) -> Resolved:
    """Find the packages that fit all wants. Locked ones stay, but for `upgrade` or `everything`.

    `anew` ignores the lock, which cannot be read. `now` also takes releases that are younger than
    the cooldown, `new_publisher` those of another publisher than the locked ones. Raises
    NothingSuits, OtherContents, OtherPublisher, BadAttestation, NotBeside, UvFailed, UvMissing.
    """
    began, old = time.monotonic(), Lock() if anew else lock_here(workspace)
    if wants.empty:
        empty = 'lock-version = "1.0"\ncreated-by = "oa-dev"\nrequires-python = ">=3.11"\npackages = []\n'
        return Resolved(workspace=workspace, wants=wants, text=empty, new=Lock(), old=old)
    young = "" if now or not wants.needs_default else wants.before(datetime.now(UTC))
    above = packages.private_folder(workspace / _RESOLVE)
    search = Search(folder=above / "beside", workspace=workspace, before=young, offline=offline)
    try:
        lines = lines_of(wants, old, None if everything else upgrade, search)
    except uv.UvFailed as failed:
        raise _in_our_words(failed, wants, time.monotonic() - began, young) from failed
    together = wants.with_lines(lines)
    folder, target = _written_out(workspace, together), workspace / _RESOLVE / "pylock.oa-dev.toml"
    kept = lock_bytes(workspace)
    if kept is not None and not everything and not anew:
        target.write_text(absolute(kept.decode(), workspace), encoding="utf-8")
    else:
        target.unlink(missing_ok=True)
    # uv asks indexes again for what it is to upgrade, and takes twice as long: what is not locked is the newest anyway.
    may_be_kept = wants.needs_default and not offline
    again = tuple(each for each in upgrade if may_be_kept or old.package(normal(each)) is not None)
    asked = uv.Resolution(
        folder=folder, lock=target, upgrade=again, without=together.virtual, before=young, offline=offline
    )
    try:
        _resolve(asked, together)
    except uv.UvFailed as failed:
        raise _in_our_words(failed, together, time.monotonic() - began, young) from failed
    text = target.read_text(encoding="utf-8")
    new = read_lock(written(text, Facts(lines=lines), workspace).encode())
    found = Resolved(workspace=workspace, wants=wants, text=text, new=new, old=old, seconds=time.monotonic() - began)
    _refuse_other_contents(found, upgrade, everything)
    if offline:
        return replace(found, publishers=old.facts.publishers)
    return _with_releases(found, young, new_publisher=new_publisher)


def _resolve(asked: uv.Resolution, wants: Wants) -> None:
    """Resolve; again without dates if an index has none, and from fetched packages if none answers.

    Raises UvFailed, of the first attempt if the others fail for want of a network.
    """
    try:
        uv.resolve(asked)
        return
    except uv.UvFailed as failed:
        first = failed
    if _NO_DATE in first.said:
        # A person has listed these indexes; without dates uv would take nothing of them.
        settings = asked.folder / "uv.toml"
        settings.write_text(wants.settings(asked.folder.parents[1], dated=False), encoding="utf-8")
        uv.resolve(asked)
    elif _is_unreachable(first) and not asked.offline:
        try:
            uv.resolve(replace(asked, offline=True))
        except uv.UvFailed:
            raise first from None
    else:
        raise first


def _written_out(workspace: Path, wants: Wants) -> Path:
    folder = packages.private_folder(workspace / _RESOLVE)
    texts = wants.texts(workspace)
    for each in folder.iterdir():
        # Former requests are not part of it.
        if each.is_dir() and not any(name.startswith(f"{each.name}/") for name in texts):
            shutil.rmtree(each, ignore_errors=True)
    for name, text in texts.items():
        file = folder / name
        try:
            # uv reads again what is written again, which takes longer than all of the rest of it.
            if file.read_text(encoding="utf-8") == text:
                continue
        except FileNotFoundError:
            file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return folder


def _is_unreachable(failed: uv.UvFailed) -> bool:
    return any(each in failed.said for each in ("Failed to fetch", "error sending request", "was ended after"))


def _with_releases(found: Resolved, young: str, *, new_publisher: bool) -> Resolved:
    """Add what the indexes say of the mods' releases. Raises OtherPublisher, BadAttestation."""
    changed = {each.name: each for each in (*found.came, *(new for _, new in found.moved)) if "://" in each.where}
    publishers = {name: each for name, each in found.old.facts.publishers.items() if name in found.new.all_here}
    too_new, verified = list[str](), set[str]()
    for listed in found.wants.listed:
        name = normal(listed.name)
        taken = found.new.package(name)
        lines = [each.line for each in found.new.lines if each.name == name and each.line in changed]
        if taken is None or not (young or name in changed or lines):
            continue
        releases = releases_of(found.wants.indexes, name)
        too_new += _young(listed, releases, taken.version, young)
        for each in filter(None, (changed.get(name), *(changed[line] for line in lines))):
            attested = next((it.attested() for it in releases if it.sha256 in each.hashes), Attested())
            publisher = attested.publisher
            before = found.old.facts.publishers.get(name, "")
            if before and publisher != before and not new_publisher:
                old, now = found.old.versions.get(name, ""), publisher or "an unnamed publisher"
                words = f"{name} {old} came from {before}, {each.version} from {now}"
                raise OtherPublisher(f"{words}; --new-publisher takes it")
            if each.name == name:
                publishers = {**publishers, name: publisher}
                verified |= {name} if attested.is_verified else set()
    named = {name: each for name, each in publishers.items() if each}
    return replace(found, publishers=named, verified=frozenset(verified), young=tuple(too_new))


def _young(listed: Listed, releases: Iterable[Release], taken: str, before: str) -> list[str]:
    if not before:
        return []
    wanted, since = f"{listed.name}{listed.versions}", datetime.fromisoformat(before)
    said = too_young(releases, wanted=wanted, taken=taken, before=since, now=datetime.now(UTC))
    return [said] if said else []


def _in_our_words(failed: uv.UvFailed, wants: Wants, seconds: float, young: str) -> DevServerError:
    if _is_unreachable(failed):
        found = _ADDRESS.search(failed.said)
        address = found[0] if found is not None else ""
        index = next((each for each in wants.indexes if "://" in each and address.startswith(each)), address)
        named = shown(index) if index else "the index"
        return uv.UvFailed(f"{named} did not answer ({seconds:.1f} s); nothing was changed", failed.said)
    if "exclude-newer" in failed.said and "uploaded before" in failed.said:
        told = [
            said for each in wants.listed for said in _young(each, releases_of(wants.indexes, each.name), "", young)
        ]
        note = "; ".join(told) or "what the index has is younger than dev.cooldown; --now takes it"
        return uv.UvFailed(f"{wants.file} wants what is too new: {note}", failed.said)
    why = explain(failed.said, wants)
    if why.known or "unsatisfiable" in failed.said:
        return NothingSuits(why)
    return failed


def _refuse_other_contents(found: Resolved, upgrade: Collection[str], everything: bool) -> None:
    """Refuse other files under a locked version: the index was tampered with, or has a mistake."""
    allowed = {normal(each) for each in upgrade}
    for old, new in changed_contents(found.old, found.new):
        if everything or normal(old.name) in allowed:
            continue
        raise OtherContents(
            f"{old.name} {old.version} is not what was locked: sha256 {old.hashes[0][:8]}… expected, "
            f"{new.hashes[0][:8]}… found in {new.where}; nothing was installed"
        )


# Installing


def install(found: Resolved, *, taken: Mapping[str, str], origins: Mapping[str, str], offline: bool = False) -> Ready:
    """Install the packages beside what runs, and review the mods among them. Nothing of them runs.

    `taken` are top names that no package may bring, each with its owner; `origins` the origins of
    the wheels of folder indexes. Raises PackageRefused, UvFailed, UvMissing, Busy, OSError.
    """
    began = time.monotonic()
    folder = packages.build(found.workspace, found.new, lambda new: _fill(new, found, taken=taken, offline=offline))
    mods = {path: name for path, name in packages.mods_in(folder).items() if found.new.package(name) is not None}
    kept = {name: origin for name, origin in {**found.old.facts.origins, **origins}.items() if found.new.package(name)}
    needed = {each for name in found.new.versions for each in packages.needs_in(folder, name)}
    server = {name: version for name, version in found.wants.server.items() if name in needed}
    facts = Facts(mods, found.wants.digest, server, kept, found.new.lines, found.publishers)
    data = written(found.text, facts, found.workspace).encode()
    news = {each.name for each in (*found.came, *(new for _, new in found.moved))}
    return Ready(
        workspace=found.workspace,
        resolved=found,
        folder=folder,
        lock=read_lock(data),
        data=data,
        seconds=time.monotonic() - began,
        reviews={
            name: review(_installed(folder, name, found.new, found.workspace))
            for name in mods_locked(found.new, mods)
            if name in news
        },
        before=_reviews_before(found),
    )


def mods_locked(lock: Lock, mods: Mapping[str, str]) -> tuple[str, ...]:
    """Return the distributions that bring mods, and the versions beside these (`wiki_extras@2`)."""
    return (*dict.fromkeys(mods.values()), *(each.line for each in lock.lines))


def _installed(folder: Path, name: str, lock: Lock, workspace: Path) -> Package:
    line, locked = lock.line(name), lock.all_here[name]
    package = installed_package(*((folder, name) if line is None else (line_folder(folder, name), line.name)))
    wheel = workspace / locked.where
    size = wheel.stat().st_size if "://" not in locked.where and wheel.is_file() else 0
    return replace(package, sha256=locked.hashes[0], size=size)


def counted(ready: Ready, wants: Wants) -> Ready:
    """Return this lock for these wants: of the new network.yaml, without single requests."""
    facts = replace(ready.lock.facts, wants=wants.digest)
    data = written(ready.resolved.text, facts, ready.workspace).encode()
    return replace(ready, lock=read_lock(data), data=data)


def _reviews_before(found: Resolved) -> dict[str, Review]:
    """Return the reviews of the installed versions of mods that have moved."""
    folder = packages.folder_of(found.workspace, found.old)
    if not (folder / packages.RECORD).is_file():
        return {}
    known = mods_locked(found.old, found.old.mods)
    names = {old.name: old.name for old, _ in found.moved if old.name in known}
    # What begins beside a mod is compared with the mod.
    mains = {each.line: found.old.mods.get(main_of(each.line)) for each in found.new.lines if each.line not in known}
    names |= {line: name for line, name in mains.items() if name is not None}
    return {name: review(_installed(folder, other, found.old, found.workspace)) for name, other in names.items()}


def _fill(new: Path, found: Resolved, *, taken: Mapping[str, str], offline: bool) -> None:
    _read_local(found)
    lock = found.workspace / _RESOLVE / "pylock.install.toml"
    if found.new.here:
        lock.write_text(absolute(found.text, found.workspace), encoding="utf-8")
        _put_into(new, lock, offline=offline)
    for line in found.new.lines:
        lock.write_text(lock_for(line, found.workspace), encoding="utf-8")
        _put_into(line_folder(new, line.line), lock, offline=offline)
    # Refuse a package with names of another one, of the workspace or of the server.
    others: dict[str, str] = dict(taken)
    for each in found.new.here:
        package = installed_package(new, each.name)
        refuse_shadowing(package, others)
        # Packages in namespaces (`google/cloud/…`) share their first folder.
        others |= dict.fromkeys(
            (top for top in package.tops if f"{top}/__init__.py" in package.files or f"{top}.py" in package.files),
            f"{each.name} brings, too",
        )


def _put_into(folder: Path, lock: Path, *, offline: bool) -> None:
    try:
        uv.install(lock, folder, offline=offline)
    except uv.UvFailed as failed:
        if "Hash mismatch" not in failed.said:
            raise
        told = [line.strip() for line in failed.said.splitlines() if "sha256" in line or "ismatch" in line]
        sentence = f"a package is not what was locked; nothing was installed: {'; '.join(told)}"
        raise OtherContents(sentence) from failed
    # Other users of the machine may write to the file that uv locks the folder by.
    (folder / ".lock").unlink(missing_ok=True)


def _read_local(found: Resolved) -> None:
    """Read the wheels of folder indexes by the rules for archives, before anything is extracted."""
    for each in found.new.all_here.values():
        path = found.workspace / each.where
        if "://" not in each.where and path.is_file():
            package = read_wheel(path)
            if package.sha256 not in each.hashes:
                raise OtherContents(
                    f"{each.name} {each.version} is not what was locked: sha256 {each.hashes[0][:8]}… expected, "
                    f"{package.sha256[:8]}… found in {each.where}; nothing was installed"
                )


def restore(workspace: Path, installed: Installed, data: bytes, *, offline: bool = False) -> list[Path]:
    """Restore installed sources that were changed; return them. Raises UvFailed, OSError.

    They are installed once more beside, and copied file by file: a running server sees each as
    saved.
    """
    changed = packages.changed_by_hand(installed)
    lock = packages.private_folder(workspace / _RESOLVE) / "pylock.install.toml"
    lock.write_text(absolute(data.decode(), workspace), encoding="utf-8")
    back: list[Path] = []
    with tempfile.TemporaryDirectory(prefix="oa-dev-restore-") as beside:
        fresh = Path(beside) / "packages"
        fresh.mkdir()
        uv.install(lock, fresh, offline=offline)
        for path in (path for files in changed.values() for path in files):
            packages.write_whole(installed.folder / path, (fresh / path).read_bytes())
            back.append(installed.folder / path)
    return back


# Writing


@dataclass(slots=True)
class Files:
    """Files before a change, to be restored byte for byte. New ones are removed again, and their new folders."""

    before: dict[Path, bytes | None] = field(default_factory=dict)
    """The changed files, each with its content before."""
    _made: set[Path] = field(default_factory=set)

    def write(self, path: Path, data: bytes | None) -> None:
        """Replace a file, or remove it, and remember its content."""
        before = path.read_bytes() if path.exists() else None
        if before == data:
            return
        self.before.setdefault(path, before)
        if not path.parent.is_dir():
            self._made.add(path.parent)
        _put(path, data)

    def put_back(self) -> None:
        """Restore every file."""
        for path, data in self.before.items():
            _put(path, data)
        self.before.clear()
        for each in self._made:
            # Others may have put files there since.
            with contextlib.suppress(OSError):
                each.rmdir()
        self._made.clear()


def _put(path: Path, data: bytes | None) -> None:
    if data is None:
        path.unlink(missing_ok=True)
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        packages.write_whole(path, data)


def write_lock(ready: Ready, files: Files) -> None:
    """Put the lock into effect. An empty one is removed."""
    packages.write_record(ready.folder, ready.lock, ready.data)
    files.write(ready.workspace / NAME, ready.data if ready.lock.packages or ready.lock.lines else None)


# Wheels of a team


def vendor(lock: Lock, into: Path, fetch: Callable[[str], bytes], files: Files) -> list[Path]:
    """Copy every locked wheel of this platform into a folder index, all that a clone needs.

    Raises OtherContents for a file that differs from the lock. Resolve again afterwards.
    """
    copied = []
    for each in lock.all_here.values():
        if "://" not in each.where:
            continue
        target = into / unquote(urlsplit(each.where).path.rpartition("/")[2])
        data = fetch(each.where)
        if hashlib.sha256(data).hexdigest() not in each.hashes:
            raise OtherContents(f"{target.name} is not what was locked; it was not copied")
        files.write(target, data)
        copied.append(target)
    return copied
