"""Settings of the server's process: room for many connections, no core dumps, short turns.

A core dump would hold every secret of this run. Children of mods inherit both: not more than
MOST_FILES descriptors, because some programs close each number up to the limit when they start
another.
"""

from __future__ import annotations

import contextlib
import resource
import sys

MOST_FILES = 65_536

TURN = 0.001
"""Seconds after which a computing thread lets another run: mods must not delay answers."""


def set_limits() -> None:
    """Set them for this process, once and before anything else; refused settings stay unchanged."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (raised_files(soft, hard), hard))
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    sys.setswitchinterval(TURN)


def raised_files(soft: int, hard: int) -> int:
    """Return how many descriptors a server may have open with these limits; never fewer."""
    if soft == resource.RLIM_INFINITY:
        return soft
    return max(soft, MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES))
