"""The heavy analytics mod: answers `heavy_analytics.query` from a table that takes memory while the mod is loaded.

The table is made, not remembered, so it is no state: each generation builds its own, and `shutdown()` gives the memory
back.
"""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Annotated, Self

from pydantic import Field, model_validator

from devserver import BaseMod, Event, EventResponse, Refused, mod_event_handler
from mods.heavy_analytics.table import SERIES, Table, build
from mods.lib.ask import Payload, done
from mods.lib.settings import Settings

LAST_MINUTE = 10**7

Minute = Annotated[int, Field(ge=0, le=LAST_MINUTE)]


class Query(Payload):
    """A series, and the minutes that are looked at, the first and the last included."""

    series: int = Field(ge=0, lt=SERIES)
    first_minute: Minute = 0
    last_minute: Minute = LAST_MINUTE

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.last_minute < self.first_minute:
            raise ValueError(f'"last_minute" must be at least {self.first_minute}, not {self.last_minute}')
        return self


class HeavyAnalyticsMod(BaseMod):
    """Summaries over a table of `rows` rows (configuration; 200,000 take about 25 MB)."""

    version = "1.0"

    class Config(Settings):
        """How large the table is."""

        rows: int = Field(default=200_000, ge=1, le=5_000_000)

    config: Config
    table: Table | None = None

    async def initialize(self) -> bool:
        """Build the table."""
        # In a thread, so that events go on while it takes its tenth of a second.
        self.table = await asyncio.to_thread(build, self.config.rows)
        return True

    def shutdown(self) -> bool:
        """Let go of the table."""
        self.table = None
        return True

    @mod_event_handler("heavy_analytics.query")
    def query(self, event: Event, wanted: Query) -> EventResponse:
        """Get the number of values of a series, and the least, mean and greatest of them."""
        if self.table is None:
            raise Refused("the table is not there: the mod has been shut down")
        found = self.table.summary(wanted.series, wanted.first_minute, wanted.last_minute)
        facts = dataclasses.asdict(found)
        return done(f"{found.count} values", series=wanted.series, rows=len(self.table.rows), **facts)
