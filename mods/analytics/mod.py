"""The analytics mod: sees every event, answers none but its own question.

It has to stand first in network.yaml: the first mod that answers ends an event's way, and what stands behind it does
not see the event. An event that is sent to one mod (`mod:<path>`) goes past it.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from pydantic import Field

from devserver import BaseMod, Event, EventResponse, mod_event_handler
from mods.analytics import counts
from mods.lib.ask import Payload, done, request_id
from mods.lib.settings import Count, Settings

REPORT = "analytics.report.get"
MINUTE = 60
MOST_LISTED = 1000


class GetReport(Payload):
    """How many names of each kind a report shows."""

    limit: int = Field(default=20, ge=1, le=MOST_LISTED)


class AnalyticsMod(BaseMod):
    """Counts by event name and by agent, and rates over one and five minutes."""

    version = "1.0"

    clock: Callable[[], float] = staticmethod(time.monotonic)
    """Seconds since some fixed moment; replaced where time shall not pass by itself."""

    class Config(Settings):
        """How many names are counted one by one; the others share a count."""

        max_names: Count = 500

    config: Config

    def initialize(self) -> bool:
        """Begin to count, or go on."""
        counts.prepare(self.state, self.clock())
        return True

    @mod_event_handler("*")
    def observe(self, event: Event) -> None:
        """Count an event and let it pass. Handlers are asked in the order they are defined, so this one is first."""
        most = self.config.max_names
        counts.tick(self.state, self.clock())
        counts.add(self.state, "events", event.event_name, most)
        source = event.source
        if source.role == "agent":
            counts.add(self.state, "agents", source.id, most)

    @mod_event_handler(REPORT)
    def report(self, event: Event, wanted: GetReport) -> EventResponse:
        """Get all counts, and the most frequent names of each kind."""
        now = self.clock()
        return done(
            f"{self.state['total']} events",
            total=self.state["total"],
            counted_for_seconds=round(now - self.state["since"], 3),
            last_minute=counts.rate(self.state, now, MINUTE),
            last_5_minutes=counts.rate(self.state, now, 5 * MINUTE),
            events=counts.top(self.state, "events", wanted.limit),
            agents=counts.top(self.state, "agents", wanted.limit),
            other=dict(self.state["unnamed"]),
            request_id=request_id(event),
        )
