"""The channels of a network and their members.

A plain table: `agents.Directory` guards it with its lock, and decides on receivers.
"""

from __future__ import annotations

from collections.abc import Iterable


class Channels:
    """Channel names, each with its members in the order of joining. Not safe for threads."""

    def __init__(self) -> None:
        self._members: dict[str, dict[str, None]] = {}

    def __contains__(self, channel: str) -> bool:
        return channel in self._members

    def names(self) -> tuple[str, ...]:
        """Return all channels, oldest first."""
        return tuple(self._members)

    def create(self, channel: str) -> None:
        """Make sure that a channel exists."""
        self._members.setdefault(channel, {})

    def put(self, channel: str, members: Iterable[str]) -> None:
        """Give a channel these members, in one step: readers on other threads see all of them or those before."""
        self._members[channel] = dict.fromkeys(members)

    def remove(self, channel: str) -> None:
        """Forget a channel and its members; an unknown one is already forgotten."""
        self._members.pop(channel, None)

    def add(self, channel: str, agent_id: str) -> None:
        """Put an agent into a channel, and create the channel if it does not exist."""
        self._members.setdefault(channel, {})[agent_id] = None

    def discard(self, channel: str, agent_id: str) -> None:
        """Take an agent out of a channel, which stays even when it is empty."""
        self._members.get(channel, {}).pop(agent_id, None)

    def of(self, channel: str) -> tuple[str, ...]:
        """Return the members of a channel; none for one that does not exist."""
        return tuple(self._members.get(channel, ()))

    def has(self, channel: str, agent_id: str) -> bool:
        return agent_id in self._members.get(channel, ())

    def leave_all(self, agent_id: str) -> None:
        """Take an agent out of every channel."""
        for members in self._members.values():
            members.pop(agent_id, None)
