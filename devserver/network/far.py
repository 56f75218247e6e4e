"""The way of an event through a network of several hosts: as in `dispatch`, with one ask for each change of host."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple

from devserver.live.generation import Call, running
from devserver.live.loops import Done, Home
from devserver.live.registry import Registry, Slot
from devserver.model.event import Event, EventResponse, new_event_id
from devserver.network.agent import Delivery, FarDelivery
from devserver.network.answers import Answers, Pending
from devserver.network.others import HOST_LOST, STALE_SEAT, UNKNOWN, Asked, Others, Reply, served
from devserver.network.way import Trace, Way

if TYPE_CHECKING:
    from devserver.network.dispatch import Dispatcher

_MOST_ROUTES = 1000

_PASSED = EventResponse(True, "", {"code": "passed"})
"""What is remembered of an ask that no mod answered."""


class _Route(NamedTuple):
    """Where the mods of an event are: `host`, where they are all on one other; `key`: what of them is in that of an
    ask."""

    targets: Sequence[Slot]
    host: str
    mods: tuple[str, ...]
    key: str


@dataclass(slots=True)
class _Direct:
    """An event that was asked of another host directly, at `began` (monotonic seconds). `done`: for its sender, and for
    each repeat of it."""

    event: Event
    done: list[Done]
    began: float
    way: Way = field(default_factory=Way)

    def tell(self, answer: Any, error: BaseException | None) -> None:
        for each in self.done:
            each(answer, error)


class Far:
    """Brings events to mods and agents of this host and of others. `home` is where mods run."""

    def __init__(
        self, others: Others, dispatcher: Dispatcher, registry: Registry, answers: Answers, home: Home
    ) -> None:
        self.others = others
        self._home = home
        self._dispatcher = dispatcher
        self._registry = registry
        self._answers = answers
        self._routes: dict[str, _Route] = {}
        """Where the mods of an event are, by its name, as long as the table gives these."""
        self._direct: dict[tuple[str | None, str], _Direct] = {}
        """The events that are asked of another host directly, by sender and id."""
        self._by_home: dict[str | None, int] = {}
        """How many events of a sender are on their way through the place where mods run."""

    # Where events come in

    def take(self, event: Event, done: Done) -> None:
        """Take an event on its way. Where all its mods are on one other host, that is asked directly: the place where
        mods run has no part in it."""
        sender = event.source_id
        # One that follows an event of the same sender does not overtake it.
        if sender in self._by_home or not self._ask_directly(event, done):
            self._go_home(done, event)

    def _go_home(self, done: Done, event: Event, *begun: Way) -> None:
        sender = event.source_id
        self._by_home[sender] = self._by_home.get(sender, 0) + 1
        self._home.begin(partial(self._came_home, sender, done), self._dispatcher.process, event, *begun)

    def _came_home(self, sender: str | None, done: Done, answer: Any, error: BaseException | None) -> None:
        left = self._by_home[sender] - 1
        if left:
            self._by_home[sender] = left
        else:
            del self._by_home[sender]
        done(answer, error)

    def _ask_directly(self, event: Event, done: Done) -> bool:
        key = event.source_id, event.event_id
        direct = self._direct.get(key)
        if direct is not None:
            direct.done.append(done)  # a repeat, which gets the same answer
            return True
        route = self._route(event)
        if not route.host or event.destination.role == "mod" or not self.others.holds():
            return False
        known = self._answers.given(*key)
        if isinstance(known, Pending):
            return False
        if known is not None:
            done(known, None)
            return True
        direct = _Direct(event, [done], time.monotonic())
        asked = Asked(
            event=event,
            mods=route.mods,
            key=event.event_id + route.key,
            first=(event.source_id or "", event.source_agent_group),
        )
        if not self.others.begin_to_ask(route.host, asked, partial(self._replied, key, direct)):
            return False
        direct.way = self._dispatcher.begin(event)
        self._direct[key] = direct
        return True

    def _route(self, event: Event) -> _Route:
        targets, name = self._registry.table.targets(event.event_name), event.event_name
        route = self._routes.get(name)
        if route is None or route.targets is not targets:
            if len(self._routes) >= _MOST_ROUTES:
                self._routes.clear()
            hosts, mods = {each.host for each in targets}, tuple(each.mod_id for each in targets)
            host = hosts.pop() if len(hosts) == 1 else ""
            route = self._routes[name] = _Route(targets, host, mods, f" {' '.join(mods)}")
        return route

    def _replied(self, key: tuple[str | None, str], direct: _Direct, reply: Reply | None) -> None:
        del self._direct[key]
        event, way, told = direct.event, direct.way, direct.tell
        answer = None if reply is None else reply.answer
        code = (answer.data or {}).get("code") if answer is not None else None
        if reply is None or code == STALE_SEAT:
            self._go_home(told, event, way)  # it was not handled
            return
        self._note(reply, way, direct.began)
        self._dispatcher.count_passed_by()
        if answer is None:
            self._home.begin(told, partial(self._dispatcher.process, asked=True), event, way)
            return
        if not self.others.holds():
            answer, code = unsure(event), HOST_LOST
        # Where nothing is known of what a mod did, the same event may be sent again.
        written = None if code in UNKNOWN else self._answers.give(*key, answer)
        way.end(event, answer, written)
        told(answer, None)

    # Where mods run

    async def go(self, event: Event, caller: Call | None, way: Way) -> EventResponse:
        """Return the whole way of an event; the answer of the mod that ended it, or what the
        delivery came to. Where another host may have taken over the mods of this one, none of them is asked, and what
        one has answered is not told."""
        if problem := await self.others.fenced():
            return EventResponse(False, problem, {"code": "engine_away"}, event.event_name)
        answer = await self._go(event, caller, way)
        return answer if self.others.holds() else unsure(event)

    async def _go(self, event: Event, caller: Call | None, way: Way) -> EventResponse:
        destination = event.destination
        if event.destination_id is not None and destination.role == "mod":
            slot = self._registry.find_away(destination.id)
            if slot is None:
                return await self._dispatcher.to_one(destination.id, event, way)
            asked = self._asked(event, (slot,), caller, whole=True)
            return await self._ask(slot, asked, way) or EventResponse(
                False, f"{event.event_name} was not answered", event_name=event.event_name
            )
        for host, slots in groupby(self._dispatcher.targets(event), key=lambda each: each.host):
            if host:
                of_host = tuple(slots)
                answer = await self._ask(of_host[0], self._asked(event, of_host, caller), way)
            else:
                answer = await self._offer(slots, event, way)
            if answer is not None:
                return answer
        return self._dispatcher.delivered(event, await self.deliver(event, way.number), way)

    async def end(self, event: Event, way: Way) -> EventResponse:
        """Return what the delivery of an event came to that no mod has answered."""
        answer = self._dispatcher.delivered(event, await self.deliver(event, way.number), way)
        return answer if self.others.holds() else unsure(event)

    async def tell(self, event: Event, way: Way) -> None:
        """Tell every mod that listens, on whatever host."""
        await self.others.fenced()
        for host, slots in groupby(self._registry.table.targets(event.event_name), key=lambda each: each.host):
            if host:
                of_host = tuple(slots)
                await self._ask(of_host[0], self._asked(event, of_host, None, told=True), way)
            else:
                await self._dispatcher.tell(slots, event, way)

    async def serve(self, asked: Asked) -> Reply:
        """Ask mods of this host on behalf of another one; a repeat gets the first answer. Runs where mods run."""
        event = asked.event
        known = self._answers.begin(event.source_id, asked.key)
        if known is not None:
            again = known if isinstance(known, EventResponse) else await self._answers.wait(known)
            return Reply(None if again.data == _PASSED.data else again)
        way = self._dispatcher.begin(event)
        token = served.set(asked)
        answer: EventResponse | None = None
        try:
            answer = await self._serve(asked, way)
        finally:
            served.reset(token)
            told = answer or _PASSED
            if (told.data or {}).get("code") == STALE_SEAT:
                self._answers.leave_out(event.source_id, asked.key)
            way.end(event, told, self._answers.end(event.source_id, asked.key, told))
        return Reply(answer, way.errors, way.visits if isinstance(way, Trace) else ())

    async def moved(self, slot: Slot, event: Event, way: Way) -> EventResponse | None:
        """Ask a mod that has moved to another host while the event waited at its gate."""
        asked = self._asked(event, (slot,), running.get())
        return await self._ask(slot, asked, way)

    async def deliver(self, event: Event, number: int = 0) -> Delivery:
        """Deliver an event to its receivers, wherever they are."""
        delivery = self._dispatcher.directory.deliver(event, number)
        if not isinstance(delivery, FarDelivery):
            return delivery
        return delivery.with_more(await self.others.deliver(event, delivery.away))

    async def _serve(self, asked: Asked, way: Way) -> EventResponse | None:
        registry = self._registry
        if registry.moved and (gone := [each for each in asked.mods if registry.has_moved(each)]):
            # Since the seat was looked at, on another thread.
            words = f"{', '.join(gone)} sits on another host now; send again"
            return EventResponse(False, words, {"code": STALE_SEAT}, asked.event.event_name)
        if asked.whole:
            return await self._dispatcher.to_one(asked.mods[0], asked.event, way)
        found = [registry.find(each) for each in asked.mods]
        slots = [each for each in found if each is not None]
        if asked.told:
            await self._dispatcher.tell(slots, asked.event, way)
            return None
        return await self._offer(slots, asked.event, way)

    async def _offer(self, slots: Iterable[Slot], event: Event, way: Way) -> EventResponse | None:
        for slot in slots:
            answer = await self._dispatcher.offer(slot, event, way)
            if answer is not None:
                return answer
        return None

    async def _ask(self, slot: Slot, asked: Asked, way: Way) -> EventResponse | None:
        began = time.monotonic()
        reply = await self.others.ask(slot.host, asked)
        self._note(reply, way, began)
        return reply.answer

    def _note(self, reply: Reply, way: Way, began: float) -> None:
        for mod_id, error in reply.errors:
            way.failed(mod_id, error)
        if reply.visits:
            way.visited_elsewhere(began, reply.visits)

    def _asked(
        self, event: Event, slots: Sequence[Slot], caller: Call | None, *, whole: bool = False, told: bool = False
    ) -> Asked:
        before = served.get()
        calls, first = list(before.calls if before is not None else ()), event
        call = running.get()
        depth = before.depth if before is not None else 0
        while call is not None:
            if call.active:
                calls.append(call.generation.mod_id)
                depth += 1
            first = call.event or first
            call = call.parent
        mods = tuple(each.mod_id for each in slots)
        begun_by = before.first if before is not None else None
        return Asked(
            event=event,
            mods=mods,
            # A mod may send one event again and again; an agent that does so repeats itself.
            key=f"{event.event_id if caller is None else new_event_id()} {' '.join(mods)}",
            whole=whole,
            told=told,
            depth=depth,
            calls=tuple(dict.fromkeys(calls)),
            first=begun_by or (first.source_id or "", first.source_agent_group),
        )


def unsure(event: Event) -> EventResponse:
    """Return what is told of an event while this host does not know whether its mods are still its own."""
    words = "this host was cut off, and another one may run its mods now; it may have been handled"
    return EventResponse(False, f"{words}: send it again with the same event_id", {"code": HOST_LOST}, event.event_name)
