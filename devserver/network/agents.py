"""The agents of a network: who is registered, with which secret and group, who gets an event, who is connected.

Guards all of it with one lock, because mods send from their thread while transports serve on the control loop. It
opens no socket and calls no mod; what transports and mods must do about it, they are told through `on_change`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, Unpack

from devserver.errors import EventRefused
from devserver.model.config import NetworkConfig
from devserver.model.event import BROADCAST, Address, Event
from devserver.model.trace import MOST_NAMED
from devserver.network.accounts import IDENTITIES, OUTBOXES, SUBSCRIPTIONS, Accounts
from devserver.network.agent import (
    HELD_HERE_SECONDS,
    HELD_SECONDS,
    IDENTITY_BYTES,
    Admitted,
    Agent,
    AgentChanged,
    ChannelChanged,
    Delivery,
    FarDelivery,
    Registration,
    Wishes,
)
from devserver.network.elsewhere import AgentsElsewhere
from devserver.network.grants import listed_in, proves_grant, refuse_unless_proven
from devserver.network.identity import (
    NO_SECRET,
    agent_id_problem,
    bare,
    checked_metadata,
    choose_group,
    look,
    new_secret,
    proves,
    secret_digest,
)
from devserver.network.letter import Letter
from devserver.network.members import Channels
from devserver.network.outbox import Outbox
from devserver.network.subscriptions import (
    Subscription,
    new_subscription,
    subscribed,
    subscription_from_dict,
    viewers,
)

REGISTRATION_REFUSED = "system.notification.registration_refused"


class Directory(AgentsElsewhere):
    """Agents, channels, groups, subscriptions, outboxes; for several threads. `clock`: monotonic."""

    def __init__(self, config: NetworkConfig, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.on_change: list[AgentChanged] = []
        """Told when an id is registered, and when it is forgotten."""
        self.on_presence: list[AgentChanged] = []
        """Told when an agent comes, and when it goes: also where its socket ends and its id stays known."""
        self.on_update: list[Callable[[str], None]] = []
        """Told the id of an agent that returned and has something new to be known."""
        self._config = config
        self._clock = clock
        self._lock = threading.Lock()
        self._agents: dict[str, Agent] = {}
        self._looks: dict[str, str] = {}
        self._secrets: frozenset[str] | None = None
        """The digests of all secrets; None once one has changed, until they are asked for."""
        self._channels = Channels()
        self.drops = 0
        """How many connections have ended without their agent's request."""
        self.accounts = Accounts()
        """The memory that is kept for agents and others."""
        self._outboxes = self.accounts.open(OUTBOXES, lambda: {a.agent_id: a.outbox.size for a in self.agents()})
        self._identities = self.accounts.open(IDENTITIES, lambda: {a.agent_id: a.size for a in self.agents()})
        self._subscriptions = self.accounts.open(
            SUBSCRIPTIONS, lambda: {a.agent_id: a.subscribed for a in self.agents() if a.subscribed}
        )
        self.on_read: Callable[[str, int], None] | None = None
        """Told the id of an agent that has got a recorded event, and the event's number."""
        self.connected_elsewhere = 0
        """How many agents of other hosts are connected."""
        self.on_channel: list[ChannelChanged] = []
        """Told of each change of a channel that was made here."""
        self.on_subscribed: list[Callable[[str], None]] = []
        """Told the id of an agent whose subscriptions have changed."""
        self.send_away: Callable[[Event, tuple[Agent, ...]], None] | None = None
        """Has an event brought to agents of other hosts, where the sender does not wait for that."""
        self.closed = False
        """Whether the network ends: waiting agents are released, and arriving ones are not new."""

    @property
    def config(self) -> NetworkConfig:
        """What network.yaml says about groups, secrets and limits."""
        return self._config

    def reconfigure(self, config: NetworkConfig) -> None:
        """Follow a changed network.yaml; agents that are here keep their group, and what waits for them."""
        with self._lock:
            self._config = config
            for agent in self._agents.values():
                agent.outbox.limit = config.limits.outbox_events

    # Identities

    def register(self, agent_id: str, metadata: Mapping[str, Any] | None, **wishes: Unpack[Wishes]) -> Registration:
        """Register an agent, or let one that proves its secret go on where it was. As `admit`, which decides."""
        return self.take_in(self.admit(agent_id, metadata, **wishes))

    def admit(
        self,
        agent_id: str,
        metadata: Mapping[str, Any] | None,
        *,
        password_hash: str = "",
        group: str | None = None,
        transport: str = "http",
        secret: str | None = None,
        trusted: bool = False,
        near: bool = False,
    ) -> Admitted:
        """Decide whether an agent may come in; nothing is changed.

        Arguments: `trusted`, whether the caller holds the admin token or is code of this process; `near`, whether it
        comes from this machine.
        An id with grants needs a proof, however long it was silent. Any other id can be taken over without its secret
        once its holder has ended, or was not heard from for 60 s (15 s where `near`); the holder's backlog, channels
        and subscriptions are then gone. Raises EventRefused with one of the codes bad_agent_id, bad_metadata,
        agent_id_taken, proof_required, wrong_secret, too_many_agents, unknown_group, wrong_password,
        password_required.
        """
        if (problem := agent_id_problem(agent_id)) is not None:
            raise EventRefused("bad_agent_id", problem)
        facts = checked_metadata(metadata)
        with self._lock:
            known = self._agents.get(agent_id)
            proven = trusted or proves_grant(self._config, agent_id, password_hash)
            if known is not None and secret is not None and proves(secret, known.secret_hash):
                proven = proven or known.proven
                return Admitted(
                    agent_id, facts, known.group, transport, secret, proven=proven, known=known, resumes=True
                )
            self._refuse_if_taken(agent_id, known, secret, near)
            refuse_unless_proven(self._config, agent_id, proven)
            assigned = choose_group(self._config, password_hash, group)
        return Admitted(agent_id, facts, assigned, transport, new_secret(), proven=proven, known=known)

    def take_in(self, admitted: Admitted) -> Registration:
        """Know an agent that was admitted. Raises EventRefused where another one came first."""
        with self._lock:
            known = self._agents.get(admitted.agent_id)
            if known is not admitted.known:
                raise EventRefused("agent_id_taken", f"the agent id {admitted.agent_id!r} was taken a moment ago")
            if admitted.resumes and known is not None:
                before = (known.written, known.proven)
                known.proven, known.transport = admitted.proven, admitted.transport
                # It comes back whatever there is room for; without room it is described as before.
                if self._has_room(known, admitted.written):
                    self._identities.keep(len(admitted.written) - len(known.written))
                    known.written = admitted.written
                agent, is_news = known, before != (known.written, known.proven)
            else:
                if known is None:
                    self._refuse_if_no_room(admitted.agent_id)
                if not self._has_room(known, admitted.written):
                    raise EventRefused("too_many_agents", "this network has no room for the metadata of another agent")
                if known is not None:
                    self._forget(known)
                digest = secret_digest(admitted.secret)
                agent = self._add(admitted.agent_id, admitted.written, admitted.group, admitted.transport, digest)
                agent.proven = admitted.proven
        if agent is known:
            self._heard(agent)
            for each in tuple(self.on_update) if is_news else ():
                each(agent.agent_id)
            return Registration(agent, admitted.secret, resumed=True)
        self._announce(agent, True)
        if known is not None:
            self._appear(known, False)
        self._appear(agent, True)
        return Registration(agent, admitted.secret, replaced=known is not None)

    def authenticate(self, agent_id: object, secret: object) -> Agent | None:
        """Return the agent that id and secret prove; None alike for an unknown id and a wrong secret.

        An agent of another host is unknown here until it registers here.
        """
        agent = self.agent(agent_id) if isinstance(agent_id, str) else None
        agent = None if agent is not None and agent.host else agent
        proven = proves(secret, agent.secret_hash if agent is not None else NO_SECRET)
        return agent if proven or not self._config.verify_secrets else None

    def is_secret(self, digest: str) -> bool:
        """Return whether some agent's secret has this SHA-256, in hexadecimal."""
        with self._lock:
            if self._secrets is None:
                self._secrets = frozenset(agent.secret_hash for agent in self._agents.values())
            return digest in self._secrets

    def unregister(self, agent_id: str, *, dropped: bool = False) -> bool:
        """Forget an agent; `dropped` when it did not ask for that. False when it was not there."""
        with self._lock:
            agent = self._agents.get(bare(agent_id))
            if agent is None:
                return False
            self._forget(agent)
            # The end of a socket was counted when it ended; the end of a poller is seen only now.
            self.drops += dropped and agent.transport == "http"
        self._announce(agent, False)
        self._appear(agent, False)
        return True

    def agent(self, agent_id: str) -> Agent | None:
        """Return the registered agent of that id; "agent:a" is "a"."""
        return self._agents.get(bare(agent_id))

    def group_of(self, source_id: str | None) -> str | None:
        """Return the group of the agent that sends; None for any other sender."""
        agent = None if source_id is None else self._agents.get(source_id.removeprefix("agent:"))
        return None if agent is None else agent.group

    def agents(self) -> tuple[Agent, ...]:
        """Return all registered agents, oldest first."""
        with self._lock:
            return tuple(self._agents.values())

    def export_identities(self) -> list[dict[str, Any]]:
        """Return what is needed to know the agents after a restart; of secrets only SHA-256."""
        return [agent.identity() for agent in self.agents() if not agent.host]

    def identity(self, agent_id: str) -> dict[str, Any] | None:
        """Return its row of `export_identities`; None if it is not registered here."""
        agent = self.agent(agent_id)
        return None if agent is None or agent.host else agent.identity()

    def count(self) -> int:
        return len(self._agents)

    def import_identities(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Take agents back that `export_identities` wrote; those already registered are left alone."""
        for row in rows:
            with self._lock:
                if row["agent_id"] in self._agents:
                    continue
                agent = self._add_row(row["agent_id"], row)
                agent.heard, agent.proven = False, row.get("proven") is True
            self._announce(agent, True)

    def pack(self) -> dict[str, Any]:
        """Return agents and channels as plain values, for the next image of this process.

        Times are ages in seconds. An event that waits for several agents stands once in `events`.
        """
        places: dict[int, int] = {}
        events: list[bytes] = []
        now = self._clock()

        def place_of(letter: Letter) -> int:
            place = places.setdefault(id(letter), len(events))
            if place == len(events):
                events.append(letter.raw)
            return place

        with self._lock:
            agents = [agent.pack(now, place_of) for agent in self._agents.values() if not agent.host]
            channels = {name: self._channels.of(name) for name in self._channels.names()}
        return {"agents": agents, "events": events, "channels": channels, "drops": self.drops}

    def unpack(self, packed: Mapping[str, Any]) -> None:
        """Continue after an earlier image of this process. Agents are told nothing: none has noticed anything."""
        letters = [Letter(each) for each in packed["events"]]
        now = self._clock()
        with self._lock:
            for row in packed["agents"]:
                agent = self._add(
                    row["agent_id"], row["metadata"], row["group"], row["transport"], row["secret_sha256"]
                )
                agent.seen, agent.heard = now - row["silent"], row["heard"]
                agent.ended, agent.proven = row["ended"], row["proven"]
                agent.present = agent.heard and not agent.ended
                agent.warned = None if row["warned"] is None else now - row["warned"]
                wishes = [subscription_from_dict(each) for each in row["subscriptions"]]
                agent.subscriptions = {each.subscription_id: each for each in wishes}
                self._count_subscriptions(agent, sum(each.size for each in wishes))
                agent.outbox.unpack(letters[place] for place in row["waiting"])
                agent.outbox.dropped = row["refused"]
            for name, members in packed["channels"].items():
                self._channels.create(name)
                for each in members:
                    self._channels.add(name, each)
            self.drops = packed["drops"]

    # Signs of life

    def touch(self, agent_id: str) -> None:
        """Record that an agent was heard from."""
        if (agent := self.agent(agent_id)) is not None:
            self._heard(agent)

    def poll_dropped(self, agent: Agent) -> None:
        """Record that an agent's client closed the connection of a held poll: it has ended, or will poll again."""
        agent.ended = True

    def silent(self, now: float) -> Iterator[str]:
        """Yield agents without a socket that were silent for `agent_timeout` at `now`, each looked at in its turn."""
        limit = self._config.agent_timeout
        silent = (each for each in self.agents() if not each.sockets and not each.host and now - each.seen > limit)
        return (agent.agent_id for agent in silent)

    def socket_opened(self, agent: Agent) -> None:
        """Record that an agent's socket is open."""
        with self._lock:
            agent.sockets += 1
        self._heard(agent)

    def socket_closed(self, agent: Agent, *, dropped: bool) -> None:
        """Record that it ended; `dropped` unless the agent had left or opened another one. Its grace begins now."""
        with self._lock:
            agent.sockets -= 1
            agent.seen, agent.ended = self._clock(), agent.sockets == 0
            self.drops += dropped
        if agent.ended:
            self._appear(agent, False)

    def silence(self, agent: Agent) -> float:
        """Return the seconds since an agent's last sign of life."""
        return self._clock() - agent.seen

    def is_connected(self, agent: Agent) -> bool:
        """Return whether that agent has an open socket or polled within the last 30 s."""
        return agent.connected(self._clock())

    def connected(self) -> int:
        """Return how many agents have an open socket or polled within the last 30 s."""
        now = self._clock()
        return sum(agent.connected(now) for agent in self.agents()) + self.connected_elsewhere

    def close(self) -> None:
        """Release all that wait for events: held polls answer, sockets end. Identities stay for an export."""
        self.closed = True
        for agent in self.agents():
            agent.outbox.close()

    # Channels and groups

    def create_channel(self, channel: str) -> None:
        """Make sure that a channel exists."""
        with self._lock:
            self._channels.create(channel)
        self._tell_channel("create", channel)

    def remove_channel(self, channel: str) -> None:
        """Forget a channel and its members."""
        with self._lock:
            self._channels.remove(channel)
        self._tell_channel("remove", channel)

    def add_channel_member(self, channel: str, agent_id: str) -> None:
        """Put an agent, which may yet have to register, into a channel, which is created if it is missing."""
        with self._lock:
            self._channels.add(channel, bare(agent_id))
        self._tell_channel("add", channel, bare(agent_id))

    def remove_channel_member(self, channel: str, agent_id: str) -> None:
        """Take an agent out of a channel."""
        with self._lock:
            self._channels.discard(channel, bare(agent_id))
        self._tell_channel("discard", channel, bare(agent_id))

    def channel_members(self, channel: str) -> tuple[str, ...]:
        """Return the members of a channel; none for one that does not exist."""
        with self._lock:
            return self._channels.of(channel)

    def channels(self) -> tuple[str, ...]:
        with self._lock:
            return self._channels.names()

    # Who gets what

    def subscribe(self, agent_id: str, patterns: object, channels: object = None) -> Subscription:
        """Let an agent receive only what its subscriptions cover, this one added. Raises EventRefused."""
        with self._lock:
            agent = self._known(agent_id)
            already = sum(len(each.event_patterns) for each in agent.subscriptions.values())
            subscription = new_subscription(agent.agent_id, patterns, channels, already=already)
            if not self._subscriptions.ask(subscription.size, agent.subscribed):
                raise EventRefused("too_many_patterns", "this network keeps no more subscriptions; end some of yours")
            agent.subscribed += subscription.size
            # A new dict each time: `wants` reads it from another thread.
            agent.subscriptions = {**agent.subscriptions, subscription.subscription_id: subscription}
        self._tell_subscribed(agent.agent_id)
        return subscription

    def unsubscribe(self, agent_id: str, subscription_id: str | None = None) -> bool:
        """End one subscription of an agent, or all. False when there was none to end. Raises EventRefused."""
        with self._lock:
            agent = self._known(agent_id)
            before = agent.subscriptions
            kept = {key: each for key, each in before.items() if key != subscription_id} if subscription_id else {}
            agent.subscriptions = kept
            self._count_subscriptions(agent, sum(each.size for each in kept.values()))
        self._tell_subscribed(agent.agent_id)
        return len(kept) < len(before)

    def _tell_subscribed(self, agent_id: str) -> None:
        for told in tuple(self.on_subscribed):
            told(agent_id)

    def wants(self, agent: Agent, event: Event) -> bool:
        """Return whether an agent may see an event and, if it has subscriptions, wishes for it."""
        return bool(self._wanting([agent], event))

    def receivers(self, event: Event) -> tuple[str, ...]:
        """Return who gets an event: not its sender, where it goes to a channel, a group or all."""
        return tuple(agent.agent_id for agent in self._receivers(event))

    def deliver_to(self, agent: Agent, event: Event) -> bool:
        """Put an event, without its secret, into one outbox; False when that is full or closed."""
        if agent.host and self.send_away is not None:
            self.send_away(event, (agent,))
            return True
        return agent.outbox.put(Letter.of(event))

    def deliver(self, event: Event, number: int = 0) -> Delivery:
        """Put an event, without its secret, into the outboxes of its receivers; `number` is the recorder's."""
        receivers = self._receivers(event)
        if not receivers:
            return Delivery(0, (), self._unknown(event))
        away: tuple[Agent, ...] = ()
        if self.send_away is not None:
            away = tuple(each for each in receivers if each.host)
            receivers = [each for each in receivers if not each.host]
        letter = Letter.of(event, number)
        got: list[str] = []
        full: list[str] = []
        for agent in receivers:
            (got if agent.outbox.put(letter) else full).append(agent.agent_id)
        if away:
            return FarDelivery(len(got), tuple(full), to=tuple(got[:MOST_NAMED]), away=away)
        return Delivery(len(got), tuple(full), to=tuple(got[:MOST_NAMED]))

    def tell(self, event: Event) -> None:
        """Deliver an event for a sender that does not wait, wherever its receivers are."""
        delivery = self.deliver(event)
        if isinstance(delivery, FarDelivery) and self.send_away is not None:
            self.send_away(event, delivery.away)

    def _tell_channel(self, what: str, channel: str, agent_id: str = "") -> None:
        for told in tuple(self.on_channel):
            told(what, channel, agent_id)

    # With the lock held

    def _refuse_if_taken(self, agent_id: str, known: Agent | None, secret: str | None, near: bool) -> None:
        if known is None:
            self._refuse_if_no_room(agent_id)
        elif self._config.verify_secrets and secret is not None:
            raise EventRefused("wrong_secret", f"the agent id {agent_id!r} is registered with another secret")
        elif self._config.verify_secrets and known.held(now := self._clock(), near=near):
            self._warn(known, now)
            wait = self._config.agent_timeout if known.host else HELD_HERE_SECONDS if near else HELD_SECONDS
            raise EventRefused(
                "agent_id_taken",
                f"the agent id {agent_id!r} is in use: register with its secret, end the other agent first, "
                f"or wait until it was silent for {wait:.0f} s",
            )

    def _refuse_if_no_room(self, agent_id: str) -> None:
        if (alike := self._looks.get(look(agent_id))) is not None:
            raise EventRefused("agent_id_taken", f"the agent id {agent_id!r} looks like {alike!r}, which is registered")
        if len(self._agents) >= self._config.max_agents:
            raise EventRefused("too_many_agents", f"this network has room for {self._config.max_agents} agents")

    def _warn(self, holder: Agent, now: float) -> None:
        # Once per holding period: endless attempts must not fill the holder's outbox.
        if holder.warned is not None and now - holder.warned < HELD_SECONDS:
            return
        holder.warned = now
        refused = Event(
            event_name=REGISTRATION_REFUSED,
            source_id="system:system",
            source_type="system",
            destination_id=holder.agent_id,
            payload={"agent_id": holder.agent_id},
        )
        self.deliver_to(holder, refused)

    def _add(self, agent_id: str, written: bytes, group: str, transport: str, secret_hash: str) -> Agent:
        outbox = self._outbox_of(agent_id)
        agent = Agent(agent_id, written, group, transport, secret_hash, outbox, self._clock())
        # Counted, not asked for: an earlier run, or another host, has let it in.
        self._identities.keep(agent.size)
        self._agents[agent_id] = agent
        self._looks[look(agent_id)] = agent_id
        self._secrets = None
        return agent

    def _has_room(self, known: Agent | None, written: bytes) -> bool:
        """Return whether a description may be kept for an agent, over the one that is known."""
        owned = 0 if known is None else known.size
        more = len(written) + IDENTITY_BYTES - owned
        return more <= 0 or self._identities.fits(more, owned)

    def _outbox_of(self, agent_id: str) -> Outbox:
        outbox = Outbox(self._config.limits.outbox_events, self._outboxes)
        if self.on_read is not None:
            outbox.read = partial(self.on_read, agent_id)
        return outbox

    def _forget(self, agent: Agent) -> None:
        del self._agents[agent.agent_id]
        self._secrets = None
        # Two that an earlier version of the server has let in may share a look.
        self._looks.pop(look(agent.agent_id), None)
        self._channels.leave_all(agent.agent_id)
        agent.outbox.close()
        # What is kept for an agent goes with it, unread: its id may be another's in a moment.
        agent.outbox.read = None
        agent.outbox.take_nowait()
        self._count_subscriptions(agent, 0)
        self._identities.keep(-agent.size)
        self.accounts.owner_gone(agent.agent_id)

    def _count_subscriptions(self, agent: Agent, size: int) -> None:
        self._subscriptions.keep(size - agent.subscribed)
        agent.subscribed = size

    def _known(self, agent_id: str) -> Agent:
        agent = self._agents.get(bare(agent_id))
        if agent is None:
            raise EventRefused("unknown_agent", f"there is no agent {agent_id!r}")
        return agent

    def _addressed(self, event: Event) -> list[Agent]:
        destination, source = event.destination, event.source
        if destination.role == "agent" and destination.id != BROADCAST:
            return [self._agents[destination.id]] if destination.id in self._agents else []
        sender = source.id if source.role == "agent" else None
        ids = self._ids(destination)
        return [self._agents[each] for each in ids if each in self._agents and each != sender]

    def _ids(self, destination: Address) -> Iterable[str]:
        match destination.role:
            case "agent":
                return self._agents
            case "channel":
                return self._channels.of(destination.id)
            case "group":
                joined = [agent.agent_id for agent in self._agents.values() if agent.group == destination.id]
                group = self._config.groups.get(destination.id)
                return tuple(dict.fromkeys([*joined, *(listed_in(group) if group is not None else ())]))
            case _:
                return ()

    # Without it: it may take long, and what is told may ask

    def _receivers(self, event: Event) -> list[Agent]:
        with self._lock:
            addressed = self._addressed(event)
        return self._wanting(addressed, event)

    def _wanting(self, agents: list[Agent], event: Event) -> list[Agent]:
        sees = viewers(event, self._channels.has)
        seeing = agents if sees is None else [agent for agent in agents if sees(agent.agent_id)]
        return [agent for agent in seeing if subscribed(agent.subscriptions.values(), event)]

    def _unknown(self, event: Event) -> str | None:
        role, key = event.destination
        exists = {
            "agent": key == BROADCAST or key in self._agents,
            "channel": key in self._channels,
            "group": key in self._config.groups or key == self._config.default_group,
        }.get(role, True)
        return None if exists else str(event.destination)

    def _heard(self, agent: Agent) -> None:
        agent.seen, agent.heard, agent.ended = self._clock(), True, False
        if not agent.present:
            self._appear(agent, True)

    def _announce(self, agent: Agent, came: bool) -> None:
        for told in self.on_change:
            told(agent.agent_id, came, agent.transport)

    def _appear(self, agent: Agent, present: bool) -> None:
        """Tell that an agent came or went, where it did not do so before."""
        # Where all go because this run ends, that is told, and not of each.
        if agent.present != present and not self.closed:
            agent.present = present
            for told in self.on_presence:
                told(agent.agent_id, present, agent.transport)
