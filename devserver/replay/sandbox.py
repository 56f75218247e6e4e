"""Isolates a process before code of mods runs in it: no network, no programs, no writes elsewhere.

The kernel isolates the network if it allows a network namespace of one's own (Linux); that holds
for code in C too. An audit hook refuses the rest, and names the refusals. Neither stops code in C
that writes files by itself, shared memory, devices. A hook cannot be removed: this is for a process
of its own only.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MOST_MEMORY = 2 * 1024**3
"""The address space of one run of an event, in bytes."""

_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
_PR_SET_PDEATHSIG = 1
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND

_NEVER: Mapping[str, str] = {
    "socket.connect": "network",
    "socket.bind": "network",
    "socket.sendto": "network",
    "socket.sendmsg": "network",
    "socket.getaddrinfo": "network",
    "socket.gethostbyname": "network",
    "socket.gethostbyaddr": "network",
    "socket.getnameinfo": "network",
    "subprocess.Popen": "program",
    "os.system": "program",
    "os.exec": "program",
    "os.posix_spawn": "program",
    "os.spawn": "program",
    "os.fork": "program",
    "os.forkpty": "program",
    "os.kill": "signal",
    "os.killpg": "signal",
    "signal.pthread_kill": "signal",
    "ctypes.dlopen": "code in C",
    "ctypes.dlsym": "code in C",
    "ctypes.dlsym/handle": "code in C",
    "ctypes.call_function": "code in C",
    "ctypes.cdata": "code in C",
    "ctypes.cdata/buffer": "code in C",
    "ctypes.string_at": "code in C",
    "ctypes.wstring_at": "code in C",
}
"""Audit events that are refused for any arguments, each with its action in words."""

_PATHS: Mapping[str, int] = {
    "os.remove": 1, "os.rmdir": 1, "os.mkdir": 1, "os.truncate": 1, "os.chmod": 1, "os.chown": 1, "os.utime": 1,
    "os.mkfifo": 1, "os.mknod": 1, "os.setxattr": 1, "os.removexattr": 1, "os.chflags": 1,
    "os.rename": 2, "os.link": 2, "os.symlink": 2,
    "shutil.rmtree": 1, "shutil.move": 2, "shutil.copyfile": 0, "shutil.copytree": 0, "sqlite3.connect": 1,
}  # fmt: skip
"""Audit events that change files, each with how many of its first arguments are paths."""

_PLACES_OF_PYTHON = (os.devnull, ":memory:", "/dev/tty", "")


class Refusal(PermissionError):
    """Raised in code of a mod that tries something that a replay does not allow."""


@dataclass(slots=True)
class Sandbox:
    """The isolation of this process. `kernel`: whether the kernel isolates the network, too."""

    kernel: bool
    folder: str
    """The one folder that may be written to, with a separator at its end."""
    refused: list[str] = field(default_factory=list)
    """The refusals so far, in words for people, each once."""
    forks: bool = False
    """Whether this process itself forks at the moment, or ends its fork."""
    ending: list[int] = field(default_factory=list)
    """The forks that have given their results, by process id."""
    may_use_network: Callable[[str], bool] = lambda event: False
    """Whether the running code may have the network that an audit event asks for."""
    let_through: list[str] = field(default_factory=list)
    """The uses of the network so far, in words for people, each once."""

    def hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Refuse the action of an audit event, unless it is allowed."""
        kind = _NEVER.get(event)
        if kind is not None:
            if kind == "network" and self.may_use_network(event):
                _note(self.let_through, event, _target(event, arguments))
            elif not (self.forks and event in ("os.fork", "os.kill")):
                self._refuse(event, _target(event, arguments))
        elif event in _PATHS:
            for place in arguments[: _PATHS[event]]:
                self._refuse_outside(event, place)
        elif event == "open" and isinstance(arguments[2], int) and arguments[2] & _WRITING:
            self._refuse_outside("open", arguments[0])

    def _refuse_outside(self, event: str, place: Any) -> None:
        if isinstance(place, int) or place is None:
            return
        named = os.fsdecode(place)
        if named in _PLACES_OF_PYTHON:
            return
        # A database may be named as an address: file:/tmp/x?mode=rwc
        named = named.removeprefix("file:").partition("?")[0] if event == "sqlite3.connect" else named
        if not f"{os.path.realpath(named)}{os.sep}".startswith(self.folder):
            self._refuse(event, named)

    def _refuse(self, event: str, what: str) -> None:
        words = _note(self.refused, event, what)
        raise Refusal(f"a replay does nothing that is seen outside of it: {words} was refused")

    @contextmanager
    def forking(self) -> Iterator[None]:
        """Let this process fork, and end its fork."""
        self.forks = True
        try:
            yield
        finally:
            self.forks = False


def _note(noted: list[str], event: str, what: str) -> str:
    words = f"{event} {what}".strip()
    if words not in noted and len(noted) < 100:
        noted.append(words)
    return words


def _target(event: str, arguments: tuple[Any, ...]) -> str:
    """Return the target of an action in words: the host and port, the program, the library."""
    try:
        match event:
            case "socket.connect" | "socket.bind" | "socket.sendto" | "socket.sendmsg":
                place = arguments[1]
                return f"{place[0]}:{place[1]}" if isinstance(place, tuple) else os.fsdecode(place or "")
            case "socket.getaddrinfo":
                return f"{arguments[0]}:{arguments[1]}"
            case "subprocess.Popen":
                words = arguments[1]
                return words if isinstance(words, str) else " ".join(os.fsdecode(each) for each in words)[:200]
            case _:
                first = arguments[0] if arguments else None
                return "" if first is None else (os.fsdecode(first) if isinstance(first, bytes) else str(first))[:200]
    except (IndexError, TypeError, ValueError):
        return ""


def shut(folder: Path, *, network: bool = False) -> Sandbox:
    """Isolate this process, but for `folder`, for good. Call it before there is another thread.

    `network`: have the hook alone keep it away, which can let some code through.
    """
    kernel = not network and _leave_network()
    sandbox = Sandbox(kernel, os.path.realpath(folder) + os.sep)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sys.addaudithook(sandbox.hear)
    return sandbox


def step_back() -> None:
    """Let everything else go first, if processor or memory are scarce."""
    with suppress(OSError):  # a courtesy: runs do not depend on it
        os.nice(10)
    with suppress(OSError):
        # On Linux each session is a group of its own, and nice counts within it alone. At 10 the pins of a busy
        # machine take twice as long, at 5 as long as at 0.
        Path("/proc/self/autogroup").write_text("5")
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("500")


def end_with_parent(parent: int) -> bool:
    """Have the kernel end this process with its parent; False if that (by pid) is gone already."""
    if _prctl is not None:
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    return os.getppid() == parent


def limit_memory() -> None:
    """Limit the memory of this process to MOST_MEMORY: beyond that its code gets a MemoryError."""
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))


def has_kernel() -> bool:
    """Return whether the kernel would isolate the network, by a try in a process of its own."""
    tried = f"from {__name__} import _leave_network; raise SystemExit(not _leave_network())"
    return subprocess.run([sys.executable, "-c", tried], check=False).returncode == 0


def _leave_network() -> bool:
    """Enter a network namespace of our own; return whether the kernel allows that."""
    if _unshare is None:
        return False
    if _unshare(_CLONE_NEWNET) == 0:  # as root
        return True
    user, group = os.getuid(), os.getgid()
    if _unshare(_CLONE_NEWUSER | _CLONE_NEWNET) != 0:
        return False
    # With our own ids again: our files must not look like those of a stranger.
    for name, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
        with suppress(OSError):
            Path(f"/proc/self/{name}").write_text(text)
    return True


def _function(name: str) -> Any:
    """Return a function of the C library, looked up before the hook refuses; None if missing."""
    try:
        return getattr(ctypes.CDLL(None, use_errno=True), name)
    except (OSError, AttributeError, TypeError):
        return None


_prctl = _function("prctl") if sys.platform == "linux" else None
_unshare = _function("unshare") if sys.platform == "linux" else None
