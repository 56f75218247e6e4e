"""The wait for code of mods that may take long: it is told that it does, and where it is, and given up
where something else was saved meanwhile."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from types import FrameType

from devserver.loader.finder import is_importing_library

_TOLD_AFTER = 1.0
"""Seconds after which an import or initialize() that still runs is told of; then after ten times as many, and so on."""

_TOLD_AGAIN = 10
# A save of the same source ends slow code after at most this long.
_LOOKS = 0.1
# Cancelled code may have to clean up; code that does not end is left to itself then.
_UNWINDS = 0.5


class GivenUp(Exception):
    """What takes long is not waited for, because something else was saved meanwhile."""


class Patience:
    """That of one group. Arguments: `say` tells a person; `where` is the line of mods on a stack, in
    words; `is_own`, whether a file is code of mods."""

    def __init__(
        self,
        say: Callable[[str], None],
        where: Callable[[Sequence[FrameType]], str],
        is_own: Callable[[str], bool],
    ) -> None:
        self._say = say
        self._where = where
        self._is_own = is_own
        self._given_up, self._seconds = "", 0.0

    def give_up(self, reason: str, *, at_once: bool) -> None:
        """End an import or initialize() for this reason: as soon as that can be, or once it takes long."""
        if at_once or not self._given_up:
            self._given_up, self._seconds = reason, 0.0 if at_once else _TOLD_AFTER

    async def wait(
        self, work: asyncio.Future[None], doing: Callable[[], str], stack: Callable[[], Sequence[FrameType]]
    ) -> None:
        """Wait for work: `doing` names it, `stack` is where it is. Raises GivenUp after `give_up`."""
        began, told = time.monotonic(), _TOLD_AFTER
        # Also without a waiting caller, so that asyncio does not complain.
        work.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
        try:
            while not (await asyncio.wait({work}, timeout=_LOOKS))[0]:
                took, frames = time.monotonic() - began, stack()
                if took >= told:
                    told *= _TOLD_AGAIN
                    self._say(f"{doing()} for {took:.0f} s{self._where(frames)}")
                # A library that is half imported may not come to life again in this process.
                is_due = self._given_up and took >= self._seconds
                if is_due and not is_importing_library(frames, self._is_own):
                    work.cancel()
                    await asyncio.wait({work}, timeout=_UNWINDS)
                    raise GivenUp(self._given_up)
            await work
        finally:
            work.cancel()
