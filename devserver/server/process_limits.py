"""What the server's process sets for itself at its start: room for many connections, no core dumps, short turns.

A core dump would hold every secret of this run. What mods start inherits both: more than MOST_FILES descriptors are not
asked for, because some programs close each number up to the limit when they start another.
"""

from __future__ import annotations

import contextlib
import resource
import sys

MOST_FILES = 65_536

TURN = 0.001
"""Seconds after which a thread that computes lets another one run: mods must not keep agents from being answered."""


def set_limits() -> None:
    """Set them for this process, once and before anything else; what the system refuses stays as it was."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (raised_files(soft, hard), hard))
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    sys.setswitchinterval(TURN)


def raised_files(soft: int, hard: int) -> int:
    """How many descriptors a server may have open where these are the limits; never fewer than before."""
    if soft == resource.RLIM_INFINITY:
        return soft
    return max(soft, MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES))
