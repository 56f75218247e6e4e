"""State as JSON with tags, and back."""

from __future__ import annotations

import json
import math
import threading
from collections import Counter, OrderedDict, defaultdict, deque
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from devserver.replay.plain import NotPlain, decode, encode, shown


@pytest.mark.parametrize(
    "value",
    [
        {"a": [1, 2.5, None, True, "x", -(2**80)]},
        {"a": (1, (2, [3])), "b": {1, 2}, "c": frozenset({"x"})},
        {1: "one", (2, 3): "pair", None: "none"},
        {"$": "a key like a tag", "of": 1},
        {"a": b"\x00\xff", "b": bytearray(b"x")},
        {"a": datetime(2026, 11, 29, 10, 14, tzinfo=UTC), "b": date(2026, 1, 1), "c": time(1, 2)},
        {"a": timedelta(days=2, microseconds=5)},
        {"a": Decimal("1.10"), "b": UUID(int=5), "c": Path("/tmp/x")},
        {"a": deque([1, 2], maxlen=5), "b": OrderedDict(x=1, y=2), "c": Counter("aab")},
        {"a": math.inf, "b": -math.inf},
    ],
)
def test_what_was_written_is_read_back(value):
    """Through text, with types and all."""
    back = decode(json.loads(json.dumps(encode(value))))
    assert back == value
    assert repr(back) == repr(value)


def test_a_defaultdict_keeps_its_factory():
    """Where that is a type of Python's own."""
    back = decode(json.loads(json.dumps(encode({"a": defaultdict(list, x=[1])}))))
    back["a"]["y"].append(2)
    assert back == {"a": {"x": [1], "y": [2]}}


def test_not_a_number_is_read_back():
    """It equals nothing, so it has a test of its own."""
    assert math.isnan(decode(encode({"a": math.nan}))["a"])


class Board:
    def __init__(self) -> None:
        self.columns = ["todo"]


shared: list[int] = []
circle: dict[str, object] = {}
circle["me"] = circle


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ({"board": Board()}, "key 'board' holds test_plain.Board"),
        ({"a": {"lock": threading.Lock()}}, "key 'a' holds _thread.lock"),
        ({"one": shared, "two": shared}, "key 'two' holds one list twice"),
        ({"a": circle}, "key 'a' holds one dict twice"),
        ({"a": defaultdict(lambda: 5)}, "key 'a' holds a defaultdict with a function of its own"),
        ({"a": datetime(2026, 1, 1, tzinfo=ZoneInfo("Europe/Rome"))}, "key 'a' holds a time of zoneinfo.ZoneInfo"),
    ],
)
def test_what_could_not_be_read_back_is_refused(value, why):
    """With the key that holds it."""
    with pytest.raises(NotPlain) as raised:
        encode(value)
    assert str(raised.value) == why


def test_anything_can_be_shown():
    """An object by its class and attributes, without running code of it."""
    assert shown({"board": Board(), "one": shared, "two": shared}) == {
        "board": {"$": "object", "of": {"columns": ["todo"]}, "cls": "test_plain.Board"},
        "one": [],
        "two": [],
    }
    json.dumps(shown({"a": circle, "lock": threading.Lock()}))


@pytest.mark.parametrize(
    "form",
    [
        {"$": "no such kind", "of": 1},
        {"$": "datetime", "of": "tomorrow"},
        {"$": "defaultdict", "of": {}, "factory": "system"},
        {"$": "dict", "of": 5},
        {"$": "bytes"},
        {"$": "set", "of": [[1]]},
    ],
)
def test_another_form_is_refused(form):
    """A file that a person has edited, or a stranger has sent."""
    with pytest.raises(ValueError, match="no form of a value"):
        decode({"a": form})
