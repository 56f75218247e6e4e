"""Sees when a mod blocks the mods' loop, tells where, and interrupts code that blocks for too long.

Runs on the control side. A call that never returns would stall every mod for good: after the limit
of the handler or hook that runs, an exception is raised in it, if Python can do that: in Python
code, not inside a blocking C call.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from types import FrameType

from devserver.errors import BlockedTooLong
from devserver.live.loops import LoopThread
from devserver.model.facts import Blocked, Frame
from devserver.model.lifecycle import Limits
from devserver.reload.hooks import runs_hook

PATIENCE = 1.0
"""Seconds after which a loop that does not answer counts as blocked."""

_INTERVAL = 0.25

ModOf = Callable[[str], str | None]
"""The id of the mod that a module belongs to, by the module's name; None for code that is not a mod's."""


class Watchdog:
    """Asks the mods' loop for a sign of life, periodically. `tell` is told once for each block."""

    def __init__(
        self,
        home: LoopThread,
        mod_of: ModOf,
        shown: Callable[[str], str],
        limits: Callable[[], Limits],
        tell: Callable[[Blocked], None],
    ) -> None:
        self._home, self._limits, self._tell = home, limits, tell
        self._mod_of, self._shown = mod_of, shown
        self._answered = time.monotonic()

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            asked = time.monotonic()
            self._home.loop.call_soon_threadsafe(self._alive)
            await asyncio.sleep(_INTERVAL)
            if self._answered < asked:
                await self._wait_for_answer(asked)

    def _alive(self) -> None:
        self._answered = time.monotonic()

    async def _wait_for_answer(self, asked: float) -> None:
        told = interrupted = False
        while self._answered < asked:
            silent = time.monotonic() - asked
            if silent >= PATIENCE and not told:
                told = True
                self._tell(self._blocked(silent))
            if not interrupted:
                interrupted = self._interrupt(silent)
            await asyncio.sleep(_INTERVAL)

    def _blocked(self, seconds: float) -> Blocked:
        for frame in self._frames():
            mod_id = self._mod_of(str(frame.f_globals.get("__name__", "")))
            if mod_id is not None:
                code = frame.f_code
                where = Frame(self._shown(code.co_filename), frame.f_lineno, function=code.co_qualname)
                return Blocked(mod_id, seconds, where)
        return Blocked("something", seconds, None)

    def _interrupt(self, silent: float) -> bool:
        """Raise an exception in a mod's code that ran for its limit; return whether it was done."""
        frames = self._frames()
        limit = self._limits().initialize if runs_hook(frames) else self._limits().handler
        in_mod = any(self._mod_of(str(frame.f_globals.get("__name__", ""))) for frame in frames)
        if silent < limit or not in_mod or self._home.thread.ident is None:
            return False
        import ctypes  # imported here: no start should wait for it

        thread = ctypes.c_ulong(self._home.thread.ident)
        ctypes.pythonapi.PyThreadState_SetAsyncExc(thread, ctypes.py_object(BlockedTooLong))
        return True

    def _frames(self) -> list[FrameType]:
        """Return the frames of the mods' thread, innermost first."""
        return frames_of_thread(self._home.thread.ident)


def frames_of_thread(ident: int | None) -> list[FrameType]:
    """Return a thread's frames, innermost first; none for one that does not run."""
    found = []
    frame = sys._current_frames().get(ident or 0)
    while frame is not None:
        found.append(frame)
        frame = frame.f_back
    return found
