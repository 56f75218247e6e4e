"""Strict reading: what is JSON here, and that writing never fails."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devserver.model.encoding import to_json
from devserver.transports.strict import Malformed, parse_object, parse_query


def test_an_object_is_read_as_it_is():
    """Text, numbers and nesting."""
    value = {"a": [1, 2.5, None, True, {"b": "ü: {[\\u00e9"}], "c": {"": 10**30}}
    assert parse_object(json.dumps(value).encode()) == value


@pytest.mark.parametrize("number", [2**63, -(2**64) - 1, 10**30 + 1])
def test_a_long_number_is_read_exactly(number: int):
    """Also in an object that gives no other reason to read it with care."""
    assert parse_object(b'{"n":%d}' % number) == {"n": number}


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"", "bad_json"),
        (b"{", "bad_json"),
        (b'{"a":1,}', "bad_json"),
        (b'{"a":1} // no', "bad_json"),
        (b'{"a":1}{"a":1}', "bad_json"),
        (b"\xef\xbb\xbf{}", "bad_json"),
        ('{"a":"\xe9"}'.encode("latin-1"), "bad_json"),
        ("{}".encode("utf-16"), "bad_json"),
        (b'{"a":NaN}', "bad_json"),
        (b'{"a":-Infinity}', "bad_json"),
        (b'{"a":1e999}', "bad_json"),
        (b'{"a":"\\ud800"}', "bad_json"),
        (b"[" * 100_000, "bad_json"),
        (b'{"a":' + b"9" * 5000 + b"}", "bad_json"),
        (b"[]", "not_an_object"),
        (b"null", "not_an_object"),
        (b'"x"', "not_an_object"),
        (b"1", "not_an_object"),
        (b'{"secret":"a","secret":"b"}', "duplicate_key"),
        (b'{"x":[{"k":1,"k":1}]}', "duplicate_key"),
        (b'{"a":1,"\\u0061":2}', "duplicate_key"),
        (b'{"a":' * 64 + b"1" + b"}" * 64, None),
        (b'{"a":' * 65 + b"1" + b"}" * 65, "too_deep"),
        (b'{"a":' + b"[" * 64 + b"]" * 64 + b"}", "too_deep"),
        (b'{"a":[' + b"[]," * 100 + b"[]]}", None),
    ],
)
def test_what_is_read_is_one_unambiguous_object(raw, code):
    """Anything that two programs could read differently is refused."""
    try:
        parse_object(raw)
        found = None
    except Malformed as problem:
        assert problem.status == 400
        found = problem.code
    assert found == code


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(':,"ab1\\'),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("a:b", max_size=2), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text("k:", max_size=2), _VALUES, max_size=4), st.sampled_from([(",", ":"), (", ", ": ")]))
def test_every_object_is_read_as_json_reads_it(value, separators):
    """Numbers of any length to the last digit, whatever colons stand in its texts."""
    read = parse_object(json.dumps(value, separators=separators).encode())
    assert json.dumps(read) == json.dumps(value)


@given(st.dictionaries(st.text("k:", max_size=2), _VALUES, min_size=1, max_size=4), _VALUES)
def test_a_key_that_comes_twice_is_found_among_any_others(value, other):
    """At any place, beside texts with colons, with equal or other values."""
    key = json.dumps(next(iter(value)))
    raw = '{"x":[' + json.dumps(value)[:-1] + f", {key}: {json.dumps(other)}" + "}]}"
    with pytest.raises(Malformed) as refusal:
        parse_object(raw.encode())
    assert refusal.value.code == "duplicate_key"


def test_a_query_is_read_once():
    """Fields by name; a name that comes twice is refused."""
    assert parse_query(b"") == {}
    assert parse_query(b"agent_id=a%20b&secret=") == {"agent_id": "a b", "secret": ""}


@pytest.mark.parametrize("raw", [b"a=1&a=2", b"a=%ff", b"&".join([b"a%d=1" % n for n in range(21)]), b"a=\xff"])
def test_an_odd_query_is_refused(raw):
    """Repeats, bad encoding, too many fields."""
    with pytest.raises(Malformed):
        parse_query(raw)


class Broken:
    """A mod's own class, badly written."""

    def __str__(self) -> str:
        raise RuntimeError("no")


def circle() -> list:
    value: list = []
    value.append(value)
    return value


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ({"a": float("nan")}, {"a": None}),
        ({"a": {1}}, {"a": [1]}),
        ({1: "x"}, {"1": "x"}),
        ({"a": 2**70}, {"a": 2**70}),
        ({"a": Broken()}, {"a": "<Broken: RuntimeError>"}),
        ({"a": {(1, 2): float("inf")}}, {"a": {"(1, 2)": None}}),
    ],
)
def test_whatever_a_mod_answers_can_be_written(value, written):
    """Odd values become text or null; they never take a batch down with them."""
    assert json.loads(to_json(value)) == written


def test_a_circle_and_a_lone_surrogate_can_be_written():
    """Cut off at a depth, and escaped."""
    assert b"\xe2\x80\xa6" in to_json(circle()) or b"\\u2026" in to_json(circle())
    assert json.loads(to_json({"a": "\ud800"})) == {"a": "\ud800"}
