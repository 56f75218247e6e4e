"""Events: `Event`, its answer `EventResponse`, and the addresses that both use.

Field names, defaults and rules are those of OpenAgents 0.8.6. Routing is not decided here.
"""

from __future__ import annotations

import os
import random
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import lru_cache
from typing import Any, NamedTuple, Self

VISIBILITIES = frozenset({"public", "network", "channel", "direct", "restricted", "mod_only"})
ROLES = frozenset({"agent", "channel", "group", "mod", "system"})
BROADCAST = "broadcast"

_NAME = re.compile(r"[a-z][a-z0-9_]+(\.[a-z][a-z0-9_]+)+")
_NAME_PART = re.compile(r"[a-z0-9_.]*")
_RESERVED_NAMES = frozenset({"system.event", "base.event", "transport.message"})
_NAME_LIMIT = 200


class Address(NamedTuple):
    """A sender or receiver: a role and an id within it, as in `channel:general`."""

    role: str
    id: str

    def __str__(self) -> str:
        return f"{self.role}:{self.id}"


@lru_cache(maxsize=4096)
def parse_source(text: str | None) -> Address:
    """Return the sender that a `source_id` names; a bare id is an agent, as in OpenAgents. An
    unknown role is not an error, unlike there: the whole text is an agent's id."""
    if text in ("system", "mod"):
        return Address("system", "system")
    return _with_role(text or "unknown")


@lru_cache(maxsize=4096)
def parse_destination(text: str | None) -> Address:
    """Return the receiver that a `destination_id` names; without one, the network itself."""
    if text in (None, "", "system", "mod"):
        return Address("system", "system")
    if text in ("broadcast", "all"):
        return Address("agent", BROADCAST)
    return _with_role(str(text))


def _with_role(text: str) -> Address:
    role, colon, rest = text.partition(":")
    if colon and rest and role in ROLES:
        return Address(role, rest)
    return Address("agent", text)


def event_name_problem(name: object) -> str | None:
    """Return why `name` cannot name an event, or None when it can.

    The rule (OpenAgents `Event.event_name`): two or more parts joined by dots, each of two or more
    characters out of a-z, 0-9 and _, beginning with a letter.
    """
    if not isinstance(name, str):
        return f"an event name is text, not {type(name).__name__}"
    return _name_problem(name)


@lru_cache(maxsize=4096)
def _name_problem(name: str) -> str | None:
    if len(name) > _NAME_LIMIT:
        return f"an event name has at most {_NAME_LIMIT} characters, this one has {len(name)}"
    if _NAME.fullmatch(name) is None:
        return (
            f"{name!r} is not an event name: two or more parts joined by dots, each of a-z, 0-9 and _, "
            "beginning with a letter and at least two characters long (as in 'wiki.page.create')"
        )
    if name in _RESERVED_NAMES:
        return f"the event name {name!r} is reserved"
    return None


def pattern_problem(pattern: object) -> str | None:
    """Return why `pattern` cannot match event names, or None. `*` may stand alone or at the end."""
    if not isinstance(pattern, str) or not pattern:
        return "a pattern is a non-empty text such as 'wiki.page.create', 'wiki.*' or '*'"
    if len(pattern) > _NAME_LIMIT:
        return f"a pattern has at most {_NAME_LIMIT} characters, this one has {len(pattern)}"
    if "*" in pattern[:-1]:
        return f"in the pattern {pattern!r} the * may only stand at the end"
    return None


def unheard_problem(pattern: str) -> str | None:
    """Return why no event can have a name that `pattern` covers, or None."""
    if _NAME_PART.fullmatch(pattern.removesuffix("*")):
        return None
    return f"the pattern {pattern!r} matches no event: names of events are of a-z, 0-9, _ and dots"


def matches(pattern: str, event_name: str) -> bool:
    """Return whether a pattern covers an event name: equal, or a prefix if it ends in `*`."""
    if pattern.endswith("*"):
        return event_name.startswith(pattern[:-1])
    return event_name == pattern


_ids = random.Random()
"""A generator of its own: a mod that seeds `random` must not make ids repeat."""

os.register_at_fork(after_in_child=_ids.seed)  # else each fork makes the same ids
_bits = _ids.getrandbits


def new_event_id() -> str:
    """Return a fresh identifier, 128 random bits in hex. It tells events apart, proves nothing."""
    return _bits(128).to_bytes(16, "big").hex()


@dataclass(slots=True, kw_only=True)
class Event:
    """One message on its way through the network.

    `timestamp` is in whole seconds since 1970; the network sets it on entry. `secret` is the
    sender's proof of identity: it is never part of `to_dict()` and never reaches a receiver.

    Raises ValueError (with the rule) for a bad `event_name`, `payload`, `metadata` or `visibility`.
    """

    event_name: str
    source_id: str | None = None
    event_id: str = field(default_factory=new_event_id)
    timestamp: int = field(default_factory=lambda: int(time.time()))
    source_type: str = "agent"
    destination_id: str | None = None
    relevant_mod: str | None = None
    requires_response: bool = False
    response_to: str | None = None
    thread_name: str | None = None
    payload: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    text_representation: str | None = None
    visibility: str = "network"
    allowed_agents: list[str] | None = None
    secret: str | None = field(default=None, repr=False)
    source_agent_group: str | None = None

    def __post_init__(self) -> None:
        # An event is made for every message: a name that is known to be good costs one look.
        name = self.event_name
        if type(name) is not str or _name_problem(name) is not None:
            problem = event_name_problem(name)
            if problem is not None:
                raise ValueError(problem)
        if not isinstance(self.payload, dict):
            raise ValueError(f"payload is an object, not {type(self.payload).__name__}")
        if not isinstance(self.metadata, dict):
            raise ValueError(f"metadata is an object, not {type(self.metadata).__name__}")
        if self.visibility not in VISIBILITIES:
            raise ValueError(f"visibility is one of {', '.join(sorted(VISIBILITIES))}")

    @property
    def source(self) -> Address:
        return parse_source(self.source_id)

    @property
    def destination(self) -> Address:
        return parse_destination(self.destination_id)

    def matches_pattern(self, pattern: str) -> bool:
        """Return whether `pattern` covers this event's name."""
        return matches(pattern, self.event_name)

    def to_dict(self) -> dict[str, Any]:
        """Return every field but the secret, as receivers get it."""
        return {name: getattr(self, name) for name in _PUBLIC_FIELDS}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Make an event of received values; unknown keys are ignored, as in OpenAgents."""
        return cls(**{name: values[name] for name in _FIELDS if name in values})


_FIELDS = tuple(each.name for each in fields(Event))
_PUBLIC_FIELDS = tuple(name for name in _FIELDS if name != "secret")


@dataclass(slots=True)
class EventResponse:
    """The answer to an event: whether it succeeded, a sentence for people, data for programs."""

    success: bool
    message: str = ""
    data: dict[str, Any] | None = None
    event_name: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the answer as it goes over the wire."""
        return {
            "success": self.success,
            "message": self.message,
            "data": self.data,
            "event_name": self.event_name,
        }
