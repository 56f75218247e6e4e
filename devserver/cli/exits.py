"""The ends of commands: exit codes, and a problem as a sentence with a hint, no traceback."""

from __future__ import annotations

from enum import IntEnum

from devserver.errors import DevServerError


class Exit(IntEnum):
    """The meanings of the process's exit codes."""

    CLEAN = 0
    FATAL = 1
    USAGE = 2
    CONFIG = 3
    PORT_IN_USE = 4
    MOD_ERRORS = 5
    INTERRUPTED = 130


class Problem(DevServerError):
    """Why a command cannot do what was asked: one sentence, perhaps a hint, and the exit code."""

    def __init__(self, sentence: str, hint: str = "", code: Exit = Exit.USAGE) -> None:
        super().__init__(sentence)
        self.hint = hint
        self.code = code
