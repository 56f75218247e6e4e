"""Waits for the effects on a running server of files that a command has changed."""

from __future__ import annotations

import time
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from devserver.cli.client import Client, NotRunning, connect

if TYPE_CHECKING:
    from devserver.cli.became import Became

PATIENCE = 60.0
"""Seconds to wait for the effects: imports and initialize() have shorter limits of their own."""

_HELD = 2.0
"""Seconds that one question for news is held."""


class Followed:
    """A running server, and the number of the last plan before files were changed."""

    def __init__(self, server: Client, number: int, *, paused: bool) -> None:
        self.server = server
        self.number = number
        self._paused = paused

    @classmethod
    def begin(cls, workspace: Path) -> Followed | None:
        """Return the server that runs in a workspace; None without one."""
        try:
            server = connect(workspace)
            status, number = server.status(), server.reloads()["next"]
        except NotRunning:
            return None
        return cls(server, number, paused=bool(status.get("paused")) or not status.get("watching", True))

    def wait(self, paths: Collection[str]) -> Became:
        """Wait until each of these mods was loaded, reloaded, unloaded or held."""
        # Here and not above: slow to import, and the server is at work meanwhile.
        from devserver.cli.became import Became, Seen

        if self._paused:
            return Became(note="the server does not apply saves by itself now: oa-dev apply")
        seen = Seen(set(paths))
        until = time.monotonic() + PATIENCE
        while seen.missing:
            left = until - time.monotonic()
            if left <= 0:
                return seen.ended(f"nothing came of it within {PATIENCE:g} s")
            for row in self.server.reloads_after(self.number, min(left, _HELD)):
                self.number = row["number"]
                if (note := seen.take(row)) is not None:
                    return seen.ended(note)
            if seen.restart and (waits := self._waits()):
                return seen.ended(waits)
        return seen.ended()

    def _waits(self) -> str:
        """Return why a restart in place does not come on its own, or ""."""
        try:
            problems = self.server.settle(1.0)["problems"]
        except NotRunning:  # it has ended: nothing waits in it
            return ""
        return next((f"locked; {each['why']}" for each in problems if each["kind"] == "restart"), "")

    def settle(self) -> None:
        """Wait until everything on disk is dealt with."""
        try:
            self.server.settle()
        except NotRunning:  # it has ended: nothing is left to settle
            return
