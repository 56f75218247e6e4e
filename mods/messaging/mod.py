"""The messaging mod: who posts, replies or reacts is answered, and all others concerned are told.

Decisions about messages are in `messages`, sending in `outbox`, configuration in `settings`. Channels are those of the
configuration; who is in one is known to the network alone. Event names and payload keys are those of OpenAgents.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from devserver import BaseMod, Event, EventResponse, mod_event_handler
from mods.lib.ask import Refused, answers, done, optional_text, request_id, sender_of, text, whole, yes
from mods.messaging import messages, outbox
from mods.messaging.messages import Message
from mods.messaging.settings import Limits, channel_name, channels_of

MOST_PER_PAGE = 500
FARTHEST_OFFSET = 10**9


class MessagingMod(BaseMod):
    """Channels, direct messages, replies and reactions. All that was said is in `self.state`."""

    version = "1.0"

    limits: Limits
    channels: dict[str, str]

    def initialize(self) -> bool:
        """Open the channels. Raises ValueError for a configuration that cannot be used."""
        self.limits = Limits.of(self.config)
        self.channels = channels_of(self.config)
        messages.prepare(self.state)
        outbox.prepare(self.state)
        for name in self.channels:
            self._open(name)
        return True

    # There is no shutdown(): channels and members belong to the network, and after a reload the next generation uses
    # them already when this one ends.

    def handle_register_agent(self, agent_id: str, metadata: dict[str, Any]) -> None:
        """Let an agent into every channel."""
        for name in self.channels:
            self._join(name, agent_id)

    def handle_unregister_agent(self, agent_id: str) -> None:
        """Take an agent out of every channel."""
        for name in self.channels:
            if agent_id in self.network.channel_members(name):
                self.network.remove_channel_member(name, agent_id)

    @mod_event_handler("thread.channel_message.post")
    @answers
    async def post(self, event: Event) -> EventResponse:
        """Post `content` to `channel` and tell its members."""
        channel = self._channel(event)
        facts = {
            "message_type": "channel_message",
            "channel": channel,
            "reply_to_id": optional_text(event, "reply_to_id"),
        }
        message = self._message(event, facts)
        told = self._present(self.network.channel_members(channel))
        return await self._publish(event, message, "thread.channel_message.notification", told)

    @mod_event_handler("thread.direct_message.send")
    @answers
    async def send_direct(self, event: Event) -> EventResponse:
        """Send `content` to `target_agent_id`; it can be retrieved later where that agent is away."""
        target = self._target(event)
        message = self._message(event, {"message_type": "direct_message", "target_agent_id": target})
        return await self._publish(event, message, "thread.direct_message.notification", self._present([target]))

    @mod_event_handler("thread.reply.post", "thread.reply.sent")
    @answers
    async def reply(self, event: Event) -> EventResponse:
        """Answer the message `reply_to_id` where it was posted; its author and all who read there are told."""
        parent = self._find(event, "reply_to_id")
        message = self._message(event, messages.reply_facts(parent, sender_of(event)))
        facts = {
            "original_message_id": parent["message_id"],
            "original_sender": parent["sender_id"],
            "reply_event_id": message["message_id"],
        }
        return await self._publish(event, message, "thread.reply.notification", self._audience(parent), facts)

    @mod_event_handler("thread.reaction.add", "thread.reaction.remove", "thread.reaction.toggle")
    @answers
    async def react(self, event: Event) -> EventResponse:
        """Add or remove a reaction (`reaction_type`) on the message `target_message_id`."""
        message = self._find(event, "target_message_id")
        kind = _reaction_type(event)
        told = messages.others(self._audience(message), sender_of(event))
        outbox.need_room(self.state, len(told), self.limits.max_waiting)
        wanted = event.event_name.rpartition(".")[2]
        action = messages.react(message, kind, sender_of(event), wanted, self.limits.max_reactions)
        total = len(message["reactions"].get(kind, ()))
        payload = _reaction_payload(message["message_id"], kind, sender_of(event), action, total)
        outbox.put(self.state, "thread.reaction.notification", event.source_id, told, payload)
        await outbox.flush(self.state, self.send_event, self.log)
        return done(
            f"Reaction {kind!r}: {action}",
            success=True,
            target_message_id=message["message_id"],
            reaction_type=kind,
            action_taken=action,
            total_reactions=total,
            request_id=request_id(event),
        )

    @mod_event_handler("thread.channels.list", "thread.channels.info")
    @answers
    def list_channels(self, event: Event) -> EventResponse:
        """The channels, with their members and counts."""
        listed = [self._shown_channel(name, description) for name, description in self.channels.items()]
        return done(f"{len(listed)} channels", success=True, channels=listed, request_id=request_id(event))

    @mod_event_handler("thread.channel_messages.retrieve", "thread.messages.retrieve")
    @answers
    def retrieve_channel(self, event: Event) -> EventResponse:
        """A page (`offset`, `limit`) of a `channel`, newest first."""
        channel = self._channel(event)
        page = self._page(event, messages.in_channel(self.state, channel))
        return done(f"Messages of channel {channel!r}", channel=channel, **page)

    @mod_event_handler("thread.direct_messages.retrieve")
    @answers
    def retrieve_direct(self, event: Event) -> EventResponse:
        """A page of the asking agent's direct messages with `target_agent_id`, oldest first."""
        target = self._target(event)
        page = self._page(event, messages.between(self.state, sender_of(event), target))
        return done(f"Direct messages with {target}", target_agent_id=target, **page)

    def _open(self, name: str) -> None:
        self.network.create_channel(name)
        if name in self.state["channels"]:
            return
        # New in the configuration, perhaps while agents are connected: they belong in it like those who come later.
        self.state["channels"][name] = messages.no_counts()
        for agent_id in self.network.agents():
            self._join(name, agent_id)

    def _join(self, name: str, agent_id: str) -> None:
        if agent_id not in self.network.channel_members(name):
            self.network.add_channel_member(name, agent_id)

    def _channel(self, event: Event) -> str:
        given = optional_text(event, "channel")
        if given is None and event.destination.role == "channel":
            given = event.destination.id
        if given is None:
            raise Refused(f"{event.event_name} needs 'channel': the name of a channel")
        name = channel_name(given)
        if name not in self.channels:
            raise Refused(f"there is no channel {name!r}, only {', '.join(self.channels) or 'none at all'}")
        return name

    def _target(self, event: Event) -> str:
        role, name = event.destination
        # An AgentRunner of OpenAgents addresses to everybody what it was given no address for.
        if event.payload.get("target_agent_id") is None and role == "agent" and name != "broadcast":
            return name
        return text(event, "target_agent_id")

    def _find(self, event: Event, key: str) -> Message:
        message_id = text(event, key)
        message: Message | None = self.state["messages"].get(message_id)
        if message is None or not messages.may_see(message, sender_of(event)):
            raise Refused(f"there is no message {message_id!r}")
        return message

    def _message(self, event: Event, facts: dict[str, Any]) -> Message:
        content = messages.content_of(event, self.limits.max_content)
        return messages.new_message(self.state, event, content, **facts)

    def _present(self, agents: Iterable[str]) -> list[str]:
        registered = self.network.agents()
        return [agent for agent in agents if agent in registered]

    def _audience(self, message: Message) -> list[str]:
        if message["channel"] is None:
            return self._present([message["sender_id"], message["target_agent_id"]])
        return self._present([message["sender_id"], *self.network.channel_members(message["channel"])])

    async def _publish(
        self, event: Event, message: Message, name: str, agents: Iterable[str], facts: dict[str, Any] | None = None
    ) -> EventResponse:
        told = messages.others(agents, message["sender_id"])
        outbox.need_room(self.state, len(told), self.limits.max_waiting)
        messages.keep(self.state, message, self.limits.max_messages)
        payload = {**event.payload, **messages.as_payload(message), **(facts or {})}
        outbox.put(self.state, name, event.source_id, told, payload)
        await outbox.flush(self.state, self.send_event, self.log)
        return done(
            f"Posted, {len(told)} told",
            event_name=event.event_name,
            event_id=event.event_id,
            message_id=message["message_id"],
            notified=len(told),
        )

    def _page(self, event: Event, found: list[Message]) -> dict[str, Any]:
        offset = whole(event, "offset", 0, 0, FARTHEST_OFFSET)
        limit = whole(event, "limit", 50, 1, MOST_PER_PAGE)
        part = messages.page(found, offset, limit, yes(event, "include_threads", True))
        return {"success": True, **part, "request_id": request_id(event)}

    def _shown_channel(self, name: str, description: str) -> dict[str, Any]:
        agents = list(self.network.channel_members(name))
        counts = messages.counts_of(self.state, name)
        return {"name": name, "description": description, **counts, "agents": agents, "agent_count": len(agents)}


def _reaction_type(event: Event) -> str:
    kind = text(event, "reaction_type")
    if kind not in messages.REACTIONS:
        raise Refused(f"{kind!r} is no reaction; there are {', '.join(sorted(messages.REACTIONS))}")
    return kind


def _reaction_payload(message_id: str, kind: str, agent_id: str, action: str, total: int) -> dict[str, Any]:
    """Both forms that OpenAgents has: its messaging mod writes the flat one, its WorkerAgent reads `reaction`."""
    return {
        "target_message_id": message_id,
        "reaction_type": kind,
        "reacting_agent": agent_id,
        "action": "added" if action == "add" else "removed",
        "total_reactions": total,
        "reaction": {
            "target_message_id": message_id,
            "reaction_type": kind,
            "sender_id": agent_id,
            "action": action,
        },
    }
