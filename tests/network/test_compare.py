"""Two values and what differs between them."""

from __future__ import annotations

import math
from typing import Any

import pytest

from devserver.network.compare import ABSENT, MOST, Skip, compare, noise, path_of, shape

NOTHING = Skip()


def found(before: Any, after: Any, skip: Skip = NOTHING) -> list[tuple[str, Any, Any]]:
    return [(each.path, each.before, each.after) for each in compare(before, after, skip)]


def test_equal_values_have_no_difference():
    """Whatever they hold."""
    value = {"a": [1, 2.5, None, True, "x"], "b": {"c": {}}}
    assert found(value, {"b": {"c": {}}, "a": [1, 2.5, None, True, "x"]}) == []


@pytest.mark.parametrize(
    ("before", "after", "path"),
    [
        ({"data": {"version": 8}}, {"data": {"version": "8"}}, "data.version"),
        ({"a": 1}, {"a": True}, "a"),
        ({"a": 1}, {"a": 1.0}, "a"),
        ({"a": None}, {"a": {}}, "a"),
        ({"a": []}, {"a": {}}, "a"),
        ([{"x": 1}, {"x": 2}], [{"x": 1}, {"x": 3}], "[1].x"),
        ({"a b": 1}, {"a b": 2}, '["a b"]'),
        ({"pages": {"home.md": 1}}, {"pages": {"home.md": 2}}, 'pages["home.md"]'),
        ({"a": {3: "x"}}, {"a": {3: "y"}}, "a[3]"),
    ],
)
def test_a_difference_is_named_at_its_path(before, after, path):
    """A change of type is a difference as well as one of value."""
    assert [each.path for each in compare(before, after)] == [path]


def test_what_one_side_lacks_is_absent_there():
    """A key that came and one that went are two differences, in the order of the first value."""
    assert found({"a": 1, "b": 2}, {"b": 2, "c": 3}) == [("a", 1, ABSENT), ("c", ABSENT, 3)]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ([1, 2, 3], [1, 9, 2, 3], [("[1]", ABSENT, 9)]),
        ([1, 2, 3], [1, 3], [("[1]", 2, ABSENT)]),
        ([1, 2], [1, 2, 3], [("[2]", ABSENT, 3)]),
        ([1, 2, 3], [3, 2, 1], [("[0]", 1, 3), ("[2]", 3, 1)]),
        ([], [1], [("[0]", ABSENT, 1)]),
        ([5, 5], [5, 5, 5], [("[2]", ABSENT, 5)]),
    ],
)
def test_one_more_item_is_one_difference(before, after, expected):
    """Lists of different lengths are laid against each other at both ends first."""
    assert found(before, after) == expected


def test_not_a_number_equals_itself():
    """A state that holds NaN is the same in each run."""
    assert found({"a": math.nan}, {"a": math.nan}) == []


def test_a_pattern_is_skipped_with_all_below_it():
    """Also a path names one item of a list."""
    before = {"rows": [{"id": 1, "x": {"y": 1}}, {"id": 2, "x": {"y": 2}}]}
    after = {"rows": [{"id": 8, "x": {"y": 9}}, {"id": 9, "x": {"y": 9}}]}
    assert found(before, after, Skip(frozenset({"rows[].id", "rows[].x"}))) == []
    one_of_them = Skip(frozenset({"rows[].id", "rows[0].x"}))
    assert [each.path for each in compare(before, after, one_of_them)] == ["rows[1].x.y"]


NOW = 1_795_974_393.25


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("6f1c0a52-8f0e-4f0c-9d7e-0d0f3c1c2b3a", "11111111-8f0e-4f0c-9d7e-0d0f3c1c2b3a"),
        ("0123456789abcdef0123", "fedcba98765432100123"),
        ("2026-11-29T10:14:33Z", "2026-11-29T10:14:35.120+00:00"),
        (NOW, NOW + 61),
        (int(NOW * 1000), int((NOW + 61) * 1000)),
    ],
)
def test_ids_and_times_that_each_run_makes_count_as_equal(before, after):
    """But only where it is said when each of the two ran."""
    assert found({"a": before}, {"a": after}, Skip(times=(NOW, NOW + 60))) == []
    assert len(found({"a": before}, {"a": after})) == 1


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("6f1c0a52-8f0e-4f0c-9d7e-0d0f3c1c2b3a", "none"),
        ("6f1c0a52-8f0e-4f0c-9d7e-0d0f3c1c2b3a", "0123456789abcdef0123"),
        ("aaaaaaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbbbbbb"),
        (NOW, NOW - 3600),
        (NOW, str(NOW)),
        ("2026-11-29T10:14:33Z", "2026-99-99T10:14:33Z"),
        (3, 4),
    ],
)
def test_an_id_and_something_else_differ(before, after):
    """Both sides have to be of one kind."""
    assert len(found({"a": before}, {"a": after}, Skip(times=(NOW, NOW + 60)))) == 1


def test_noise_is_what_two_runs_of_the_same_code_disagree_on():
    """Each place of a list stands for all places of it."""
    one = {"answer": {"id": "x1", "n": 1}, "sends": [{"id": "a", "to": "ana"}, {"id": "b", "to": "ana"}]}
    two = {"answer": {"id": "x2", "n": 1}, "sends": [{"id": "c", "to": "ana"}, {"id": "d", "to": "ana"}]}
    assert noise(one, two) == {"answer.id", "sends[].id"}


def test_a_mapping_with_noisy_keys_is_compared_by_number_and_shape():
    """State that is keyed by a random id."""
    one = {"projects": {"u-1": {"name": "a", "tasks": []}}}
    two = {"projects": {"u-2": {"name": "a", "tasks": []}}}
    skip = Skip(noise(one, two))
    assert skip.patterns == {"projects{}"}
    assert found(one, {"projects": {"u-3": {"name": "b", "tasks": []}}}, skip) == []
    assert [each.path for each in compare(one, {"projects": {"u-3": {"name": 5, "tasks": []}}}, skip)] == ["projects{}"]
    assert found(one, {"projects": {}}, skip) == [("projects{}", 1, 0)]


def test_keys_of_a_quoted_name_are_noise_of_the_mapping_that_holds_them():
    """Whatever characters a key has."""
    assert noise({"a": {'x "1"': 1}}, {"a": {'x "2"': 1}}) == {"a{}"}
    assert noise({"x.1": 1}, {"x.2": 1}) == {"{}"}


def test_a_key_that_only_one_run_has_is_noise_by_itself():
    """The rest of its mapping is still compared."""
    skip = Skip(noise({"a": {"b": 1}}, {"a": {"b": 1, "hint": "x"}}))
    assert skip.patterns == {"a.hint"}
    assert [each.path for each in compare({"a": {"b": 1}}, {"a": {"b": 2}}, skip)] == ["a.b"]


def test_no_more_than_some_differences_are_looked_for():
    """Two large values that have nothing in common."""
    assert len(compare(list(range(10_000)), list(range(1, 10_001)))) == MOST


def test_depth_and_circles_do_not_end_the_walk():
    """State of a mod may hold itself."""
    one: list[Any] = []
    one.append(one)
    two: list[Any] = []
    two.append(two)
    assert len(compare(one, two)) <= 1
    deep: Any = 1
    other: Any = 2
    for _ in range(5000):
        deep, other = [deep], [other]
    assert len(compare(deep, other)) <= 1


class _Odd:
    def __eq__(self, other: object) -> bool:
        raise RuntimeError("no")

    __hash__ = None  # type: ignore[assignment]


def test_an_object_that_cannot_be_compared_differs():
    """The == of a mod's own class may raise."""
    assert [each.path for each in compare({"a": _Odd()}, {"a": _Odd()})] == ["a"]


def test_a_shape_says_what_a_value_is_made_of():
    """Without what it says."""
    assert shape({"head": 6, "versions": ["a", "b"], "by": None}) == "{head: int, versions: [str], by: NoneType}"


def test_a_path_is_written_as_people_read_it():
    """Keys by dots, places in brackets, other keys in quotes."""
    assert path_of(("pages", "home", "versions", 3, 'a "b"')) == 'pages.home.versions[3]["a \\"b\\""]'
