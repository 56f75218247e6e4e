"""The configuration of the messaging mod."""

from __future__ import annotations

from typing import Any

from pydantic import Field, field_validator, model_validator

from mods.lib.settings import Count, Settings
from mods.lib.text import clean_line, title_problem


def channel_name(text: str) -> str:
    """Return a channel's name without the `#` that people write before it."""
    return clean_line(text).lstrip("#")


class Channel(Settings):
    """A channel, which may be written as its name alone."""

    name: str
    description: str = ""

    @model_validator(mode="before")
    @classmethod
    def _name_alone(cls, values: Any) -> Any:
        return {"name": values} if isinstance(values, str) else values

    @field_validator("name")
    @classmethod
    def _clean(cls, name: str) -> str:
        cleaned = channel_name(name)
        problem = title_problem(cleaned)
        if problem is not None:
            raise ValueError(problem)
        return cleaned

    @property
    def shown(self) -> str:
        """The description as agents see it."""
        return clean_line(self.description) or f"Channel {self.name}"


class Rules(Settings):
    """The channels, and how much there may be.

    At most so many messages are kept, characters are in one, reactions are on one, and notifications wait.
    """

    default_channels: list[Channel] = Field(default=[Channel(name="general", description="General discussion")])
    max_messages: Count = 2000
    max_content: Count = 20_000
    max_reactions: Count = 500
    max_waiting: Count = 10_000
