"""The heavy analytics mod: answers `heavy_analytics.query` from a table that takes memory while the mod is loaded.

The table is made, not remembered, so it is no state: each generation builds its own, and `shutdown()` gives the memory
back.
"""

from __future__ import annotations

import asyncio
import dataclasses

from devserver import BaseMod, Event, EventResponse, mod_event_handler
from mods.heavy_analytics.table import SERIES, Table, build
from mods.lib.ask import Refused, answers, done, needed_whole, whole
from mods.lib.settings import count

LAST_MINUTE = 10**7


class HeavyAnalyticsMod(BaseMod):
    """Summaries over a table of `rows` rows (configuration; 200,000 take about 25 MB)."""

    version = "1.0"

    table: Table | None = None

    async def initialize(self) -> bool:
        """Build the table. Raises ValueError for a configuration that cannot be used."""
        rows = count(self.config, "rows", 200_000, most=5_000_000)
        # In a thread, so that events go on while it takes its tenth of a second.
        self.table = await asyncio.to_thread(build, rows)
        return True

    def shutdown(self) -> bool:
        """Let go of the table."""
        self.table = None
        return True

    @mod_event_handler("heavy_analytics.query")
    @answers
    def query(self, event: Event) -> EventResponse:
        """Count, least, mean and greatest value of a `series` between `first_minute` and `last_minute`."""
        if self.table is None:
            raise Refused("the table is not there: the mod has been shut down")
        series = needed_whole(event, "series", 0, SERIES - 1)
        first = whole(event, "first_minute", 0, 0, LAST_MINUTE)
        last = whole(event, "last_minute", LAST_MINUTE, first, LAST_MINUTE)
        found = self.table.summary(series, first, last)
        facts = dataclasses.asdict(found)
        return done(f"{found.count} values", series=series, rows=len(self.table.rows), **facts)
