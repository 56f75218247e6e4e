"""The JSON Schema of a manifest refuses what does not fit, and says of each word whether it is checked."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest

from devserver.config.json_schema import misfits_of, unchecked

BOARD: dict[str, Any] = {
    "type": "object",
    "properties": {
        "most": {"type": "integer", "minimum": 1, "maximum": 9},
        "name": {"type": "string", "minLength": 2, "pattern": "^[a-z]+$"},
        "kind": {"enum": ["a", 1, True]},
        "rows": {"type": "array", "items": {"$ref": "#/$defs/row"}, "maxItems": 2, "uniqueItems": True},
        "size": {"anyOf": [{"type": "null"}, {"type": "number", "exclusiveMinimum": 0, "multipleOf": 0.5}]},
        "token": {"type": ["string", "null"], "maxLength": 3, "pattern": "^x"},
        "one": {"oneOf": [{"type": "number"}, {"minimum": 3}]},
        "never": {"not": {"type": "string"}},
        "closed": {
            "additionalProperties": False,
            "properties": {"colour": {}},
            "patternProperties": {"^x": {"type": "null"}},
        },
    },
    "required": ["most"],
    "$defs": {"row": {"type": "object", "required": ["id"], "additionalProperties": {"type": "boolean"}}},
}

FIT: list[dict[str, Any]] = [
    {"most": 1},
    {"most": 2.0, "name": "ab", "kind": 1.0, "rows": [{"id": True}], "size": None, "token": "xy"},
    {"most": 9, "size": 1.5, "one": 1, "never": 1, "closed": {"colour": 1, "x1": None}, "more": "free"},
]

DO_NOT_FIT: list[tuple[dict[str, Any], str]] = [
    ({}, '"most" is missing'),
    ({"most": "3"}, '"most" must be a whole number, not "3"'),
    ({"most": True}, '"most" must be a whole number, not true'),
    ({"most": 10}, '"most" must be at most 9, not 10'),
    ({"most": 1, "name": "x"}, '"name" must be a text of at least 2 characters, not one of 1'),
    ({"most": 1, "name": "X1"}, '"name" must be a text that matches ^[a-z]+$, not "X1"'),
    ({"most": 1, "kind": 2}, '"kind" must be one of "a", 1, true, not 2'),
    ({"most": 1, "rows": [{}]}, '"rows[0].id" is missing'),
    ({"most": 1, "rows": [{"id": 1}]}, '"rows[0].id" must be true or false, not 1'),
    ({"most": 1, "rows": [{"id": True}, {"id": True}]}, '"rows" must be a list without repetition, not a list'),
    ({"most": 1, "rows": [{"id": False}, {"id": True}, {"id": True, "b": True}]}, '"rows" must be a list of at most 2'),
    ({"most": 1, "size": 0}, '"size" must be above 0, not 0'),
    ({"most": 1, "size": 0.35}, '"size" must be a multiple of 0.5, not 0.35'),
    ({"most": 1, "token": "y"}, '"token" must be a text that matches ^x, not this one'),
    ({"most": 1, "one": 4}, '"one" fits 2 of the forms'),
    ({"most": 1, "never": "a"}, '"never" has a form that is not allowed'),
    ({"most": 1, "closed": {"color": 1}}, 'unknown key "closed.color"'),
    ({"most": 1, "closed": {"x1": 1}}, '"closed.x1" must be null, not 1'),
]


@pytest.mark.parametrize("values", FIT)
def test_what_fits_passes(values: dict[str, Any]) -> None:
    """As the package jsonschema agrees."""
    jsonschema.validate(values, BOARD)
    assert misfits_of(BOARD, values) == ()


@pytest.mark.parametrize(("values", "says"), DO_NOT_FIT)
def test_each_misfit_is_one_sentence_with_its_place(values: dict[str, Any], says: str) -> None:
    """And jsonschema refuses the same values."""
    assert not jsonschema.Draft202012Validator(BOARD).is_valid(values)
    [misfit, *_] = misfits_of(BOARD, values)
    assert misfit.sentence.startswith(says)


def test_words_that_are_not_known_are_named_and_restrict_nothing() -> None:
    """So are known words in a form that JSON Schema does not give them, and references that lead outside."""
    schema = {
        "properties": {"a": {"format": "email", "minimum": "3", "type": "text"}, "b": {"$ref": "other.json"}},
        "if": {},
        "pattern": "(",
        "anyOf": {},
        "title": "Board",
    }
    assert unchecked(schema) == ("$ref", "anyOf", "format", "if", "minimum", "pattern", "type")
    assert misfits_of(schema, {"a": 1, "b": "x"}) == ()
    assert unchecked(BOARD) == ()


def test_references_in_a_circle_end() -> None:
    """A tree refers to itself; a schema that refers to nothing but itself checks nothing."""
    tree = {
        "$ref": "#/$defs/node",
        "$defs": {"node": {"type": "object", "properties": {"left": {"$ref": "#/$defs/node"}}}},
    }
    assert [each.loc for each in misfits_of(tree, {"left": {"left": 3}})] == [("left", "left")]
    assert misfits_of({"$ref": "#"}, {}) == ()
