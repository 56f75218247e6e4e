"""Strict reading of clients' messages: JSON objects, and queries. Pure; a refusal has a status and
a sentence.

Stricter than `json.loads`: no duplicate keys, no NaN or Infinity, no BOM, no lone surrogates,
bounded depth.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NoReturn
from urllib.parse import parse_qsl

import orjson

from devserver.model.encoding import from_json

MOST_DEPTH = 64
MOST_QUERY_FIELDS = 20

_WHOLE = 2.0**63
"""Whole numbers from here on are floats when orjson reads them."""


class Malformed(Exception):
    """A request that cannot be read. `code` is for programs, the text for people, `status` for HTTP."""

    def __init__(self, code: str, sentence: str, status: int = 400) -> None:
        super().__init__(sentence)
        self.code = code
        self.status = status


def parse_object(raw: bytes) -> dict[str, Any]:
    """Return the JSON object in `raw`. Raises Malformed."""
    try:
        # orjson refuses anything but JSON in UTF-8; if it may have kept only the last of two equal
        # keys, or a long number inexactly, json looks again.
        value = orjson.loads(raw)
        if raw.count(b":") != _keys(value):
            value = _DECODER.decode(raw.decode())
    except Malformed:
        raise
    except RecursionError as error:
        raise _too_deep() from error
    except ValueError as error:
        # Bare ValueErrors too: json raises one for a number of 5000 digits.
        raise Malformed("bad_json", f"the body is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise Malformed("not_an_object", "the body is a JSON object, and this is another kind of JSON")
    if raw.count(b"{") + raw.count(b"[") > MOST_DEPTH:
        _check_depth(value)
    return value


def parse_ours(raw: bytes) -> Any:
    """Return the JSON in `raw`, which another process of ours has written with `to_json`: no key of
    it is named twice. Raises Malformed."""
    try:
        value = from_json(raw)
    except RecursionError as error:
        raise _too_deep() from error
    except ValueError as error:
        raise Malformed("bad_json", f"the message is not JSON: {error}") from error
    if raw.count(b"{") + raw.count(b"[") > MOST_DEPTH:
        _check_depth(value)
    return value


def parse_query(raw: bytes) -> dict[str, str]:
    """Return the fields of a query string. Raises Malformed."""
    if not raw:
        return {}
    try:
        pairs = parse_qsl(
            raw.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=MOST_QUERY_FIELDS
        )
    except ValueError as error:
        raise Malformed("bad_query", "the query cannot be read") from error
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise Malformed("bad_query", "the query names a field twice")
    return fields


def _keys(value: Any) -> int | None:
    """Return how many keys a value has, at any depth: as many as its text has colons, unless its
    texts contain some.

    None if a number in it may have been read inexactly.
    """
    count, left = 0, [value]
    while left:
        each = left.pop()
        kind = type(each)
        if kind is dict:
            count += len(each)
            left += each.values()
        elif kind is list:
            left += each
        elif kind is float and abs(each) >= _WHOLE:
            return None
    return count


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in found if keys.count(key) > 1)
        raise Malformed("duplicate_key", f"the body names the key {json.dumps(twice[:80])} twice")
    return found


def _not_a_number(name: str) -> NoReturn:
    raise Malformed("bad_json", f"{name} is not JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_without_duplicates, parse_constant=_not_a_number)


def _check_depth(value: Any) -> None:
    level: list[Any] = [value]
    for _ in range(MOST_DEPTH):
        level = [child for each in level for child in _children(each)]
        if not level:
            return
    raise _too_deep()


def _children(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        return iter([each for each in value.values() if isinstance(each, dict | list)])
    return iter([each for each in value if isinstance(each, dict | list)])


def _too_deep() -> Malformed:
    return Malformed("too_deep", f"the body is nested deeper than {MOST_DEPTH} levels")
