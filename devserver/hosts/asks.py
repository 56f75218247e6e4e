"""Asks between hosts: an event for mods of another host, and its reply. Both ends, on the control loop.

An ask that got no reply may have been handled: its sender is told so, and sends again with the same event id. Waits
for a host, or the engine, that is away for as long as an event waits at a gate, and no longer.

A message costs more than all that is in it: the asks, and the replies, of one turn of the loop travel in one, a line of
JSON each.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from devserver.errors import DevServerError
from devserver.hosts.bundles import Bundles
from devserver.hosts.link import EngineAway, Link, Listening, Message, NoAnswer, NoHost
from devserver.hosts.members import Member, Members
from devserver.hosts.names import Names
from devserver.hosts.wire import PING, Head, again, ask_from, ask_of, head_from, head_of, numbered, reply_from, reply_of
from devserver.hosts.work import Work
from devserver.model.event import Event, EventResponse
from devserver.network.others import HOST_LOST, Asked, Reply
from devserver.transports.strict import Malformed

HOLD_SECONDS = 5.0
"""How long an event waits for a host that is away, or for the engine."""

MOST_IN_FLIGHT = 1000
"""How many asks to one host may be without their reply."""

_LONGEST_SECONDS = 600.0
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0
"""How many seconds an ask without a reply waits before it is sent again: at first, doubled each time, and at most. Its
reply may be lost with the connection of the host that has answered, which the asker does not notice."""
_MOST_SERVED = 4000

Serving = tuple[Asked, Callable[[Reply], None]]
"""An ask that is answered, and what is told its reply, once."""
Serve = Callable[[Sequence[Serving], int], None]
"""Has mods asked, once this host has seen that revision of the agents' bucket: asks of one head, in order."""
Told = Callable[[Reply | None, DevServerError | None], None]
"""Told once what came of an ask: its reply, or the reason why it has not come."""


@dataclass(slots=True)
class _Asking:
    """An ask on its way. `run`: that of the host when it was sent; `bundle`: the number of its message; `next`: when it
    is sent again."""

    host: str
    run: str
    head: bytes
    line: bytes
    told: Told
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
        self._link.on_away.append(lambda: self._fail(NoAnswer("the engine is unreachable")))
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
        if self.in_flight.get(host, 0) >= MOST_IN_FLIGHT:
            return _failed(event, "host_busy", f"{MOST_IN_FLIGHT} events wait for host {host} already; send again")
        self.in_flight[host] = self.in_flight.get(host, 0) + 1
        try:
            return await self._ask(host, asked, still)
        finally:
            self.in_flight[host] -= 1

    def unreachable(self, event: Event) -> Reply:
        """What is told of an event that has waited for the engine."""
        return _failed(event, "engine_away", self._engine_words())

    def _engine_words(self) -> str:
        return f"the engine has been unreachable for {self.hold_seconds:.0f} s; send again"

    def begin_to_ask(self, host: str, asked: Asked, told: Callable[[Reply | None], None]) -> bool:
        """Do the same without a task, and tell the reply; None where the host has gone, and has not been asked. False,
        with nothing done, where something is to be waited for."""
        if self.held or self.in_flight.get(host, 0) >= MOST_IN_FLIGHT or not self._can_ask(host):
            return False
        if not self._send_ask(host, asked, partial(self._ended, host, asked.event, told)):
            return False
        self.in_flight[host] = self.in_flight.get(host, 0) + 1
        return True

    def _ended(
        self,
        host: str,
        event: Event,
        told: Callable[[Reply | None], None],
        reply: Reply | None,
        error: DevServerError | None,
    ) -> None:
        self.in_flight[host] -= 1
        told(reply if error is None or isinstance(error, NoHost) else self._lost(host, event, error))

    def _can_ask(self, host: str) -> bool:
        return self._link.connected and self._members.alive(host)

    async def _ask(self, host: str, asked: Asked, still: Callable[[], bool]) -> Reply:
        loop, event = asyncio.get_running_loop(), asked.event
        end = loop.time() + self.hold_seconds
        while True:
            is_there = self._can_ask(host) and loop.time() < end
            problem = "" if is_there else await self._come(host, end, still)
            if not still():
                return _failed(event, "stale_seat", f"host {host} does not run it any more; send again")
            if problem:
                code = "engine_away" if not self._link.connected else "host_away"
                return _failed(event, code, problem)
            replied: asyncio.Future[Reply] = loop.create_future()
            number = self._send_ask(host, asked, partial(settle, replied))
            if not number:
                words = f"{event.event_name} has more than the {self._link.most_bytes} bytes that hosts send each other"
                return _failed(event, "too_large", words)
            try:
                return await replied
            except NoHost:
                # Its heartbeat was heard a moment ago: it ends, or comes back.
                await asyncio.sleep(0.05)
            except (EngineAway, NoAnswer) as error:
                return self._lost(host, event, error)
            finally:
                # Where the asker was cancelled, nothing is to be asked again.
                self._asking.pop(number, None)

    def _lost(self, host: str, event: Event, error: DevServerError) -> Reply:
        self.unknown += 1
        words = f"{error}; host {host} may have handled {event.event_name}: send it again with the same event_id"
        return _failed(event, HOST_LOST if self._link.connected else "engine_away", words)

    async def _come(self, host: str, end: float, still: Callable[[], bool]) -> str:
        """Wait until a host can be asked; why it cannot, in words."""
        loop = asyncio.get_running_loop()
        self.held += 1
        try:
            while still() and not self._can_ask(host):
                left = end - loop.time()
                if left <= 0:
                    if not self._link.connected:
                        return self._engine_words()
                    return f"host {host} has been away for {self.hold_seconds:.0f} s; send again"
                self._news.clear()
                try:
                    await asyncio.wait_for(self._news.wait(), min(left, 0.25))
                except TimeoutError:
                    continue
        finally:
            self.held -= 1
        return "" if loop.time() < end else f"host {host} does not answer; send again"

    def _send_ask(self, host: str, asked: Asked, told: Told) -> int:
        """Have an ask sent; return its number, or 0 where it is larger than hosts send."""
        self._number += 1
        seen, member = self._seen(), self._members.all.get(host)
        head, line = head_of(asked, seen), ask_of(asked, self._number)
        if len(head) + len(line) >= self._link.most_bytes > 0:
            return 0
        run = "" if member is None else member.run
        asking = self._asking[self._number] = _Asking(host=host, run=run, head=head, line=line, told=told)
        asking.next = asyncio.get_running_loop().time() + asking.pause
        asking.bundle = self._questions.add(host, head, line)
        return self._number

    async def _send(self, host: str, data: bytes, bundle: int) -> None:
        try:
            await self._link.publish(self._names.ask(host), data, reply=f"{self._inbox}.{bundle}")
        except EngineAway as error:
            self._fail(error, bundle=bundle)

    async def _keep_asking(self) -> None:
        """Ask again what has no reply yet: to that run of the host alone, the next one would not know the ask."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_FIRST_PAUSE / 4)
            now = loop.time()
            for number, each in tuple(self._asking.items()):
                if now < each.next:
                    continue
                each.pause = min(2 * each.pause, _LONGEST_PAUSE)
                each.next, each.waited = now + each.pause, each.waited + each.pause
                if each.waited > _LONGEST_SECONDS:
                    self._end(number, None, NoAnswer("no answer in time"))
                    continue
                data = b"%b\n%b" % (again(each.head, each.run), each.line)
                try:
                    # A repeat that does not come to the host says nothing of what came before: in no bundle.
                    await self._link.publish(self._names.ask(each.host), data, reply=f"{self._inbox}.0")
                except EngineAway:
                    break  # those that wait are told

    async def _replied(self, message: Message) -> None:
        bundle = message.subject.removeprefix(f"{self._inbox}.")
        if message.headers.get("Status") == "503" and bundle != "0":
            self._fail(NoHost("no host answers there"), bundle=int(bundle))
            return
        seen, *lines = message.data.splitlines()
        # What its mods did before they answered is known here, too: a channel, a member of it.
        later = int(seen) if seen.isdigit() else 0
        if later > self._seen():
            self._again.begin(self._read_later(lines, later))
        else:
            self._read(lines)

    async def _read_later(self, lines: Sequence[bytes], seen: int) -> None:
        await self._until(seen)
        self._read(lines)

    def _read(self, lines: Sequence[bytes]) -> None:
        for line in lines:
            try:
                number, values = numbered(line)
            except (Malformed, ValueError):
                continue  # it is asked again
            try:
                reply = reply_from(values)
            except (ValueError, TypeError, OverflowError) as error:
                reply = Reply(_refusal("bad_reply", f"a host answered what cannot be read: {error}"))
            self._end(number, reply, None)

    def _end(self, number: int, reply: Reply | None, error: DevServerError | None) -> None:
        """Tell what came of an ask, if it has not ended before."""
        asking = self._asking.pop(number, None)
        if asking is None:
            return
        try:
            asking.told(reply, error)
        except Exception as raised:
            # Others of its message are still to be told.
            asyncio.get_running_loop().call_exception_handler({"message": "a reply was not taken", "exception": raised})

    def _fail(self, error: DevServerError, *, host: str = "", bundle: int = 0) -> None:
        """End the asks to a host, or of a message, or all."""
        for number, each in tuple(self._asking.items()):
            if host in ("", each.host) and bundle in (0, each.bundle):
                self._end(number, None, error)

    def _host_gone(self, member: Member, silent: float) -> None:
        self._fail(NoAnswer(f"host {member.host} was lost"), host=member.host)

    def _host_came(self, member: Member, away: float | None) -> None:
        if away is not None:
            self._fail(NoAnswer(f"host {member.host} was started again"), host=member.host)
        self._news.set()

    async def _engine_back(self, seconds: float) -> None:
        self._news.set()

    # Answering

    async def _heard(self, message: Message) -> None:
        # An answer goes to inboxes alone: the asker could name any subject as its own.
        if not message.reply.startswith("_INBOX_"):
            return
        first, *lines = message.data.splitlines() or (b"",)
        if first == PING:
            self._answers.add(message.reply, PING, b"")
            return
        try:
            head = head_from(first)
        except (Malformed, ValueError, TypeError) as error:
            self._tell(Reply(_refusal("bad_ask", f"the asks cannot be read: {error}")), (message.reply, 0))
            return
        found = (self._take(head, line, message.reply) for line in lines)
        if serving := [each for each in found if each is not None]:
            self._serve(serving, head.seen)

    def _take(self, head: Head, line: bytes, to: str) -> Serving | None:
        """Read one ask; None where it needs no mod to be asked."""
        place = to, 0
        try:
            number, values = numbered(line)
            place = to, number
            asked = ask_from(head, values)
            key = asked.event.source_id, asked.key
            places = self._replies.get(key)
        except (Malformed, ValueError, TypeError) as error:
            self._tell(Reply(_refusal("bad_ask", f"the ask cannot be read: {error}")), place)
            return None
        if places is not None:
            places.append(place)
        elif head.again is not None and head.again != self._members.run:
            words = f"host {self._members.host} was started again, and may have handled it before: send it again"
            self._tell(Reply(_refusal(HOST_LOST, words)), place)
        elif len(self._replies) < _MOST_SERVED:
            self._replies[key] = [place]
            return asked, partial(self._served, key)
        elif head.again is None:
            self._tell(Reply(_refusal("host_busy", "this host answers too much already")), place)
        return None

    def _served(self, key: tuple[str | None, str], reply: Reply) -> None:
        self._tell(reply, *self._replies.pop(key))

    def _tell(self, reply: Reply, *places: tuple[str, int]) -> None:
        """Tell askers a reply: where each hears it, and the number of its ask there."""
        seen = b"%d" % self._seen()
        for to, number in places:
            line = reply_of(reply, number)
            if len(seen) + len(line) >= self._link.most_bytes > 0:
                reply = Reply(_refusal("too_large", "the answer is larger than hosts send"))
                line = reply_of(reply, number)
            self._answers.add(to, seen, line)

    async def _answer(self, to: str, data: bytes, bundle: int) -> None:
        with suppress(EngineAway):  # an asker that still has the engine asks again
            await self._link.publish(to, data)


Until = Callable[[int], Awaitable[object]]
"""Waits until this host has seen a revision of the agents' bucket."""


def _failed(event: Event, code: str, words: str) -> Reply:
    return Reply(EventResponse(False, words, {"code": code}, event.event_name))


def _refusal(code: str, words: str) -> EventResponse:
    return EventResponse(False, words, {"code": code})


def settle(replied: asyncio.Future[Reply], reply: Reply | None, error: DevServerError | None = None) -> None:
    """Give a caller its reply, or why it has not come, unless it waits no more."""
    if replied.done():
        return
    if reply is not None:
        replied.set_result(reply)
    elif error is not None:
        replied.set_exception(error)
