"""Tells facts on a terminal or in a log. Chooses by the stream; formats through `lines` and `render`; decides nothing.

Beyond lines it remembers only what its own keys ask for again: the banner, the latest trace, the open question.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import TextIO

from devserver.model.facts import ErrorFacts, Fact, ModError, Outcome, PlanDone, Ready
from devserver.ui.escape import cells, safe
from devserver.ui.lines import blocks_of, said_block
from devserver.ui.log import Said
from devserver.ui.look import View, look_of
from devserver.ui.render import render, render_line
from devserver.ui.repeats import Repeats, what_repeats
from devserver.ui.segments import Block, Lead, Segment, dim, plain, strong
from devserver.ui.writer import CLOSE_SECONDS, Writer

CLEAR = "\x1b[H\x1b[2J\x1b[3J"
_WIPE_LINE = "\r\x1b[K"
_TRACE_LINES = 200


def local_now() -> datetime:
    """The present, in the local time zone."""
    return datetime.now().astimezone()


def terminal_width() -> int:
    """The columns of the terminal, or of $COLUMNS, or 100."""
    return shutil.get_terminal_size((100, 24)).columns


class Console:
    """A face for people. `tell` never blocks and never raises, whatever becomes of the terminal.

    Args:
        stream: where lines go.
        color: what somebody asked for expressly; otherwise the stream and the environment decide.
        width_of: gives the columns of the terminal.
        clock: gives the present, as it is shown.
        root: the folder that relative file names are relative to, for links.
        started: whether a network answers already; otherwise that begins with `Ready`.
        keys: whether single keys are read, so that hints name them.
        version: the version in the banner.
        environ: the environment that NO_COLOR, FORCE_COLOR, TERM and CI are looked up in.
    """

    def __init__(
        self,
        stream: TextIO,
        *,
        color: bool | None = None,
        width_of: Callable[[], int] = terminal_width,
        clock: Callable[[], datetime] = local_now,
        root: Path | None = None,
        started: bool = False,
        keys: bool = False,
        version: str = "",
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self.look = look_of(is_tty(stream), environ, color, getattr(stream, "encoding", None) or "utf-8")
        self._width_of, self._clock, self._root = width_of, clock, root
        self._started, self._keys, self._version = started, keys, version
        self._writer = Writer(stream, lambda dropped: f"{dropped} messages not shown: nobody read them\n")
        self._lock = threading.Lock()
        self._repeats = Repeats()
        self._question = ""
        self._ready: Ready | None = None
        self._trace = ""

    def tell(self, fact: Fact) -> None:
        """Show a fact."""
        with self._lock:
            times = self._repeats.times(what_repeats(fact), self._clock().timestamp())
            if times is not None:
                self._show(blocks_of(fact, self._view(), times))
            self._remember(fact)

    def log(self, said: Said) -> None:
        """Show one line of a log, or one that was printed."""
        with self._lock:
            self._show((said_block(said, self._view()),))
            self._trace = said.trace or self._trace

    def banner(self) -> None:
        """Show the addresses again."""
        with self._lock:
            if self._ready is not None:
                self._show(blocks_of(self._ready, self._view()))

    def trace(self) -> None:
        """Show the whole trace of the latest error."""
        with self._lock:
            lines = [each for each in self._trace.splitlines() if each.strip()]
            body = tuple((plain(each),) for each in lines[-_TRACE_LINES:])
            self._show((Block((dim("the latest trace:" if body else "no error so far"),), body),))

    def help(self, shortcuts: tuple[tuple[str, str], ...]) -> None:
        """Show the shortcuts, given as key and description."""
        with self._lock:
            width = max((len(key) for key, _ in shortcuts), default=0)
            body = tuple((plain("  "), strong(f"{key:<{width}}"), plain(f"  {words}")) for key, words in shortcuts)
            self._show((Block(body[0], body[1:], lead=Lead.NOTHING),))

    def clear(self) -> None:
        """Empty the terminal."""
        with self._lock:
            self._writer.write(CLEAR)

    def ask(self, question: str) -> None:
        """Keep a question with the answer typed so far as the last line of the terminal; an empty one ends it."""
        with self._lock:
            fitted = _fitted(safe(question), self._width_of() - 1)
            self._question = render_line((Segment(fitted),), self.look) if question else ""
            self._writer.write(_WIPE_LINE + self._question)

    def close(self, seconds: float = CLOSE_SECONDS) -> None:
        """Let the last lines go out, for at most `seconds`."""
        self._writer.close(seconds)

    def _view(self) -> View:
        return View(self.look, self._width_of(), self._started, self._keys, self._version)

    def _show(self, blocks: tuple[Block, ...]) -> None:
        now = self._clock().strftime("%H:%M:%S")
        text = "".join(render(each, self.look, now, self._root) for each in blocks)
        if text:
            self._writer.write(f"{_WIPE_LINE}{text}{self._question}" if self._question else text)

    def _remember(self, fact: Fact) -> None:
        if isinstance(fact, Ready):
            self._ready, self._started = fact, True
        for error in _errors(fact):
            self._trace = error.trace or self._trace


def _fitted(text: str, columns: int) -> str:
    """A line that must not be wrapped, as it could then not be wiped: its beginning and its end, where it is typed."""
    if cells(text) <= columns:
        return text
    end = text[-(columns // 2) :]
    return text[: max(0, columns - cells(end) - 1)] + "…" + end


def _errors(fact: Fact) -> tuple[ErrorFacts, ...]:
    match fact:
        case PlanDone():
            return tuple(each.error for each in fact.outcomes if each.error)
        case Outcome() | ModError():
            return (fact.error,) if fact.error else ()
        case _:
            return ()


def is_tty(stream: TextIO) -> bool:
    """Whether a stream is a terminal; a closed one is none."""
    try:
        return stream.isatty()
    except ValueError:
        return False
