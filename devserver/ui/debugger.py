"""Makes `breakpoint()` work beside single keys: while the debugger asks, it has the terminal alone.

Leaves other debuggers alone: PYTHONBREAKPOINT, or a hook of the user's own, stays.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, redirect_stderr, redirect_stdout
from typing import Any

Hook = Callable[..., Any]
Paused = Callable[[], AbstractContextManager[None]]


def debugger_hook(present: Hook, paused: Paused) -> Hook:
    """Return the hook for `sys.breakpointhook`: pdb with the terminal to itself, or the present
    hook where it is not Python's.

    Args:
        present: the hook in use.
        paused: gives the terminal away for the time of a `with`.
    """
    if present is not sys.__breakpointhook__:
        return present

    def hook(*args: Any, **kwargs: Any) -> Any:
        if os.environ.get("PYTHONBREAKPOINT"):
            return present(*args, **kwargs)
        with _own_streams():
            debugger = _debugger(paused)
        # No call may follow this: the debugger would stop there, and not at the breakpoint.
        debugger.set_trace(sys._getframe(1))
        return None

    return hook


@contextmanager
def _own_streams() -> Iterator[None]:
    """Replace the captured streams by the original ones: a prompt is not a whole line."""
    with redirect_stdout(sys.__stdout__), redirect_stderr(sys.__stderr__):
        yield


def _debugger(paused: Paused) -> Any:
    # Imported here: pdb is slow to import and rarely wanted.
    import pdb

    class Debugger(pdb.Pdb):
        """pdb that takes the terminal while it asks, and gives it back between two stops."""

        def interaction(self, *args: Any, **kwargs: Any) -> None:
            with paused(), _own_streams():
                super().interaction(*args, **kwargs)

    # nosigint: pdb would replace the server's Ctrl-C, and leave it replaced.
    return Debugger(nosigint=True)
