"""An event meets a mod: offers it to the mods on its way, one by one, then delivers it to agents.

Carries out what `route` decides. Never loads, swaps or ends a mod. Runs where mods run (`home`).
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from devserver.errors import EventRefused
from devserver.generation import AGENT_CAME, AGENT_WENT, Call, Generation, running
from devserver.mod import Handler
from devserver.model.event import Event, EventResponse
from devserver.model.facts import ErrorFacts
from devserver.network.agents import Delivery, Directory
from devserver.network.answers import Answers, Pending
from devserver.registry import Registry, Slot, plain_path

MOST_HOPS = 32
"""How many mods may wait for each other before an event counts as running in a circle."""

MAY_BE_NOBODY = frozenset({"system", "channel", "group"})
"""Destinations that are in order when they are empty."""

OnError = Callable[[Generation, Event, BaseException], ErrorFacts]
"""Told of each exception of a handler; makes the facts that its sender is answered with."""


@dataclass(slots=True)
class Way:
    """What an event has met on its way so far."""

    errors: list[tuple[str, ErrorFacts]] = field(default_factory=list)


class Dispatcher:
    """Brings events to mods and agents."""

    def __init__(self, registry: Registry, directory: Directory, on_error: OnError) -> None:
        self._registry = registry
        self._directory = directory
        self._on_error = on_error
        self._answers = Answers()
        self._offered = 0
        self._passed_by = 0

    @property
    def events(self) -> int:
        """How many events have come so far, repeats not counted."""
        return self._offered + self._passed_by

    def is_heard(self, event: Event) -> bool:
        """Whether a mod may have to do with an event. May be called from any thread."""
        return event.destination.role == "mod" or bool(self._registry.table.targets(event.event_name))

    def pass_by(self, event: Event) -> EventResponse | None:
        """The whole way of an event that no mod hears, which needs no mod's thread; None for any other.

        To be called from one thread only, which may be another than that of the mods.
        """
        if self.is_heard(event):
            return None
        answer = self._answers.given(event.source_id, event.event_id)
        if answer is None:
            self._passed_by += 1
            answer = self._deliver(event, Way())
            self._answers.give(event.source_id, event.event_id, answer)
        return answer

    async def process(self, event: Event) -> EventResponse:
        """The whole way of an event; the answer of the mod that ended it, or what the delivery came to.

        A repeat of an event that the same sender has sent gets the first answer. What a mod sends while it handles an
        event is never taken for a repeat: it may pass the very event on.
        """
        if _caller() is not None:
            return await self.send(event)
        known = self._answers.begin(event.source_id, event.event_id)
        if isinstance(known, EventResponse):
            return known
        if isinstance(known, Pending):
            return await self._answers.wait(known)
        answer = EventResponse(False, "the event was not answered: the network ended it", event_name=event.event_name)
        try:
            answer = await self._go(event, None)
        finally:
            self._answers.end(event.source_id, event.event_id, answer)
        return answer

    async def send(self, event: Event) -> EventResponse:
        """The way of an event that a mod sends. Never taken for a repeat: a mod may send one event again and again."""
        return await self._go(event, _caller())

    async def notify(self, event: Event) -> None:
        """Tell every mod that listens, whatever they answer; nothing is delivered to agents."""
        for slot in self._registry.table.targets(event.event_name):
            await self._offer(slot, event, Way())

    async def introduce(self, generation: Generation, agents: dict[str, dict[str, Any]]) -> None:
        """Tell a new generation of the agents that are already there."""
        if not generation.handlers.find(AGENT_CAME):
            return
        for agent_id, metadata in agents.items():
            payload = {"agent_id": agent_id, "metadata": metadata}
            await self._ask(generation, Event(event_name=AGENT_CAME, source_id="system:system", payload=payload), Way())

    async def _go(self, event: Event, caller: Call | None) -> EventResponse:
        self._offered += 1
        if caller is not None and caller.depth >= MOST_HOPS:
            return _in_a_circle(event, caller)
        way = Way()
        destination = event.destination
        if destination.role == "mod":
            return await self._to_one(destination.id, event, way)
        table = self._registry.table
        sender = event.source
        for slot in table.targets(event.event_name):
            if sender.role == "mod" and _is_named(slot, sender.id):
                continue
            answer = await self._offer(slot, event, way)
            if answer is not None:
                return answer
        return self._deliver(event, way)

    async def _to_one(self, mod: str, event: Event, way: Way) -> EventResponse:
        slot = self._registry.find(mod)
        if slot is None:
            return EventResponse(False, f"Target mod {mod} not found", event_name=event.event_name)
        answer = await self._offer(slot, event, way)
        if answer is not None:
            return answer
        if way.errors:
            return _all_failed(event, way)
        if slot.live is None:
            return EventResponse(False, f"Target mod {mod} has been unloaded", event_name=event.event_name)
        message = f"Event not processed by mod {mod}, mod returns None"
        return EventResponse(False, message, event_name=event.event_name)

    async def _offer(self, slot: Slot, event: Event, way: Way) -> EventResponse | None:
        """Ask the generation that is live when the gate lets the event in."""
        if slot.gate.shut and not _is_awaited_by(slot):
            try:
                await slot.gate.wait(slot.mod_id)
            except EventRefused as refused:
                return EventResponse(False, str(refused), {"code": refused.code}, event.event_name)
        generation = slot.live
        if generation is None:
            return None
        return await self._ask(generation, event, way)

    async def _ask(self, generation: Generation, event: Event, way: Way) -> EventResponse | None:
        handlers = generation.handlers.find(event.event_name)
        if not handlers:
            return None
        call = generation.begin(event)
        token = running.set(call)
        try:
            answer = await _first_answer(handlers, event)
            generation.handled += 1
            return answer
        except GeneratorExit:
            raise
        except BaseException as error:
            # Also SystemExit: a mod may end its handler, not the server.
            if call.expired is not None:
                return EventResponse(False, call.expired, {"code": "handler_timeout"}, event.event_name)
            if _is_for_us(error):
                raise
            generation.failed += 1
            way.errors.append((generation.mod_id, self._on_error(generation, event, error)))
            return None
        finally:
            if call.expired is not None and call.task is not None:
                # We have cancelled it ourselves; whoever runs this task goes on.
                call.task.uncancel()
            running.reset(token)
            generation.end(call)

    def _deliver(self, event: Event, way: Way) -> EventResponse:
        delivery = self._directory.deliver(event)
        if way.errors and not delivery.delivered:
            return _all_failed(event, way)
        return _delivered(event, delivery, way)


def _caller() -> Call | None:
    """The call of a mod that waits for what this context does, if there is one."""
    call = running.get()
    return call if call is not None and call.active else None


async def _first_answer(handlers: tuple[Handler, ...], event: Event) -> EventResponse | None:
    for handler in handlers:
        answer = handler(event)
        if inspect.isawaitable(answer):
            answer = await answer
        if answer is not None:
            return answer if isinstance(answer, EventResponse) else _as_response(answer, event)
    return None


def _as_response(answer: object, event: Event) -> EventResponse:
    """Any other answer ends the event's way too, as in OpenAgents; here it arrives as data."""
    if isinstance(answer, dict):
        return EventResponse(True, "", answer, event.event_name)
    if isinstance(answer, bool):
        return EventResponse(answer, "", None, event.event_name)
    return EventResponse(True, "", {"result": answer}, event.event_name)


def _is_for_us(error: BaseException) -> bool:
    """Whether what came out of a handler is no doing of its mod: Ctrl-C, or the end of the task that it runs in."""
    if isinstance(error, KeyboardInterrupt):
        # Python raises it for a signal in the main thread alone.
        return threading.current_thread() is threading.main_thread()
    task = asyncio.current_task()
    return isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling() > 0


def _is_awaited_by(slot: Slot) -> bool:
    """Whether a handler of the slot's live generation waits for this event: then it may not wait for that one's end."""
    call = running.get()
    while call is not None:
        if call.active and call.generation is slot.live:
            return True
        call = call.parent
    return False


def _is_named(slot: Slot, name: str) -> bool:
    """Whether `name` is the id of a mod, or its path in either form."""
    return name == slot.mod_id or plain_path(name) == plain_path(slot.mod_path)


def _in_a_circle(event: Event, caller: Call) -> EventResponse:
    chain: list[str] = []
    call: Call | None = caller
    while call is not None:
        chain.append(call.generation.mod_id)
        call = call.parent
    names = " → ".join(dict.fromkeys(reversed(chain)))
    message = f"{event.event_name} ran in a circle: {MOST_HOPS} mods wait for each other ({names})"
    return EventResponse(False, message, {"code": "too_many_hops"}, event.event_name)


def _all_failed(event: Event, way: Way) -> EventResponse:
    mod_id, error = way.errors[0]
    message = f"Error in mod {mod_id}: {error.kind}: {error.message}"
    return EventResponse(False, message, {"code": "mod_error", "mod_id": mod_id}, event.event_name)


def _delivered(event: Event, delivery: Delivery, way: Way) -> EventResponse:
    data: dict[str, Any] = {"delivered": delivery.delivered}
    if way.errors:
        data["errors"] = {mod_id: f"{error.kind}: {error.message}" for mod_id, error in way.errors}
    if delivery.full:
        data["full"] = list(delivery.full)
        message = f"{event.event_name}: the queue of {', '.join(delivery.full)} is full"
        return EventResponse(False, f"{message}; delivered to {delivery.delivered} agents", data, event.event_name)
    if delivery.unknown is not None:
        message = f"{event.event_name}: no {delivery.unknown} here; delivered to 0 agents"
        return EventResponse(False, message, data, event.event_name)
    handled = "" if event.destination.role != "system" else ", answered by no mod"
    agents = "1 agent" if delivery.delivered == 1 else f"{delivery.delivered} agents"
    return EventResponse(True, f"Event {event.event_name} delivered to {agents}{handled}", data, event.event_name)


def agent_event(came: bool, agent_id: str, metadata: dict[str, Any]) -> Event:
    """The notice to mods that an agent has come or gone (OpenAgents, `system.notification.*`)."""
    payload: dict[str, Any] = {"agent_id": agent_id}
    if came:
        payload["metadata"] = metadata
    name = AGENT_CAME if came else AGENT_WENT
    return Event(event_name=name, source_id="system:system", source_type="system", payload=payload)
