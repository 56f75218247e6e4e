"""Doors at which handlers wait until a test opens them, so that no test waits for time to pass."""

from __future__ import annotations

import asyncio
from types import ModuleType

from workspaces import served, until

HEAD = "import doors\n"
"""What stands at the head of a mod with doors."""


class Doors(ModuleType):
    """What mods and tests meet at, on whichever thread each runs: handlers say that they stand there, and wait."""

    def __init__(self) -> None:
        super().__init__("doors")
        self.standing: list[str] = []
        self.opened: set[str] = set()

    async def stand(self, name: str) -> None:
        """Wait until the test opens this door."""
        self.standing.append(name)
        while name not in self.opened:  # noqa: ASYNC110 - the test may run on another thread
            await asyncio.sleep(0.001)

    async def reached(self, name: str, times: int = 1) -> None:
        """Wait until a handler stands there."""
        await until(lambda: self.standing.count(name) >= times)


def slow(name: str, version: object) -> str:
    """A mod that answers `<name>.version.get` at once, and `<name>.slow.get` after its door was opened."""
    return served(
        name,
        version,
        f"""
        @mod_event_handler("{name}.slow.get")
        async def slow(self, event):
            await doors.stand("{name}")
            return {{"version": {version!r}, "helper": self.helper()}}

        def helper(self):
            from mods.helper import VERSION
            return VERSION
        """,
    )
