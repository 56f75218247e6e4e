"""Where each agent is: claimed by compare-and-set, followed by all hosts, with the channels and subscriptions.

An agent that registers at another host with its secret goes on there: the host before lets it go, and sends on what
still waits, before all that is new. Runs on the control loop.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from devserver.errors import DevServerError, EventRefused
from devserver.hosts.deliveries import MOST_TOGETHER, TOGETHER_BYTES, Deliveries, Parcel, delivery_of
from devserver.hosts.follow import Followed, Key, Row
from devserver.hosts.link import Conflict, EngineAway, NoAnswer
from devserver.hosts.members import Members
from devserver.hosts.queues import Queues
from devserver.hosts.work import Work
from devserver.model.encoding import from_json
from devserver.model.names import host_name_problem
from devserver.network.agent import Admitted, Agent, Registration
from devserver.network.agents import Directory
from devserver.network.identity import agent_id_problem, secret_digest
from devserver.network.letter import Letter
from devserver.network.outbox import Outbox
from devserver.network.subscriptions import Subscription, subscription_from_dict

ARRIVE_SECONDS = 10.0
"""How long an agent's new events wait for those that its host before still has."""

CHANNEL = "#"
"""The first id of the key of a channel."""

# A host that has not seen a claim by then counts as away (HEARD_SECONDS) and is not waited for.
_SEEN_SECONDS = 3.0
# A claim is written by compare-and-set: a try fails only where another host was faster.
_TRIES = 20
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(slots=True)
class _Leaving:
    """An agent that has gone on to another host, and what is still to be sent on."""

    to: str
    epoch: int
    revision: int
    outbox: Outbox


@dataclass(slots=True)
class _Arriving:
    """An agent that came from another host, until all that waited there is here."""

    epoch: int
    outbox: Outbox
    done: asyncio.Event = field(default_factory=asyncio.Event)


class Identities:
    """The agents of the whole network, as this host knows and changes them."""

    def __init__(
        self, directory: Directory, rows: Followed, members: Members, deliveries: Deliveries, queues: Queues
    ) -> None:
        self.problem: Callable[[str], None] = lambda words: None
        """Told in words what did not come to be."""
        self._directory, self._rows, self._members = directory, rows, members
        self._deliveries, self._queues = deliveries, queues
        self._host = members.host
        self._loop = asyncio.get_running_loop()
        self._claims: dict[str, asyncio.Future[None]] = {}
        self._arriving: dict[tuple[str, int], _Arriving] = {}
        """By agent and epoch: one that comes and goes quickly may arrive several times at once."""
        self._leaving: dict[str, list[_Leaving]] = {}
        self._changes: deque[tuple[str, ...]] = deque()
        """What is still to be written, from any thread; the first of them is being written."""
        self._changed_here, self._all_written = asyncio.Event(), asyncio.Event()
        self._written = 0
        self._work = Work()
        self._marks: dict[str, asyncio.Event] = {}

    @property
    def seen(self) -> int:
        """The revision that this host knows, its own writes included."""
        return max(self._rows.revision, self._written)

    async def begin(self) -> None:
        """Know the agents of all hosts, and tell of those here, from now on. Raises EngineAway and others."""
        directory = self._directory
        self._deliveries.place, self._deliveries.on_mark = self._place, self._marked
        self._queues.where, self._queues.moved_from = self._where, self._moved_from
        for key, row in self._rows.rows.items():
            self._changed(key, None, row)
        for agent in directory.agents():
            if not agent.host and self._rows.get(agent.agent_id) is None:
                await self._put(agent.agent_id, self._row_of(agent, 1), self._rows.revision_of(agent.agent_id))
        self._rows.on_change.append(self._changed)
        directory.on_change.append(lambda agent_id, came, transport: self._later("agent", agent_id))
        directory.on_update.append(lambda agent_id: self._later("agent", agent_id))
        directory.on_subscribed.append(lambda agent_id: self._later("agent", agent_id))
        directory.on_channel.append(self._later)
        self._begin(self._write_changes())

    async def end(self) -> None:
        """Write what has changed, and follow no more."""
        await self.settles(1.0)  # an end does not wait for an engine that is away
        await self._work.end()

    @property
    def is_settled(self) -> bool:
        return not self._changes

    async def settles(self, seconds: float) -> bool:
        """Wait for that, and no longer than this; False where it takes longer."""
        try:
            await asyncio.wait_for(self.settled(), seconds)
        except TimeoutError:
            return False
        return True

    async def settled(self) -> None:
        """Wait until every change that was made here is written."""
        while self._changes:
            self._all_written.clear()
            await self._all_written.wait()

    # Claims

    async def register(self, agent_id: str, metadata: Mapping[str, Any] | None, **wishes: Any) -> Registration:
        """Register an agent here; as `Directory.register`, and engine_away where that cannot be known to be right."""
        for _ in range(_TRIES):
            if agent_id_problem(agent_id) is None:
                # Without an engine, where it is as far as that was known.
                with suppress(DevServerError):
                    await self._rows.refresh(agent_id)
            admitted = self._directory.admit(agent_id, metadata, **wishes)
            row = self._rows.get(admitted.agent_id)
            known = admitted.known
            if admitted.resumes and known is not None and not known.host:
                # It is here already: a changed description is written behind.
                return self._directory.take_in(admitted)
            claim = self._claims[admitted.agent_id] = self._loop.create_future()
            try:
                return await self._claim(admitted, row, self._rows.revision_of(admitted.agent_id))
            except Conflict:
                with suppress(DevServerError):
                    await self._rows.look()
            except (EngineAway, NoAnswer) as error:
                words = f"no new agent comes in while the engine is away: {error}"
                raise EventRefused("engine_away", words) from error
            finally:
                claim.set_result(None)
                if self._claims.get(admitted.agent_id) is claim:
                    del self._claims[admitted.agent_id]
        raise EventRefused("agent_id_taken", f"the agent id {agent_id!r} is claimed by several hosts at once")

    async def _claim(self, admitted: Admitted, row: Row | None, last: int) -> Registration:
        before = None if row is None else row.values
        epoch = 1 if before is None else int(before.get("epoch", 0)) + 1
        known = admitted.known
        wishes = known.subscriptions.values() if admitted.resumes and known is not None else ()
        values: dict[str, Any] = {
            "host": self._host,
            "secret_sha256": secret_digest(admitted.secret),
            "metadata": _metadata(admitted.written),
            "group": admitted.group,
            "transport": admitted.transport,
            "proven": admitted.proven,
            "epoch": epoch,
            "subscriptions": [each.to_dict() for each in wishes],
            # Who takes another one's place gets nothing of its backlog.
            "from": str(before["host"]) if before is not None and admitted.resumes else "",
        }
        await self._put(admitted.agent_id, values, last)
        if admitted.resumes and known is not None:
            agent = self._directory.take_back(admitted.agent_id, values, tuple(wishes))
            if values["from"] not in ("", self._host):
                arriving = self._arriving[agent.agent_id, epoch] = _Arriving(epoch, agent.outbox)
                self._begin(self._wait_for(agent.agent_id, arriving))
                self._queues.moved(admitted.agent_id, values["from"])
            else:
                agent.outbox.arrived()
        registration = self._directory.take_in(admitted)
        registration.agent.epoch = epoch
        return registration

    async def _wait_for(self, agent_id: str, arriving: _Arriving) -> None:
        try:
            await asyncio.wait_for(arriving.done.wait(), ARRIVE_SECONDS)
        except TimeoutError:
            self.problem(f"what waited for {agent_id} at its host before has not come within {ARRIVE_SECONDS:.0f} s")
        self._arrived(agent_id, arriving)

    def _arrived(self, agent_id: str, arriving: _Arriving) -> None:
        arriving.outbox.arrived()
        agent = self._directory.agent(agent_id)
        if arriving.outbox.closed and (agent is None or agent.outbox is not arriving.outbox):
            arriving.outbox.take_nowait()  # no agent reads these letters any more
        arriving.done.set()
        self._arriving.pop((agent_id, arriving.epoch), None)

    # What others write

    def _changed(self, key: Key, before: Row | None, after: Row | None) -> None:
        if len(key) == 2 and key[0] == CHANNEL:
            self._directory.set_channel(key[1], None if after is None else _members(after.values))
        elif len(key) == 1 and agent_id_problem(key[0]) is None:
            self._agent_changed(key[0], after)

    def _agent_changed(self, agent_id: str, row: Row | None) -> None:
        agent = self._directory.agent(agent_id)
        if row is None:
            if agent is not None and agent_id not in self._claims:
                self._directory.forget_away(agent_id)
                self._deliveries.forget(agent_id)
            return
        values = _sound(row.values)
        if values is None:
            return
        wishes = _subscriptions(values)
        if values["host"] == self._host:
            if agent is None and agent_id not in self._claims:
                # It was here in an earlier run of this host.
                self._directory.take_back(agent_id, values, wishes)
            elif agent is not None and not agent.host:
                agent.epoch = values["epoch"]
            return
        moved = agent is not None and agent.host not in ("", values["host"])
        outbox = self._directory.put_away(agent_id, values, wishes)
        if outbox is not None:
            leaving = _Leaving(values["host"], values["epoch"], row.revision, outbox)
            self._leaving.setdefault(agent_id, []).append(leaving)
            self._begin(self._let_go(agent_id, leaving))
        if outbox is not None or moved:
            # The host before waits until all have seen this.
            self._members.beat_now()
            self._queues.moved(agent_id, str(values.get("from") or ""))

    # Backlogs

    async def _let_go(self, agent_id: str, leaving: _Leaving) -> None:
        """Send on what waits for an agent that has gone on, in order, and then say that this was all."""
        for arriving in tuple(self._arriving.values()):
            if arriving.outbox is leaving.outbox:
                await arriving.done.wait()
        await self._all_have_seen(leaving.revision)
        await self._own_queue_is_read()
        leaving.outbox.arrived()
        unread: list[str] = []
        while letters := _together(leaving.outbox):
            onward = [Parcel(delivery_of(each), each.raw, {agent_id: leaving.epoch}, moved=True) for each in letters]
            unread += [each.delivery for each in onward]
            await self._queues.forward(leaving.to, *onward)
            for letter in letters:
                leaving.outbox.handed_over(letter)
        self._deliveries.forget(agent_id, unread)
        self._leaving[agent_id].remove(leaving)
        if not self._leaving[agent_id]:
            del self._leaving[agent_id]
        leaving.outbox.close()
        await self._queues.say_end(leaving.to, agent_id, leaving.epoch)

    async def _all_have_seen(self, revision: int) -> None:
        """Wait until no host sends to the place before any more."""
        end = self._loop.time() + _SEEN_SECONDS
        while self._loop.time() < end:
            if all(each.number("seen") >= revision for each in self._members.living):
                return
            await asyncio.sleep(0.005)

    async def _own_queue_is_read(self) -> None:
        """Wait until all that was sent to this host before has been put where it belongs."""
        number = f"{self._members.run}.{len(self._marks)}.{self._loop.time()}"
        seen = self._marks[number] = asyncio.Event()
        try:
            await self._queues.say(self._host, {"mark": "seen", "number": number})
            await asyncio.wait_for(seen.wait(), _SEEN_SECONDS)
        except TimeoutError:
            self.problem("the queue of this host is slow: events of an agent that moved may come in another order")
        finally:
            del self._marks[number]

    def _marked(self, values: Mapping[str, Any]) -> None:
        if values.get("mark") == "seen" and (seen := self._marks.get(str(values.get("number")))) is not None:
            seen.set()
        elif values.get("mark") == "end":
            agent_id, epoch = str(values.get("agent")), values.get("epoch")
            if isinstance(epoch, int) and (done := self._arriving.get((agent_id, epoch))) is not None:
                self._arrived(agent_id, done)

    async def _place(self, parcel: Parcel, letter_for: Callable[[str], Letter | None]) -> None:
        """Put a parcel into the outboxes of its receivers, or send it on to where they are."""
        for agent_id, epoch in parcel.to.items():
            if (claim := self._claims.get(agent_id)) is not None:
                await asyncio.wait((claim,), timeout=5.0)
            agent = self._directory.agent(agent_id)
            if agent is None or epoch > agent.epoch:
                with suppress(DevServerError):
                    await self._rows.look()
                agent = self._directory.agent(agent_id)
            if agent is None:
                continue
            outbox = self._outbox_for(agent, epoch)
            if outbox is None:
                onward = Parcel(parcel.delivery, parcel.raw, {agent_id: agent.epoch}, moved=True)
                await self._queues.forward(agent.host, onward)
                continue
            letter = letter_for(agent_id)
            if letter is not None and not outbox.put(letter, kept=True, first=parcel.moved):
                letter.taken()
                if not outbox.closed and outbox.dropped == 1:
                    self.problem(f"the outbox of {agent_id} is full: further events from other hosts are dropped")

    def _outbox_for(self, agent: Agent, epoch: int) -> Outbox | None:
        for leaving in self._leaving.get(agent.agent_id, ()):
            if epoch < leaving.epoch:
                return leaving.outbox  # it was sent to the agent as it was here before
        return None if agent.host else agent.outbox

    def _where(self, agent_id: str) -> tuple[str, int] | None:
        """Return the host of an agent and its epoch; None for one that is gone."""
        row = self._rows.get(agent_id)
        values = None if row is None else _sound(row.values)
        return None if values is None else (values["host"], values["epoch"])

    def _moved_from(self, host: str) -> list[tuple[str, str, int]]:
        """Return the agents that were at a host before, where they are, and their epochs."""
        found = []
        for key, row in self._rows.rows.items():
            if len(key) == 1 and row.values.get("from") == host and (now := self._where(key[0])) is not None:
                found.append((key[0], *now))
        return found

    # What changes here

    def _later(self, what: str, *about: str) -> None:
        """Have a change written. From any thread."""
        if not self._directory.closed:
            self._changes.append((what, *about))
            try:
                self._loop.call_soon_threadsafe(self._changed_here.set)
            except RuntimeError:
                return  # the loop has ended

    async def _write_changes(self) -> None:
        while True:
            self._changed_here.clear()
            while self._changes:
                try:
                    await self._write(*self._changes[0])
                except (DevServerError, AttributeError, TypeError, ValueError) as error:
                    # A mod may give a channel any name. With this task every later event would wait for ever.
                    name = str(self._changes[0][1])[:80]
                    self.problem(f"a change of {name} is not known to other hosts: {error}")
                self._changes.popleft()
            self._all_written.set()
            await self._changed_here.wait()

    async def _write(self, what: str, name: str, member: str = "") -> None:
        conflicts = 0
        while conflicts < _TRIES:
            try:
                if conflicts:
                    await self._rows.look()
                if what == "agent":
                    await self._write_agent(name)
                else:
                    await self._write_channel(what, name, member)
                return
            except Conflict:
                conflicts += 1
            except (EngineAway, NoAnswer):
                await asyncio.sleep(0.25)  # until the engine is back it is known here alone
        raise Conflict("other hosts are faster, again and again")

    async def _write_agent(self, agent_id: str) -> None:
        agent, row = self._directory.agent(agent_id), self._rows.get(agent_id)
        if agent is None:
            if row is not None and agent_id not in self._claims:
                self._written = await self._rows.delete((agent_id,), last=row.revision)
                self._deliveries.forget(agent_id)
            return
        if agent.host or row is None or row.values.get("host") != self._host:
            return
        values = {**row.values, **self._row_of(agent, int(row.values.get("epoch", 1)))}
        if values != row.values:
            await self._put(agent_id, values, row.revision)

    async def _write_channel(self, what: str, channel: str, member: str) -> None:
        row = self._rows.get(CHANNEL, channel)
        members = [] if row is None else _members(row.values)
        last = self._rows.revision_of(CHANNEL, channel)
        if what == "remove":
            if row is not None:
                self._written = await self._rows.delete((CHANNEL, channel), last=last)
            return
        wanted = [each for each in members if each != member] if what == "discard" else [*members, member]
        wanted = list(dict.fromkeys(each for each in wanted if each))
        if row is None or wanted != members:
            self._written = await self._rows.put((CHANNEL, channel), {"members": wanted}, last=last)

    def _row_of(self, agent: Agent, epoch: int) -> dict[str, Any]:
        return {
            "host": self._host,
            "secret_sha256": agent.secret_hash,
            "metadata": agent.metadata,
            "group": agent.group,
            "transport": agent.transport,
            "proven": agent.proven,
            "epoch": epoch,
            "subscriptions": [each.to_dict() for each in agent.subscriptions.values()],
        }

    async def _put(self, agent_id: str, values: Mapping[str, Any], last: int) -> None:
        self._written = await self._rows.put((agent_id,), values, last=last)

    def _begin(self, work: Awaitable[None]) -> None:
        self._work.begin(work).add_done_callback(self._ended)

    def _ended(self, task: asyncio.Future[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self.problem(f"an agent's move ended badly: {type(error).__name__}: {error}")


def _together(outbox: Outbox) -> list[Letter]:
    """Return the oldest letters of an outbox, as many as go in one message."""
    found: list[Letter] = []
    size = 0
    for letter in outbox.waiting()[:MOST_TOGETHER]:
        size += letter.size
        if found and size > TOGETHER_BYTES:
            break
        found.append(letter)
    return found


def _sound(values: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the row of an agent if it can be believed; None for other values."""
    host, epoch = values.get("host"), values.get("epoch")
    texts = all(isinstance(values.get(each), str) for each in ("group", "transport"))
    digest = values.get("secret_sha256")
    if not (texts and isinstance(host, str) and host_name_problem(host) is None):
        return None
    if not isinstance(digest, str) or _DIGEST.fullmatch(digest) is None or not isinstance(values.get("metadata"), dict):
        return None
    if not isinstance(epoch, int) or isinstance(epoch, bool):
        return None
    return {**values, "proven": values.get("proven") is True}


def _subscriptions(values: Mapping[str, Any]) -> tuple[Subscription, ...]:
    try:
        return tuple(subscription_from_dict(each) for each in values.get("subscriptions") or ())
    except (TypeError, ValueError, LookupError, AttributeError):
        return ()


def _members(values: Mapping[str, Any]) -> Sequence[str]:
    members = values.get("members")
    return [each for each in members if isinstance(each, str)] if isinstance(members, list) else []


def _metadata(written: bytes) -> dict[str, Any]:
    values = from_json(written)
    return values if isinstance(values, dict) else {}
