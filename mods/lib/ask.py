"""Asking and answering: read a caller's payload, refuse with a sentence, answer with data.

A payload comes from a stranger and may hold any JSON under any key. Nothing here raises anything but `Refused` for
that, and `answers` turns a `Refused` into the answer that the caller gets. Keeps no state.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

from devserver import Event, EventResponse

NAME_LIMIT = 200
"""Characters in an id, a name or a path."""

_Handler = TypeVar("_Handler", bound=Callable[..., Any])


class Refused(Exception):
    """What a caller asked for cannot be done. Its text is the sentence, `data` the facts that the caller gets."""

    def __init__(self, sentence: str, **data: Any) -> None:
        super().__init__(sentence)
        self.data = data

    def answer(self) -> EventResponse:
        """The refusal as an answer; `data["error"]` repeats the sentence, as OpenAgents' own mods do."""
        return EventResponse(success=False, message=str(self), data={"error": str(self), **self.data})


def answers(handler: _Handler) -> _Handler:
    """Let a handler, sync or async, raise `Refused` instead of building the answer itself."""

    @wraps(handler)
    def answer(mod: Any, event: Event) -> Any:
        try:
            return handler(mod, event)
        except Refused as refused:
            return refused.answer()

    @wraps(handler)
    async def answer_later(mod: Any, event: Event) -> Any:
        try:
            return await handler(mod, event)
        except Refused as refused:
            return refused.answer()

    return cast(_Handler, answer_later if inspect.iscoroutinefunction(handler) else answer)


def done(message: str, **data: Any) -> EventResponse:
    """The answer to something that succeeded."""
    return EventResponse(success=True, message=message, data=data)


def sender_of(event: Event) -> str:
    """Who sent an event: an agent's bare id, or `role:id` for anything else."""
    source = event.source
    return source.id if source.role == "agent" else str(source)


def request_id(event: Event) -> str:
    """What the caller recognises the answer by: its own `request_id`, otherwise the event's id."""
    given = event.payload.get("request_id")
    return given if isinstance(given, str) and given else event.event_id


def text(event: Event, key: str, longest: int = NAME_LIMIT) -> str:
    """The text under `key`, which has to be there and not blank. `longest` is in characters."""
    value = optional_text(event, key, longest)
    if value is None or not value.strip():
        raise Refused(f"{event.event_name} needs {key!r}: a text that is not blank")
    return value


def optional_text(event: Event, key: str, longest: int = NAME_LIMIT) -> str | None:
    """The text under `key`, or None where there is none."""
    value = event.payload.get(key)
    if value is None:
        return None
    if not isinstance(value, str):
        raise Refused(f"{key!r} is a text, not {_kind(value)}")
    if len(value) > longest:
        raise Refused(f"{key!r} has at most {longest} characters, this one has {len(value)}")
    return value


def texts(event: Event, key: str, most: int) -> list[str]:
    """The list of at most `most` texts under `key`; no list where there is none. Repetitions are dropped."""
    value = event.payload.get(key)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(each, str) and len(each) <= NAME_LIMIT for each in value):
        raise Refused(f"{key!r} is a list of texts of at most {NAME_LIMIT} characters")
    if len(value) > most:
        raise Refused(f"{key!r} has at most {most} entries, this one has {len(value)}")
    return list(dict.fromkeys(value))


def whole(event: Event, key: str, default: int, low: int, high: int) -> int:
    """The whole number from `low` to `high` under `key`, or `default` where there is none."""
    value = optional_whole(event, key, low, high)
    return default if value is None else value


def needed_whole(event: Event, key: str, low: int, high: int) -> int:
    """The whole number from `low` to `high` under `key`, which has to be there."""
    value = optional_whole(event, key, low, high)
    if value is None:
        raise Refused(f"{event.event_name} needs {key!r}: a whole number from {low} to {high}")
    return value


def optional_whole(event: Event, key: str, low: int, high: int) -> int | None:
    """The whole number from `low` to `high` under `key`, or None where there is none."""
    value = event.payload.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise Refused(f"{key!r} is a whole number, not {_kind(value)}")
    if not low <= value <= high:
        raise Refused(f"{key!r} is from {low} to {high}")
    return value


def yes(event: Event, key: str, default: bool) -> bool:
    """The true or false under `key`, or `default` where there is none."""
    value = event.payload.get(key, default)
    if not isinstance(value, bool):
        raise Refused(f"{key!r} is true or false, not {_kind(value)}")
    return value


_KINDS = {
    type(None): "null",
    bool: "true or false",
    int: "a number",
    float: "a number",
    list: "a list",
    dict: "an object",
    str: "a text",
}


def _kind(value: object) -> str:
    return _KINDS.get(type(value), type(value).__name__)
