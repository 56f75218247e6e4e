"""Any values as JSON bytes: one bad value of a mod must cost only itself.

What is kept for agents is kept as these bytes: their length is the memory that they take.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import orjson

_DEPTH = 100
_MOST_BITS = 14_000
"""Integers with more bits may have over 4,300 digits, which Python refuses to write."""


def to_json(value: Any) -> bytes:
    """Write `value` as JSON in UTF-8. Never raises.

    Values without a form in JSON become text; NaN and infinity become null. A value that cannot
    become text either, such as an integer of 5,000 digits, becomes a sentence that says so.
    """
    try:
        # A copy: orjson's result keeps the buffer that it was written into, 4 KiB and more.
        return bytes(memoryview(orjson.dumps(value, default=_other)))
    except TypeError:
        # Odd keys, numbers beyond 64 bit, lone surrogates, depth or a circle: rare, so slow is fine.
        try:
            return json.dumps(_plain(value, _DEPTH)).encode()
        except Exception as error:
            # The mod may change the value on its own thread meanwhile.
            return json.dumps(_unwritten(value, error)).encode()


def from_json(raw: bytes) -> Any:
    """Read the output of `to_json`; also integers and surrogates that orjson refuses."""
    try:
        return orjson.loads(raw)
    except ValueError:
        return json.loads(raw)


def _plain(value: Any, depth: int) -> Any:
    if isinstance(value, int) and not isinstance(value, bool):
        return value if value.bit_length() <= _MOST_BITS else f"<an integer of {value.bit_length()} bits>"
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if depth and isinstance(value, Mapping):
        return {as_text(key): _plain(each, depth - 1) for key, each in list(value.items())}
    if depth and isinstance(value, list | tuple | set | frozenset):
        return [_plain(each, depth - 1) for each in list(value)]
    return as_text(value) if depth else "…"


def _other(value: object) -> Any:
    return list(value) if isinstance(value, set | frozenset) else as_text(value)


def as_text(value: object) -> str:
    """Write a value as `str` does; if that fails, a sentence that says so."""
    try:
        return str(value)
    except Exception as error:
        # The __str__ of a mod's own class may fail: say that it did.
        return _unwritten(value, error)


def _unwritten(value: object, error: Exception) -> str:
    return f"<{type(value).__name__}: {type(error).__name__}>"
