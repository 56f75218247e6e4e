"""The other hosts of a network, as events meet them: a port. `hosts` fills it; a network of one process has none.

Values alone cross it: an ask with the chain that it belongs to, and a reply.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Protocol, Unpack

from devserver.model.event import Event, EventResponse
from devserver.model.facts import ErrorFacts
from devserver.model.trace import Visit
from devserver.network.agent import Agent, FarDelivery, Registration, Wishes

HOST_LOST = "host_lost"
STALE_SEAT = "stale_seat"
"""The code of an ask that was not handled, because its mods sit on another host."""
UNKNOWN = frozenset({HOST_LOST, "host_away", "host_busy", "engine_away", STALE_SEAT})
"""The codes of answers that say nothing of what a mod did: sent again, the event is tried again."""


@dataclass(slots=True, kw_only=True)
class Asked:
    """An event for mods of one host, in order.

    `key`: by it the seat knows a repeat. `whole`: it was sent to that one mod, which has the last word. `told`: all
    hear it, whatever they answer. `depth` and `calls`: how many handlers wait for it, and of which mods. `first`: who
    began the chain (id, group), as far as that decides the version of a mod.
    """

    event: Event
    mods: tuple[str, ...]
    key: str
    whole: bool = False
    told: bool = False
    depth: int = 0
    calls: tuple[str, ...] = ()
    first: tuple[str, str | None] | None = None
    seats: Mapping[str, int] = field(default_factory=dict)
    """The epoch of each mod's seat, as the asker knows it."""
    met: int = 0
    """The last plan over several hosts whose code the event may have met."""


@dataclass(slots=True)
class Reply:
    """What mods of another host said: the answer that ended the way, else None; who failed; who was asked."""

    answer: EventResponse | None
    errors: Sequence[tuple[str, ErrorFacts]] = ()
    visits: Sequence[Visit] = field(default=(), repr=False)


class Others(Protocol):
    """The other hosts. To be called where mods run, unless it says otherwise."""

    async def ask(self, host: str, asked: Asked) -> Reply:
        """Have mods of a host asked. Never raises: where that fails, the answer says so, with one of `UNKNOWN`."""

    def begin_to_ask(self, host: str, asked: Asked, told: Callable[[Reply | None], None]) -> bool:
        """Have mods of a host asked, and their reply told; None where it was not asked after all. False, with nothing
        done, where something is to be waited for. To be called where events come in, and not where mods run."""

    def is_there(self, host: str) -> bool:
        """Return whether a host was heard a moment ago; this one always is. For any thread."""

    def holds(self) -> bool:
        """Return whether mods of this host may answer: no other host may have taken them over. For any thread."""

    async def fenced(self) -> str:
        """Wait, as long as events wait for a host, until mods of this host may answer; why they may not, in words."""

    async def deliver(self, event: Event, receivers: Sequence[Agent]) -> FarDelivery:
        """Have an event put into the outboxes of agents of other hosts, and kept until they take it."""

    async def register(self, agent_id: str, metadata: Any, **wishes: Unpack[Wishes]) -> Registration:
        """Register an agent in the whole network; as `Directory.register`. Raises EventRefused."""


served: ContextVar[Asked | None] = ContextVar("oa_dev_served_ask", default=None)
"""The ask of another host that this context works for."""
