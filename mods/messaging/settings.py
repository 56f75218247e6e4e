"""The configuration of the messaging mod, checked. Errors are those of network.yaml: ValueError with a sentence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from mods.lib.settings import count
from mods.lib.text import clean_line, title_problem

DEFAULT_CHANNELS = ({"name": "general", "description": "General discussion"},)


@dataclass(frozen=True, slots=True)
class Limits:
    """How much there may be: messages kept, characters in one, reactions on one, notifications that wait."""

    max_messages: int
    max_content: int
    max_reactions: int
    max_waiting: int

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Self:
        """The limits that a configuration sets. Raises ValueError naming the key that is wrong."""
        return cls(
            max_messages=count(config, "max_messages", 2000),
            max_content=count(config, "max_content", 20_000),
            max_reactions=count(config, "max_reactions", 500),
            max_waiting=count(config, "max_waiting", 10_000),
        )


def channels_of(config: Mapping[str, Any]) -> dict[str, str]:
    """The channels that a configuration lists: name to description.

    Raises ValueError where `default_channels` is not a list of names or of {name, description}.
    """
    listed = config.get("default_channels", DEFAULT_CHANNELS)
    if not isinstance(listed, (list, tuple)):
        raise ValueError(f"default_channels is a list, not {listed!r}")
    return dict(map(_channel, listed))


def _channel(entry: Any) -> tuple[str, str]:
    wanted = entry if isinstance(entry, Mapping) else {"name": entry}
    name = wanted.get("name")
    if not isinstance(name, str):
        raise ValueError(f"default_channels: {entry!r} is no channel: it has no name")
    cleaned = channel_name(name)
    problem = title_problem(cleaned)
    if problem is not None:
        raise ValueError(f"default_channels: {entry!r} is no channel: {problem}")
    return cleaned, clean_line(str(wanted.get("description") or f"Channel {cleaned}"))


def channel_name(text: str) -> str:
    """A channel's name without the `#` that people write before it."""
    return clean_line(text).lstrip("#")
