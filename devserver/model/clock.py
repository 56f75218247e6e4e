"""The clock that mods live by. A test puts another one in its place, which stands still until it is moved."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """What a network asks the time of."""

    def time(self) -> float:
        """Return the seconds since 1970."""

    async def sleep(self, seconds: float) -> None:
        """Return when so many seconds have passed."""


class RealClock:
    """The time of this machine."""

    time = staticmethod(time.time)
    sleep = staticmethod(asyncio.sleep)
