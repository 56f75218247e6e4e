"""`oa-dev run --detach`: starts the server as its own process; returns once it answers or ended."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from devserver.cli.client import NotRunning, connect
from devserver.cli.exits import Exit, Problem
from devserver.errors import DevServerError
from devserver.server.runfile import FOLDER, write_private

LOG = "run.log"
_PATIENCE = 60.0
_LOOK = 0.05
_LAST_LINES = 20


class Started(NamedTuple):
    """A server in the background: its address, its process, and the file of its output. Without a
    file it ran already, perhaps in a terminal."""

    url: str
    pid: int
    log: Path | None


def start(path: Path, arguments: Sequence[str]) -> Started:
    """Start the server of a network.yaml with these arguments of `oa-dev`, or find the running one.

    Raises Problem if another network runs in its folder, or with the server's last words and its exit code if it ends
    before it answers.
    """
    folder = path.parent
    try:
        other = connect(folder)
        if other.network == path.name:
            # Asking for a network that serves is not a mistake: the caller wants its address.
            return Started(other.url, int(other.status()["pid"]), None)
        raise Problem(
            f"{other.network} runs in this folder already, at {other.url}", "stop it with: oa-dev stop", Exit.FATAL
        )
    except NotRunning:
        # Nothing runs, or it has just ended.
        pass
    try:
        write_private(folder, LOG, "")
        output = os.open(folder / FOLDER / LOG, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW)
    except (OSError, DevServerError) as error:
        raise Problem(f"{FOLDER}/{LOG} cannot be written: {error}", code=Exit.FATAL) from error
    with closing(open(output, "ab", buffering=0)) as log:
        # -P: files in the working directory must not shadow modules.
        command = [sys.executable, "-P", "-m", "devserver", *arguments]
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    return _answering(child, folder)


def _answering(child: subprocess.Popen[bytes], folder: Path) -> Started:
    log, latest = folder / FOLDER / LOG, time.monotonic() + _PATIENCE
    while time.monotonic() < latest:
        if child.poll() is not None:
            words = log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LAST_LINES:]
            known = child.returncode in list(Exit) and child.returncode != Exit.CLEAN
            code = Exit(child.returncode) if known else Exit.FATAL
            raise Problem("\n".join(words) or "the server ended without a word", code=code)
        try:
            server = connect(folder)
            return Started(server.url, int(server.status()["pid"]), log)
        except NotRunning:
            time.sleep(_LOOK)
    raise Problem(
        f"the server does not answer within {_PATIENCE:g} s; it is still starting, see {log}", code=Exit.FATAL
    )
