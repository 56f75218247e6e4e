"""A messaging mod in one module, second version: as `mods.messaging_v1`, and it knows who is mentioned.

Answers the same events and keeps the same state, so either can take over from the other. New here: `mentions` in each
message, also in those that the first version has kept.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import ConfigDict, Field, StringConstraints

from devserver import BaseMod, Event, EventResponse, mod_event_handler
from mods.lib.ask import Name, NotBlank, Payload, done, sender_of
from mods.lib.settings import Count, Settings

LONGEST_TEXT = 4000
MOST_PER_PAGE = 500


class Post(Payload):
    """A text for a channel."""

    channel: Name
    text: Annotated[NotBlank, StringConstraints(max_length=LONGEST_TEXT)]


class Retrieve(Payload):
    """The newest messages of a channel."""

    channel: Name
    limit: int = Field(default=50, ge=1, le=MOST_PER_PAGE)


_MENTION = re.compile(r"(?<![\w@])@([\w-]+)")


class MessagingV2Mod(BaseMod):
    """Posts by channel, with those who are mentioned in them as `@name`."""

    version = "2.0"

    class Config(Settings):
        """How many messages are kept; the oldest make room for new ones. What else is given has no effect here."""

        model_config = ConfigDict(extra="ignore")

        max_messages: Count = 1000

    config: Config

    def initialize(self) -> bool:
        """Begin without messages, or go on with those that there are."""
        self.state.setdefault("messages", [])
        return True

    @mod_event_handler("thread.channel_message.post")
    def post(self, event: Event, new: Post) -> EventResponse:
        """Keep a text in a channel, and tell who is mentioned."""
        message = {
            "message_id": event.event_id,
            "sender_id": sender_of(event),
            "channel": new.channel,
            "text": new.text,
        }
        kept: list[dict[str, Any]] = self.state["messages"]
        kept.append(message)
        del kept[: -self.config.max_messages]
        mentions = mentions_in(message["text"])
        return done("Posted", version=self.version, message_id=event.event_id, mentions=mentions)

    @mod_event_handler("thread.channel_messages.retrieve")
    def retrieve(self, event: Event, wanted: Retrieve) -> EventResponse:
        """Get the last messages of a channel, newest first, with their mentions."""
        found = [message for message in reversed(self.state["messages"]) if message["channel"] == wanted.channel]
        shown = [message | {"mentions": mentions_in(message["text"])} for message in found[: wanted.limit]]
        return done(f"{len(shown)} messages", version=self.version, messages=shown, total_count=len(found))


def mentions_in(text: str) -> list[str]:
    """Return the names after an `@`, each once, in order. An address such as a@b.example mentions
    no one."""
    return list(dict.fromkeys(_MENTION.findall(text)))
