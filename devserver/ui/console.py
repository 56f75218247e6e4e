"""Tells facts on a terminal or in a log, formatted by `lines` and `render`; decides nothing.

Beyond lines it remembers only what its own keys ask for: the banner, the latest trace, the open
question.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, TextIO

from devserver.model import facts
from devserver.ui.escape import cells, safe
from devserver.ui.events import event_line
from devserver.ui.glyphs import Style
from devserver.ui.lines import blocks_of, help_block, said_block
from devserver.ui.look import View, look_of
from devserver.ui.render import INDENT, render, render_line
from devserver.ui.repeats import QUIET_SECONDS, InARow, Repeats, what_follows, what_repeats
from devserver.ui.replay_lines import tail
from devserver.ui.said import Said
from devserver.ui.segments import Block, Segment, dim, plain
from devserver.ui.terminal import is_tty, terminal_width
from devserver.ui.writer import CLOSE_SECONDS, Writer

CLEAR = "\x1b[H\x1b[2J\x1b[3J"
SAME_LINE_SECONDS = 0.04
"""Seconds after a save's line in which its pinned events are told on it; later, on their own."""

_UP = "\x1b[1A"
_WIPE_LINE = "\r\x1b[K"
_TRACE_LINES = 200
_MOST_LATER = 500


class Console:
    """A face for people. `tell` never blocks and never raises, whatever becomes of the terminal.

    Args:
        stream: where lines go.
        color: an explicit choice; otherwise the stream and the environment decide.
        width_of: gives the columns of the terminal.
        clock: gives the time that lines show.
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
        clock: Callable[[], datetime] = lambda: datetime.now().astimezone(),
        root: Path | None = None,
        started: bool = False,
        keys: bool = False,
        version: str = "",
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self.look = look_of(is_tty(stream), environ, color, getattr(stream, "encoding", None) or "utf-8")
        self._width_of, self._clock, self._root = width_of, clock, root
        self._started, self._keys, self._version = started, keys, version
        self._writer = Writer(stream, lambda dropped: f"{dropped} messages not shown: the reader is too slow\n")
        self._lock = threading.Lock()
        self._repeats = Repeats()
        self._row = InARow()
        self._silenced: dict[Hashable, facts.ModError] = {}
        self._timer: threading.Timer | None = None
        self._question = ""
        self._quiet = 0
        self._later: deque[str] = deque(maxlen=_MOST_LATER)
        self._ready: facts.Ready | None = None
        self._trace = ""
        self._replayed: facts.Replayed | None = None
        self._receipt = _Receipt()
        self.place: facts.Frame | None = None
        """The place of the latest error."""

    def tell(self, fact: facts.Fact) -> None:
        with self._lock:
            if self._quiet and isinstance(fact, facts.Blocked):
                return  # the debugger itself blocks
            if isinstance(fact, facts.Replayed) and self._goes_on(fact):
                self._replayed = fact
                return
            key = what_repeats(fact)
            times = self._repeats.times(key, self._clock().timestamp())
            if isinstance(fact, facts.PlanDone):
                # Told below the receipt, the errors of a burst would say that the code before stays.
                self._tell_rest(math.inf)
                times = self._row.times(what_follows(fact))
            elif isinstance(fact, facts.Notice) and fact.mended:
                self._row = InARow()
            if times is not None:
                self._show(blocks_of(fact, self._view(), times))
            elif isinstance(fact, facts.ModError):
                self._silenced[key] = fact
                self._await_rest()
            self._remember(fact)

    def _await_rest(self) -> None:
        if self._timer is None:
            self._timer = threading.Timer(QUIET_SECONDS, self._rest)
            self._timer.daemon = True
            self._timer.start()

    def _rest(self) -> None:
        with self._lock:
            self._timer = None
            self._tell_rest(self._clock().timestamp())
            if self._silenced:
                self._await_rest()

    def _tell_rest(self, now: float) -> None:
        """Tell the total number of repetitions of a fact that was told once."""
        for key, fact in list(self._silenced.items()):
            times = self._repeats.rest(key, now)
            if times:
                self._show(blocks_of(fact, self._view(), times))
            if times is not None:
                del self._silenced[key]

    def log(self, said: Said) -> None:
        """Show one line of a log, or a printed one."""
        with self._lock:
            self._show((said_block(said, self._view()),))
            self._trace = said.trace or self._trace

    def reveal(self, page: str, why: str) -> None:
        """Show the whole address of the page in the browser: behind the reason for it, or in the
        banner without one."""
        with self._lock:
            if why:
                self._show(blocks_of(facts.Notice(f"{why}: {page}"), self._view()))
            elif self._ready is not None:
                self._show(blocks_of(replace(self._ready, page=page), self._view()))

    def trace(self) -> None:
        """Show the whole trace of the latest error."""
        with self._lock:
            lines = [each for each in self._trace.splitlines() if each.strip()]
            body = tuple((plain(each),) for each in lines[-_TRACE_LINES:])
            self._show((Block((dim("the latest trace:" if body else "no error is remembered"),), body),))

    def event(self, row: Mapping[str, Any]) -> None:
        """Show an event that has ended, as `model.trace.row_to_dict` makes it."""
        with self._lock:
            # The time of the line is that of the terminal.
            self._show((Block(event_line(row, self._view())[1:]),))

    def differences(self) -> None:
        """Show the differences of the pinned events after the latest save."""
        # Here and not above: rarely needed.
        from devserver.ui.replay_lines import differences_block

        with self._lock:
            self._show((differences_block(self._replayed, self._view()),))

    def help(self, shortcuts: tuple[tuple[str, str], ...]) -> None:
        """Show the shortcuts, given as key and description, in as many columns as the terminal has room for."""
        with self._lock:
            self._show((help_block(shortcuts, self._width_of()),))

    def clear(self) -> None:
        """Empty the terminal."""
        with self._lock:
            self._writer.write(CLEAR)

    def ask(self, question: str) -> None:
        """Keep a question and its answer so far as the last line; an empty one ends it."""
        with self._lock:
            fitted = _fitted(safe(question), self._width_of() - 1)
            self._question = render_line((Segment(fitted),), self.look) if question else ""
            self._writer.write(_WIPE_LINE + self._question)

    @contextmanager
    def quiet(self) -> Iterator[None]:
        """Buffer output while another program (a debugger) has the terminal; show it afterwards."""
        with self._lock:
            self._quiet += 1
        try:
            yield
        finally:
            with self._lock:
                self._quiet -= 1
                if self._later and not self._quiet:
                    self._writer.write("".join(self._later))
                    self._later.clear()

    def close(self, seconds: float = CLOSE_SECONDS) -> None:
        """Let the last lines go out, for at most `seconds`."""
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
            if self._question:
                # The shell's prompt must not follow an open question.
                self._writer.write(_WIPE_LINE)
                self._question = ""
            self._tell_rest(float("inf"))
        self._writer.close(seconds)

    def open_again(self) -> None:
        """Tell facts again after `close`."""
        self._writer.open_again()

    def _receipt_of(self, fact: facts.PlanDone) -> _Receipt:
        """Return the line of a save that was told in one, to which more can be added; else None."""
        blocks = blocks_of(fact, self._view())
        if len(blocks) != 1 or blocks[0].body or blocks[0].details or blocks[0].after:
            return _Receipt()
        words = "".join(safe(each.text) for each in blocks[0].head)
        return _Receipt(time.monotonic(), cells(words) + INDENT)

    def _view(self) -> View:
        return View(self.look, self._width_of(), self._started, self._keys, self._version)

    def _show(self, blocks: tuple[Block, ...]) -> None:
        now = self._clock().strftime("%H:%M:%S")
        text = "".join(render(each, self.look, now, self._root) for each in blocks)
        self._receipt = _Receipt()
        if self._quiet:
            self._later.append(text)
        elif text:
            self._writer.write(f"{_WIPE_LINE}{text}{self._question}" if self._question else text)

    def _goes_on(self, fact: facts.Replayed) -> bool:
        """Append the results of pinned events to the line of the save; return whether it could.

        That is so if all are the same, and nothing was written since: one line for a reload stays
        true.
        """
        receipt, words = self._receipt, tail(fact, self._view())
        is_late = time.monotonic() - receipt.at > SAME_LINE_SECONDS
        if not words or is_late or self._quiet or self._question or self.look.one_line:
            return False
        if receipt.cells + cells(words) >= self._width_of():
            return False
        line = render_line((Segment(words, Style.DIM),), self.look)
        self._writer.write(f"{_UP}\r\x1b[{receipt.cells}C{line}\n")
        self._receipt = _Receipt()
        return True

    def _remember(self, fact: facts.Fact) -> None:
        if isinstance(fact, facts.Replayed):
            self._replayed = fact
        elif isinstance(fact, facts.PlanDone):
            self._receipt = self._receipt_of(fact)
        if isinstance(fact, facts.Ready):
            self._ready, self._started = fact, True
        elif isinstance(fact, facts.Restarted):
            # The banner of the image before this one stands above. Asked for, it says how long this one took.
            ready = fact.ready
            self._ready = replace(ready, ready_ms=fact.duration_ms) if ready is not None else None
            self._started = True
        for error in _errors(fact):
            self._trace = error.trace or self._trace
            self.place = error.where or self.place


@dataclass(frozen=True, slots=True)
class _Receipt:
    """The line of a save, while it is the last one written: when (monotonic), and its columns."""

    at: float = float("-inf")
    cells: int = 0


def _fitted(text: str, columns: int) -> str:
    """Return a line that must not be wrapped, because it could then not be erased: its beginning
    and its end, where the typing is."""
    if cells(text) <= columns:
        return text
    end = text[-(columns // 2) :]
    return text[: max(0, columns - cells(end) - 1)] + "…" + end


def _errors(fact: facts.Fact) -> tuple[facts.ErrorFacts, ...]:
    match fact:
        case facts.PlanDone():
            return tuple(each.error for each in fact.outcomes if each.error)
        case facts.Outcome() | facts.ModError():
            return (fact.error,) if fact.error else ()
        case facts.ConfigRefused():
            return fact.errors[:1]
        case _:
            return ()
