"""The messaging mod: who posts, replies or reacts is answered, and all others concerned are told.

Decisions about messages are in `messages`, sending in `outbox`, configuration in `settings`. Channels are those of the
configuration; who is in one is known to the network alone. Event names and payload keys are those of OpenAgents.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from devserver import BaseMod, Event, EventResponse, Refused, mod_event_handler
from mods.lib.ask import done, request_id, sender_of
from mods.messaging import messages, outbox
from mods.messaging.messages import Message
from mods.messaging.payloads import (
    ListChannels,
    Part,
    PostMessage,
    PostReply,
    React,
    RetrieveChannel,
    RetrieveDirect,
    Said,
    SendDirect,
)
from mods.messaging.settings import Rules, channel_name


class MessagingMod(BaseMod):
    """Channels, direct messages, replies and reactions. All that was said is in `self.state`."""

    version = "1.0"

    Config = Rules
    config: Rules
    channels: dict[str, str]

    def initialize(self) -> bool:
        """Open the channels."""
        self.channels = {each.name: each.shown for each in self.config.default_channels}
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
    async def post(self, event: Event, new: PostMessage) -> EventResponse:
        """Post a message to a channel and tell its members."""
        channel = self._channel(event, new.channel)
        facts = {"message_type": "channel_message", "channel": channel, "reply_to_id": new.reply_to_id}
        message = self._message(event, new, facts)
        told = self._present(self.network.channel_members(channel))
        return await self._publish(event, message, "thread.channel_message.notification", told)

    @mod_event_handler("thread.direct_message.send")
    async def send_direct(self, event: Event, new: SendDirect) -> EventResponse:
        """Send a message to one agent; an agent that is away can retrieve it later."""
        target = self._target(event, new.target_agent_id)
        message = self._message(event, new, {"message_type": "direct_message", "target_agent_id": target})
        return await self._publish(event, message, "thread.direct_message.notification", self._present([target]))

    @mod_event_handler("thread.reply.post", "thread.reply.sent")
    async def reply(self, event: Event, new: PostReply) -> EventResponse:
        """Answer a message where it was posted; its author and all who read there are told."""
        parent = self._find(event, new.reply_to_id)
        message = self._message(event, new, messages.reply_facts(parent, sender_of(event)))
        facts = {
            "original_message_id": parent["message_id"],
            "original_sender": parent["sender_id"],
            "reply_event_id": message["message_id"],
        }
        return await self._publish(event, message, "thread.reply.notification", self._audience(parent), facts)

    @mod_event_handler("thread.reaction.add", "thread.reaction.remove", "thread.reaction.toggle")
    async def react(self, event: Event, wanted: React) -> EventResponse:
        """Add, remove or toggle a reaction on a message."""
        message, kind = self._find(event, wanted.target_message_id), wanted.reaction_type
        told = messages.others(self._audience(message), sender_of(event))
        outbox.need_room(self.state, len(told), self.config.max_waiting)
        verb = event.event_name.rpartition(".")[2]
        action = messages.react(message, kind, sender_of(event), verb, self.config.max_reactions)
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
    def list_channels(self, event: Event, wanted: ListChannels) -> EventResponse:
        """List the channels, with their members and counts."""
        listed = [self._shown_channel(name, description) for name, description in self.channels.items()]
        return done(f"{len(listed)} channels", success=True, channels=listed, request_id=request_id(event))

    @mod_event_handler("thread.channel_messages.retrieve", "thread.messages.retrieve")
    def retrieve_channel(self, event: Event, wanted: RetrieveChannel) -> EventResponse:
        """Get a part of a channel, newest first."""
        channel = self._channel(event, wanted.channel)
        page = self._page(event, wanted, messages.in_channel(self.state, channel))
        return done(f"Messages of channel {channel!r}", channel=channel, **page)

    @mod_event_handler("thread.direct_messages.retrieve")
    def retrieve_direct(self, event: Event, wanted: RetrieveDirect) -> EventResponse:
        """Get a part of the asking agent's direct messages with another agent, oldest first."""
        target = self._target(event, wanted.target_agent_id)
        page = self._page(event, wanted, messages.between(self.state, sender_of(event), target))
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

    def _channel(self, event: Event, given: str | None) -> str:
        if given is None and event.destination.role == "channel":
            given = event.destination.id
        if given is None:
            raise Refused(f'{event.event_name}: "channel" is missing')
        name = channel_name(given)
        if name not in self.channels:
            raise Refused(f"there is no channel {name!r}, only {', '.join(self.channels) or 'none at all'}")
        return name

    def _target(self, event: Event, given: str | None) -> str:
        role, name = event.destination
        # An AgentRunner of OpenAgents addresses to everyone what it was given no address for.
        if given is None and role == "agent" and name != "broadcast":
            return name
        if given is None:
            raise Refused(f'{event.event_name}: "target_agent_id" is missing')
        return given

    def _find(self, event: Event, message_id: str) -> Message:
        message: Message | None = self.state["messages"].get(message_id)
        if message is None or not messages.may_see(message, sender_of(event)):
            raise Refused(f"there is no message {message_id!r}")
        return message

    def _message(self, event: Event, said: Said, facts: dict[str, Any]) -> Message:
        content = messages.content_of(said, self.config.max_content)
        return messages.new_message(self.state, event, said, content, **facts)

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
        outbox.need_room(self.state, len(told), self.config.max_waiting)
        messages.keep(self.state, message, self.config.max_messages)
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

    def _page(self, event: Event, wanted: Part, found: list[Message]) -> dict[str, Any]:
        part = messages.page(found, wanted.offset, wanted.limit, wanted.include_threads)
        return {"success": True, **part, "request_id": request_id(event)}

    def _shown_channel(self, name: str, description: str) -> dict[str, Any]:
        agents = list(self.network.channel_members(name))
        counts = messages.counts_of(self.state, name)
        return {"name": name, "description": description, **counts, "agents": agents, "agent_count": len(agents)}


def _reaction_payload(message_id: str, kind: str, agent_id: str, action: str, total: int) -> dict[str, Any]:
    """Return both forms that OpenAgents has: its messaging mod writes the flat one, its WorkerAgent
    reads `reaction`."""
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
