"""`.oa-dev/env/<digest>/`: a lock's packages. Built beside, renamed when whole, then unchanged.

Each folder has a record that says which lock it is of, so that a start opens one small file and
starts no program.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import stat
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING

from devserver.errors import DevServerError
from devserver.market.packages import name_in
from devserver.model.names import mod_name_problem, normal
from devserver.sources.graph import reach

if TYPE_CHECKING:
    # Slow to import, and not needed if a record says what is installed.
    from devserver.market.lock import Lock, Locked

RECORD = "oa-dev.json"
KEPT_LOCK = "oa-dev.lock"
GROUP = "openagents.mods"
"""The entry points by which a distribution names its mods."""
_NEW = ".new-"
_RECORD_LIMIT = 4 * 1024 * 1024


class Busy(DevServerError):
    """Another process changes the lock or the packages here."""


class NotInstalled(DevServerError):
    """The lock is not installed here."""


@dataclass(frozen=True, slots=True)
class Package:
    """One installed distribution. `identity` changes with its files; `tops` are its top modules."""

    version: str
    identity: str
    tops: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()
    """The distributions that it requires, for any purpose."""


@dataclass(frozen=True, slots=True)
class Installed:
    """The folder of an installed lock: its distributions by name, and paths of mods with theirs."""

    folder: Path
    mods: Mapping[str, str] = field(default_factory=dict)
    packages: Mapping[str, Package] = field(default_factory=dict)

    @property
    def lines(self) -> tuple[str, ...]:
        """The versions of mods beside the others, as in `wiki_extras@2`; each is a package of that name, too."""
        return tuple(name for name in self.packages if "@" in name)

    @property
    def tops_of_mods(self) -> tuple[str, ...]:
        """Return the top names below the folder whose files are sources that are reloaded: those
        of the distributions that bring mods, and the folders of lines."""
        named = (self.packages.get(name) for name in dict.fromkeys(self.mods.values()))
        tops = (top for each in named if each is not None for top in each.tops)
        return tuple(dict.fromkeys((*tops, *(line_folder(Path(), each).name for each in self.lines))))

    def place_of(self, module: str) -> Path:
        """Return where a module of a mod lies in the folder, without its suffix."""
        top, dot, rest = module.partition(".")
        if "@" not in top:
            return self.folder / module.replace(".", "/")
        return line_folder(self.folder, top) / f"{top.partition('@')[0]}{dot}{rest}".replace(".", "/")

    def owner(self, top: str) -> str | None:
        """Return the distribution that a top module or package belongs to."""
        return next((name for name, each in self.packages.items() if top in each.tops), None)

    def with_needed(self, name: str) -> frozenset[str]:
        """Return a distribution and all of this folder that it needs, directly or not."""

        def needed(each: str) -> Collection[str]:
            return self.packages.keys() & self.packages[each].requires if each in self.packages else ()

        return reach([name], needed)


def environments(workspace: Path) -> Path:
    """Return the place of the folders."""
    return workspace / ".oa-dev" / "env"


def folder_of(workspace: Path, lock: Lock) -> Path:
    """Return the folder of a lock's packages, even if it does not exist yet."""
    from devserver.market.lock import digest

    return environments(workspace) / digest(lock.here, lock.lines)


def line_folder(folder: Path, line: str) -> Path:
    """Return where a mod's version lies beside the others: apart, with its own names."""
    return folder / f"@{line}"


def hash_of(data: bytes) -> str:
    """Return the name of a lock in records."""
    return hashlib.sha256(data).hexdigest()


def find_installed(workspace: Path, data: bytes) -> Installed:
    """Return the packages of the lock in these bytes, quickly: by the records beside them.

    Raises NotInstalled, with the problem of the lock if that is the reason.
    """
    wanted = hash_of(data)
    with contextlib.suppress(OSError):  # there is no folder before the first installation
        for folder in sorted(environments(workspace).iterdir()):
            found = _read_record(folder)
            if found is not None and found[0] == wanted:
                return found[1]
    from devserver.market.lock import BadLock, read_lock

    try:
        lock = read_lock(data)
    except BadLock as error:
        raise NotInstalled(str(error)) from error
    # The same packages under another text, as after a merge: nothing has to be fetched.
    same = _read_record(folder_of(workspace, lock))
    if same is not None:
        return replace(same[1], mods=dict(lock.mods))
    count = len(lock.here) + len(lock.lines)
    raise NotInstalled(f"{count} locked package{'s are' if count != 1 else ' is'} not installed · oa-dev sync")


def installed_as(folder: Path) -> Installed | None:
    """Return what is installed in a folder, by its record; None if it has none."""
    found = _read_record(folder)
    return None if found is None else found[1]


def _read_record(folder: Path) -> tuple[str, Installed] | None:
    if folder.name.startswith("."):
        return None
    try:
        with open(folder / RECORD, "rb") as file:
            values = json.loads(file.read(_RECORD_LIMIT))
        packages = {
            name: Package(each["version"], each["identity"], tuple(each["tops"]), tuple(each["requires"]))
            for name, each in values["packages"].items()
        }
        return values["lock"], Installed(folder, values["mods"], packages)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None  # damaged, or of another version: it counts as not installed


def write_record(folder: Path, lock: Lock, data: bytes) -> Installed:
    """Note which lock a folder is of; another one with the same packages is noted again."""
    packages = {each.name: _package(folder, each) for each in lock.here}
    packages |= {
        each.line: Package(
            each.version, each.sha256[:16], (each.line,), needs_in(line_folder(folder, each.line), each.name)
        )
        for each in lock.lines
    }
    found = Installed(folder, dict(lock.mods), packages)
    rows = {name: asdict(each) for name, each in packages.items()}
    values = {"lock": hash_of(data), "mods": dict(lock.mods), "packages": rows}
    write_whole(folder / KEPT_LOCK, data)
    write_whole(folder / RECORD, json.dumps(values, indent=1, sort_keys=True).encode())
    return found


def changed_by_hand(installed: Installed) -> dict[str, tuple[str, ...]]:
    """Return, by distribution of a mod, the sources that differ from its list of files (RECORD)."""
    found = {}
    for name in sorted({*installed.mods.values()}):
        info = info_of(installed.folder, name)
        rows = [line.split(",") for line in _lines(info / "RECORD")] if info is not None else []
        sources = [(row[0], row[1]) for row in rows if len(row) == 3 and row[0].endswith(".py")]
        files = tuple(path for path, recorded in sources if recorded and _hash_now(installed.folder / path) != recorded)
        if files:
            found[name] = files
    return found


def _hash_now(file: Path) -> str:
    try:
        return f"sha256={record_hash(file.read_bytes())}"
    except OSError:  # a missing file differs, too
        return ""


def record_hash(content: bytes, method: str = "sha256") -> str:
    """Return the hash of a file as a RECORD lists it."""
    return base64.urlsafe_b64encode(hashlib.new(method, content).digest()).rstrip(b"=").decode()


def lock_of(folder: Path) -> bytes | None:
    """Return the lock that a folder was last noted for."""
    with contextlib.suppress(OSError):
        return (folder / KEPT_LOCK).read_bytes()
    return None


def _package(folder: Path, locked: Locked) -> Package:
    identity = hashlib.sha256(repr((locked.version, locked.hashes)).encode()).hexdigest()[:16]
    info = info_of(folder, locked.name)
    if info is None:
        return Package(locked.version, identity)
    return Package(locked.version, identity, _tops(info), _requires(info))


def info_of(folder: Path, name: str) -> Path | None:
    """Return the folder with the metadata of an installed distribution."""
    infos = (each for each in folder.glob("*.dist-info") if normal(each.name.partition("-")[0]) == normal(name))
    return next(infos, None)


def _tops(info: Path) -> tuple[str, ...]:
    """Return the top modules and packages of a distribution, by the list of its files."""
    files = (line.partition(",")[0].strip('"') for line in _lines(info / "RECORD"))
    firsts = (each.partition("/") for each in files if each.endswith((".py", ".so", ".pyd")))
    names = {first.partition(".")[0] for first, _, _ in firsts}
    return tuple(sorted(each for each in names if each.isidentifier()))


def _requires(info: Path) -> tuple[str, ...]:
    head = takewhile(bool, _lines(info / "METADATA"))
    needs = (line.partition(":")[2] for line in head if line.lower().startswith("requires-dist:"))
    return tuple(sorted({name for each in needs if (name := name_in(each))}))


def needs_in(folder: Path, name: str) -> tuple[str, ...]:
    """Return the distributions that one of a folder requires."""
    info = info_of(folder, name)
    return () if info is None else _requires(info)


def mods_in(folder: Path) -> dict[str, str]:
    """Return the mods that a folder's distributions bring, by path and entry points."""
    found = {}
    for info in sorted(folder.glob("*.dist-info")):
        name = normal(info.name.partition("-")[0])
        group = ""
        for line in _lines(info / "entry_points.txt"):
            if line.startswith("["):
                group = line.strip("[] ")
            elif group == GROUP and "=" in line:
                path = line.partition("=")[2].partition(":")[0].partition("[")[0].strip()
                if mod_name_problem(path) is None:
                    found[path] = name
    return found


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []


def build(workspace: Path, lock: Lock, fill: Callable[[Path], None]) -> Path:
    """Make the folder of a lock, unless it exists: `fill` gets a new one, which is then renamed.

    It counts once it is noted (`write_record`). A failure leaves nothing behind.
    """
    target = folder_of(workspace, lock)
    if (target / RECORD).is_file():
        return target
    above = private_folder(environments(workspace))
    new = above / f"{_NEW}{os.getpid()}"
    _remove(new)
    try:
        new.mkdir(mode=0o700)
        fill(new)
        # A folder that was never noted was left by a process that was killed.
        _remove(target)
        new.rename(target)
    finally:
        _remove(new)
    return target


def purge(workspace: Path, kept: Collection[Path]) -> list[Path]:
    """Remove the folders of other locks, and incomplete ones; return them. Not while a command
    changes packages: it may be about to use one of them."""
    gone: list[Path] = []
    if not environments(workspace).is_dir():
        return gone
    with contextlib.suppress(OSError, Busy), alone(workspace):  # the next start tries again
        for folder in sorted(environments(workspace).iterdir()):
            begun_by = folder.name.removeprefix(_NEW) if folder.name.startswith(_NEW) else ""
            if folder not in kept and not (begun_by.isdecimal() and _runs(int(begun_by))):
                _remove(folder)
                gone.append(folder)
    return gone


def _remove(folder: Path) -> None:
    # Here and not above: a start removes nothing, and needs no archives.
    from shutil import rmtree

    rmtree(folder, ignore_errors=True)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # another user's
    return True


def private_folder(folder: Path) -> Path:
    """Make a folder below `.oa-dev` that only this user may enter, and return it."""
    for each in (*reversed([each for each in folder.parents if each.name == ".oa-dev"]), folder):
        if not each.is_dir():
            each.mkdir(mode=0o700, parents=True, exist_ok=True)
        ignored = each / ".gitignore"
        if each.name == ".oa-dev" and not ignored.exists():
            write_whole(ignored, b"*\n")
    return folder


def write_whole(path: Path, data: bytes) -> None:
    """Replace a file so that readers see the old or the new contents, also after a crash."""
    other = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(other, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileNotFoundError):  # a new file has no mode to keep
            other.chmod(stat.S_IMODE(path.stat().st_mode))
        other.replace(path)
    finally:
        other.unlink(missing_ok=True)


@contextmanager
def alone(workspace: Path) -> Iterator[None]:
    """Let one process at a time change the lock and the packages. Raises Busy, with its name."""
    import fcntl

    file = private_folder(workspace / ".oa-dev") / "sync.lock"
    with open(file, "a+", encoding="utf-8") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            handle.seek(0)
            pid = handle.read(20).strip()
            raise Busy(f"another oa-dev changes what is installed here (pid {pid or 'unknown'})") from error
        handle.truncate(0)
        handle.write(str(os.getpid()))
        handle.flush()
        yield
