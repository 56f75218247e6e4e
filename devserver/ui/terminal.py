"""Finds terminals and their width, and owns the mode of one: single keys, and its restoration.

Single keys come without Enter and without echo. The mode is cbreak, not raw: Ctrl-C and Ctrl-Z stay
with the kernel. It is entered only while this process is in the foreground, because the kernel
stops a background job that touches its terminal.
"""

from __future__ import annotations

import os
import shutil
import termios
from typing import Any, TextIO

_LFLAG, _CC = 3, 6
_DISABLED = b"\0"


Mode = list[Any]
"""How a terminal treats typing, as `termios.tcgetattr` has it: plain values."""


class Terminal:
    """One terminal by its descriptor. Each method may be called in any state, at any time.

    `before` is the mode to restore in the end, if an earlier image of this process has changed it.
    """

    def __init__(self, descriptor: int, before: Mode | None = None) -> None:
        self.descriptor = descriptor
        self.before = before
        """The mode that was found first; None where it is as it was."""

    def single_keys(self) -> None:
        """Give keys one at a time. Does nothing in the background, or without the terminal."""
        if not self.foreground():
            return
        try:
            found, wanted = termios.tcgetattr(self.descriptor), termios.tcgetattr(self.descriptor)
            if self.before is None:
                self.before = found
            if _single_keys(wanted) != found:
                termios.tcsetattr(self.descriptor, termios.TCSANOW, wanted)
        except termios.error:
            self.before = None

    def restore(self) -> None:
        """Put the mode back that was found first."""
        before, self.before = self.before, None
        if before is None or not self.foreground():
            return
        try:
            # TCSANOW: draining would wait for ever for a terminal stopped with Ctrl-S.
            termios.tcsetattr(self.descriptor, termios.TCSANOW, before)
        except termios.error:
            # The terminal has been closed: there is no mode left to restore.
            return

    def foreground(self) -> bool:
        """Return whether this process may read the terminal; one of others is always free."""
        try:
            return os.tcgetpgrp(self.descriptor) == os.getpgrp()
        except OSError:  # it is not our controlling terminal
            return True


def _single_keys(mode: list[Any]) -> list[Any]:
    mode[_LFLAG] &= ~(termios.ECHO | termios.ICANON)
    mode[_CC][termios.VMIN] = 1
    mode[_CC][termios.VTIME] = 0
    # Ctrl-\ would end the process with a core dump, and the terminal would stay in this mode.
    mode[_CC][termios.VQUIT] = _DISABLED
    return mode


def is_tty(stream: TextIO) -> bool:
    """Return whether a stream is a terminal; a closed one is not."""
    try:
        return stream.isatty()
    except ValueError:
        return False


def terminal_width() -> int:
    """Return the columns of the terminal, or of $COLUMNS, or 100."""
    return shutil.get_terminal_size((100, 24)).columns
