"""What is known of one agent, and what becomes of a registration and a delivery.

Records only: `agents.Directory` keeps and changes them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from devserver.model.encoding import from_json
from devserver.network.outbox import Outbox
from devserver.network.subscriptions import Subscription

HELD_SECONDS = 60.0
"""How long after its last sign of life an id stays its holder's against clients of other machines."""

HELD_HERE_SECONDS = 15.0
"""The same against clients of this machine, where the holder has not been seen to end: most often they are the agent
itself, started again by its author."""

CONNECTED_SECONDS = 30.0
"""How long after its last poll an agent without a socket counts as connected; a poll is held for up to 20."""

_IDENTITY_BYTES = 1024
"""About what an agent takes besides its metadata."""


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
    """When it was last heard from, on the directory's clock."""
    heard: bool = True
    """False for an identity that was restored and has not been heard from since."""
    ended: bool = False
    """Whether the connection that it received events on has closed, and nothing was heard from it since."""
    present: bool = False
    """Whether it was told to have come, and not to have gone since."""
    proven: bool = False
    """Whether it registered with more than its name: only then the grants of its id are its own."""
    sockets: int = 0
    warned: float | None = None
    subscribed: int = 0
    """How many bytes its subscriptions take."""
    subscriptions: dict[str, Subscription] = field(default_factory=dict)

    @property
    def metadata(self) -> dict[str, Any]:
        """What it told of itself, read anew each time."""
        values = from_json(self.written)
        return values if isinstance(values, dict) else {}

    @property
    def size(self) -> int:
        """About how many bytes its identity takes."""
        return len(self.written) + _IDENTITY_BYTES

    def connected(self, now: float) -> bool:
        """Whether a socket is open or the last poll is recent and its client has not gone since."""
        return self.sockets > 0 or (self.heard and not self.ended and now - self.seen <= CONNECTED_SECONDS)

    def held(self, now: float, *, near: bool = False) -> bool:
        """Whether its id cannot be taken over without its secret; `near`, by a client of this machine."""
        if self.sockets > 0:
            return True
        if near:
            return self.heard and not self.ended and now - self.seen < HELD_HERE_SECONDS
        return now - self.seen < HELD_SECONDS


@dataclass(frozen=True, slots=True)
class Registration:
    """What became of a registration. `resumed`: the agent was there and proved itself, its backlog waits for it.

    `replaced`: the id had belonged to an agent that was no longer heard of, which has been forgotten.
    """

    agent: Agent
    secret: str = field(repr=False)
    resumed: bool = False
    replaced: bool = False


@dataclass(frozen=True, slots=True)
class Delivery:
    """How an event was delivered: to how many agents, whose outbox was full, and the destination if there is none."""

    delivered: int
    full: tuple[str, ...] = ()
    unknown: str | None = None
    to: tuple[str, ...] = ()
    """The ids of the first of them, at most MOST_NAMED."""
