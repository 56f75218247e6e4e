"""The file by which commands find a running server: `.oa-dev/run.json` beside its network.yaml.

It holds the admin token, so it is written and believed only as a private file of this user. This
module knows the file and the process that wrote it; it never connects to anything.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import secrets
import stat
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from devserver.errors import DevServerError

FOLDER = ".oa-dev"
NAME = "run.json"
LOCK = "lock"

_START_TIME_FIELD = 19
"""The place of the start time in /proc/PID/stat after the command's bracket (field 22)."""

_READ_LIMIT = 64 * 1024

_LAST_PID = 2**31 - 1
"""The greatest process id that the system's calls take."""


@dataclass(frozen=True, slots=True)
class RunFile:
    """A server's message to commands. `started` is its process's start time (see
    `process_started`), `network` the name of the file that it runs."""

    url: str
    token: str
    pid: int
    started: str | None
    network: str = "network.yaml"

    def __repr__(self) -> str:
        # Without the token: a representation may end in a log.
        return f"RunFile(url={self.url!r}, pid={self.pid})"


def run_file_path(workspace: Path) -> Path:
    return workspace / FOLDER / NAME


def process_started(pid: int) -> str | None:
    """Return when a process started, in ticks since boot; None if it is gone, or without /proc.

    Together with the pid it names a process for good: pids are used again, a start time with them
    is not.
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    # The name of a program may hold spaces and brackets: the fields begin after the last one.
    return text.rpartition(")")[2].split()[_START_TIME_FIELD]


def process_began() -> float:
    """Return when this process started, in seconds since 1970: a person waits from there on."""
    try:
        up = float(Path("/proc/uptime").read_text().split()[0])
        return time.time() - up + int(process_started(os.getpid()) or "") / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return time.time() - time.perf_counter() if sys.platform == "linux" else time.time()


def is_running(found: RunFile) -> bool:
    """Return whether the process that wrote a file still runs, not another with its pid."""
    if found.started is not None:
        return process_started(found.pid) == found.started
    try:
        os.kill(found.pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


class Claim:
    """The files of a workspace, for one process at a time; the end of a process releases them."""

    def __init__(self, workspace: Path) -> None:
        self._workspace = workspace
        self._handle: int | None = None
        self.taken = False

    def take(self) -> bool:
        """Take them; return whether no other process has them, as far as the system locks."""
        try:
            with _folder(self._workspace, make=True) as folder:
                _ignore_by_git(folder)
                flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
                self._handle = os.open(LOCK, flags, 0o600, dir_fd=folder)
        except (OSError, DevServerError):
            # A process that cannot lock there cannot write there either, and tells so when it does.
            self._handle = None
        self.taken = self._handle is None or _is_locked(self._handle)
        return self.taken

    @property
    def descriptor(self) -> int | None:
        """The lock's descriptor, which is the process's: its next image keeps it without a gap."""
        return self._handle if self.taken else None

    def go_on(self, descriptor: int) -> None:
        """Take over the lock of the image before this one."""
        self._handle, self.taken = descriptor, True

    def give_back(self) -> None:
        """Release them."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


def _is_locked(handle: int) -> bool:
    """Lock a file; return whether it is ours. The lock is not that of a forked child."""
    try:
        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in (errno.EAGAIN, errno.EACCES)
    return True


def write_run_file(
    workspace: Path,
    url: str,
    token: str,
    pid: int,
    *,
    network: str = "network.yaml",
    commands: Mapping[str, str] | None = None,
) -> Path:
    """Write the file of a server, at once and whole, readable by this user only.

    `network` is the name of the file that it runs; `commands` tells where commands are handed over.

    Raises DevServerError if the folder is not a private one of this user; OSError if it cannot be
    written.
    """
    more = {"commands": dict(commands)} if commands else {}
    values = {"url": url, "token": token, "pid": pid, "started": process_started(pid), "network": network, **more}
    write_private(workspace, NAME, json.dumps(values) + "\n")
    return run_file_path(workspace)


def read_run_file(workspace: Path) -> RunFile | None:
    """Read the file of a workspace's server, or None without one. Raises DevServerError for a file
    that others could have written or read, and for an invalid one."""
    data = read_private(workspace, NAME, _READ_LIMIT)
    return None if data is None else _parsed(data, run_file_path(workspace))


def remove_run_file(workspace: Path, pid: int) -> None:
    """Remove the file if the process `pid` wrote it. A missing one, or a later server's, is fine.

    Raises DevServerError for a file that cannot be believed, which stays too.
    """
    found = read_run_file(workspace)
    if found is not None and found.pid == pid:
        remove_private(workspace, NAME)


def write_private(workspace: Path, name: str, text: str, *, inner: str = "") -> None:
    """Write a file of this user alone into the server's folder, or one in it, at once and whole.

    Raises DevServerError if the folder is not a private one of this user; OSError if it cannot be
    written.
    """
    with _folder(workspace, make=True) as folder:
        _ignore_by_git(folder)
        with _inner(folder, inner, make=True) as place:
            _replace(place, name, text)


def create_private(workspace: Path, name: str, *, inner: str) -> int:
    """Create such a file in a folder of the server's, to append. Raises as `write_private`."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with _folder(workspace, make=True) as folder:
        _ignore_by_git(folder)
        with _inner(folder, inner, make=True) as place:
            return os.open(name, flags, 0o600, dir_fd=place)


def names_of_private(workspace: Path, *, inner: str) -> list[str]:
    """Return the names in a folder in the folder of the server. Raises OSError."""
    try:
        with _folder(workspace, make=False) as folder, _inner(folder, inner, make=False) as place:
            return sorted(os.listdir(place))
    except FileNotFoundError:
        return []


def append_private(workspace: Path, name: str, text: str) -> None:
    """Append to such a file. Raises as `write_private`; FileNotFoundError if there is no file."""
    with _folder(workspace, make=False) as folder:
        flags = os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        handle = os.open(name, flags, dir_fd=folder)
    with os.fdopen(handle, "ab") as stream:
        _refuse_unsafe(os.fstat(handle), workspace / FOLDER / name)
        stream.write(text.encode("utf-8"))


def rename_private(workspace: Path, name: str, other: str) -> None:
    """Rename whatever is in the place of such a file. Raises OSError or DevServerError."""
    with _folder(workspace, make=False) as folder:
        os.rename(name, other, src_dir_fd=folder, dst_dir_fd=folder)


def remove_private(workspace: Path, name: str, *, inner: str = "") -> None:
    """Remove such a file; a missing one is fine. Raises OSError or DevServerError."""
    with suppress(FileNotFoundError), _folder(workspace, make=False) as folder, _inner(folder, inner) as place:
        os.unlink(name, dir_fd=place)


def read_private(workspace: Path, name: str, limit: int, *, inner: str = "") -> bytes | None:
    """Read the first `limit` bytes of such a file; None without one. Raises DevServerError for a
    file that others could have written or read."""
    stream = open_private(workspace, name, inner=inner)
    if stream is None:
        return None
    with stream:
        return stream.read(limit)


def open_private(workspace: Path, name: str, *, inner: str = "") -> BinaryIO | None:
    """Open such a file for reading; None without one. Raises DevServerError as `read_private`."""
    path = workspace / FOLDER / inner / name
    try:
        with _folder(workspace, make=False) as folder, _inner(folder, inner) as place:
            handle = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=place)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DevServerError(f"{path} cannot be read: {error.strerror or error}") from error
    try:
        _refuse_unsafe(os.fstat(handle), path)
    except DevServerError:
        os.close(handle)
        raise
    return os.fdopen(handle, "rb")


@contextmanager
def _folder(workspace: Path, *, make: bool) -> Iterator[int]:
    """Open the folder of the file: actions in it cannot be redirected by a link in its place."""
    path = workspace / FOLDER
    if make:
        path.mkdir(mode=0o700, exist_ok=True)
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if os.fstat(handle).st_uid != os.geteuid():
            raise DevServerError(f"{path} belongs to another user")
        if make:
            os.fchmod(handle, 0o700)
        yield handle
    finally:
        os.close(handle)


@contextmanager
def _inner(folder: int, name: str, *, make: bool = False) -> Iterator[int]:
    """Open a folder in that folder; that folder itself without a name."""
    if not name:
        yield folder
        return
    if make:
        with suppress(FileExistsError):
            os.mkdir(name, 0o700, dir_fd=folder)
    handle = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    try:
        yield handle
    finally:
        os.close(handle)


def _ignore_by_git(folder: int) -> None:
    # Whole or not at all: an empty one, as on a full disk, would have git take what is secret here.
    if ".gitignore" not in os.listdir(folder):
        _replace(folder, ".gitignore", "*\n")


def _replace(folder: int, name: str, text: str) -> None:
    # Written beside it and renamed: a reader finds the old file or the new one, never a part.
    temporary = f".{name}.{secrets.token_hex(8)}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    handle = os.open(temporary, flags, 0o600, dir_fd=folder)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            os.fchmod(handle, 0o600)
            stream.write(text)
        os.replace(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        os.unlink(temporary, dir_fd=folder)
        raise


def _refuse_unsafe(found: os.stat_result, path: Path) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise DevServerError(f"{path} is not a regular file")
    if found.st_uid != os.geteuid():
        raise DevServerError(f"{path} belongs to another user")
    if stat.S_IMODE(found.st_mode) != 0o600:
        mode = f"{stat.S_IMODE(found.st_mode):04o}"
        raise DevServerError(
            f"{path} has mode {mode}, not 0600: others may have seen what is in it; delete it and start again"
        )


def _parsed(data: bytes, path: Path) -> RunFile:
    try:
        values = json.loads(data)
        url, token, pid, started = (values[name] for name in ("url", "token", "pid", "started"))
        network = values.get("network", "network.yaml")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DevServerError(f"{path} is not the file of a server") from error
    # Not bool, which is an int to Python, and not 0 or less, which are not process ids to the
    # kernel.
    sound = type(pid) is int and 0 < pid <= _LAST_PID and isinstance(token, str) and token.isascii()
    sound = sound and (started is None or isinstance(started, str))
    if not sound or not isinstance(url, str) or not isinstance(network, str):
        raise DevServerError(f"{path} is not the file of a server")
    return RunFile(url, token, pid, started, network=network)
