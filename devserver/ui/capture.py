"""Takes everything that mods print while the server runs, and tells it as lines with their names.

Replaces `sys.stdout` and `sys.stderr`. Their file descriptors stay the same: the output of a child
process is not changed.
"""

from __future__ import annotations

import io
import re
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from types import FrameType
from typing import Any, TextIO

from devserver.live.generation import running
from devserver.ui.debugger import debugger_hook
from devserver.ui.escape import LINE_LIMIT
from devserver.ui.log import adopt_structlog
from devserver.ui.said import PRINTED, Said, Say

_MOST_UNFINISHED = 64
_UNFINISHED_SECONDS = 1.0
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_LINE_END = re.compile(r"\r\n|\r|\n")


@contextmanager
def captured(say: Say, *, keys: bool = False) -> Iterator[None]:
    """Give every printed line to `say` meanwhile. With `keys`, these handle `breakpoint()`."""
    before, hook = (sys.stdout, sys.stderr), sys.breakpointhook
    stand_ins = tuple(Capture(each, say) for each in before)
    sys.stdout, sys.stderr = stand_ins
    if not keys:
        sys.breakpointhook = debugger_hook(hook, nullcontext)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
        sys.breakpointhook = hook
        for each in stand_ins:
            each.finish()


class Capture(io.TextIOBase):
    """A stream whose lines are said, each mod's apart; an incomplete one waits for its end."""

    def __init__(self, original: TextIO, say: Say) -> None:
        self._original = original
        self._say = say
        self._lock = threading.Lock()
        self._unfinished: dict[str, tuple[str, float]] = {}
        self.buffer = _Bytes(self)

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """The encoding of the stream that it replaces."""
        return getattr(self._original, "encoding", None) or "utf-8"

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        """Return the replaced stream's descriptor, for code that starts a process with it."""
        return self._original.fileno()

    def write(self, text: str) -> int:
        """Say every line that `text` ends."""
        who = _whose(sys._getframe(1))
        with self._lock:
            lines = self._ended(who, text, time.monotonic())
        for each in lines:
            self._tell(who, each)
        return len(text)

    def _ended(self, who: str, text: str, now: float) -> list[str]:
        """Return the lines that a text ends; an incomplete one waits, for some time and size."""
        before, began = self._unfinished.pop(who, ("", now))
        late = [before] if now - began > _UNFINISHED_SECONDS else []
        *lines, rest = _LINE_END.split(text if late else before + text)
        if len(rest) > LINE_LIMIT or len(self._unfinished) >= _MOST_UNFINISHED:
            return [*late, *lines, rest]
        if rest:
            self._unfinished[who] = (rest, now if late or lines else began)
        return [*late, *lines]

    def finish(self) -> None:
        """Say what was never ended by a line break."""
        with self._lock:
            rest, self._unfinished = self._unfinished, {}
        for who, (text, _) in rest.items():
            self._tell(who, text)

    def _tell(self, who: str, line: str) -> None:
        adopt_structlog()
        words = _COLOURS.sub("", line).rstrip()
        if words:
            self._say(Said(who, PRINTED, words))


class _Bytes(io.RawIOBase):
    """The `buffer` of a replaced stream, for code that prints bytes."""

    def __init__(self, capture: Capture) -> None:
        self._capture = capture

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        """Say every line that `data` ends."""
        return self._capture.write(bytes(data).decode(self._capture.encoding, "backslashreplace"))


def _whose(frame: FrameType | None) -> str:
    """Return the generation whose code is running, else the module that prints."""
    call = running.get()
    if call is not None:
        return call.generation.name
    while frame is not None and frame.f_globals.get("__name__") in _PRINTERS:
        frame = frame.f_back
    return str(frame.f_globals.get("__name__", "")) if frame is not None else ""


_PRINTERS = frozenset({__name__, "logging", "warnings", "traceback", "threading"})
"""Modules that print on behalf of others."""
