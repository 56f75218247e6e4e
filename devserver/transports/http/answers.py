"""Answers as JSON bytes, whatever the values in them are: one bad value of a mod must not lose a batch of events.

Writes and checks nothing else; what may be answered is decided elsewhere.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from devserver.model.event import Event

JSON = b"application/json"
_DEPTH = 100


@dataclass(frozen=True, slots=True)
class Answer:
    """What is answered over HTTP: bytes, a status, and headers besides those that every answer has."""

    body: bytes
    status: int = 200
    headers: tuple[tuple[bytes, bytes], ...] = ()
    content_type: bytes = JSON


def told(values: Mapping[str, Any], status: int = 200, headers: tuple[tuple[bytes, bytes], ...] = ()) -> Answer:
    """An answer that is a JSON object."""
    return Answer(to_json(values), status, headers)


def refused(code: str, sentence: str, status: int, headers: tuple[tuple[bytes, bytes], ...] = ()) -> Answer:
    """An error in the form of OpenAgents (`error_message`), with a code for programs."""
    values = {"success": False, "code": code, "message": sentence, "error_message": sentence}
    return told(values, status, headers)


def to_json(value: Any) -> bytes:
    """`value` as JSON in UTF-8. Never fails: what JSON has no form for becomes text, NaN and infinity null."""
    try:
        return orjson.dumps(value, default=_other)
    except TypeError:
        # Odd keys, numbers beyond 64 bit, lone surrogates, depth or a circle: rare, so slow is fine.
        return json.dumps(_plain(value, _DEPTH)).encode()


def events_to_json(events: Iterable[Event]) -> bytes:
    """A JSON list of events as receivers get them."""
    return b"[" + b",".join(to_json(event.to_dict()) for event in events) + b"]"


def _plain(value: Any, depth: int) -> Any:
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if depth and isinstance(value, Mapping):
        return {_text(key): _plain(each, depth - 1) for key, each in value.items()}
    if depth and isinstance(value, list | tuple | set | frozenset):
        return [_plain(each, depth - 1) for each in value]
    return _text(value) if depth else "…"


def _other(value: object) -> Any:
    return list(value) if isinstance(value, set | frozenset) else _text(value)


def _text(value: object) -> str:
    try:
        return str(value)
    except Exception as error:
        # The __str__ of a mod's own class may fail; that it did is then what there is to say.
        return f"<{type(value).__name__}: {type(error).__name__}>"
