"""As little as a reload can be: be notified, compile, execute. `python floor.py FILE PORT`.

Answers each byte on a connection with the number in the file as it is loaded then.
"""

from __future__ import annotations

import socketserver
import sys
import threading
from pathlib import Path
from typing import Any

import watchfiles

loaded: dict[str, Any] = {}


def load(path: Path) -> None:
    """Execute the file; half a file is passed over, as the next notification brings the whole."""
    fresh: dict[str, Any] = {}
    try:
        exec(compile(path.read_bytes(), str(path), "exec"), fresh)
    except SyntaxError:
        return
    if "NUMBER" in fresh:
        loaded["NUMBER"] = fresh["NUMBER"]


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
    for _ in watchfiles.watch(file.parent, step=1, watch_filter=None):
        load(file)
