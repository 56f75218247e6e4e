"""What can be asked of the messaging mod: one model for each event. Keys are those of OpenAgents' messaging mod."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from mods.lib.ask import MaybeBlank, Name, Payload

MOST_PER_PAGE = 500
FARTHEST_OFFSET = 10**9

Reaction = Literal[
    "+1",
    "-1",
    "like",
    "heart",
    "laugh",
    "wow",
    "sad",
    "angry",
    "thumbs_up",
    "thumbs_down",
    "smile",
    "ok",
    "done",
    "fire",
    "party",
    "clap",
    "check",
    "cross",
    "eyes",
    "thinking",
]
"""The reactions that OpenAgents knows."""


class Content(Payload):
    """What is said: a text, files, or both."""

    text: str = ""
    files: list[Any] = Field(default=[])

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not self.text.strip() and not self.files:
            raise ValueError('a text or files are needed, as in {"content": {"text": "hello"}}')
        return self


class Said(Payload):
    """What every message may have. A bare `text`, as a person types it, stands for `content: {text}`."""

    content: Content
    mentioned_agent_id: MaybeBlank | None = None
    quoted_message_id: MaybeBlank | None = None

    @model_validator(mode="before")
    @classmethod
    def _plain_text(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        content = values.get("content", values.get("text"))
        return {**values, "content": {"text": content} if isinstance(content, str) else content}


class PostMessage(Said):
    """A message for a channel, which the event's destination may name instead of the payload."""

    channel: MaybeBlank | None = None
    reply_to_id: MaybeBlank | None = None


class SendDirect(Said):
    """A message for one agent, which the event's destination may name instead of the payload."""

    target_agent_id: Name | None = None


class PostReply(Said):
    """An answer to a message."""

    reply_to_id: Name


class React(Payload):
    """A reaction on a message."""

    target_message_id: Name
    reaction_type: Reaction


class ListChannels(Payload):
    """All channels."""


class Part(Payload):
    """Which part of a list of messages is wanted."""

    offset: int = Field(default=0, ge=0, le=FARTHEST_OFFSET)
    limit: int = Field(default=50, ge=1, le=MOST_PER_PAGE)
    include_threads: bool = True


class RetrieveChannel(Part):
    """A part of a channel, newest first."""

    channel: MaybeBlank | None = None


class RetrieveDirect(Part):
    """A part of the asking agent's direct messages with another one, oldest first."""

    target_agent_id: Name | None = None
