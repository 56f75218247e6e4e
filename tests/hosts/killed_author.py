"""Runs a command whose process ends as by kill -9 right before or after it writes a decision: `PROGRAM ARGUMENTS`.

The file `kill` in its folder says when; without it nothing happens.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from devserver.hosts.agree import Author
from devserver.hosts.decision import Word

WRITTEN = Author.written


async def _killed(self: Author, revision: int, row: Mapping[str, Any]) -> Word:
    _end_if("before")
    word = await WRITTEN(self, revision, row)
    _end_if("after")
    return word


def _end_if(now: str) -> None:
    file = Path("kill")
    if file.exists() and file.read_text() == now:
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    Author.written = _killed  # type: ignore[method-assign]
    sys.argv = sys.argv[1:]
    runpy.run_path(sys.argv[0], run_name="__main__")
