"""Streams that a face takes for a terminal, and descriptors that few programs have."""

from __future__ import annotations

import fcntl
import io
import os
import resource


class FakeTerminal(io.StringIO):
    """A terminal in memory."""

    def isatty(self) -> bool:
        """It is one."""
        return True


def renumbered(descriptor: int) -> int:
    """The same file under a number that select refuses."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2048), hard))
    found = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 1024)
    os.close(descriptor)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return found
