"""Events and answers as JSON, to be taken over by another process; agents get them as JSON in any case.

What JSON has no form for becomes text, as it would on its way to an agent.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import orjson

from devserver.model.event import Event


def to_json(values: Mapping[str, Any]) -> bytes:
    """Values as JSON. Never fails: what has no form becomes text."""
    try:
        return orjson.dumps(values, default=_other)
    except TypeError:
        # Odd keys, numbers beyond 64 bit, lone surrogates: rare, so slow is fine.
        return json.dumps(_with_text_keys(values, depth=64), default=_other).encode()


def _with_text_keys(value: Any, depth: int) -> Any:
    if isinstance(value, Mapping) and depth:
        return {str(key): _with_text_keys(each, depth - 1) for key, each in value.items()}
    if isinstance(value, list | tuple) and depth:
        return [_with_text_keys(each, depth - 1) for each in value]
    return value if depth else str(value)


def _other(value: object) -> Any:
    return list(value) if isinstance(value, set | frozenset) else str(value)


def event_to_json(event: Event) -> bytes:
    """An event as receivers get it."""
    return to_json(event.to_dict())


def event_from_json(text: bytes) -> Event:
    """The event again."""
    return Event.from_dict(json.loads(text))
