"""Reads single keys from a terminal and passes them on as `KeyPressed`; others act on them.

A thread reads; it never holds the terminal while a debugger has it, while the process is in the
background, or after `stop()`. The terminal is restored after every end of the process but a kill.
"""

from __future__ import annotations

import atexit
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from devserver.ui.debugger import debugger_hook
from devserver.ui.keymap import REPEAT_SECONDS, Answer, KeyPressed, chosen, key_named, question, settled_by, typed_on
from devserver.ui.terminal import Mode, Terminal

OnKey = Callable[[KeyPressed], object]
Mods = Callable[[], Sequence[str]]

_BURST_SECONDS = 0.02
_BURST_KEPT = 64
_LOOK_SECONDS = 0.5
"""The interval of looks at the terminal's mode when no one types."""


class Keys:
    """The shortcuts of one terminal.

    Args:
        descriptor: the terminal that is read.
        ask: shows the question for a mod with what is typed so far; called with "" when it is over.
        own: what the face does itself, by key name; these are not handed on.
        quiet: keeps the face quiet while another program has the terminal.
        clock: a monotonic time in seconds.
        before: the terminal's mode at the end, where an earlier image of this process has changed it.
    """

    def __init__(
        self,
        descriptor: int,
        *,
        ask: Callable[[str], None],
        own: Mapping[str, Callable[[], None]],
        quiet: Callable[[], AbstractContextManager[None]] = nullcontext,
        clock: Callable[[], float] = time.monotonic,
        before: Mode | None = None,
    ) -> None:
        self._terminal = Terminal(descriptor, before)
        self._ask, self._own, self._quiet, self._clock = ask, own, quiet, clock
        self._turn = threading.RLock()
        self._paused = 0
        self._ended = False
        self._held = ("", float("-inf"))
        self._answer: Answer | None = None
        self._choices: tuple[str, ...] = ()
        self._undo: list[Callable[[], Any]] = []

    def start(self, on_key: OnKey, mods: Mods) -> None:
        """Begin, also after `leave`. From the main thread, because signals belong to it.

        Args:
            on_key: called from the reading thread for each shortcut that is not the face's own; must return soon.
            mods: gives the ids of the mods that run, in order; called from the reading thread.
        """
        self._on_key, self._mods, self._ended = on_key, mods, False
        self._wakened, self._waker = os.pipe()
        os.set_blocking(self._waker, False)
        self._thread = threading.Thread(target=self._run, name="oa-dev keys", daemon=True)
        self._terminal.single_keys()
        atexit.register(self.stop)
        # After Ctrl-Z and `fg` the shell has set its own mode; the reader, once awake, sets ours again.
        continued = signal.signal(signal.SIGCONT, lambda number, frame: self._wake())
        breakpoints = sys.breakpointhook
        sys.breakpointhook = debugger_hook(breakpoints, self.paused)
        self._undo = [
            lambda: atexit.unregister(self.stop),
            lambda: signal.signal(signal.SIGCONT, continued),
            lambda: setattr(sys, "breakpointhook", breakpoints),
        ]
        self._thread.start()

    def stop(self) -> None:
        """End and restore the terminal. May be called again, and without a start."""
        self.leave()
        with self._turn:
            self._terminal.restore()

    def leave(self) -> None:
        """End, and leave the terminal to the next image of this process, which shows no typing."""
        undo, self._undo = self._undo, []
        if not undo:
            return
        self._ended = True
        self._wake()
        for each in undo:
            each()
        # If the reader itself stops the process ends soon anyway, and its pipe with it.
        if threading.current_thread() is not self._thread:
            self._thread.join(_LOOK_SECONDS)
        if not self._thread.is_alive():
            os.close(self._wakened)
            os.close(self._waker)

    def go_on(self) -> None:
        """Read keys again after `leave`."""
        self.start(self._on_key, self._mods)

    @property
    def mode_before(self) -> Mode | None:
        """Return the terminal's mode before it gave single keys; None if it does not."""
        return self._terminal.before

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave the terminal to another program, such as a debugger; calls may be nested."""
        with self._turn:
            self._paused += 1
            self._terminal.restore()
        self._wake()
        try:
            with self._quiet():
                yield
        finally:
            with self._turn:
                self._paused -= 1
            self._enter()
            # A debugger may outlast the keys, and with them the pipe that wakes their reader.
            if not self._ended:
                self._wake()

    def _enter(self) -> None:
        with self._turn:
            if not self._paused and not self._ended:
                self._terminal.single_keys()

    def _wake(self) -> None:
        try:
            os.write(self._waker, b"!")
        except BlockingIOError:
            # The pipe is full of wake-ups already.
            return

    def _run(self) -> None:
        while not self._ended:
            reading = not self._paused and self._terminal.foreground()
            watched = [self._wakened, self._terminal.descriptor] if reading else [self._wakened]
            ready = _readable(watched, None if self._paused else _LOOK_SECONDS)
            if self._wakened in ready:
                os.read(self._wakened, 1024)
            # Also without being woken: if another thread receives SIGCONT, its handler waits for
            # the main thread.
            self._enter()
            if self._terminal.descriptor in ready and not self._turned():
                return

    def _turned(self) -> bool:
        """Read and pass on one burst of input; False when the terminal has ended."""
        with self._turn:
            if self._paused or self._ended or not self._terminal.foreground():
                return True
            burst = self._burst()
        if burst:
            self._take(burst)
        return bool(burst)

    def _burst(self) -> str:
        """Return input up to a pause, of it the beginning; "" at the end of input."""
        kept, descriptor = b"", self._terminal.descriptor
        ready = True
        while ready and not self._ended:
            try:
                data = os.read(descriptor, 4096)
            except OSError:
                # EIO: the terminal has been closed.
                return ""
            if not data:
                break
            kept = (kept + data)[:_BURST_KEPT]
            ready = bool(_readable([descriptor], _BURST_SECONDS))
        return kept.decode("utf-8", "replace")

    def _take(self, burst: str) -> None:
        if self._answer is not None:
            self._answered(typed_on(self._answer, burst))
            return
        name = key_named(burst)
        if name is None or self._is_held(name):
            return
        if name == "reload_one":
            self._choices = tuple(self._mods())
            self._answer = Answer()
            self._ask(question(self._choices))
        elif name in self._own:
            self._own[name]()
        else:
            self._on_key(KeyPressed(name))

    def _is_held(self, name: str) -> bool:
        last, at = self._held
        now = self._clock()
        self._held = (name, now)
        return name == last and now - at < REPEAT_SECONDS

    def _answered(self, answer: Answer) -> None:
        done = answer.done or settled_by(answer.typed, self._choices)
        mod = chosen(answer.typed, self._choices) if done else None
        # An answer that names no mod, or several, is refused with a word; an empty one cancels.
        if answer.cancelled or mod is not None or (done and not answer.typed.strip()):
            self._answer = None
            self._ask("")
        elif done:
            self._answer = Answer()
            self._ask(question(self._choices, refused=answer.typed))
        else:
            self._answer = Answer(answer.typed)
            self._ask(question(self._choices, answer.typed))
        if mod is not None:
            self._on_key(KeyPressed("reload_one", mod))


def _readable(descriptors: Sequence[int], seconds: float | None) -> set[int]:
    """Wait until some of these can be read or have ended, and return them."""
    try:
        return set(select.select(descriptors, (), (), seconds)[0])
    except ValueError:
        # It refuses descriptors from 1,024 on. For others it stays: the poll of macOS refuses terminals.
        ready = select.poll()
        for each in descriptors:
            ready.register(each, select.POLLIN)
        return {each for each, _ in ready.poll(None if seconds is None else seconds * 1000)}
