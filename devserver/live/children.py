"""The child processes of this process, as far as the system shows them. Ends none unless asked to.

A child in a session of its own was let go on purpose (a browser, a daemon) and does not count.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_LONGEST = 60
_STEP = 0.01


@dataclass(frozen=True, slots=True)
class Child:
    """One child process and its command."""

    pid: int
    command: str

    def __str__(self) -> str:
        return f"process {self.pid} ({self.command})"


def child_processes() -> tuple[Child, ...]:
    """Return the children of this process that run; none without /proc."""
    found, own = [], os.getsid(0)
    for task in Path("/proc/self/task").glob("*/children"):
        with suppress(OSError):  # a thread may end meanwhile
            for word in task.read_text().split():
                with suppress(OSError, ValueError):  # and so may a child
                    pid = int(word)
                    if os.getsid(pid) == own and not _is_zombie(pid):
                        found.append(Child(pid, _command(pid)))
    return tuple(found)


def _is_zombie(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[0] == "Z"


def _command(pid: int) -> str:
    words = Path(f"/proc/{pid}/cmdline").read_bytes().decode("utf-8", "replace").split("\0")
    line = " ".join(word for word in words if word)
    return line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…"


def end_children(seconds: float) -> tuple[Child, ...]:
    """Ask the children to end, wait up to `seconds`, then kill; return all of them. Blocks."""
    found = child_processes()
    for each in found:
        with suppress(OSError):  # it may have ended
            os.kill(each.pid, signal.SIGTERM)
    latest = time.monotonic() + seconds
    while child_processes() and time.monotonic() < latest:
        time.sleep(_STEP)
    for each in child_processes():
        with suppress(OSError):
            os.kill(each.pid, signal.SIGKILL)
    # Reap ended children: the next image of this process does not know them.
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    return found
