"""Makes `breakpoint()` work beside single keys: while the debugger asks, it has the terminal alone.

Does nothing to any other debugger: whoever sets PYTHONBREAKPOINT, or a hook of their own, keeps it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

Hook = Callable[..., Any]
Paused = Callable[[], AbstractContextManager[None]]


def debugger_hook(present: Hook, paused: Paused) -> Hook:
    """The hook for `sys.breakpointhook`: pdb with the terminal to itself, or the present hook where it is not Python's.

    Args:
        present: the hook in use.
        paused: gives the terminal away for the time of a `with`.
    """
    if present is not sys.__breakpointhook__:
        return present

    def hook(*args: Any, **kwargs: Any) -> Any:
        if os.environ.get("PYTHONBREAKPOINT"):
            return present(*args, **kwargs)
        return _debug(sys._getframe(1), paused)

    return hook


def _debug(frame: Any, paused: Paused) -> None:
    # Imported here: pdb is slow to import and rarely wanted.
    import pdb

    class Debugger(pdb.Pdb):
        """pdb that takes the terminal for as long as it asks, and gives it back between two stops."""

        def interaction(self, *args: Any, **kwargs: Any) -> None:
            with paused():
                super().interaction(*args, **kwargs)

    # nosigint: pdb would replace the server's Ctrl-C, and leave it replaced.
    Debugger(nosigint=True).set_trace(frame)
