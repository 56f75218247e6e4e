"""The subscriptions of an agent, and the visibility of events.

Pure decisions over one event and one agent; `agents` decides which agents are addressed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from devserver.errors import EventRefused
from devserver.model.event import Address, Event, matches, new_event_id, pattern_problem
from devserver.network.identity import bare

PATTERNS_PER_AGENT = 100
"""The most patterns in all subscriptions of one agent."""

CHANNELS_PER_SUBSCRIPTION = 100
"""The most channels that one subscription may name."""

MOST_CHANNEL_NAME = 200
_SUBSCRIPTION_BYTES = 400
"""The rough bytes of a subscription without its texts, which take 60 more than their characters."""


@dataclass(frozen=True, slots=True)
class Subscription:
    """One wish of an agent: events that match a pattern and, if they go to a channel, to one of `channels`."""

    agent_id: str
    event_patterns: tuple[str, ...]
    channels: tuple[str, ...] = ()
    subscription_id: str = field(default_factory=new_event_id)

    def covers(self, event: Event) -> bool:
        """Return whether the subscription covers the event; `channels` only if it has one."""
        destination = event.destination
        if self.channels and destination.role == "channel" and destination.id not in self.channels:
            return False
        return any(matches(pattern, event.event_name) for pattern in self.event_patterns)

    @property
    def size(self) -> int:
        """The rough bytes of its memory."""
        return _SUBSCRIPTION_BYTES + sum(60 + len(each) for each in (*self.event_patterns, *self.channels))

    def to_dict(self) -> dict[str, Any]:
        """Return the subscription as its agent gets it."""
        return {
            "subscription_id": self.subscription_id,
            "agent_id": self.agent_id,
            "event_patterns": list(self.event_patterns),
            "channels": list(self.channels),
        }


def subscription_from_dict(values: Mapping[str, Any]) -> Subscription:
    patterns, channels = tuple(values["event_patterns"]), tuple(values["channels"])
    return Subscription(values["agent_id"], patterns, channels, values["subscription_id"])


def new_subscription(agent_id: str, patterns: object, channels: object, *, already: int) -> Subscription:
    """Make a subscription; `already`: the agent's patterns so far. Raises EventRefused."""
    wanted = _texts(patterns, "event_patterns")
    if not wanted:
        raise EventRefused("bad_pattern", "a subscription needs at least one pattern, such as 'wiki.*' or '*'")
    if already + len(wanted) > PATTERNS_PER_AGENT:
        raise EventRefused("too_many_patterns", f"an agent has at most {PATTERNS_PER_AGENT} patterns")
    for pattern in wanted:
        problem = pattern_problem(pattern)
        if problem is not None:
            raise EventRefused("bad_pattern", problem)
    return Subscription(agent_id, wanted, _channel_names(channels))


def _channel_names(channels: object) -> tuple[str, ...]:
    names = tuple(name.removeprefix("channel:") for name in _texts(channels, "channels"))
    if len(names) > CHANNELS_PER_SUBSCRIPTION:
        raise EventRefused("bad_channels", f"a subscription names at most {CHANNELS_PER_SUBSCRIPTION} channels")
    if any(len(name) > MOST_CHANNEL_NAME for name in names):
        raise EventRefused("bad_channels", f"the name of a channel has at most {MOST_CHANNEL_NAME} characters")
    return names


def _texts(values: object, name: str) -> tuple[str, ...]:
    if values is None:
        return ()
    if not isinstance(values, Sequence) or isinstance(values, str | bytes):
        raise EventRefused(f"bad_{name}", f"{name} is a list of texts")
    if not all(isinstance(value, str) for value in values):
        raise EventRefused(f"bad_{name}", f"{name} is a list of texts, and one of them is not a text")
    return tuple(values)


def viewers(event: Event, in_channel: Callable[[str, str], bool]) -> Callable[[str], bool] | None:
    """Return whether the event's visibility lets an agent have it, as a function of its id; None: all may.
    `in_channel` answers for (channel, agent id).

    A function for many agents: the list of those that may have it is read once.

    direct: only the agent it is addressed to; restricted: only `allowed_agents`; mod_only: no
    agent; channel: the members of the channel it goes to, or the agent it is addressed to; public
    and network: all agents.
    """
    destination = event.destination
    match event.visibility:
        case "mod_only":
            return lambda agent_id: False
        case "restricted":
            return frozenset(map(bare, event.allowed_agents or ())).__contains__
        case "channel" if destination.role == "channel":
            return partial(in_channel, destination.id)
        case "direct" | "channel":
            return lambda agent_id: destination == Address("agent", agent_id)
        case _:
            return None


def subscribed(subscriptions: Collection[Subscription], event: Event) -> bool:
    """Return whether an agent with these subscriptions wants the event; without any it does."""
    return not subscriptions or any(each.covers(event) for each in subscriptions)
