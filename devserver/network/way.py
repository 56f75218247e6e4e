"""The way of one event: its errors, and, if a recorder follows it, the mods that it visited."""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic
from typing import TYPE_CHECKING

from devserver.live.generation import Generation
from devserver.model.event import Event, EventResponse
from devserver.model.facts import ErrorFacts
from devserver.model.trace import MOST_NAMED, Visit
from devserver.network.agent import Delivery

if TYPE_CHECKING:
    from devserver.network.recorder import Recorder


class Way:
    """The way of an event that is not recorded: it notes errors alone.

    Nearly all of them note nothing, so these are attributes of the class until there is something.
    """

    errors: Sequence[tuple[str, ErrorFacts]] = ()
    """The mods that have failed on it so far, each with its error."""
    number = 0
    """The number of the event for people; 0 if it was not recorded."""

    def failed(self, mod_id: str, error: ErrorFacts) -> None:
        """Note that the handler of a mod raised."""
        self.errors = (*self.errors, (mod_id, error))

    def visited(self, generation: Generation, began: float, held: float, said: int) -> None:
        """Note that a generation was asked, since `began` (monotonic seconds), and waited for `held` seconds before."""

    def turned_away(self, mod_id: str, began: float, said: int) -> None:
        """Note that the event waited at a mod's gate since `began`, and came to no generation."""

    def visited_elsewhere(self, began: float, visits: Sequence[Visit]) -> None:
        """Note the visits on another host, which was asked at `began`; their times count from then."""

    def delivered(self, delivery: Delivery) -> None:
        """Note which agents got it."""

    def end(self, event: Event, answer: EventResponse, written: bytes | None = None) -> None:
        """End the way; `written`: the answer as `Answers` has written it."""


class Trace(Way):
    """The way of an event that is recorded. `payload`: its payload as JSON, as it came."""

    to: Sequence[str | int] = ()
    full: Sequence[str] = ()
    has_ended = False

    def __init__(self, recorder: Recorder, number: int, parent: int, payload: bytes) -> None:
        self.recorder = recorder
        self.number = number
        self.parent = parent
        self.payload = payload
        self.visits: list[Visit] = []
        self.began = monotonic()

    def visited(self, generation: Generation, began: float, held: float, said: int) -> None:
        took = int((monotonic() - began) * 1e6)
        at = int((began - self.recorder.zero) * 1e6)
        self.visits.append(
            (generation.mod_id, generation.number, at, int(held * 1e6) if held else 0, took, said),
        )

    def turned_away(self, mod_id: str, began: float, said: int) -> None:
        """Note a visit that did not happen."""
        held = int((monotonic() - began) * 1e6)
        self.visits.append((mod_id, 0, int((began - self.recorder.zero) * 1e6), held, 0, said))

    def visited_elsewhere(self, began: float, visits: Sequence[Visit]) -> None:
        """Note them."""
        at = int((began - self.recorder.zero) * 1e6)
        self.visits.extend((each[0], each[1], at + each[2], *each[3:]) for each in visits)

    def delivered(self, delivery: Delivery) -> None:
        """Note the receivers, the first by name."""
        self.full = delivery.full[:MOST_NAMED]
        more = delivery.delivered - len(delivery.to)
        self.to = (*delivery.to, more) if more else delivery.to

    def end(self, event: Event, answer: EventResponse, written: bytes | None = None) -> None:
        """Record it, once: a given-up event continues, but its sender has its answer."""
        if not self.has_ended:
            self.has_ended = True
            self.recorder.end(self, event, answer, written)
