"""A shadow gets the events of its mod, after the mod has answered, and none of its own effects
leave.

An event that it sends is held, and answered with the answer to the mod's same send. Its answers,
sends and errors are compared with the mod's; values that are ids or times in both count as equal.
One event at a time, so that the mod is not delayed; events over the limit of waiting ones are
counted and not run.
"""

from __future__ import annotations

import asyncio
import contextvars
import copy
import reprlib
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import Any

from devserver.live.registry import Choice, Registry, Slot
from devserver.live.tally import Tally
from devserver.model.event import Event, EventResponse
from devserver.model.facts import Compared
from devserver.model.names import module_of
from devserver.model.split import main_of
from devserver.network.compare import Skip, compare
from devserver.network.handle import NetworkHandle
from devserver.network.way import Way

MOST_WAITING = 100
BATCH = 32
"""The number of events that are handed to shadows at once."""
_SOON = 0.05
"""Seconds after which they are handed out, if they are fewer. Their senders have their answers by
then; and events in between find in the processor's caches what events before them have left."""
MOST_EXAMPLES = 20
MOST_PATHS = 200
MOST_PATH = 500
"""The most characters of a path."""
_MOST_SHOWN = 200
TOLD_EVERY = 100
"""The number of events after which the sums are told, at most once a second."""

HELD = EventResponse(True, "held", {"held": True})

Offer = Callable[[Slot, Event, Way], Awaitable[EventResponse | None]]


Done = tuple[Choice, Event, dict[str, Any], EventResponse | None, Way, float, float]
"""What a mod did with an event: the mod with its lines, the event, its payload as it came (at its
top level: a handler may have changed it), the answer, its way, how long it took and when it ended,
in monotonic seconds."""

_run: ContextVar[_Run | None] = ContextVar("oa_dev_shadow_run", default=None)


@dataclass(slots=True, kw_only=True)
class Seen:
    """The effects of one event in a mod."""

    event: Event
    payload: dict[str, Any]
    answer: EventResponse | None
    sent: Sequence[tuple[Event, EventResponse]]
    """The events that it sent, in order, each with its answer."""
    error: str
    took: float
    at: float
    """When it ended, in seconds since 1970."""


@dataclass(slots=True)
class _Run:
    """One event in a shadow: its sends, and the answers to the mod's sends."""

    seen: Seen
    sent: list[Event] = field(default_factory=list)
    _used: dict[tuple[str, str | None], int] = field(default_factory=dict)

    def answer(self, event: Event) -> EventResponse:
        """Hold an event that the shadow sends; answer it as the mod's same send was answered."""
        self.sent.append(event)
        key = _key(event)
        number = self._used[key] = self._used.get(key, 0) + 1
        same = [given for sent, given in self.seen.sent if _key(sent) == key]
        if len(same) < number:
            return replace(HELD, event_name=event.event_name)
        given = same[number - 1]
        return replace(given, data={**copy.deepcopy(given.data or {}), "held": True})


def _key(event: Event) -> tuple[str, str | None]:
    return event.event_name, event.destination_id


class HeldHandle(NetworkHandle):
    """The network of a shadow: it reads, and none of its effects leave."""

    is_shadow = True

    async def process_event(self, event: Event) -> EventResponse:
        """Hold an event, and answer it as that of the mod was answered."""
        if event.source_id is None:
            event.source_id = f"mod:{self._mod_path}"
        run = _run.get()
        return replace(HELD, event_name=event.event_name) if run is None else run.answer(event)

    def create_channel(self, channel: str) -> None:
        """Change no channel; nor note one to remove, which may be the mod's."""

    def _change(self, change: Callable[..., None], *names: str) -> None:
        """Change no channel."""

    def _refusal(self) -> EventResponse:
        return EventResponse(False, "a shadow changes no mods", {"code": "shadow"})


@dataclass(slots=True)
class Difference:
    """The differences at one place of the answers and sends to one event: a count, examples."""

    event_name: str
    path: str
    count: int = 0
    examples: list[tuple[str, str, str]] = field(default_factory=list)
    """The ids of events, each with the values of the mod and of the shadow as people read them: whole ones may be
    megabytes each."""


class Shadow:
    """One shadow: its waiting events, and its differences from its mod."""

    def __init__(self, slot: Slot, generation: int) -> None:
        self.slot = slot
        self.generation = generation
        self.waiting: deque[Seen] = deque()
        self.worker: asyncio.Task[None] | None = None
        self.since = time.time()
        self.events = self.same = self.raised = self.held = self.busy = 0
        self.raised_first = ""
        self.differences: dict[tuple[str, str], Difference] = {}
        self.times, self.main_times = Tally(), Tally()
        self.told_at = 0.0

    def note(self, seen: Seen, run: _Run, answer: EventResponse | None, error: str, took: float) -> None:
        """Compare the effects of one event in the shadow with those in the mod."""
        self.events += 1
        self.held += len(run.sent)
        self.times.note(took)
        self.main_times.note(seen.took)
        if error:
            self.raised += 1
            self.raised_first = self.raised_first or error
        line = self.slot.line
        skip = Skip(frozenset(line.ignore if line is not None else ()), (seen.at, time.time()))
        before = _done(seen.answer, [event for event, _ in seen.sent], seen.error)
        found = compare(before, _done(answer, run.sent, error), skip, most=MOST_EXAMPLES)
        self.same += not found
        for each in found:
            key = (seen.event.event_name, each.pattern[:MOST_PATH])
            if key not in self.differences and len(self.differences) >= MOST_PATHS:
                continue
            known = self.differences.setdefault(key, Difference(*key))
            known.count += 1
            if len(known.examples) < MOST_EXAMPLES:
                known.examples.append((seen.event.event_id, _plain(each.before), _plain(each.after)))

    def row(self, main: str) -> dict[str, Any]:
        """Describe the shadow as plain values."""
        ordered = sorted(self.differences.values(), key=lambda each: -each.count)
        return {
            "line": f"{self.slot.mod_id} v{self.generation}",
            "main": main,
            "since": time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(self.since)),
            "events": self.events,
            "same": self.same,
            "raised": self.raised,
            "raised_first": self.raised_first or None,
            "held": self.held,
            "busy": self.busy,
            "waiting": len(self.waiting),
            "times": {"p50_ms": self.times.percentile(0.5), "p99_ms": self.times.percentile(0.99)},
            "main_times": {"p50_ms": self.main_times.percentile(0.5), "p99_ms": self.main_times.percentile(0.99)},
            "differences": [
                {
                    "event_name": each.event_name,
                    "path": each.path,
                    "count": each.count,
                    "event_id": each.examples[0][0],
                    "before": each.examples[0][1],
                    "after": each.examples[0][2],
                    "examples": [list(example) for example in each.examples],
                }
                for each in ordered
            ],
        }


class Shadows:
    """The shadows of one network. Runs where mods run; `offer` asks a slot, as for any event."""

    def __init__(self, registry: Registry, offer: Offer) -> None:
        self._registry = registry
        self._offer = offer
        self.tell: Callable[[Compared], None] = lambda fact: None
        self._shadows: dict[str, Shadow] = {}
        self.fresh: deque[Done] = deque()
        """What mods have done since they were handed out."""
        self.is_due = False
        """Whether they are handed out soon."""

    def see(self, done: Done) -> None:
        """Give the shadows of a mod an event that it has answered, with those that come in the next
        moments: its sender waits for this function. At most MOST_WAITING wait."""
        if len(self.fresh) >= MOST_WAITING:
            for slot in done[0].shadows:
                if slot.live is not None:
                    self._of(slot, slot.live.number).busy += 1
            return
        self.fresh.append(done)
        if not self.is_due:
            self.is_due = True
            self._hand_out_in(_SOON)
        elif len(self.fresh) == BATCH:
            self._hand_out_in(0.0)

    def _hand_out_in(self, seconds: float) -> None:
        # Empty context: a shadow's work belongs to no call. The timer is set in the next turn: the
        # sender of this event waits for all that is done in this one.
        loop = asyncio.get_running_loop()
        loop.call_soon(loop.call_later, seconds, self._hand_out, context=contextvars.Context())

    def _hand_out(self) -> None:
        self.is_due = False
        zero = time.time() - time.monotonic()
        while self.fresh:
            seen, slots = _seen(self.fresh.popleft(), zero)
            for slot in slots:
                if slot.live is None:
                    continue
                shadow = self._of(slot, slot.live.number)
                if len(shadow.waiting) >= MOST_WAITING:
                    shadow.busy += 1
                    continue
                shadow.waiting.append(seen)
                if shadow.worker is None:
                    shadow.worker = asyncio.create_task(self._work(shadow))

    def _of(self, slot: Slot, number: int) -> Shadow:
        known = self._shadows.get(slot.mod_id)
        if known is None or known.slot is not slot or known.generation != number:
            # Results of other code say nothing of this one.
            waiting = known.waiting if known is not None and known.slot is slot else ()
            known = self._shadows[slot.mod_id] = Shadow(slot, number)
            known.waiting.extend(waiting)
        return known

    async def _work(self, shadow: Shadow) -> None:
        try:
            await self._see_all(shadow)
        finally:
            shadow.worker = None

    async def _see_all(self, shadow: Shadow) -> None:
        while shadow.waiting:
            seen = shadow.waiting.popleft()
            # In a task of its own: a handler that ignores its cancellation blocks only that.
            task = asyncio.create_task(self._see(shadow, seen))
            await asyncio.wait({task})
            if not task.cancelled() and (error := task.exception()) is not None:
                shadow.raised += 1
                shadow.raised_first = shadow.raised_first or repr(error)
            self._tell_sums(shadow)

    async def _see(self, shadow: Shadow, seen: Seen) -> None:
        event = replace(seen.event, payload=copy.deepcopy(seen.payload), metadata=copy.deepcopy(seen.event.metadata))
        run, way = _Run(seen), Way()
        _run.set(run)
        began = time.perf_counter()
        answer = await self._offer(shadow.slot, event, way)
        took = time.perf_counter() - began
        error = str(way.errors[0][1]) if way.errors else ""
        shadow.note(seen, run, answer, error, took)

    def _tell_sums(self, shadow: Shadow) -> None:
        if shadow.events % TOLD_EVERY or time.monotonic() - shadow.told_at < 1.0:
            return
        shadow.told_at = time.monotonic()
        other = shadow.events - shadow.same
        slot = shadow.slot
        self.tell(
            Compared(
                slot.mod_id,
                main_of(slot.mod_id),
                events=shadow.events,
                same=shadow.same,
                other=other,
                raised=shadow.raised,
                busy=shadow.busy,
            )
        )

    async def catch_up(self) -> None:
        """Wait until shadows have seen every event of so far."""
        contextvars.Context().run(self._hand_out)
        if workers := [each.worker for each in self._shadows.values() if each.worker is not None]:
            await asyncio.wait(workers)

    def rows(self, mod: str) -> list[dict[str, Any]] | None:
        """Describe the differences of a mod's shadows, or of that one; None without such a mod."""
        main = self._registry.find(main_of(mod))
        if main is None:
            return None
        slots = main.choice.lines.values() if main.choice is not None else ()
        wanted = [each for each in slots if each.is_shadow]
        name = main.live.name if main.live is not None else main.mod_id
        known = [self._shadows.get(each.mod_id) or Shadow(each, _number(each)) for each in wanted]
        return [each.row(name) for each in known if mod in (main.mod_id, main.mod_path, each.slot.mod_id)]

    def forget(self) -> None:
        """Forget the shadows that have ended."""
        for mod_id, shadow in list(self._shadows.items()):
            slot = self._registry.find(mod_id)
            if slot is None or slot is not shadow.slot or not slot.is_shadow:
                del self._shadows[mod_id]
                shadow.waiting.clear()


def _seen(done: Done, zero: float) -> tuple[Seen, tuple[Slot, ...]]:
    """Return what a mod did, without what others did on the way of the event, and its shadows;
    `zero` makes seconds since 1970 of monotonic ones."""
    choice, event, payload, answer, way, took, ended = done
    mod_id = choice.main.mod_id
    seen = Seen(
        event=event,
        payload=payload,
        answer=answer,
        sent=[(sent, given) for name, sent, given in way.sent if name == mod_id],
        error=next((str(error) for name, error in way.errors if name == mod_id), ""),
        took=took,
        at=zero + ended,
    )
    return seen, choice.shadows


def _number(slot: Slot) -> int:
    return slot.live.number if slot.live is not None else 0


def _done(answer: EventResponse | None, sends: list[Event], error: str) -> dict[str, Any]:
    """Return the compared effects of a mod, by the names that paths begin with."""
    return {
        **{name: getattr(answer, name, None) for name in ("success", "message", "data")},
        "raised": bool(error),
        "sends": [{"event_name": e.event_name, "to": _named(e.destination_id), "payload": e.payload} for e in sends],
    }


def _named(destination: str | None) -> str | None:
    """Return a destination under one name: its local path may name a mod, too."""
    role, colon, name = (destination or "").partition(":")
    return f"{role}:{module_of(name)}" if colon and role == "mod" else destination


def _plain(value: Any) -> str:
    """Return a value as people read it, cut; a large one is not written whole for that."""
    try:
        text = _short.repr(value)
    except Exception as error:
        # The value may be of a mod's own class, or an integer of 5,000 digits.
        text = f"<{type(value).__name__}: {type(error).__name__}>"
    return text if len(text) <= _MOST_SHOWN else f"{text[: _MOST_SHOWN - 1]}…"


_short = reprlib.Repr()
_short.maxlevel = 4
_short.maxdict = _short.maxlist = _short.maxtuple = _short.maxset = _short.maxfrozenset = _short.maxdeque = 20
_short.maxstring = _short.maxlong = _short.maxother = _MOST_SHOWN + 1
