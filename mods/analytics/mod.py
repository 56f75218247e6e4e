"""The analytics mod: sees every event, answers none but its own question.

It has to stand first in network.yaml: the first mod that answers ends an event's way, and what stands behind it does
not see the event. An event that is sent to one mod (`mod:<path>`) goes past it.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from devserver import BaseMod, Event, EventResponse, mod_event_handler
from mods.analytics import counts
from mods.lib.ask import answers, done, request_id, whole
from mods.lib.settings import count

REPORT = "analytics.report.get"
MINUTE = 60
MOST_LISTED = 1000


class AnalyticsMod(BaseMod):
    """Counts by event name and by agent, and rates over one and five minutes."""

    version = "1.0"

    clock: Callable[[], float] = staticmethod(time.monotonic)
    """Seconds since some fixed moment; replaced where time shall not pass by itself."""

    most_names: int

    def initialize(self) -> bool:
        """Begin to count, or go on. Raises ValueError for a configuration that cannot be used."""
        self.most_names = count(self.config, "max_names", 500)
        counts.prepare(self.state, self.clock())
        return True

    @mod_event_handler("*")
    def observe(self, event: Event) -> None:
        """Count an event and let it pass."""
        # The mod's own question is counted where it is answered: which of two handlers comes first is not settled.
        if event.event_name != REPORT:
            self._count(event)

    @mod_event_handler(REPORT)
    @answers
    def report(self, event: Event) -> EventResponse:
        """All counts, and the `limit` most frequent names of each kind."""
        self._count(event)
        limit = whole(event, "limit", 20, 1, MOST_LISTED)
        now = self.clock()
        return done(
            f"{self.state['total']} events",
            total=self.state["total"],
            counted_for_seconds=round(now - self.state["since"], 3),
            last_minute=counts.rate(self.state, now, MINUTE),
            last_5_minutes=counts.rate(self.state, now, 5 * MINUTE),
            events=counts.top(self.state, "events", limit),
            agents=counts.top(self.state, "agents", limit),
            other=dict(self.state["unnamed"]),
            request_id=request_id(event),
        )

    def _count(self, event: Event) -> None:
        counts.tick(self.state, self.clock())
        counts.add(self.state, "events", event.event_name, self.most_names)
        source = event.source
        if source.role == "agent":
            counts.add(self.state, "agents", source.id, self.most_names)
