"""Events and answers in our form and in that of openagents: field names and meanings are the same.

Payload and metadata are shared and not copied: changes by a mod reach later mods and receivers, as
there.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import fields
from typing import Any

from devserver.bridge.upstream import Upstream, upstream_of
from devserver.model.event import Event, EventResponse

_FIELDS = tuple(each.name for each in fields(Event) if each.name != "secret")

_twin: ContextVar[tuple[Event, Any] | None] = ContextVar("oa_dev_bridged_event", default=None)


def twin_of(event: Event, upstream: Upstream) -> Any:
    """Return the openagents event that stands for `event`, the same one for every mod on its way.
    So changes by one mod reach later bridged mods, and, as in openagents, not the receivers."""
    known = _twin.get()
    if known is not None and known[0] is event:
        return known[1]
    twin = event_to(event, upstream)
    _twin.set((event, twin))
    return twin


def event_to(event: Event, upstream: Upstream) -> Any:
    """Return an event as openagents mods get it, unvalidated: validation would copy the payload."""
    values = {name: getattr(event, name) for name in _FIELDS}
    if event.allowed_agents is not None:
        values["allowed_agents"] = set(event.allowed_agents)
    return upstream.event.model_construct(**values)


def event_from(event: Any) -> Event:
    """Return an event that an openagents mod sends. Raises ValueError if it breaks both rules."""
    values = {name: getattr(event, name) for name in _FIELDS if hasattr(event, name)}
    values["visibility"] = getattr(event.visibility, "value", event.visibility)
    if event.allowed_agents is not None:
        values["allowed_agents"] = sorted(event.allowed_agents)
    return Event(**values)


async def process_theirs(event: Any, process: Callable[[Event], Awaitable[EventResponse]]) -> Any:
    """Send an openagents event through a network. Raises TypeError for another object."""
    upstream = upstream_of(event)
    if upstream is None:
        raise TypeError(f"an event is a devserver.Event or an openagents Event, not {type(event).__name__}")
    ours = event_from(event)
    answer = await process(ours)
    event.source_agent_group = ours.source_agent_group
    return response_to(answer, upstream)


def response_to(response: EventResponse, upstream: Upstream) -> Any:
    """Return an answer as openagents mods get it."""
    return upstream.response(**response.to_dict())


def response_from(answer: Any, upstream: Upstream) -> Any:
    """Return a mod's answer in our form. Others are passed on: any but None ends an event's way."""
    if not isinstance(answer, upstream.response):
        return answer
    return EventResponse(answer.success, answer.message or "", answer.data, answer.event_name)
