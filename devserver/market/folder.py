"""`.oa-dev/env/<digest>/`: the packages of one lock. Built beside, renamed when whole, never changed afterwards.

Each folder has a record that says which lock it is of, so that a start opens one small file and starts no program.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from devserver.errors import DevServerError
from devserver.market.lock import Lock, digest

RECORD = "oa-dev.json"
_NEW = ".new-"
_RECORD_LIMIT = 4 * 1024 * 1024


class Busy(DevServerError):
    """Another process changes what is locked or installed here."""


@dataclass(frozen=True, slots=True)
class Installed:
    """The folder of a lock as it is installed.

    `mods` are the paths of mods with their distributions, `versions` all distributions, `tops` the names that those of
    mods can be imported by: these are sources that are reloaded.
    """

    folder: Path
    mods: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    tops: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By distribution, the top modules and packages that it brings."""
    lines: Mapping[str, str] = field(default_factory=dict)
    """Further versions of mods (`wiki_extras@2`), each with its version; each lies in `@<line>`."""

    @property
    def tops_of_mods(self) -> tuple[str, ...]:
        """The top names of the distributions that bring mods."""
        return tuple(dict.fromkeys(top for name in self.mods.values() for top in self.tops.get(name, ())))


def environments(workspace: Path) -> Path:
    """Where the folders are."""
    return workspace / ".oa-dev" / "env"


def folder_of(workspace: Path, lock: Lock) -> Path:
    """Where the packages of a lock are, or will be."""
    return environments(workspace) / digest(lock.here, lock.facts.lines)


def hash_of(data: bytes) -> str:
    """What a record knows a lock by."""
    return hashlib.sha256(data).hexdigest()


def find_installed(workspace: Path, data: bytes) -> Installed | None:
    """What is installed of the lock in these bytes, by the records beside the packages; None where it is not."""
    wanted = hash_of(data)
    with contextlib.suppress(OSError):
        for folder in sorted(environments(workspace).iterdir()):
            found = _read_record(folder)
            if found is not None and found[0] == wanted:
                return found[1]
    return None


def _read_record(folder: Path) -> tuple[str, Installed] | None:
    if folder.name.startswith("."):
        return None
    try:
        with open(folder / RECORD, "rb") as file:
            values = json.loads(file.read(_RECORD_LIMIT))
        tops = {name: tuple(each) for name, each in values["tops"].items()}
        return values["lock"], Installed(folder, values["mods"], values["versions"], tops, values["lines"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def write_record(folder: Path, lock: Lock, data: bytes) -> Installed:
    """Note which lock a folder is of. A lock whose packages stay has the same folder and another record."""
    tops = {name: tops_of(folder, name) for name in {*lock.mods.values()}}
    lines = {each.line: each.version for each in lock.facts.lines}
    found = Installed(folder, dict(lock.mods), lock.versions, tops, lines)
    values = {key: value for key, value in asdict(found).items() if key != "folder"}
    text = json.dumps({"lock": hash_of(data), **values}, indent=1, sort_keys=True)
    write_whole(folder / RECORD, text.encode())
    return found


def tops_of(folder: Path, name: str) -> tuple[str, ...]:
    """The top modules and packages that a distribution brings, by the list of its files (RECORD)."""
    wanted = name.replace("-", "_")
    infos = (each for each in folder.glob("*.dist-info") if _normal(each.name.partition("-")[0]) == _normal(wanted))
    for info in infos:
        with contextlib.suppress(OSError):
            lines = (info / "RECORD").read_text(encoding="utf-8").splitlines()
            files = (line.partition(",")[0] for line in lines)
            firsts = (each.partition("/") for each in files if each.endswith(".py"))
            return tuple(
                sorted({first.removesuffix(".py") for first, _, _ in firsts if not first.startswith(("..", "."))})
            )
    return ()


def _normal(name: str) -> str:
    return name.lower().replace("-", "_").replace(".", "_")


def build(workspace: Path, lock: Lock, data: bytes, fill: Callable[[Path], None]) -> Installed:
    """Make the folder of a lock, where it is not there: `fill` is given a new folder, which then gets its name.

    What fails leaves nothing behind.
    """
    target = folder_of(workspace, lock)
    if not (target / RECORD).is_file():
        above = private_folder(environments(workspace))
        new = above / f"{_NEW}{os.getpid()}"
        shutil.rmtree(new, ignore_errors=True)
        try:
            new.mkdir(mode=0o700)
            fill(new)
            write_record(new, lock, data)
            shutil.rmtree(target, ignore_errors=True)  # one without a record was left by a crash
            new.rename(target)
        finally:
            shutil.rmtree(new, ignore_errors=True)
    return write_record(target, lock, data)


def purge(workspace: Path, kept: Collection[Path]) -> list[Path]:
    """Remove the folders of other locks, and what was begun and never ended; which ones."""
    gone = []
    with contextlib.suppress(OSError):
        for folder in sorted(environments(workspace).iterdir()):
            begun_by = folder.name.removeprefix(_NEW) if folder.name.startswith(_NEW) else ""
            if folder not in kept and not (begun_by.isdecimal() and _runs(int(begun_by))):
                shutil.rmtree(folder, ignore_errors=True)
                gone.append(folder)
    return gone


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def private_folder(folder: Path) -> Path:
    """Make a folder below `.oa-dev` that only we may look into, and return it."""
    for each in (*reversed([each for each in folder.parents if each.name == ".oa-dev"]), folder):
        if not each.is_dir():
            each.mkdir(mode=0o700, parents=True, exist_ok=True)
        ignored = each / ".gitignore"
        if each.name == ".oa-dev" and not ignored.exists():
            ignored.write_text("*\n", encoding="utf-8")
    return folder


def write_whole(path: Path, data: bytes) -> None:
    """Replace a file so that whoever reads it sees the old or the new contents, also after a crash."""
    other = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        with open(other, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileNotFoundError):
            shutil.copymode(path, other)
        other.replace(path)
    finally:
        other.unlink(missing_ok=True)


@contextmanager
def alone(workspace: Path) -> Iterator[None]:
    """Let one process at a time change what is locked and installed. Raises Busy, naming the other one."""
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
