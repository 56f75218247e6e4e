"""Finds which process listens on a port, to name it where the port is wanted.

Linux shows that in /proc; elsewhere it is not known.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

_PROC = Path("/proc")
_LISTENS = "0A"


def port_holder(port: int, proc: Path = _PROC) -> str:
    """Return what listens on `port`, as in `python (process 4711)`; nothing where that is not
    known. Processes of other users do not show their sockets."""
    wanted = {f"socket:[{inode}]" for inode in _inodes(port, proc)}
    if not wanted:
        return ""
    for process in proc.glob("[0-9]*"):
        if any(each in wanted for each in _open_files(process)):
            return f"{_name(process)} (process {process.name})"
    return ""


def _inodes(port: int, proc: Path) -> Iterator[str]:
    """Yield the sockets that listen on a port, by the numbers that the kernel gives them."""
    for table in ("net/tcp", "net/tcp6"):
        try:
            rows = (proc / table).read_text().splitlines()[1:]
        except OSError:
            continue
        for row in rows:
            local, state, inode = (row.split()[n] for n in (1, 3, 9))
            if state == _LISTENS and int(local.rpartition(":")[2], 16) == port:
                yield inode


def _open_files(process: Path) -> Iterator[str]:
    try:
        with os.scandir(process / "fd") as files:
            for each in files:
                yield os.readlink(each.path)
    except OSError:
        return  # another user's, or it has ended meanwhile


def _name(process: Path) -> str:
    try:
        return (process / "comm").read_text().strip()
    except OSError:
        return "a process"
