"""Asks between hosts: an event for mods of another host, and its reply. Both ends, on the control loop.

An ask that got no reply may have been handled: its sender is told so, and sends again with the same event id. Waits
for a host, or the engine, that is away for as long as an event waits at a gate, and no longer.

A message costs more than all that is in it: the asks, and the replies, of one turn of the loop travel in one, a line of
JSON each.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from devserver.errors import DevServerError
from devserver.hosts.bundles import Bundles
from devserver.hosts.link import EngineAway, Link, Listening, Message, NoAnswer, NoHost
from devserver.hosts.members import Member, Members
from devserver.hosts.names import Names
from devserver.hosts.work import Work, whole_number
from devserver.model.encoding import to_json
from devserver.model.event import Event, EventResponse
from devserver.model.facts import ErrorFacts
from devserver.network.others import HOST_LOST, Asked, Reply
from devserver.transports.strict import Malformed, parse_object

HOLD_SECONDS = 5.0
"""How long an event waits for a host that is away, or for the engine."""

MOST_IN_FLIGHT = 1000
"""How many asks to one host may be without their reply."""

_LONGEST_SECONDS = 600.0
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0
"""How many seconds an ask without a reply waits before it is sent again: at first, doubled each time, and at most. Its
reply may be lost with the connection of the host that has answered, which the asker does not notice."""
_MOST_SERVED = 4000
_MOST_MODS = 1000
_REQUESTS = "system."
_NOTICES = "system.notification."

Serve = Callable[[Asked, int, Callable[[Reply], None]], None]
"""Has mods asked, once this host has seen that revision of the agents' bucket, and tells their reply once."""


@dataclass(slots=True)
class _Asking:
    """An ask on its way. `run`: that of the host when it was sent; `bundle`: the number of its message; `next`: when it
    is sent again."""

    host: str
    values: Mapping[str, Any]
    run: str
    reply: asyncio.Future[Mapping[str, Any]]
    bundle: int = 0
    next: float = 0.0
    pause: float = _FIRST_PAUSE
    waited: float = 0.0


class Asks:
    """What this host asks of others, and what it answers them. `serve` asks the mods of this host."""

    def __init__(
        self, link: Link, names: Names, members: Members, *, serve: Serve, seen: Callable[[], int], until: Until
    ) -> None:
        self.in_flight: dict[str, int] = {}
        """How many asks wait for their reply, by host."""
        self.unknown = 0
        """How many asks ended without one."""
        self.held = 0
        """How many asks wait for a host, or the engine, to come back."""
        self.hold_seconds = HOLD_SECONDS
        self._link, self._names, self._members = link, names, members
        self._serve, self._seen, self._until = serve, seen, until
        self._number = 0
        self._asking: dict[int, _Asking] = {}
        """The asks that have no reply yet, by number."""
        self._inbox = link.new_inbox()
        self._news = asyncio.Event()
        self._listening: list[Listening] = []
        self._again = Work()
        self._questions = Bundles(self._send)
        self._answers = Bundles(self._answer)
        self._replies: dict[tuple[str | None, str], list[tuple[str, int]]] = {}
        """Where the reply of each ask goes that is being answered, and its number there, by its sender and key: one for
        each time it came."""

    async def begin(self) -> None:
        """Answer from now on. Raises EngineAway."""
        self._members.on_go.append(self._host_gone)
        self._members.on_come.append(self._host_came)
        self._link.on_away.append(self._engine_gone)
        self._link.on_back.append(self._engine_back)
        self._listening = [
            await self._link.subscribe(f"{self._inbox}.>", self._replied),
            await self._link.subscribe(self._names.ask(self._members.host), self._heard),
        ]
        self._again.begin(self._keep_asking())

    async def end(self) -> None:
        """Answer no more; what is being answered goes on for a moment."""
        for each in self._listening:
            await each.end()
        await self._again.end()
        loop = asyncio.get_running_loop()
        until = loop.time() + 1.0
        while self._replies and loop.time() < until:  # noqa: ASYNC110 - once, at the end
            await asyncio.sleep(0.01)
        for bundles in (self._answers, self._questions):
            await bundles.end()

    # Asking

    async def ask(self, host: str, asked: Asked, still: Callable[[], bool] = lambda: True) -> Reply:
        """Ask mods of a host. Never raises: a failure is an answer with its code. `still`: whether they sit there; an
        ask that waits for the host while they do not any more ends with stale_seat."""
        event = asked.event
        self._number += 1
        values = _asked_to_dict(asked, self._seen(), self._number)
        data = to_json(values)
        if len(data) > self._link.most_bytes > 0:
            words = f"{event.event_name} has {len(data)} bytes, and hosts send each other {self._link.most_bytes}"
            return _failed(event, "too_large", words)
        if self.in_flight.get(host, 0) >= MOST_IN_FLIGHT:
            return _failed(event, "host_busy", f"{MOST_IN_FLIGHT} events wait for host {host} already; send again")
        self.in_flight[host] = self.in_flight.get(host, 0) + 1
        try:
            return await self._ask(host, event, values, data=data, still=still)
        finally:
            self.in_flight[host] -= 1

    async def _ask(
        self, host: str, event: Event, values: Mapping[str, Any], *, data: bytes, still: Callable[[], bool]
    ) -> Reply:
        loop = asyncio.get_running_loop()
        end = loop.time() + self.hold_seconds
        while True:
            is_there = self._link.connected and self._members.alive(host) and loop.time() < end
            problem = "" if is_there else await self._come(host, end, still)
            if not still():
                return _failed(event, "stale_seat", f"host {host} does not run it any more; send again")
            if problem:
                code = "engine_away" if not self._link.connected else "host_away"
                return _failed(event, code, problem)
            try:
                return await self._reply(event, host, await self._request(host, values, data))
            except NoHost:
                # Its heartbeat was heard a moment ago: it ends, or comes back.
                await asyncio.sleep(0.05)
            except (EngineAway, NoAnswer) as error:
                self.unknown += 1
                words = (
                    f"{error}; host {host} may have handled {event.event_name}: send it again with the same event_id"
                )
                return _failed(event, HOST_LOST if self._link.connected else "engine_away", words)

    async def _come(self, host: str, end: float, still: Callable[[], bool]) -> str:
        """Wait until a host can be asked; why it cannot, in words."""
        loop = asyncio.get_running_loop()
        self.held += 1
        try:
            while still() and not (self._link.connected and self._members.alive(host)):
                left = end - loop.time()
                if left <= 0:
                    if not self._link.connected:
                        return f"the engine has been unreachable for {self.hold_seconds:.0f} s; send again"
                    return f"host {host} has been away for {self.hold_seconds:.0f} s; send again"
                self._news.clear()
                try:
                    await asyncio.wait_for(self._news.wait(), min(left, 0.25))
                except TimeoutError:
                    continue
        finally:
            self.held -= 1
        return "" if loop.time() < end else f"host {host} does not answer; send again"

    async def _request(self, host: str, values: Mapping[str, Any], data: bytes) -> Mapping[str, Any]:
        """Send an ask, and wait for its reply. Raises NoHost, NoAnswer, EngineAway."""
        loop, member = asyncio.get_running_loop(), self._members.all.get(host)
        asking = _Asking(host, values, "" if member is None else member.run, loop.create_future())
        asking.next = loop.time() + asking.pause
        asking.bundle = self._questions.add(host, data)
        self._asking[values["number"]] = asking
        try:
            return await asking.reply
        finally:
            del self._asking[values["number"]]

    async def _send(self, host: str, data: bytes, bundle: int) -> None:
        try:
            await self._link.publish(self._names.ask(host), data, reply=f"{self._inbox}.{bundle}")
        except EngineAway as error:
            self._fail(bundle, error)

    async def _keep_asking(self) -> None:
        """Ask again what has no reply yet: to that run of the host alone, the next one would not know the ask."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_FIRST_PAUSE / 4)
            now = loop.time()
            for each in tuple(self._asking.values()):
                if now < each.next or each.reply.done():
                    continue
                each.pause = min(2 * each.pause, _LONGEST_PAUSE)
                each.next, each.waited = now + each.pause, each.waited + each.pause
                if each.waited > _LONGEST_SECONDS:
                    each.reply.set_exception(NoAnswer("no answer in time"))
                    continue
                data = to_json({**each.values, "again": each.run})
                try:
                    # A repeat that does not come to the host says nothing of what came before: in no bundle.
                    await self._link.publish(self._names.ask(each.host), data, reply=f"{self._inbox}.0")
                except EngineAway:
                    break  # those that wait are told

    async def _replied(self, message: Message) -> None:
        bundle = message.subject.removeprefix(f"{self._inbox}.")
        if message.headers.get("Status") == "503" and bundle != "0":
            self._fail(int(bundle), NoHost("no host answers there"))
        for line in message.data.splitlines():
            try:
                values = parse_object(line, ours=True)
            except Malformed:
                continue  # it is asked again
            asking = self._asking.get(whole_number(values.get("number")))
            if asking is not None and not asking.reply.done():
                asking.reply.set_result(values)

    def _fail(self, bundle: int, error: DevServerError) -> None:
        for each in self._asking.values():
            if each.bundle == bundle and not each.reply.done():
                each.reply.set_exception(error)

    async def _reply(self, event: Event, host: str, values: Mapping[str, Any]) -> Reply:
        try:
            reply = _reply_from(values)
        except (ValueError, TypeError, LookupError) as error:
            return _failed(event, "bad_reply", f"host {host} answered what cannot be read: {error}")
        # What its mods did before they answered is known here, too: a channel, a member of it.
        if (seen := whole_number(values.get("seen"))) > self._seen():
            await self._until(seen)
        return reply

    def _host_gone(self, member: Member, silent: float) -> None:
        self._lose(member.host, f"host {member.host} was lost")

    def _host_came(self, member: Member, away: float | None) -> None:
        if away is not None:
            self._lose(member.host, f"host {member.host} was started again")
        self._news.set()

    def _engine_gone(self) -> None:
        self._lose("", "the engine is unreachable")

    async def _engine_back(self, seconds: float) -> None:
        self._news.set()

    def _lose(self, host: str, why: str) -> None:
        for each in self._asking.values():
            if host in ("", each.host) and not each.reply.done():
                each.reply.set_exception(NoAnswer(why))

    # Answering

    async def _heard(self, message: Message) -> None:
        # An answer goes to inboxes alone: the asker could name any subject as its own.
        if message.reply.startswith("_INBOX_"):
            for line in message.data.splitlines():
                self._take(line, message.reply)

    def _take(self, line: bytes, to: str) -> None:
        """Have one ask answered."""
        place = to, 0
        try:
            values = parse_object(line, ours=True)
            if values.get("ping") is True:
                self._answers.add(to, to_json({"run": self._members.run}))
                return
            place = to, whole_number(values.get("number"))
            asked = _asked_from(values)
        except (Malformed, ValueError, TypeError, LookupError) as error:
            self._tell(Reply(_refusal("bad_ask", f"the ask cannot be read: {error}")), place)
            return
        again = values.get("again")
        key = asked.event.source_id, asked.key
        if key in self._replies:
            self._replies[key].append(place)
        elif again is not None and again != self._members.run:
            words = f"host {self._members.host} was started again, and may have handled it before: send it again"
            self._tell(Reply(_refusal(HOST_LOST, words)), place)
        elif len(self._replies) < _MOST_SERVED:
            self._replies[key] = [place]
            self._serve(asked, whole_number(values.get("seen")), partial(self._served, key))
        elif again is None:
            self._tell(Reply(_refusal("host_busy", "this host answers too much already")), place)

    def _served(self, key: tuple[str | None, str], reply: Reply) -> None:
        self._tell(reply, *self._replies.pop(key))

    def _tell(self, reply: Reply, *places: tuple[str, int]) -> None:
        """Tell askers a reply: where each hears it, and the number of its ask there."""
        for to, number in places:
            line = to_json(_reply_to_dict(reply, self._seen(), number))
            if len(line) > self._link.most_bytes > 0:
                reply = Reply(_refusal("too_large", "the answer is larger than hosts send"))
                line = to_json(_reply_to_dict(reply, 0, number))
            self._answers.add(to, line)

    async def _answer(self, to: str, data: bytes, bundle: int) -> None:
        with suppress(EngineAway):  # an asker that still has the engine asks again
            await self._link.publish(to, data)


Until = Callable[[int], Awaitable[object]]
"""Waits until this host has seen a revision of the agents' bucket."""


def _failed(event: Event, code: str, words: str) -> Reply:
    return Reply(EventResponse(False, words, {"code": code}, event.event_name))


def _refusal(code: str, words: str) -> EventResponse:
    return EventResponse(False, words, {"code": code})


def _asked_to_dict(asked: Asked, seen: int, number: int) -> dict[str, Any]:
    return {
        "event": asked.event.to_dict(),
        "mods": asked.mods,
        "key": asked.key,
        "whole": asked.whole,
        "told": asked.told,
        "depth": asked.depth,
        "calls": asked.calls,
        "first": asked.first,
        "seats": dict(asked.seats),
        "met": asked.met,
        "seen": seen,
        "number": number,
    }


def _asked_from(values: Mapping[str, Any]) -> Asked:
    """Read an ask. Raises ValueError, TypeError or LookupError for other values."""
    event = Event.from_dict({**values["event"], "secret": None})
    if event.event_name.startswith(_REQUESTS) and not event.event_name.startswith(_NOTICES):
        raise ValueError(f"{event.event_name} is judged where its sender is, and never asked of another host")
    first = values.get("first")
    depth = whole_number(values.get("depth"))
    return Asked(
        event=event,
        mods=_texts(values["mods"]),
        key=str(values["key"])[:4096],
        whole=values.get("whole") is True,
        told=values.get("told") is True,
        depth=max(0, depth),
        seats=_epochs(values.get("seats")),
        met=max(0, whole_number(values.get("met"))),
        calls=_texts(values.get("calls") or []),
        first=(str(first[0]), None if first[1] is None else str(first[1])) if first else None,
    )


def _epochs(values: Any) -> dict[str, int]:
    if values is None:
        return {}
    if not isinstance(values, dict) or len(values) > _MOST_MODS:
        raise ValueError("the epochs of seats were expected")
    return {str(mod): whole_number(epoch) for mod, epoch in values.items()}


def _texts(values: Any) -> tuple[str, ...]:
    if not isinstance(values, list) or len(values) > _MOST_MODS or not all(isinstance(each, str) for each in values):
        raise ValueError("a list of names was expected")
    return tuple(values)


def _reply_to_dict(reply: Reply, seen: int, number: int) -> dict[str, Any]:
    return {
        "answer": None if reply.answer is None else reply.answer.to_dict(),
        "errors": [(mod_id, error.kind, error.message) for mod_id, error in reply.errors],
        "visits": reply.visits,
        "seen": seen,
        "number": number,
    }


def _reply_from(values: Mapping[str, Any]) -> Reply:
    """Read a reply. Raises ValueError, TypeError or LookupError for other values."""
    told = values["answer"]
    answer = None
    if told is not None:
        data = told.get("data")
        if data is not None and not isinstance(data, dict):
            raise ValueError("the data of an answer is an object")
        answer = EventResponse(told["success"] is True, str(told.get("message") or ""), data, told.get("event_name"))
    errors = [(str(mod), ErrorFacts(str(kind), str(words))) for mod, kind, words in values.get("errors") or ()]
    visits = [(str(row[0]), *(int(each) for each in row[1:6])) for row in values.get("visits") or ()]
    return Reply(answer, errors, visits)  # type: ignore[arg-type]  # five whole numbers, as the slice says
