"""The way of one event: its errors, and, if a recorder follows it, the mods that it visited, and its entry.

What `Trace` does it does for every event: its few steps are written out where a call would cost as much.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import floor
from time import monotonic
from typing import TYPE_CHECKING, Any

from orjson import dumps

from devserver.live.generation import Generation
from devserver.model.encoding import as_text, from_json, to_json
from devserver.model.event import Event, EventResponse
from devserver.model.facts import ErrorFacts
from devserver.model.trace import MOST_NAMED, MOST_PAYLOAD, MOST_SAID, Visit
from devserver.model.wire_form import error_to_dict
from devserver.network.agent import Delivery

if TYPE_CHECKING:
    from devserver.network.recorder import Recorder

Ended = tuple[float, tuple[Any, ...], bytes, bytes, bytes]
"""An event that has ended: when (monotonic seconds), its row without the payload, the payload, its answer, and, in the
place of that, the whole rest of its entry."""

BATCH = 64
"""How many ended events are taken in at a time: locks cost as much as the rest."""
_SECRET = b"null"
_NOTHING = b"{}"


class Way:
    """The way of an event that is not recorded: it notes errors alone. Nearly all of them note
    nothing, so these are attributes of the class until there is something."""

    errors: Sequence[tuple[str, ErrorFacts]] = ()
    """The mods that have failed on it so far, each with its error."""
    sent: Sequence[tuple[str, Event, EventResponse]] = ()
    """What mods that have lines sent while they handled it, each with its mod and its answer."""
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
    """The way of an event that is recorded."""

    payload: bytes
    """Its payload as JSON, as it came; `_SECRET` itself if it may contain passwords and secrets."""

    def __init__(self, recorder: Recorder, number: int, parent: int, event: Event) -> None:
        self.recorder = recorder
        self.number = number
        self.parent = parent
        if event.event_name.startswith("system."):
            self.payload = _SECRET
        elif not event.payload:
            self.payload = _NOTHING
        else:
            try:
                self.payload = dumps(event.payload)
            except TypeError:
                self.payload = to_json(event.payload)
        self.visits: list[Visit] = []
        self.to: Sequence[str | int] = ()
        self.full: Sequence[str] = ()
        self.errors = ()
        self.has_ended = False
        self.began = monotonic()

    def visited(self, generation: Generation, began: float, held: float, said: int) -> None:
        ended = monotonic()
        self.visits.append(
            (
                generation.mod_id,
                generation.number,
                floor((began - self.recorder.zero) * 1e6),
                floor(held * 1e6) if held else 0,
                floor((ended - began) * 1e6),
                said,
            )
        )

    def turned_away(self, mod_id: str, began: float, said: int) -> None:
        """Note a visit that did not happen."""
        held = floor((monotonic() - began) * 1e6)
        self.visits.append((mod_id, 0, floor((began - self.recorder.zero) * 1e6), held, 0, said))

    def visited_elsewhere(self, began: float, visits: Sequence[Visit]) -> None:
        """Note them."""
        at = floor((began - self.recorder.zero) * 1e6)
        for mod_id, number, began_there, held, took, said in visits:
            self.visits.append((mod_id, number, at + began_there, held, took, said))

    def delivered(self, delivery: Delivery) -> None:
        """Note the receivers, the first by name."""
        self.full = delivery.full[:MOST_NAMED]
        more = delivery.delivered - len(delivery.to)
        self.to = (*delivery.to, more) if more else delivery.to

    def end(self, event: Event, answer: EventResponse, written: bytes | None = None) -> None:
        """Record it, once: a given-up event continues, but its sender has its answer."""
        if self.has_ended:
            return
        self.has_ended = True
        recorder, now, success, message = self.recorder, monotonic(), answer.success, answer.message
        try:
            if type(message) is not str:
                message = as_text(message)
            told = b""
            if answer.data is not None or len(message) > MOST_SAID:
                told = written or to_json((success, message, answer.data, answer.event_name))
            row = (
                self.number,
                self.parent,
                floor((self.began - recorder.zero) * 1e6),
                floor((now - self.began) * 1e6),
                event.event_name,
                event.source_id,
                event.destination_id,
                event.event_id,
                success if type(success) is bool else from_json(to_json(success)),
                message if len(message) <= MOST_SAID else message[:MOST_SAID],
                self.visits,
                self.to,
                self.full,
            )
            payload = self.payload
            if self.errors or payload is _SECRET or len(payload) > MOST_PAYLOAD or len(told) > recorder.most_whole:
                recorder.fresh.append((now, row, *self._shown(told)))
            else:
                recorder.fresh.append((now, row, payload, told, b""))
            if len(recorder.fresh) >= BATCH or recorder.armed:
                recorder.settle()
        except Exception as error:
            recorder.stop(error)

    def _shown(self, told: bytes) -> tuple[bytes, bytes, bytes]:
        """Return the last parts of an entry where its payload or its answer may not be shown, or is too large, or a
        mod has failed."""
        payload, most, rest = self.payload, self.recorder.most_whole, []
        if len(payload) > MOST_PAYLOAD:
            if len(payload) <= most:
                rest.append(b'"payload":%b' % payload)
            payload = b'"%b bytes"' % f"{len(payload):,}".encode()
        if told and payload is not _SECRET and len(told) <= most:
            rest.append(b'"answer":%b' % told)
        if self.errors:
            rest.append(b'"errors":%b' % to_json([_error(*each) for each in self.errors]))
        return payload, b"", b",".join(rest)


def entries_of(ended: Iterable[Ended]) -> list[bytes]:
    """Return the entry of each event: a line with its row, perhaps one with the rest."""
    entries = []
    for _, row, payload, answer, rest in ended:
        try:
            head = dumps(row)[:-1]
        except TypeError:
            # A name with a lone surrogate, or of another type: mods may make them.
            head = to_json(row)[:-1]
        # Payload and answer are JSON already: put in here they cost less than as parts of the row.
        if answer:
            entries.append(b'%b,%b]\n{"answer":%b}\n' % (head, payload, answer))
        elif rest:
            entries.append(b"%b,%b]\n{%b}\n" % (head, payload, rest))
        else:
            entries.append(b"%b,%b]\n" % (head, payload))
    return entries


def _error(mod_id: str, error: ErrorFacts) -> dict[str, Any]:
    where = error.where
    excerpt = [list(each) for each in where.excerpt] if where is not None else []
    return {"mod_id": mod_id, **error_to_dict(error), "excerpt": excerpt, "trace": error.trace}
