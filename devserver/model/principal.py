"""Principals: the one who asks, as the connection proves and never the body; its rights."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache


class Scope(StrEnum):
    """A right of a principal."""

    OPEN = "open"
    """Needs nothing: `/healthz`."""
    JOIN = "join"
    """Register a new agent."""
    SELF = "self"
    """Send, receive, subscribe and leave, as oneself."""
    READ = "read"
    """See agents, mods and health in detail."""
    MODS_WRITE = "mods:write"
    """Load, unload and reload mods."""
    MODS_ASK = "mods:ask"
    """See the mods that catalogues offer, and ask a person for one."""
    ERRORS_READ = "errors:read"
    """See errors with their traces and source lines."""
    ADMIN = "admin"
    """Everything."""


class Kind(StrEnum):
    """The kind of a principal."""

    LOCAL = "local"
    """Code in this process, which may do everything already."""
    ADMIN = "admin"
    """The holder of this run's admin token."""
    AGENT = "agent"
    """A registered agent that proved its secret."""
    ANONYMOUS = "anonymous"
    """Everyone else."""


@dataclass(frozen=True, slots=True)
class Principal:
    """The one who asks. `id` is the agent's id for an agent, otherwise the kind."""

    kind: Kind
    id: str
    scopes: frozenset[Scope]

    def may(self, scope: Scope) -> bool:
        """Return whether this principal holds a scope; ADMIN holds all."""
        return scope in self.scopes or Scope.ADMIN in self.scopes


LOCAL = Principal(Kind.LOCAL, "local", frozenset({Scope.ADMIN}))
ADMIN = Principal(Kind.ADMIN, "admin", frozenset({Scope.ADMIN}))
ANONYMOUS = Principal(Kind.ANONYMOUS, "anonymous", frozenset({Scope.OPEN, Scope.JOIN}))
STRANGER = Principal(Kind.ANONYMOUS, "stranger", frozenset({Scope.OPEN}))
"""A stranger on the network: may not join without the join token."""


@lru_cache(maxsize=4096)
def agent_principal(agent_id: str, granted: tuple[str, ...] = ()) -> Principal:
    """Return an agent's principal, with the scopes that `dev.grants` of network.yaml adds."""
    return Principal(Kind.AGENT, agent_id, frozenset({Scope.OPEN, Scope.SELF, *map(Scope, granted)}))
