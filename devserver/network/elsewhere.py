"""The part of the directory that knows the agents of other hosts, and the channels as others change them.

Decides nothing: where an agent is, its host has written and others have read. A network of one host has no such agent.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any

from devserver.model.encoding import to_json
from devserver.network.accounts import Account
from devserver.network.agent import Agent
from devserver.network.identity import bare, proves
from devserver.network.members import Channels
from devserver.network.outbox import Outbox
from devserver.network.subscriptions import Subscription

Row = Mapping[str, Any]
"""What is written of an agent: host, epoch, secret_sha256, metadata, group, transport, proven."""


class AgentsElsewhere(ABC):
    """What `Directory` has beside the agents of this host."""

    _lock: threading.Lock
    _agents: dict[str, Agent]
    _channels: Channels
    _outboxes: Account
    _identities: Account
    _secrets: frozenset[str] | None

    def proves_elsewhere(self, agent_id: str, secret: str) -> bool:
        """Return whether that is the secret of an agent of another host."""
        agent = self._agents.get(bare(agent_id))
        return agent is not None and bool(agent.host) and proves(secret, agent.secret_hash)

    def put_away(self, agent_id: str, row: Row, subscriptions: Iterable[Subscription]) -> Outbox | None:
        """Know an agent as one of another host; its outbox, with what waits in it, where it was at this one."""
        with self._lock:
            agent, outbox = self._agents.get(agent_id), None
            if agent is None:
                agent = self._add_row(agent_id, row)
                agent.heard = agent.present = False
            elif not agent.host:
                outbox, agent.outbox = agent.outbox, Outbox(0, self._outboxes)
            was_here = outbox is not None
            agent.host, agent.epoch, agent.proven = row["host"], row["epoch"], row["proven"]
            self._know(agent, row, subscriptions)
        if outbox is not None:
            # Its reader is released: the agent reads at the other host now.
            outbox.attach()
        if was_here:
            self._announce(agent, False)
            self._appear(agent, False)
        return outbox

    def take_back(self, agent_id: str, row: Row, subscriptions: Iterable[Subscription]) -> Agent:
        """Know an agent as one of this host; where it was at another one, what waits for it there comes first."""
        with self._lock:
            agent = self._agents.get(agent_id)
            if agent is None:
                agent = self._add_row(agent_id, row)
                agent.heard = False
            elif agent.host:
                agent.outbox = self._outbox_of(agent_id)
                agent.outbox.expect()
            agent.host, agent.epoch, agent.proven = "", row["epoch"], row["proven"]
            self._know(agent, row, subscriptions)
        self._announce(agent, True)
        return agent

    def forget_away(self, agent_id: str) -> None:
        """Forget an agent that another host has let go."""
        with self._lock:
            agent = self._agents.get(agent_id)
            if agent is None:
                return
            self._forget(agent)
        if not agent.host:
            self._announce(agent, False)
            self._appear(agent, False)

    def set_channel(self, channel: str, members: Iterable[str] | None) -> None:
        """Take over a channel as another host has written it; None: it is gone."""
        with self._lock:
            if members is None:
                self._channels.remove(channel)
            else:
                self._channels.put(channel, members)

    def _know(self, agent: Agent, row: Row, subscriptions: Iterable[Subscription]) -> None:
        written = to_json(row["metadata"])
        self._identities.keep(len(written) - len(agent.written))
        agent.written, agent.group, agent.secret_hash = written, row["group"], row["secret_sha256"]
        self._secrets = None
        wishes = {each.subscription_id: each for each in subscriptions}
        agent.subscriptions = wishes
        self._count_subscriptions(agent, sum(each.size for each in wishes.values()))

    def _add_row(self, agent_id: str, row: Row) -> Agent:
        return self._add(agent_id, to_json(row["metadata"]), row["group"], row["transport"], row["secret_sha256"])

    @abstractmethod
    def _add(self, agent_id: str, written: bytes, group: str, transport: str, secret_hash: str) -> Agent: ...

    @abstractmethod
    def _outbox_of(self, agent_id: str) -> Outbox: ...

    @abstractmethod
    def _forget(self, agent: Agent) -> None: ...

    @abstractmethod
    def _count_subscriptions(self, agent: Agent, size: int) -> None: ...

    @abstractmethod
    def _announce(self, agent: Agent, came: bool) -> None: ...

    @abstractmethod
    def _appear(self, agent: Agent, present: bool) -> None: ...
