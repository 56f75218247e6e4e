"""The record of one agent, and the results of a registration and a delivery.

Records only: `agents.Directory` keeps and changes them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, ClassVar, TypedDict

from devserver.model.encoding import from_json
from devserver.model.trace import MOST_NAMED
from devserver.network.letter import Letter
from devserver.network.outbox import Outbox
from devserver.network.subscriptions import Subscription

HELD_SECONDS = 60.0
"""Seconds after its last sign of life in which an id is kept from clients of other machines."""

HELD_HERE_SECONDS = 15.0
"""The same on this machine, unless the holder was seen to end: authors restart agents."""

CONNECTED_SECONDS = 30.0
"""Seconds after its last poll in which an agent counts as connected; polls take up to 20."""

IDENTITY_BYTES = 1024
"""The rough bytes of an agent without its metadata."""

ChannelChanged = Callable[[str, str, str], None]
"""Told what was done ("create", "remove", "add", "discard") to which channel, and with which agent."""

AgentChanged = Callable[[str, bool, str], None]
"""Told that an agent came (True) or went (False): id, which of the two, transport. Called without the lock."""


@dataclass(slots=True, eq=False)
class Agent:
    """A registered agent. Only the directory changes it; others read it, and take from its outbox."""

    agent_id: str
    written: bytes = field(repr=False)
    """Its metadata as JSON."""
    group: str
    transport: str
    secret_hash: str = field(repr=False)
    outbox: Outbox = field(repr=False)
    seen: float
    """The time of its last sign of life, on the directory's clock."""
    heard: bool = True
    """False for an identity that was restored and has not been heard from since."""
    ended: bool = False
    """Whether its connection for events has closed, without a sign of life since."""
    present: bool = False
    """Whether its arrival was told, and not its end."""
    proven: bool = False
    """Whether it registered with more than its name: only then it has the grants of its id."""
    sockets: int = 0
    host: str = ""
    """The host that it is at; nothing where that is this one."""
    epoch: int = 0
    """How many times it has changed its host."""
    warned: float | None = None
    subscribed: int = 0
    """The bytes of its subscriptions."""
    subscriptions: dict[str, Subscription] = field(default_factory=dict)

    @property
    def metadata(self) -> dict[str, Any]:
        """Its metadata, read again each time."""
        values = from_json(self.written)
        return values if isinstance(values, dict) else {}

    @property
    def size(self) -> int:
        """The rough bytes of its identity."""
        return len(self.written) + IDENTITY_BYTES

    def connected(self, now: float) -> bool:
        """Return whether a socket is open or the last poll is recent and its client has not gone
        since."""
        return self.sockets > 0 or (self.heard and not self.ended and now - self.seen <= CONNECTED_SECONDS)

    def held(self, now: float, *, near: bool = False) -> bool:
        """Return whether its id needs its secret; `near`, by a client of this machine."""
        if self.sockets > 0 or self.host:
            return True
        if near:
            return self.heard and not self.ended and now - self.seen < HELD_HERE_SECONDS
        return now - self.seen < HELD_SECONDS

    def identity(self) -> dict[str, Any]:
        """Return what is needed to know it again after a restart; of its secret only the SHA-256."""
        return {
            "agent_id": self.agent_id,
            "secret_sha256": self.secret_hash,
            "metadata": self.metadata,
            "group": self.group,
            "transport": self.transport,
            "proven": self.proven,
        }

    def pack(self, now: float, place_of: Callable[[Letter], int]) -> dict[str, Any]:
        """Return all that is known of it, as plain values; `place_of` is where a waiting event stands among all."""
        return {
            "agent_id": self.agent_id,
            "metadata": self.written,
            "group": self.group,
            "transport": self.transport,
            "secret_sha256": self.secret_hash,
            "silent": now - self.seen,
            "heard": self.heard,
            "ended": self.ended and not self.sockets,
            "proven": self.proven,
            "warned": None if self.warned is None else now - self.warned,
            "subscriptions": [each.to_dict() for each in self.subscriptions.values()],
            "waiting": [place_of(each) for each in self.outbox.pack() if not each.kept],
            "refused": self.outbox.dropped,
        }


class Wishes(TypedDict, total=False):
    """What an agent may register with, beside its id and metadata; see `Directory.admit`."""

    password_hash: str
    group: str | None
    transport: str
    secret: str | None
    trusted: bool
    near: bool


@dataclass(frozen=True, slots=True)
class Admitted:
    """An agent that may come in. `known`: who has had the id; `resumes`: whether that is itself, with its secret."""

    agent_id: str
    written: bytes = field(repr=False)
    group: str
    transport: str
    secret: str = field(repr=False)
    _: KW_ONLY
    proven: bool
    known: Agent | None
    resumes: bool = False


@dataclass(frozen=True, slots=True)
class Registration:
    """The result of a registration. `resumed`: the agent was known and proved itself; its backlog
    waits for it.

    `replaced`: the id had belonged to an agent that was silent for too long and has been forgotten.
    """

    agent: Agent
    secret: str = field(repr=False)
    resumed: bool = False
    replaced: bool = False


@dataclass(frozen=True, slots=True)
class Delivery:
    """The result of a delivery: how many got it, whose outbox was full, an unknown destination."""

    delivered: int
    full: tuple[str, ...] = ()
    unknown: str | None = None
    to: tuple[str, ...] = ()
    """The ids of the first of them, at most MOST_NAMED."""
    away: ClassVar[tuple[Agent, ...]] = ()
    """The receivers on other hosts, who are yet to get it."""
    refused: ClassVar[str] = ""
    """Why some of those could not be told of it, in words; and the code of that."""
    refused_code: ClassVar[str] = ""


@dataclass(frozen=True, slots=True)
class FarDelivery(Delivery):
    """The result of a delivery where there are other hosts."""

    away: tuple[Agent, ...] = ()  # type: ignore[misc]  # of one host it is always the same
    refused: str = ""  # type: ignore[misc]
    refused_code: str = ""  # type: ignore[misc]

    def with_more(self, more: FarDelivery) -> FarDelivery:
        """Put together what was delivered here and elsewhere."""
        return FarDelivery(
            self.delivered + more.delivered,
            self.full + more.full,
            to=(self.to + more.to)[:MOST_NAMED],
            refused=more.refused,
            refused_code=more.refused_code,
        )
