"""A messaging mod in one module, first version: post to a channel, read it again.

Made to be swapped at run time for `mods.messaging_v2`, which answers the same events. Both keep the same state:
`self.state["messages"]`, a list of dicts, oldest first.
"""

from __future__ import annotations

from typing import Any

from devserver import BaseMod, Event, EventResponse, mod_event_handler
from mods.lib.ask import answers, done, sender_of, text, whole
from mods.lib.settings import count

LONGEST_TEXT = 4000
MOST_PER_PAGE = 500


class MessagingV1Mod(BaseMod):
    """Posts by channel. Channels need not exist: they are where somebody has posted."""

    version = "1.0"

    most: int

    def initialize(self) -> bool:
        """Read `max_messages`. Raises ValueError where it is no whole number."""
        self.most = count(self.config, "max_messages", 1000)
        self.state.setdefault("messages", [])
        return True

    @mod_event_handler("thread.channel_message.post")
    @answers
    def post(self, event: Event) -> EventResponse:
        """Keep `text` in `channel`."""
        message = {
            "message_id": event.event_id,
            "sender_id": sender_of(event),
            "channel": text(event, "channel"),
            "text": text(event, "text", LONGEST_TEXT),
        }
        kept: list[dict[str, Any]] = self.state["messages"]
        kept.append(message)
        del kept[: -self.most]
        return done("Posted", version=self.version, message_id=event.event_id)

    @mod_event_handler("thread.channel_messages.retrieve")
    @answers
    def retrieve(self, event: Event) -> EventResponse:
        """The last `limit` messages of `channel`, newest first."""
        channel, limit = text(event, "channel"), whole(event, "limit", 50, 1, MOST_PER_PAGE)
        found = [message for message in reversed(self.state["messages"]) if message["channel"] == channel]
        shown = [dict(message) for message in found[:limit]]
        return done(f"{len(shown)} messages", version=self.version, messages=shown, total_count=len(found))
