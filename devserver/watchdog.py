"""Sees when a mod keeps the mods' loop from everything else, and where. Runs on the control side; ends nothing."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Iterator
from types import FrameType

from devserver.home import LoopThread
from devserver.model.facts import Blocked, Frame

PATIENCE = 1.0
"""Seconds that the loop may take to answer before it counts as blocked."""

_INTERVAL = 0.25

ModOf = Callable[[str], str | None]
"""The id of the mod that a module belongs to, by the module's name; None for code that is no mod's."""


class Watchdog:
    """Asks the mods' loop for a sign of life, again and again. `tell` is told once for each time it is blocked."""

    def __init__(
        self, home: LoopThread, mod_of: ModOf, shown: Callable[[str], str], tell: Callable[[Blocked], None]
    ) -> None:
        self._home = home
        self._mod_of = mod_of
        self._shown = shown
        self._tell = tell
        self._answered = time.monotonic()

    async def run(self) -> None:
        """Watch until cancelled."""
        told = False
        while True:
            asked = time.monotonic()
            self._home.loop.call_soon_threadsafe(self._alive)
            await asyncio.sleep(_INTERVAL)
            while self._answered < asked:
                silent = time.monotonic() - asked
                if silent >= PATIENCE and not told:
                    told = True
                    self._tell(self._blocked(silent))
                await asyncio.sleep(_INTERVAL)
            told = False

    def _alive(self) -> None:
        self._answered = time.monotonic()

    def _blocked(self, seconds: float) -> Blocked:
        for frame in _frames(self._home.thread.ident):
            mod_id = self._mod_of(str(frame.f_globals.get("__name__", "")))
            if mod_id is not None:
                code = frame.f_code
                where = Frame(self._shown(code.co_filename), frame.f_lineno, function=code.co_qualname)
                return Blocked(mod_id, seconds, where)
        return Blocked("something", seconds, None)


def _frames(thread: int | None) -> Iterator[FrameType]:
    """The frames of a running thread, innermost first."""
    frame = sys._current_frames().get(thread or 0)
    while frame is not None:
        yield frame
        frame = frame.f_back
