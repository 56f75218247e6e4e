"""The available mods, as a network knows them, for agents, page and embedders. Offline.

Catalogues are read in a thread of their own, at most every few seconds: an agent may ask as often
as it likes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from devserver.live.loops import run_in_thread
from devserver.model.config import NetworkConfig

if TYPE_CHECKING:
    from devserver.market.places import Listed

KEPT_SECONDS = 5.0
MOST_ROWS = 100


class Shelf:
    """The catalogues of one network. `config` is asked each time: network.yaml may change."""

    def __init__(self, config: Callable[[], NetworkConfig], workspace: Path) -> None:
        self._config = config
        self._workspace = workspace
        self._listed: Listed | None = None
        self._read_for: tuple[object, ...] = ()
        self._read_at = 0.0
        self._one = asyncio.Lock()

    async def search(self, words: str) -> dict[str, Any]:
        """Find mods in which every word occurs: at most MOST_ROWS rows, and their total number."""
        from devserver.market import catalogue, shown  # most runs never look at catalogues

        listed = await self.listed()
        found = catalogue.search(listed.catalogues, words)
        rows = [shown.row(each) for each in found[:MOST_ROWS]]
        return {"mods": rows, **shown.counted(found, listed.catalogues), "problems": list(listed.problems)}

    async def facts(self, name: str) -> dict[str, Any]:
        """Return all facts about a mod, from its wheel if at hand. Raises DevServerError."""
        from devserver.market import shown  # most runs never look at catalogues

        listed = await self.listed()
        return await run_in_thread(shown.facts, shown.find_listed(listed.catalogues, name))

    async def listing(self, name: str) -> dict[str, Any]:
        """Return what a catalogue says of a mod. Raises NotListed."""
        from devserver.market import shown  # most runs never look at catalogues

        return shown.listed_facts(shown.find_listed((await self.listed()).catalogues, name))

    async def listed(self) -> Listed:
        """Read the catalogues, unless they were read a moment ago."""
        from devserver.market.places import Ask, catalogues_of  # most runs never look at catalogues

        async with self._one:
            config = self._config()
            wanted = (config.indexes, config.catalogues)
            if self._listed is None or self._read_for != wanted or time.monotonic() - self._read_at > KEPT_SECONDS:
                self._listed = await run_in_thread(catalogues_of, config, self._workspace, Ask.KEPT)
                self._read_for, self._read_at = wanted, time.monotonic()
            return self._listed
