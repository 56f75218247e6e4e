"""Makes `breakpoint()` work beside single keys: while the debugger asks, it has the terminal alone.

Does nothing to any other debugger: whoever sets PYTHONBREAKPOINT, or a hook of their own, keeps it.
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
        with _own_streams():
            debugger = _debugger(paused)
        # Nothing may be called after this: the debugger would stop there, and not where it was asked for.
        debugger.set_trace(sys._getframe(1))
        return None

    return hook


@contextmanager
def _own_streams() -> Iterator[None]:
    """The streams that the process began with: what is printed into others is shown as lines, which no prompt is."""
    with redirect_stdout(sys.__stdout__), redirect_stderr(sys.__stderr__):
        yield


def _debugger(paused: Paused) -> Any:
    # Imported here: pdb is slow to import and rarely wanted.
    import pdb

    class Debugger(pdb.Pdb):
        """pdb that takes the terminal for as long as it asks, and gives it back between two stops."""

        def interaction(self, *args: Any, **kwargs: Any) -> None:
            with paused(), _own_streams():
                super().interaction(*args, **kwargs)

    # nosigint: pdb would replace the server's Ctrl-C, and leave it replaced.
    return Debugger(nosigint=True)
