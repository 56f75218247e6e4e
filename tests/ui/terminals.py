"""Streams that a face takes for a terminal."""

from __future__ import annotations

import io


class FakeTerminal(io.StringIO):
    """A terminal in memory."""

    def isatty(self) -> bool:
        """It is one."""
        return True
