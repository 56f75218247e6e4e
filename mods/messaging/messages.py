"""The messages that were posted: kept, found and shown. Works on plain dicts, sends nothing, knows no network.

A message is a dict that is changed in one way only after it was kept: reactions come and go. `state["messages"]` holds
the newest ones by id, oldest first; `state["channels"]` counts per channel.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable
from typing import Any

from devserver import Event, Refused
from mods.lib.ask import sender_of
from mods.lib.text import excerpt
from mods.messaging.payloads import Said

Message = dict[str, Any]
State = dict[str, Any]

DEEPEST_REPLY = 4
"""A message starts a thread at level 0; replies to replies go down to this level (OpenAgents: five levels)."""

QUOTE_LENGTH = 100


def prepare(state: State) -> None:
    """Make sure that the places for messages and counts are there; what is there already stays."""
    state.setdefault("messages", {})
    state.setdefault("channels", {})


def content_of(said: Said, longest: int) -> dict[str, Any]:
    """Return the content of a message as it is kept. Raises Refused for more than `longest` characters of JSON."""
    content = said.content
    kept = {"text": content.text, "files": content.files or None}
    size = len(json.dumps(kept, ensure_ascii=False, default=str))
    if size > longest:
        raise Refused(f"the content has at most {longest} characters, this one has {size}")
    return kept if kept["files"] else {"text": content.text}


def new_message(state: State, event: Event, said: Said, content: dict[str, Any], **facts: Any) -> Message:
    """Return a message that is not kept yet. `facts` are those of its kind: message_type, channel,
    target_agent_id, …"""
    # Two agents may choose the same event id; the second must not replace the first one's message.
    taken = event.event_id in state["messages"]
    message: Message = {
        "message_id": uuid.uuid4().hex if taken else event.event_id,
        "sender_id": sender_of(event),
        "timestamp": event.timestamp,
        "content": content,
        "channel": None,
        "target_agent_id": None,
        "reply_to_id": None,
        "thread_id": None,
        "thread_level": 0,
        "mentioned_agent_id": said.mentioned_agent_id,
        "reactions": {},
    }
    return message | quote_facts(state, said.quoted_message_id, sender_of(event)) | facts


def quote_facts(state: State, quoted_id: str | None, reader: str) -> dict[str, Any]:
    """Return which message is quoted, and how it begins; an agent cannot quote direct messages of others."""
    if quoted_id is None:
        return {"quoted_message_id": None, "quoted_text": None}
    quoted = state["messages"].get(quoted_id)
    if quoted is None or not may_see(quoted, reader):
        return {"quoted_message_id": quoted_id, "quoted_text": f"[Quoted message {quoted_id} not found]"}
    beginning = excerpt(quoted["content"]["text"], QUOTE_LENGTH)
    return {"quoted_message_id": quoted_id, "quoted_text": f"{quoted['sender_id']}: {beginning}"}


def reply_facts(parent: Message, sender: str) -> dict[str, Any]:
    """Return what a reply takes over from the message it answers. Raises Refused where the thread
    is too deep."""
    if parent["thread_level"] >= DEEPEST_REPLY:
        raise Refused(f"message {parent['message_id']!r} is {DEEPEST_REPLY} replies deep, which is as deep as it goes")
    target = parent["target_agent_id"]
    return {
        "message_type": "reply",
        "channel": parent["channel"],
        "target_agent_id": parent["sender_id"] if target == sender else target,
        "reply_to_id": parent["message_id"],
        "thread_id": parent["thread_id"] or parent["message_id"],
        "thread_level": parent["thread_level"] + 1,
    }


def may_see(message: Message, agent_id: str) -> bool:
    """Return whether an agent may see a message: all those in channels, and the direct ones from or
    to itself."""
    return message["channel"] is not None or agent_id in (message["sender_id"], message["target_agent_id"])


def keep(state: State, message: Message, most: int) -> None:
    """Add a message, count it, and let go of the oldest while there are more than `most`."""
    kept = state["messages"]
    kept[message["message_id"]] = message
    counts = counts_of(state, message["channel"])
    counts["message_count"] += 1
    root = kept.get(message["thread_id"])
    if root is not None and root["thread_id"] is None:
        root["thread_id"] = root["message_id"]
        counts["thread_count"] += 1
    while len(kept) > most:
        del kept[next(iter(kept))]


def no_counts() -> dict[str, int]:
    """Return the counts of a channel where nothing has been said yet."""
    return {"message_count": 0, "thread_count": 0}


def counts_of(state: State, channel: str | None) -> dict[str, int]:
    """Return how many messages and threads a channel has seen, also those that are no longer kept;
    direct ones: nowhere."""
    counts: dict[str, int] = state["channels"].get(channel) or no_counts()
    return counts


def react(message: Message, kind: str, agent_id: str, wanted: str, most: int) -> str:
    """Add, remove or toggle (`wanted`) an agent's reaction; what was done, "add" or "remove".

    Raises Refused where there is nothing to do, or the message has `most` reactions already.
    """
    there = agent_id in message["reactions"].get(kind, ())
    action = ("remove" if there else "add") if wanted == "toggle" else wanted
    if there == (action == "add"):
        raise Refused(f"{agent_id} has {'already' if there else 'not'} reacted with {kind!r} to this message")
    if action == "add":
        _add_reaction(message["reactions"], kind, agent_id, most)
    else:
        _remove_reaction(message["reactions"], kind, agent_id)
    return action


def _add_reaction(reactions: dict[str, list[str]], kind: str, agent_id: str, most: int) -> None:
    if sum(map(len, reactions.values())) >= most:
        raise Refused(f"a message has at most {most} reactions")
    reactions.setdefault(kind, []).append(agent_id)


def _remove_reaction(reactions: dict[str, list[str]], kind: str, agent_id: str) -> None:
    reactions[kind].remove(agent_id)
    if not reactions[kind]:
        del reactions[kind]


def in_channel(state: State, channel: str) -> list[Message]:
    """Return the messages of a channel, newest first."""
    return [message for message in reversed(state["messages"].values()) if message["channel"] == channel]


def between(state: State, one: str, other: str) -> list[Message]:
    """Return the direct messages between two agents, oldest first."""
    pairs = ((one, other), (other, one))
    return [
        message
        for message in state["messages"].values()
        if message["channel"] is None and (message["sender_id"], message["target_agent_id"]) in pairs
    ]


def page(messages: list[Message], offset: int, limit: int, with_threads: bool) -> dict[str, Any]:
    """Return a part of a list of messages as an answer shows it, and where that part lies."""
    return {
        "messages": [shown(message, with_threads) for message in messages[offset : offset + limit]],
        "total_count": len(messages),
        "offset": offset,
        "limit": limit,
        "has_more": offset + limit < len(messages),
    }


def shown(message: Message, with_threads: bool = True) -> dict[str, Any]:
    """Return a message as an answer shows it: reactions counted, its place in a thread named."""
    in_thread = with_threads and message["thread_id"] is not None
    return {
        **{key: value for key, value in message.items() if key != "thread_id"},
        "reactions": {kind: len(agents) for kind, agents in message["reactions"].items()},
        "thread_info": _thread_info(message) if in_thread else None,
    }


def _thread_info(message: Message) -> dict[str, Any]:
    return {
        "thread_id": message["thread_id"],
        "is_root": message["thread_id"] == message["message_id"],
        "thread_level": message["thread_level"],
    }


def as_payload(message: Message) -> dict[str, Any]:
    """Return a message as a notification carries it: only what is set, under OpenAgents' names."""
    left_out = ("reactions", "thread_id")
    facts = {key: value for key, value in message.items() if value is not None and key not in left_out}
    return facts | {"original_event_id": message["message_id"]}


def others(agents: Iterable[str], sender: str) -> list[str]:
    """Return each of `agents` once, in order, without the sender."""
    return [agent for agent in dict.fromkeys(agents) if agent != sender]
