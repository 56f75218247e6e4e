"""A messaging mod in one module, second version: as `mods.messaging_v1`, and it knows who is mentioned.

Answers the same events and keeps the same state, so either can take over from the other. New here: `mentions` in each
message, also in those that the first version has kept.
"""

from __future__ import annotations

import re
from typing import Any

from devserver import BaseMod, Event, EventResponse, mod_event_handler
from mods.lib.ask import answers, done, sender_of, text, whole
from mods.lib.settings import count

LONGEST_TEXT = 4000
MOST_PER_PAGE = 500

_MENTION = re.compile(r"(?<![\w@])@([\w-]+)")


class MessagingV2Mod(BaseMod):
    """Posts by channel, with those who are mentioned in them as `@name`."""

    version = "2.0"

    most: int

    def initialize(self) -> bool:
        """Read `max_messages`. Raises ValueError where it is no whole number."""
        self.most = count(self.config, "max_messages", 1000)
        self.state.setdefault("messages", [])
        return True

    @mod_event_handler("thread.channel_message.post")
    @answers
    def post(self, event: Event) -> EventResponse:
        """Keep `text` in `channel`, and say who is mentioned."""
        message = {
            "message_id": event.event_id,
            "sender_id": sender_of(event),
            "channel": text(event, "channel"),
            "text": text(event, "text", LONGEST_TEXT),
        }
        kept: list[dict[str, Any]] = self.state["messages"]
        kept.append(message)
        del kept[: -self.most]
        mentions = mentions_in(message["text"])
        return done("Posted", version=self.version, message_id=event.event_id, mentions=mentions)

    @mod_event_handler("thread.channel_messages.retrieve")
    @answers
    def retrieve(self, event: Event) -> EventResponse:
        """The last `limit` messages of `channel`, newest first, with their mentions."""
        channel, limit = text(event, "channel"), whole(event, "limit", 50, 1, MOST_PER_PAGE)
        found = [message for message in reversed(self.state["messages"]) if message["channel"] == channel]
        shown = [message | {"mentions": mentions_in(message["text"])} for message in found[:limit]]
        return done(f"{len(shown)} messages", version=self.version, messages=shown, total_count=len(found))


def mentions_in(text: str) -> list[str]:
    """The names after an `@`, each once, in order. An address such as a@b.example mentions nobody."""
    return list(dict.fromkeys(_MENTION.findall(text)))
