"""As little as a reload can be: be notified by the system, compile, execute. `python floor.py FILE PORT`, on Linux.

Answers each byte on a connection with the number in the file as it is loaded then.
"""

from __future__ import annotations

import ctypes
import os
import socketserver
import sys
import threading
from pathlib import Path
from typing import Any

_CLOSE_WRITE, _MOVED_TO = 0x8, 0x80
loaded: dict[str, Any] = {}


def load(path: Path) -> None:
    """Execute the file."""
    fresh: dict[str, Any] = {}
    exec(compile(path.read_bytes(), str(path), "exec"), fresh)
    loaded["NUMBER"] = fresh["NUMBER"]


def watch(path: Path) -> None:
    """Load the file whenever a writer has closed it, or one has been moved there. Does not return."""
    libc = ctypes.CDLL(None, use_errno=True)
    notified = libc.inotify_init()
    libc.inotify_add_watch(notified, os.fsencode(path.parent), _CLOSE_WRITE | _MOVED_TO)
    while said := os.read(notified, 4096):
        if path.name.encode() + b"\0" in said:
            load(path)


class Answer(socketserver.BaseRequestHandler):
    """One connection."""

    def handle(self) -> None:
        """Answer until it ends."""
        while self.request.recv(1):
            self.request.sendall(b"%d\n" % loaded["NUMBER"])


if __name__ == "__main__":
    file = Path(sys.argv[1])
    load(file)
    server = socketserver.ThreadingTCPServer(("127.0.0.1", int(sys.argv[2])), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    watch(file)
