"""`oa-dev exec`: runs a program for OpenAgents here, as `python SCRIPT` would, on our network."""

from __future__ import annotations

import os
import runpy
import sys
from collections.abc import Sequence
from pathlib import Path

from devserver.cli.exits import Exit, Problem
from devserver.live import garbage
from devserver.server.drop_in import install


def run_script(script: Path, arguments: Sequence[str]) -> int:
    """Run a script with its arguments. Its exceptions are shown as Python shows them.

    Raises Problem for a script that cannot be read.
    """
    if not os.path.isfile(script):
        raise Problem(f"there is no script {script}", "oa-dev exec SCRIPT [ARGS]")
    install()
    garbage.end_start()
    sys.argv = [str(script), *arguments]
    sys.path.insert(0, str(script.resolve().parent))
    try:
        runpy.run_path(str(script), run_name="__main__")
    except OSError:
        # Not a line as for commands of ours: also a broken pipe may be that of a process or socket of the script.
        sys.excepthook(*sys.exc_info())
        return Exit.FATAL
    return Exit.CLEAN
