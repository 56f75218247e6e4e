"""Who is asking, known from the connection and never from an event's body, and what that one may do."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache


class Scope(StrEnum):
    """A kind of thing that a principal may be allowed to do."""

    OPEN = "open"
    """Nothing needed: `/healthz`."""
    JOIN = "join"
    """Register a new agent."""
    SELF = "self"
    """Send, receive, subscribe and leave, as oneself."""
    READ = "read"
    """See agents, mods and health in detail."""
    MODS_WRITE = "mods:write"
    """Load, unload and reload mods."""
    MODS_ASK = "mods:ask"
    """See which mods can be had, and ask a person for one."""
    ERRORS_READ = "errors:read"
    """See errors with their traces and source lines."""
    ADMIN = "admin"
    """Everything."""


class Kind(StrEnum):
    """What sort of principal it is."""

    LOCAL = "local"
    """Code in this process: it already runs here."""
    ADMIN = "admin"
    """Whoever holds this run's admin token."""
    AGENT = "agent"
    """A registered agent that proved its secret."""
    ANONYMOUS = "anonymous"
    """Anybody else."""


@dataclass(frozen=True, slots=True)
class Principal:
    """One who asks. `id` is the agent's id for an agent, otherwise the kind."""

    kind: Kind
    id: str
    scopes: frozenset[Scope]

    def may(self, scope: Scope) -> bool:
        """Whether this principal holds a scope; ADMIN holds all."""
        return scope in self.scopes or Scope.ADMIN in self.scopes


LOCAL = Principal(Kind.LOCAL, "local", frozenset({Scope.ADMIN}))
ADMIN = Principal(Kind.ADMIN, "admin", frozenset({Scope.ADMIN}))
ANONYMOUS = Principal(Kind.ANONYMOUS, "anonymous", frozenset({Scope.OPEN, Scope.JOIN}))
STRANGER = Principal(Kind.ANONYMOUS, "stranger", frozenset({Scope.OPEN}))
"""Anybody who comes over a network: may not join without the join token."""


@lru_cache(maxsize=4096)
def agent_principal(agent_id: str, granted: tuple[str, ...] = ()) -> Principal:
    """The principal of a registered agent, with the scopes that `dev.grants` in network.yaml gives it besides."""
    return Principal(Kind.AGENT, agent_id, frozenset({Scope.OPEN, Scope.SELF, *map(Scope, granted)}))
