"""One host of a network of several: its engine or the link to it, and all that it tells, asks and delivers.

Begins before the mods, so that they meet the agents of all hosts; opens after them, so that others ask what runs.
Everything here runs on the control loop; `home` alone leads to mods.
"""

from __future__ import annotations

import asyncio
import contextvars
import os
import secrets
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from devserver import __version__
from devserver.agent_network import AgentNetwork
from devserver.errors import DevServerError
from devserver.hosts.asks import HOLD_SECONDS, Asks, Serving, settle
from devserver.hosts.credentials import Credentials
from devserver.hosts.deliveries import QUEUE_BYTES, QUEUE_SECONDS, Deliveries
from devserver.hosts.engine import AUTHOR, CODE_WRITER, JOIN, Engine
from devserver.hosts.fence import Fence
from devserver.hosts.follow import Followed, Key, Row
from devserver.hosts.identities import Identities
from devserver.hosts.link import EngineAway, Link, NoAnswer, NoHost
from devserver.hosts.members import Member, Members
from devserver.hosts.names import AGENTS, BUCKETS, CODE, HOSTS, MODS, Names
from devserver.hosts.plans import Plans
from devserver.hosts.queues import Queues
from devserver.hosts.requests import Requests
from devserver.hosts.rooms import Rooms
from devserver.hosts.seats import Seat
from devserver.hosts.shared import NETWORK, NotShared, settings_of, shared_settings, write_workspace
from devserver.hosts.take_over import TakeOver
from devserver.hosts.wanted import Wanted
from devserver.hosts.wire import PING
from devserver.hosts.work import Work
from devserver.live.loops import Passage
from devserver.model.encoding import from_json, to_json
from devserver.model.event import Event, EventResponse
from devserver.model.facts import EngineSeen, Fact, HostSeen, HostsStarted, HostState, Notice
from devserver.network.agent import Agent, FarDelivery, Registration
from devserver.network.far import unsure
from devserver.network.others import STALE_SEAT, Asked, Reply

T = TypeVar("T")
Tell = Callable[[Fact], None]
_PING_SECONDS = 2.0
_HOUSE_SECONDS = 0.25


class HostTaken(DevServerError):
    """A name, or the place of the author, belongs to another process that runs."""


class Host:
    """This process, as one of several. `folder` has the engine's files, `path` is the network.yaml;
    agents come in at `url`, and a person is told by `tell`."""

    def __init__(
        self, wanted: Wanted, network: AgentNetwork, *, folder: Path, path: Path, url: str, tell: Tell
    ) -> None:
        self.name = wanted.name
        self.run = secrets.token_hex(6)
        self._wanted, self._network, self._folder = wanted, network, folder
        self._path, self._url, self._tell = path, url, tell
        self._engine: Engine | None = None
        self._writer: Link | None = None
        self.author = wanted.name if wanted.is_author else ""
        """The host that reads network.yaml."""
        self._began = time.monotonic()
        self._is_open = False
        self._fence: Fence | None = None
        """Of a host that has joined: its mods may be taken over."""
        self._take_over: TakeOver | None = None
        """Of the author: it takes over."""
        self._trips: dict[str, float] = {}
        self._silent: dict[str, float] = {}
        """Since when hosts of agents are not heard."""
        self._work = Work()
        self._serving = Work()
        """The asks that wait for something before they are answered."""
        self._letters: asyncio.Queue[tuple[Event, tuple[Agent, ...]]] = asyncio.Queue()

    # Life

    async def begin(self) -> None:
        """Find the engine, the other hosts and the agents. Raises NoEngine, EngineAway, EngineRefused, HostTaken."""
        self._loop = asyncio.get_running_loop()
        self._passage = Passage(self._loop)
        url, credentials, writer = await self._find_engine()
        names = self.names = Names(credentials.network)
        self.link = Link(url, credentials, name=self.name, reads_only=names.bucket_stream(CODE))
        await self.link.connect()
        if writer is not None:
            self._writer = Link(url, writer, name=f"{self.name}, code")
            await self._writer.connect()
        await self._refuse_if_taken()
        if self._wanted.is_author:
            await self._make_all()
        self._follow()
        for each in (self._hosts, self._mods, self._agents):
            await each.begin()
        if not self._wanted.is_author:
            self._code.on_change.append(self._settings_changed)
            await self._code.begin()
            self.author = next((k[0] for k, row in self._hosts.rows.items() if row.values.get("author") is True), "")
        await self.plans.begin(self.author)
        await self._members.listen()
        self.rooms.begin()
        self._network.join(self, self._bring)
        await self.identities.begin()
        self.queues.begin()
        self._work.begin(self._send_letters())

    async def _find_engine(self) -> tuple[str, Credentials, Credentials | None]:
        wanted = self._wanted
        if wanted.url:
            assert wanted.credentials is not None, "an engine elsewhere is reached with credentials"
            return wanted.url, wanted.credentials, wanted.writer
        engine = self._engine = Engine(self._folder)
        await engine.start(self._network.config.node_id)
        return engine.url, engine.record.credentials(AUTHOR), engine.record.credentials(CODE_WRITER)

    async def _refuse_if_taken(self) -> None:
        """Raise HostTaken where a process of this name runs, or another author."""
        if await self._answers(self.name):
            raise HostTaken(f"{self.name} is taken: another process of this name runs; say another one with --as")
        if not self._wanted.is_author or self._wanted.take_authorship:
            return
        stream = self.names.bucket_stream(HOSTS)
        try:
            rows = await self.link.last_values(stream, f"$KV.{self.names.bucket(HOSTS)}.>")
        except DevServerError:
            return  # nothing is there yet: this is the first host
        for each in rows:
            values = {} if each.is_deletion else from_json(each.data)
            author = self.names.ids(HOSTS, each.subject)[0]
            if values.get("author") is True and author != self.name and await self._answers(author):
                raise HostTaken(f"{author} is the author (pid {values.get('pid')}); join it, or --take-authorship")

    async def _answers(self, host: str) -> bool:
        try:
            await self.link.request(self.names.ask(host), PING, seconds=_PING_SECONDS)
        except NoHost:
            return False
        except NoAnswer:
            return True  # it is connected, and busy
        return True

    async def _make_all(self) -> None:
        names, writer = self.names, self._writer or self.link
        for kind in BUCKETS:
            await (writer if kind == CODE else self.link).make_bucket(names.bucket(kind))
        subject = f"oa.{names.n}.out.*"
        await self.link.make_queue(names.out_stream, subject, seconds=QUEUE_SECONDS, most_bytes=QUEUE_BYTES)
        await self.publish_settings()

    async def publish_settings(self) -> None:
        """Let other hosts have what they need of network.yaml."""
        if self._wanted.is_author:
            settings = shared_settings(self._path, self.names.network)
            values = {"author": self.name, "version": __version__, "settings": settings}
            await (self._writer or self.link).store(self.names.key(CODE, NETWORK), to_json(values))

    def _follow(self) -> None:
        link, names = self.link, self.names
        kinds = (HOSTS, MODS, AGENTS, CODE)
        self._hosts, self._mods, self._agents, self._code = (Followed(link, names, kind) for kind in kinds)
        self._members = Members(link, names, host=self.name, run=self.run, beat=self._beat)
        self.rooms = Rooms(self._network.engine.registry, self._mods, self.name)
        self._deliveries = Deliveries(link, names, host=self.name)
        self.requests = Requests(link, names, self._members)
        self.queues = Queues(link, names, self._members, self._deliveries)
        self.identities = Identities(
            self._network.directory, self._agents, self._members, self._deliveries, self.queues
        )
        self.identities.problem = self._say
        self.asks = Asks(
            link, names, self._members, serve=self._serve, seen=lambda: self.identities.seen, until=self._until
        )
        self.plans = Plans(
            link,
            names,
            self._members,
            self._network,
            writer=(self._writer or link) if self._wanted.is_author else None,
            author=lambda: self.author,
            folder=self._path.parent,
            begin_work=self._work.begin,
            ordered=self.rooms.set_order,
        )
        engine = self._network.engine
        if self.plans.author is not None:
            self._take_over = TakeOver(
                link,
                self.rooms,
                self._members,
                author=self.plans.author,
                engine=engine,
                begin_work=self._work.begin,
                say=self._say,
            )
            self.plans.came_back = self._take_over.give_back
            self.plans.author.seats_until = self.rooms.until
        if self.plans.follower is not None:
            self._fence = Fence(self.rooms, self._members, engine, begin_work=self._work.begin, say=self._say)
            self.plans.follower.settled = self.fenced
            self.plans.follower.tell_seats = self.rooms.publish_if_possible
        self._members.on_come.append(self._host_came)
        self._members.on_go.append(self._host_gone)
        self._members.on_beat.append(lambda member: self._count())
        self._members.on_refused.append(self._say)
        link.on_away.append(lambda: self._tell(EngineSeen(HostState.AWAY, hold=HOLD_SECONDS)))
        link.on_back.append(self._engine_back)
        link.on_refused.append(lambda words: self._say(f"the engine refuses: {words}"))

    async def open(self) -> HostsStarted:
        """Let others ask from now on: the mods that run here run."""
        await self.plans.open()
        await self.rooms.publish(whole=self._wanted.is_author)
        row = {"run": self.run, "url": self._url, "author": self._wanted.is_author, "pid": os.getpid()}
        await self._hosts.put((self.name,), row)
        await self.asks.begin()
        await self.requests.begin()
        await self._deliveries.begin()
        await self._members.begin()
        self._is_open = True
        for each in (self._fence, self._take_over):
            if each is not None:
                each.begin()
        self._work.begin(self._keep_house())
        join = f"oa-dev join {self.link.url} --creds {self._folder_shown()}" if self._wanted.is_author else ""
        started = self._engine is not None
        mods = () if self._wanted.is_author else self.rooms.of(self.author)
        return HostsStarted(self.name, self.link.url, self.link.version, started, self.author, join, mods)

    def _settings_changed(self, key: Key, before: Row | None, after: Row | None) -> None:
        """Take over what the author has saved: the watch sees this host's network.yaml change."""
        if key == (NETWORK,) and after is not None:
            try:
                settings, self.author = settings_of(to_json(dict(after.values)))
                write_workspace(self._path.parent, settings, self.author)
            except (NotShared, OSError) as error:
                self._say(f"the settings of the network are not taken over: {error}")

    def _folder_shown(self) -> str:
        if self._engine is None:
            return "FILE"
        file, here = self._folder / JOIN, Path.cwd()
        return str(file.relative_to(here) if file.is_relative_to(here) else file)

    async def end(self, *, engine: bool = True) -> None:
        """Leave; `engine` whether an engine that this workspace started ends, too. Never raises."""
        await self._work.end()
        if hasattr(self, "asks"):
            parts = (self.plans, self.asks, self.requests, self.identities, self._members, self.queues)
            for part in (*parts, self._deliveries):
                await part.end()
            await self._serving.end()
            for rows in (self._hosts, self._mods, self._agents, self._code):
                await rows.end()
        for link in (self._writer, getattr(self, "link", None)):
            if link is not None:
                await link.close()
        if engine and self._engine is not None:
            await self._engine.stop()

    @property
    def secrets(self) -> tuple[str, ...]:
        """The passwords of the engine that this process knows."""
        if self._engine is not None:
            return tuple(self._engine.record.passwords.values())
        known = (self._wanted.credentials, self._wanted.writer)
        return tuple(each.password for each in known if each is not None)

    # What others meet

    async def ask(self, host: str, asked: Asked) -> Reply:
        return await self._here(self._ask, host, asked)

    def begin_to_ask(self, host: str, asked: Asked, told: Callable[[Reply | None], None]) -> bool:
        seats = self.rooms.seats_at(host, asked.mods)
        if seats is None or not self.identities.is_settled:
            return False
        asked.seats, asked.met = seats, self.plans.met
        return self.asks.begin_to_ask(host, asked, told)

    async def _ask(self, host: str, asked: Asked) -> Reply:
        """Ask the host of these mods. An ask that is refused as one has moved was not handled, and is sent again."""
        # What was done here before is known there before it is asked.
        while not await self.identities.settles(self.asks.hold_seconds):
            if not self.link.connected:
                return self.asks.unreachable(asked.event)
        end = self._loop.time() + HOLD_SECONDS
        while True:
            seats = {each: self.rooms.seat(each) for each in asked.mods}
            reply = await self._ask_at(self._host_of(seats[asked.mods[0]]) or host, asked, seats)
            is_stale = reply.answer is not None and (reply.answer.data or {}).get("code") == STALE_SEAT
            if not is_stale or self._loop.time() >= end:
                return reply
            await self.rooms.news()

    def _host_of(self, seat: Seat) -> str:
        """The host to ask. This one knows what it has given away before that is written."""
        registry = self._network.engine.registry
        slot = registry.find(seat.mod_id)
        if slot is not None and slot.live is not None:
            return self.name
        return registry.moved.get(seat.mod_id, seat.host) if seat.host == self.name else seat.host

    async def _ask_at(self, host: str, asked: Asked, seats: Mapping[str, Seat]) -> Reply:
        asked.seats = {each: seat.epoch for each, seat in seats.items() if seat.host == host}
        asked.met = max(asked.met, self.plans.met)
        if host == self.name:
            return await self._serve_own(asked)
        return await self.asks.ask(host, asked, lambda: all(self.rooms.seat(m) == seat for m, seat in seats.items()))

    def is_there(self, host: str) -> bool:
        return self._members.alive(host)

    def holds(self) -> bool:
        return self._fence is None or self._fence.holds()

    async def fenced(self) -> str:
        if self._fence is None or self._fence.holds():
            return ""
        return await self._here(self._fence.wait, HOLD_SECONDS)

    async def deliver(self, event: Event, receivers: Sequence[Agent]) -> FarDelivery:
        return await self._here(self._deliveries.send, event, receivers)

    async def register(self, agent_id: str, metadata: Any, **wishes: Any) -> Registration:
        return await self._here(partial(self.identities.register, agent_id, metadata, **wishes))

    async def _here(self, function: Callable[..., Coroutine[Any, Any, T]], *arguments: Any) -> T:
        """Have it done on the control loop, from whatever loop."""
        # In an empty context: what is sent for a handler, and the timers of that, outlast its code otherwise.
        nowhere = contextvars.Context()
        if asyncio.get_running_loop() is self._loop:
            return await self._loop.create_task(function(*arguments), context=nowhere)
        return await nowhere.run(self._passage.call, function, *arguments)

    async def _serve_own(self, asked: Asked) -> Reply:
        """Have mods of this host asked, for an event that began its way to another one."""
        served: asyncio.Future[Reply] = self._loop.create_future()
        self._serve([(asked, partial(settle, served))], 0)
        return await served

    def _serve(self, serving: Sequence[Serving], seen: int) -> None:
        """Have mods of this host asked: without a task on this loop where nothing is to be waited for."""
        rooms, asked = self.rooms, serving[0][0]
        if (
            seen <= self.identities.seen
            and self.plans.is_ready(asked.met)
            and rooms.runs(asked.mods, asked.seats)
            and self.holds()
            and self._network.serves
        ):
            self._begin_serving(serving)
        else:
            for each in serving:
                self._serving.begin(self._serve_later(*each, seen))

    async def _serve_later(self, asked: Asked, told: Callable[[Reply], None], seen: int) -> None:
        try:
            problem = await self._come_to_serve(asked, seen)
        except DevServerError as error:
            self._served(asked, told, None, error)
            return
        if problem:
            words = f"{', '.join(asked.mods)}: {problem}; send again"
            told(Reply(EventResponse(False, words, {"code": STALE_SEAT}, asked.event.event_name)))
        else:
            self._begin_serving([(asked, told)])

    async def _come_to_serve(self, asked: Asked, seen: int) -> str:
        """Wait until mods of this host may be asked; why they may not, in words. Raises EngineAway and others."""
        await self._until(seen)
        await self.plans.ready(asked.met)
        await self.rooms.known(asked.seats, HOLD_SECONDS)
        problem = "" if self.holds() else f"host {self.name} was cut off, and another one may run it now"
        problem = problem or ("its seat has changed" if self.rooms.stale(asked.seats) else "")
        problem = problem or await self.rooms.seated(asked.mods, HOLD_SECONDS)
        if not problem:
            await self._network.all_loaded()
        return problem

    def _begin_serving(self, serving: Sequence[Serving]) -> None:
        calls = [(partial(self._served, asked, told), asked) for asked, told in serving]
        try:
            self._network.serve(calls)
        except RuntimeError as error:
            for done, _ in calls:
                done(None, error)  # the loop of the mods has ended

    def _served(
        self, asked: Asked, told: Callable[[Reply], None], reply: Reply | None, error: BaseException | None
    ) -> None:
        if reply is None:
            words = f"host {self.name} could not ask its mods: {type(error).__name__}: {error}"
            reply = Reply(EventResponse(False, words, {"code": "host_failed"}))
        elif not self.holds():
            reply = Reply(unsure(asked.event))
        if self.identities.is_settled:
            told(reply)
        else:
            self._serving.begin(self._told_later(told, reply))

    async def _told_later(self, told: Callable[[Reply], None], reply: Reply) -> None:
        """Tell a reply once all that its mods have changed is written."""
        await self.identities.settled()
        told(reply)

    async def _until(self, revision: int) -> object:
        return True if revision <= self.identities.seen else await self._agents.until(revision)

    def _bring(self, event: Event, receivers: tuple[Agent, ...]) -> None:
        """Send an event to agents of other hosts for a sender that does not wait. From any thread."""
        try:
            self._loop.call_soon_threadsafe(self._letters.put_nowait, (event, receivers))
        except RuntimeError:
            return  # the end of the process

    async def _send_letters(self) -> None:
        while True:
            event, receivers = await self._letters.get()
            ended = await self._deliveries.send(event, receivers)
            if ended.refused or ended.full:
                words = ended.refused or f"the queue of {', '.join(ended.full)} is full"
                self._say(f"{event.event_name} did not come to agents of other hosts: {words}")

    # What happens

    def settings_changed(self) -> None:
        """Let other hosts have what was saved in network.yaml. From any thread."""
        if self._is_open:
            self._loop.call_soon_threadsafe(lambda: self._work.begin(self._publish_settings_if_possible()))

    async def _publish_settings_if_possible(self) -> None:
        try:
            await self.publish_settings()
        except (DevServerError, OSError) as error:
            self._say(f"other hosts do not have the saved network.yaml: {error}")

    def mods_changed(self) -> None:
        """Tell others which mods run here. From any thread, before `open` in vain."""
        if self._is_open:
            self._loop.call_soon_threadsafe(lambda: self._work.begin(self.rooms.publish_if_possible()))

    def _say(self, words: str) -> None:
        self._tell(Notice(words))

    def _beat(self) -> Mapping[str, Any]:
        directory = self._network.directory
        return {
            "agents": directory.connected() - directory.connected_elsewhere,
            "mods": [each.mod_id for each in self._network.engine.registry.live],
            "seen": self.identities.seen,
            "took": self.queues.took,
            "fences": self._fence is not None and self._network.engine.config.take_over,
            "version": __version__,
            "time": time.time(),
        }

    def _host_came(self, member: Member, away: float | None) -> None:
        # What is told of its mods changes.
        self._network.engine.registry.away_changes += 1
        state = HostState.CAME if away is None else HostState.BACK
        self._tell(HostSeen(member.host, state, away or 0.0, self._mods_of(member)))
        self._work.begin(self._measure(member.host))

    async def _measure(self, host: str) -> None:
        began = time.perf_counter()
        with suppress(EngineAway):
            if await self._answers(host):
                self._trips[host] = time.perf_counter() - began

    def _host_gone(self, member: Member, silent: float) -> None:
        self._network.engine.registry.away_changes += 1
        state = HostState.AWAY if silent else HostState.LEFT
        hold = 0.0 if self._take_over is not None and self._take_over.would(member.host) else HOLD_SECONDS
        self._tell(HostSeen(member.host, state, silent, self._mods_of(member), hold))
        self._count()

    def _count(self) -> None:
        self._network.directory.connected_elsewhere = sum(each.number("agents") for each in self._members.living)

    def _mods_of(self, member: Member) -> tuple[str, ...]:
        mods = member.values.get("mods")
        told = tuple(str(each) for each in mods[:100]) if isinstance(mods, list) else ()
        return told or self.rooms.of(member.host)

    async def _engine_back(self, seconds: float) -> None:
        self._tell(EngineSeen(HostState.BACK, seconds))
        self.mods_changed()

    async def _keep_house(self) -> None:
        """Start an engine of ours again that has ended, and let go of agents whose host has been away for too long."""
        while True:
            await asyncio.sleep(_HOUSE_SECONDS)
            if self._engine is not None and not self._engine.runs:
                try:
                    await self._engine.start(self.names.network)
                except DevServerError as error:
                    self._say(f"the engine has ended, and does not start again: {error}")
                    await asyncio.sleep(_HOUSE_SECONDS * 20)
            elif self.link.connected and self.queues.is_mine():
                await self._let_go_of_the_silent()

    async def _let_go_of_the_silent(self) -> None:
        now, limit = time.monotonic(), self._network.config.agent_timeout
        here = {self.name, *(each.host for each in self._members.living)}
        for agent in self._network.directory.agents():
            if not agent.host or agent.host in here:
                self._silent.pop(agent.host, None)
            elif now - self._silent.setdefault(agent.host, now) > limit:
                try:
                    await self._agents.delete((agent.agent_id,), last=self._agents.revision_of(agent.agent_id))
                except DevServerError:
                    return

    # What is told of it

    def rows(self) -> dict[str, Any]:
        """The engine and the hosts, for `oa-dev hosts` and the page. Before it has met the others: this host alone."""
        engine, here = self._engine_row(), self._own_row()
        if not hasattr(self, "_members"):
            return {"network": self._network.config.node_id or "", "engine": engine, "hosts": [here]}
        members = sorted(self._members.all.values(), key=lambda each: each.host)
        agents, beat = [each for each in self._network.directory.agents() if each.host], self._beat()
        here |= {
            "mods": self._told(self.rooms.of(self.name) or beat["mods"]),
            "agents": self._network.directory.count() - len(agents),
            "connected": beat["agents"],
            "waiting": self._deliveries.waiting,
        }
        others = [self._row(each, sum(agent.host == each.host for agent in agents)) for each in members]
        engine |= {
            "asks": sum(self.asks.in_flight.values()),
            "held": self.asks.held,
            "unknown": self.asks.unknown,
        }
        return {"network": self.names.network, "engine": engine, "hosts": [here, *others]}

    def _own_row(self) -> dict[str, Any]:
        """This host, as far as it knows without the others."""
        return {
            "host": self.name,
            "here": True,
            "state": "here",
            "author": self.author == self.name,
            "away_ms": None,
            "silent_s": 0.0,
            "mods": [],
            "agents": self._network.directory.count(),
            "connected": self._network.directory.connected(),
            "up_s": time.monotonic() - self._began,
            "url": self._url,
            "waiting": 0,
        }

    def _engine_row(self) -> dict[str, Any]:
        link: Link | None = getattr(self, "link", None)
        connected = link is not None and link.connected
        return {
            "url": self._wanted.url if link is None else link.url,
            "version": link.version if link is not None and connected else "",
            "connected": connected,
            "started_here": self._engine is not None,
            "pid": self._engine.record.pid if self._engine is not None and connected else None,
            "asks": 0,
            "held": 0,
            "unknown": 0,
        }

    def _row(self, member: Member, agents: int) -> dict[str, Any]:
        row, trip = self._hosts.get(member.host), self._trips.get(member.host)
        return {
            "host": member.host,
            "here": False,
            "state": "there" if member.alive else "away",
            "author": self.author == member.host,
            "away_ms": None if trip is None else trip * 1000,
            "silent_s": 0.0 if member.alive else time.monotonic() - member.heard,
            "mods": self._told(self.rooms.of(member.host)),
            "agents": agents,
            "connected": member.number("agents") if member.alive else 0,
            "up_s": None,
            "url": str(row.values.get("url", "")) if row is not None else "",
            "waiting": self.queues.waiting(member.host),
        }

    def _told(self, mods: Sequence[str]) -> list[dict[str, Any]]:
        return [{"mod_id": each, "generation": self.rooms.generation(each)} for each in mods]
