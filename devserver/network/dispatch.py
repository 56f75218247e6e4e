"""An event meets a mod: offers it to the mods on its way, one by one, then delivers it to agents.

Carries out what `route` decides. Never loads, swaps or ends a mod. Runs where mods run (`home`).
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from time import monotonic
from types import CoroutineType
from typing import TYPE_CHECKING, Any

from devserver.errors import EventRefused
from devserver.live.generation import Call, Generation, outermost, running
from devserver.live.handlers import AGENT_CAME, AGENT_WENT
from devserver.live.loops import Home, current_task
from devserver.live.overseer import end_by_force
from devserver.live.registry import Choice, Registry, Slot
from devserver.live.split import NOT_AN_AGENT, Asker
from devserver.live.tally import Tally
from devserver.mod import Refused
from devserver.model.event import Event, EventResponse
from devserver.model.facts import ErrorFacts
from devserver.model.names import module_of
from devserver.model.split import MAIN, StateMode, main_of
from devserver.model.trace import Said
from devserver.network.agent import Delivery
from devserver.network.agents import Directory
from devserver.network.answers import Answers, Pending
from devserver.network.others import UNKNOWN, Others, served
from devserver.network.recorder import Recorder
from devserver.network.shadow import BATCH, Shadows
from devserver.network.way import Way

if TYPE_CHECKING:
    from devserver.network.far import Far

_PASSED, _ANSWERED, _RAISED, _GIVEN_UP = (
    int(each) for each in (Said.PASSED, Said.ANSWERED, Said.RAISED, Said.GIVEN_UP)
)

MOST_HOPS = 32
"""How many mods may wait for each other before an event counts as running in a circle."""

OnError = Callable[[Generation, str, BaseException], ErrorFacts]
"""Told of each exception of a handler, with its event's name; makes the facts for the sender's answer."""


Ask = Callable[..., Awaitable[EventResponse | None]]
"""Asks one generation for its answer to an event: `Dispatcher._ask`, or what replay puts around it."""


class Dispatcher:
    """Brings events to mods and agents."""

    def __init__(
        self,
        registry: Registry,
        directory: Directory,
        on_error: OnError,
    ) -> None:
        self._registry = registry
        self.on_line_error: Callable[[Generation], None] = lambda generation: None
        """Told where an event has failed in a mod that has lines, or in one of them."""
        self.shadows = Shadows(registry, self._offer)
        self.directory = directory
        self.far: Far | None = None
        """What brings events to other hosts, where there are any."""
        self._on_error = on_error
        self._answers = Answers(directory.accounts)
        self.recorder: Recorder | None = None
        """Told of every event, where there is one."""
        self._offered = 0
        self._passed_by = 0

    def count_passed_by(self) -> None:
        """Count an event that came to no mod's thread. To be called where `pass_by` is."""
        self._passed_by += 1

    @property
    def events(self) -> int:
        """How many events have come so far, repeats not counted."""
        return self._offered + self._passed_by

    def pack(self) -> dict[str, Any]:
        """The answers given and the counts, for the next image of this process."""
        return {"answers": self._answers.pack(), "events": self.events}

    def unpack(self, packed: Mapping[str, Any]) -> None:
        """Go on where an earlier image of this process was."""
        self._answers.unpack(packed["answers"])
        self._offered = packed["events"]

    def is_heard(self, event: Event) -> bool:
        """Whether a mod may have to do with an event. May be called from any thread."""
        return event.destination.role == "mod" or bool(self._registry.table.targets(event.event_name))

    def pass_by(self, event: Event) -> EventResponse | None:
        """The whole way of an event that no mod hears, which needs no mod's thread; None for any
        other. To be called from one thread only, which may be another than that of the mods."""
        if self.far is not None or self.is_heard(event):
            return None
        answer = self._answers.given(event.source_id, event.event_id)
        if answer is None:
            self.count_passed_by()
            way = self.begin(event)
            answer = self.delivered(event, self.directory.deliver(event, way.number), way)
            way.end(event, answer, self._answers.give(event.source_id, event.event_id, answer))
        # Where a mod heard it that has gone since, a repeat waits for the first answer as any other one.
        return None if isinstance(answer, Pending) else answer

    async def process(self, event: Event, begun: Way | None = None, *, asked: bool = False) -> EventResponse:
        """The whole way of an event; the answer of the mod that ended it, or what the delivery came to. `begun`: its
        way, where that has begun elsewhere; `asked`: whether its mods were asked there, and none has answered.

        A repeat of an event that the same sender has sent gets the first answer. What a mod sends while it handles an
        event is never taken for a repeat: it may pass the very event on.
        """
        call = running.get()
        if call is not None and call.active:
            return await self.send(event)
        known = self._answers.begin(event.source_id, event.event_id)
        if known is not None:
            return known if isinstance(known, EventResponse) else await self._answers.wait(known)
        way = begun or (Way() if self.recorder is None else self.recorder.begin(event, 0))
        try:
            if asked and self.far is not None:
                answer = await self.far.end(event, way)
            elif event.destination_id is None and self.far is None:
                # What `_go` does, without a call: so nearly every event goes.
                self._offered += 1
                answer = await self._to_all(event, way)
            else:
                answer = await self._go(event, None, way)
        except BaseException:
            # A sender that has sent the same event again waits for an answer, too.
            unanswered = _unanswered(event)
            way.end(event, unanswered, self._answers.end(event.source_id, event.event_id, unanswered))
            raise
        if self.far is not None and (answer.data or {}).get("code") in UNKNOWN:
            # Nothing is known of what a mod did: the same event may be sent again.
            self._answers.leave_out(event.source_id, event.event_id)
        way.end(event, answer, self._answers.end(event.source_id, event.event_id, answer))
        return answer

    def join(self, others: Others, home: Home) -> None:
        """Bring events to other hosts, too, from now on; `home` is where mods run."""
        # Here and not above: a network of one process never gets to know of it.
        from devserver.network.far import Far

        self.far = Far(others, self, self._registry, self._answers, home)

    def begin(self, event: Event, caller: Call | None = None) -> Way:
        """Begin the way of an event; `caller` sends it. The caller of this function ends the way."""
        if self.recorder is None:
            return Way()
        return self.recorder.begin(event, caller.way.number if caller is not None and caller.way is not None else 0)

    async def send(self, event: Event) -> EventResponse:
        """The way of an event that a mod sends. Never taken for a repeat: a mod may send one event again and again."""
        # The call of a mod that waits for what this context does, if there is one.
        call = running.get()
        caller = call if call is not None and call.active else None
        way = self.begin(event, caller)
        try:
            answer = await self._go(event, caller, way)
        except BaseException:
            way.end(event, _unanswered(event))
            raise
        way.end(event, answer)
        if caller is not None and caller.generation.tally is not None and caller.way is not None:
            # Shadows of the mod are compared with it.
            caller.way.sent = (*caller.way.sent, (caller.generation.mod_id, event, answer))
        return answer

    async def notify(self, event: Event) -> None:
        """Tell every mod that listens, whatever they answer; nothing is delivered to agents."""
        way = self.begin(event)
        if self.far is not None:
            await self.far.tell(event, way)
        else:
            await self.tell(self._registry.table.targets(event.event_name), event, way)
        way.end(event, EventResponse(not way.errors, event_name=event.event_name))

    async def tell(self, slots: Iterable[Slot], event: Event, way: Way) -> None:
        """Tell mods of this host, whatever they answer."""
        for slot in slots:
            for each in (slot,) if slot.choice is None else _told(slot.choice, event):
                await self._offer(each, event, way)

    def ask_through(self, through: Callable[[Ask], Ask]) -> None:
        """Have each mod asked through another function, which replay sees the way of an event by."""
        self._ask = through(self._ask)  # type: ignore[method-assign, assignment]

    async def introduce(self, generation: Generation, agents: dict[str, dict[str, Any]]) -> None:
        """Tell a new generation of the agents that are already there."""
        if not generation.handlers.find(AGENT_CAME):
            return
        for agent_id, metadata in agents.items():
            payload = {"agent_id": agent_id, "metadata": metadata}
            event = Event(event_name=AGENT_CAME, source_id="system:system", payload=payload)
            way = self.begin(event)
            await self._ask(generation, event, way)
            way.end(event, EventResponse(not way.errors, event_name=event.event_name))

    def _go(self, event: Event, caller: Call | None, way: Way) -> Awaitable[EventResponse]:
        self._offered += 1
        if caller is not None and caller.depth + _hops_before() >= MOST_HOPS:
            return _in_a_circle(event, caller)
        if self.far is not None:
            return self.far.go(event, caller, way)
        if event.destination_id is not None and event.destination.role == "mod":
            return self.to_one(event.destination.id, event, way)
        return self._to_all(event, way)

    async def _to_all(self, event: Event, way: Way) -> EventResponse:
        # What `offer` does, without its calls: so nearly every event goes.
        name, sender = event.event_name, event.source_id
        from_mod = sender is not None and sender[:4] == "mod:"
        for slot in self.targets(event) if from_mod else self._registry.table.targets(name):
            choice, watched = slot.choice, None
            if choice is not None:
                if choice.splits:
                    known = choice.known.get(sender) if self.far is None and running.get() is None else None
                    slot = known or picked(choice, event)
                if slot is choice.watched:
                    watched, payload, before = choice, event.payload.copy(), choice.tally.ended
            if slot.gate.shut:
                answer = await self._offer(slot, event, way)
            else:
                answer = await self._ask(slot.live, event, way)
            if watched is not None and watched.tally.ended != before:
                tally, shadows = watched.tally, self.shadows
                done = watched, event, payload, answer, way, tally.took, tally.ended
                if shadows.is_due and len(shadows.fresh) < BATCH - 1:
                    shadows.fresh.append(done)
                else:
                    shadows.see(done)
            if answer is not None:
                return answer
        return self.delivered(event, self.directory.deliver(event, way.number), way)

    def targets(self, event: Event) -> Sequence[Slot]:
        """The mods that an event is offered to, in order: a mod never gets its own."""
        found = self._registry.table.targets(event.event_name)
        sender = event.source_id
        if sender is None or sender[:4] != "mod:":
            return found
        return [each for each in found if not _is_named(each, event.source.id)]

    def offer(self, slot: Slot, event: Event, way: Way) -> Awaitable[EventResponse | None]:
        """Ask one mod, in the version that an event goes to."""
        choice = slot.choice
        if choice is None:
            return self._offer(slot, event, way)
        chosen = picked(choice, event)
        watched = chosen is choice.watched
        return self._shadowed(chosen, choice, event, way) if watched else self._offer(chosen, event, way)

    async def to_one(self, mod: str, event: Event, way: Way) -> EventResponse:
        """The way of an event that was sent to one mod."""
        slot, is_line = self._registry.addressed(mod)
        if slot is None:
            message = f"Target mod {mod} not found{_versions_of(mod, self._registry)}"
            return EventResponse(False, message, event_name=event.event_name)
        choice = slot.choice
        if choice is not None and not is_line:
            slot = picked(choice, event)
        if choice is not None and slot is choice.watched:
            answer = await self._shadowed(slot, choice, event, way)
        else:
            answer = await self._offer(slot, event, way)
        if answer is not None:
            return answer
        if way.errors:
            return _all_failed(event, way)
        if slot.live is None:
            return EventResponse(False, f"Target mod {mod} has been unloaded", event_name=event.event_name)
        if not slot.live.handlers.find(event.event_name):
            message = f"mod {mod} has no handler for {event.event_name}"
            return EventResponse(False, message, {"code": "no_handler"}, event.event_name)
        message = f"Event not processed by mod {mod}, mod returns None"
        return EventResponse(False, message, event_name=event.event_name)

    async def _shadowed(self, slot: Slot, choice: Choice, event: Event, way: Way) -> EventResponse | None:
        """Ask a mod, and let its shadows see the event afterwards, with what the mod did."""
        tally, payload = choice.tally, event.payload.copy()
        before = tally.ended
        answer = await self._offer(slot, event, way)
        if tally.ended != before:
            self.shadows.see((choice, event, payload, answer, way, tally.took, tally.ended))
        return answer

    def _offer(self, slot: Slot, event: Event, way: Way) -> Awaitable[EventResponse | None]:
        """Ask the generation that is live when the gate lets the event in."""
        if slot.gate.shut and not _is_awaited_by(slot):
            return self._offer_behind(slot, event, way)
        if slot.live is None and slot.host and self.far is not None:
            # It has moved since the event began its way.
            return self.far.moved(slot, event, way)
        return self._ask(slot.live, event, way)

    async def _offer_behind(self, slot: Slot, event: Event, way: Way) -> EventResponse | None:
        """Wait at the gate first."""
        began = monotonic()
        try:
            await slot.gate.wait(slot.mod_id)
        except EventRefused as refused:
            way.turned_away(slot.mod_id, began, Said.REFUSED)
            return EventResponse(False, str(refused), {"code": refused.code}, event.event_name)
        if slot.live is None and slot.line is not None:
            main = self._registry.find(main_of(slot.mod_id))
            if main is not None:
                # The line has ended meanwhile: the event goes where its agent's events go now.
                return await self._offer(main if main.choice is None else picked(main.choice, event), event, way)
        if slot.live is None and slot.host and self.far is not None:
            return await self.far.moved(slot, event, way)
        if slot.live is None:
            way.turned_away(slot.mod_id, began, Said.GONE)
        return await self._ask(slot.live, event, way, monotonic() - began)

    async def _ask(
        self, generation: Generation | None, event: Event, way: Way, held: float = 0.0
    ) -> EventResponse | None:
        if generation is None:
            return None
        handlers = generation.handlers.find(event.event_name)
        if not handlers:
            return None
        call = generation.begin(event, way)
        token = running.set(call)
        answer: Any = None
        said = _RAISED
        try:
            for handler in handlers:
                answer = handler(event)
                if type(answer) is CoroutineType or inspect.isawaitable(answer):
                    answer = await answer
                if answer is not None:
                    break
            generation.handled += 1
            said = _PASSED if answer is None else _ANSWERED
            return answer if answer is None or isinstance(answer, EventResponse) else _as_response(answer, event)
        except BaseException as error:
            # Also SystemExit: a mod may end its handler, not the server.
            if call.expired is not None:
                said = _GIVEN_UP
                return EventResponse(False, call.expired, {"code": "handler_timeout"}, event.event_name)
            if _is_for_us(error, call.task):
                raise
            if isinstance(error, Refused):
                generation.handled += 1
                said = _ANSWERED
                return error.answer(event.event_name)
            generation.failed += 1
            way.failed(generation.mod_id, self._on_error(generation, event.event_name, error))
            return None
        finally:
            if call.expired is not None and call.task is not None:
                # We have cancelled it ourselves; the code that runs this task continues.
                call.task.uncancel()
            running.reset(token)
            generation.end(call)
            tally = generation.tally
            if tally is not None:
                tally.ended = ended = monotonic()
                tally.took = took = ended - call.started
                if said > _ANSWERED:
                    self._tally_failed(generation, tally, call, took)
                else:
                    # What `note` does, without a call for each event.
                    tally.events += 1
                    tally.times.append(took)
            if way.number:
                way.visited(generation, call.started, held, said)

    def _tally_failed(self, generation: Generation, tally: Tally, call: Call, took: float) -> None:
        """Note that an event has failed in a mod that has lines, or in one of them."""
        errors = call.way.errors
        tally.note(took, call.expired or (str(errors[-1][1]) if errors else "it ended"))
        self.on_line_error(generation)

    def give_up(self, answer: Callable[[asyncio.Task[Any], EventResponse], bool], call: Call) -> bool:
        """Answer the callers that wait for a call's task, though it does not end; its result is ignored.

        If only the task itself waits, it is ended by force. Return whether the call still runs.
        """
        event = call.event
        if event is None or call.task is None or call is not outermost(call):
            return True
        given = EventResponse(False, call.expired or "", {"code": "handler_timeout"}, event.event_name)
        written = self._answers.end(event.source_id, event.event_id, given)
        if call.way is not None:
            call.way.visited(call.generation, call.started, 0.0, _GIVEN_UP)
            call.way.end(event, given, written)
            if self.recorder is not None:
                # Written now: the handler may go on to visit more mods, which its sender knows nothing of.
                self.recorder.take_in()
        if answer(call.task, given):
            return True
        end_by_force(call.task)
        return False

    def delivered(self, event: Event, delivery: Delivery, way: Way) -> EventResponse:
        """What a delivery came to, as the answer of an event that no mod has ended."""
        way.delivered(delivery)
        if way.errors and not delivery.delivered:
            return _all_failed(event, way)
        unanswered = self._unanswered(event, way) if event.destination.role == "system" else ""
        return _delivered(event, delivery, way, unanswered)

    def _unanswered(self, event: Event, way: Way) -> str:
        """Say why an event to the network has no answer: no mod handles it, or those that do returned nothing."""
        failed = [mod_id for mod_id, _ in way.errors]
        sender = event.source
        silent, own = [], ""
        for slot in self._registry.table.targets(event.event_name):
            if slot.live is None or slot.mod_id in failed or not slot.live.handlers.names(event.event_name):
                continue
            if sender.role == "mod" and _is_named(slot, sender.id):
                own = f"; {slot.mod_id} does not hear its own events"
            else:
                # Without its generation: an answer of the same code is the same answer, also when it is replayed.
                silent.append(slot.mod_id)
        if silent:
            return f"; {', '.join(silent)} handled it and returned nothing{own}"
        return own or ("" if failed else "; no mod handles it")


def picked(choice: Choice, event: Event) -> Slot:
    """The version of a mod that an event goes to. What a mod sends while it handles an event goes
    where that one goes, and so on up to the first."""
    first, call, asked = event, running.get(), served.get()
    while call is not None:
        if call.event is not None:
            first = call.event
        call = call.parent
    if asked is not None and asked.first is not None:
        # The chain began on another host.
        first = replace(first, source_id=asked.first[0] or None, source_agent_group=asked.first[1])
    known = choice.known.get(first.source_id)
    if known is not None:
        return known
    sender = first.source
    agent = sender.id if sender.role == "agent" else None
    slot = choice.pick(Asker(agent, first.source_agent_group if agent else None, first.metadata))
    if choice.split.by_agent_alone:
        choice.remember(first.source_id, slot)
    return slot


def _told(choice: Choice, event: Event) -> list[Slot]:
    """The lines that hear of an agent: the one that it gets, or the main line, and those with a state of their own."""
    agent = event.payload.get("agent_id")
    chosen = choice.pick(Asker(agent) if isinstance(agent, str) else NOT_AN_AGENT)
    # What one of those that share a state notes in it the others have, too.
    shares = chosen.line is not None and chosen.line.state is StateMode.SHARED
    found = [chosen] if shares else [choice.main]
    able = [(slot, slot.line) for slot in choice.lines.values() if slot.line is not None and not slot.out]
    return [*found, *(slot for slot, line in able if line.state is not StateMode.SHARED)]


def _versions_of(name: str, registry: Registry) -> str:
    """Which lines a mod has, where a line was named that it has not."""
    mod, at, _ = name.partition("@")
    slot = registry.find(mod) if at else None
    if slot is None:
        return ""
    labels = [label for label, each in slot.choice.lines.items() if not each.is_shadow] if slot.choice else []
    return f"; {slot.mod_id} has {', '.join((MAIN, *labels))}"


def _as_response(answer: object, event: Event) -> EventResponse:
    """Any other answer ends the event's way too, as in OpenAgents; here it arrives as data."""
    if isinstance(answer, dict):
        return EventResponse(True, "", answer, event.event_name)
    if isinstance(answer, bool):
        return EventResponse(answer, "", None, event.event_name)
    return EventResponse(True, "", {"result": answer}, event.event_name)


def _is_for_us(error: BaseException, task: asyncio.Task[Any] | None) -> bool:
    """Whether what came out of a handler is not its mod's doing: Ctrl-C, or the end of the task that it runs in."""
    if isinstance(error, GeneratorExit):
        # Python raises it where it closes a coroutine that never ended, which happens outside the task.
        return task is None or current_task() is not task
    if isinstance(error, KeyboardInterrupt):
        # Python raises it for a signal in the main thread alone.
        return threading.current_thread() is threading.main_thread()
    return isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling() > 0


def _is_awaited_by(slot: Slot) -> bool:
    """Whether a handler of the slot's live generation waits for this event: then it may not wait for that one's end."""
    call = running.get()
    while call is not None:
        if call.active and call.generation is slot.live:
            return True
        call = call.parent
    asked = served.get()
    return asked is not None and slot.mod_id in asked.calls


def _hops_before() -> int:
    """How many handlers of other hosts wait for what this context does."""
    asked = served.get()
    return 0 if asked is None else asked.depth


def _is_named(slot: Slot, name: str) -> bool:
    """Whether `name` is the id of a mod, or its path in either form."""
    return name == slot.mod_id or module_of(name) == module_of(slot.mod_path)


async def _in_a_circle(event: Event, caller: Call) -> EventResponse:
    chain: list[str] = []
    call: Call | None = caller
    while call is not None:
        chain.append(call.generation.mod_id)
        call = call.parent
    names = " → ".join(dict.fromkeys(reversed(chain)))
    message = f"{event.event_name} ran in a circle: {MOST_HOPS} mods wait for each other ({names})"
    return EventResponse(False, message, {"code": "too_many_hops"}, event.event_name)


def _unanswered(event: Event) -> EventResponse:
    message = "the event was not answered: the network ended it"
    return EventResponse(False, message, event_name=event.event_name)


def _all_failed(event: Event, way: Way) -> EventResponse:
    mod_id, error = way.errors[0]
    message = f"Error in mod {mod_id}: {error.kind}: {error.message}"
    return EventResponse(False, message, {"code": "mod_error", "mod_id": mod_id}, event.event_name)


def _delivered(event: Event, delivery: Delivery, way: Way, unanswered: str) -> EventResponse:
    data: dict[str, Any] = {"delivered": delivery.delivered}
    if way.errors:
        data["errors"] = {mod_id: f"{error.kind}: {error.message}" for mod_id, error in way.errors}
    if delivery.full:
        data["full"] = list(delivery.full)
        message = f"{event.event_name}: the queue of {', '.join(delivery.full)} is full"
        return EventResponse(False, f"{message}; delivered to {delivery.delivered} agents", data, event.event_name)
    if delivery.refused:
        data["code"] = delivery.refused_code
        message = f"{event.event_name}: {delivery.refused}; delivered to {delivery.delivered} agents"
        return EventResponse(False, message, data, event.event_name)
    if delivery.unknown is not None:
        message = f"{event.event_name}: no {delivery.unknown} here; delivered to 0 agents"
        return EventResponse(False, message, data, event.event_name)
    agents = "1 agent" if delivery.delivered == 1 else f"{delivery.delivered} agents"
    return EventResponse(True, f"Event {event.event_name} delivered to {agents}{unanswered}", data, event.event_name)


def agent_event(came: bool, agent_id: str, metadata: dict[str, Any]) -> Event:
    """The notice to mods that an agent has come or gone (OpenAgents, `system.notification.*`)."""
    payload: dict[str, Any] = {"agent_id": agent_id}
    if came:
        payload["metadata"] = metadata
    name = AGENT_CAME if came else AGENT_WENT
    return Event(event_name=name, source_id="system:system", source_type="system", payload=payload)
