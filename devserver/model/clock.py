"""The clock of mods. A test replaces it with one that stands still until the test moves it."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """The time that a network uses."""

    def time(self) -> float: ...
    async def sleep(self, seconds: float) -> None: ...


class RealClock:
    """The time of this machine."""

    time = staticmethod(time.time)
    sleep = staticmethod(asyncio.sleep)
