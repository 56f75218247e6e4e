"""Events for whoever follows them: the network is tapped only while somebody asks. Shows no secrets."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from devserver.control.tape import Tape
from devserver.model.encoding import from_json, to_json
from devserver.model.event import Event, EventResponse
from devserver.model.wire_form import iso_of
from devserver.network.accounts import Account

Row = dict[str, Any]

MOST_KEPT = 1000
MOST_PAYLOAD = 16 * 1024
"""The most bytes of a payload, as JSON, that are shown."""
UNASKED_SECONDS = 60.0
"""How long after the last question nobody follows any more."""


class Followed:
    """Arguments: `taps`, the network's `on_event`; `clock`, monotonic seconds."""

    def __init__(
        self,
        taps: list[Callable[[Event, EventResponse], None]],
        clock: Callable[[], float] = time.monotonic,
        account: Account | None = None,
    ) -> None:
        self._taps = taps
        self._clock = clock
        self._asked = 0.0
        self.tape: Tape[Row] = Tape(MOST_KEPT, account)

    def ask(self) -> Tape[Row]:
        """The events from now on. To be called in one thread, and again within a minute by whoever goes on."""
        self._asked = self._clock()
        if self._tap not in self._taps:
            self._taps.append(self._tap)
        return self.tape

    def _tap(self, event: Event, answer: EventResponse) -> None:
        if self._clock() - self._asked < UNASKED_SECONDS:
            self.tape.put(event_row(event, answer, time.time()))
        elif self._tap in self._taps:
            self._taps.remove(self._tap)


def event_row(event: Event, answer: EventResponse, now: float) -> Row:
    """An event and what became of it, as plain values of its own. `now` is in seconds since 1970."""
    return {
        "time": iso_of(now),
        "event_id": event.event_id,
        "event_name": event.event_name,
        "source_id": event.source_id,
        "destination_id": event.destination_id,
        "success": answer.success,
        "message": answer.message,
        "payload": _payload(event),
    }


def _payload(event: Event) -> Any:
    if event.event_name.startswith("system."):
        # Passwords and secrets travel in these.
        return None
    # A copy: whoever got the event may change what is in it.
    data = to_json(event.payload)
    return from_json(data) if len(data) <= MOST_PAYLOAD else f"{len(data)} bytes"
