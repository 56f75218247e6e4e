"""Checks a mod's configuration against the JSON Schema that its manifest declares, as far as that is known here.

Known are the words of `_RULES`, local `$ref`, and the combinations. A word that is not known, or whose value has a form
that JSON Schema does not give it, restricts nothing; `unchecked` names it, so that nothing is believed to be checked
that is not. The sentences are those of `typed`, where pydantic checks.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isclose
from typing import Any

from devserver.config.typed import Loc, Misfit, described, key_misfit, named

Schema = Mapping[str, Any]

_DEEPEST = 50
"""References that lead further than this lead in a circle."""

_ARTICLES = {
    "string": "a text", "number": "a number", "integer": "a whole number", "boolean": "true or false",
    "array": "a list", "object": "an object", "null": "null",
}  # fmt: skip


def misfits_of(schema: Schema, values: Any) -> tuple[Misfit, ...]:
    """Return what in `values` the schema refuses, each with where it is."""
    return tuple(_Check(schema).against(schema, values, ()))


def unchecked(schema: Schema) -> tuple[str, ...]:
    """Return, sorted, the words of a schema that restrict nothing here, though perhaps elsewhere."""
    return tuple(sorted(set(_unchecked(schema, schema, 0))))


def _unchecked(root: Schema, schema: Any, depth: int) -> Iterator[str]:
    if not isinstance(schema, Mapping) or depth > _DEEPEST:
        return
    for word, value in schema.items():
        if word in _SAYS_NOTHING:
            continue
        rule = _RULES.get(word)
        is_known = rule.takes(value) if rule is not None else word in _PARTS and _has_parts(word, value)
        if word == "$ref":
            is_known = _target(root, value) is not None
        if not is_known:
            yield word
        for part in _parts(word, value):
            yield from _unchecked(root, part, depth + 1)


def _has_parts(word: str, value: Any) -> bool:
    return isinstance(value, _FORMS[_PARTS[word]]) and all(
        isinstance(each, Mapping | bool) for each in _parts(word, value)
    )


def _parts(word: str, value: Any) -> Sequence[Any]:
    """Return the schemas that a word of a schema holds."""
    form = _PARTS.get(word)
    if form is None or not isinstance(value, _FORMS[form]):
        return ()
    return tuple(value.values()) if form == "by name" else value if form == "list" else (value,)


_PARTS: Mapping[str, str] = {
    **dict.fromkeys(("properties", "patternProperties", "$defs", "definitions"), "by name"),
    **dict.fromkeys(("allOf", "anyOf", "oneOf"), "list"),
    **dict.fromkeys(("items", "additionalProperties", "not"), "schema"),
}
"""How a word holds schemas: one, a list of them, or several by their names."""
_FORMS: Mapping[str, Any] = {"by name": (Mapping,), "list": (list,), "schema": (Mapping, bool)}

_SAYS_NOTHING = frozenset(
    ("$schema", "$id", "$comment", "title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly")
)


@dataclass(frozen=True, slots=True)
class _Rule:
    """One word of a schema that looks at one value.

    Attributes:
        takes: whether the word has the form that JSON Schema gives it.
        about: the types of the values that it is about; others fit.
        holds: whether a value fits; given the word's own value first.
        words: what a value must be.
    """

    takes: Callable[[Any], bool]
    about: tuple[type, ...]
    holds: Callable[[Any, Any], bool]
    words: Callable[[Any], str]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_count(value: Any) -> bool:
    return _is_number(value) and value >= 0 and value == int(value)


def _is_pattern(value: Any) -> bool:
    try:
        return isinstance(value, str) and bool(re.compile(value))
    except re.error:
        return False


def _is_type(value: Any) -> bool:
    kinds = value if isinstance(value, list) else [value]
    return bool(kinds) and all(isinstance(each, str) and each in _ARTICLES for each in kinds)


def _has_type(kinds: Any, value: Any) -> bool:
    return any(_IS[each](value) for each in (kinds if isinstance(kinds, list) else [kinds]))


_IS: Mapping[str, Callable[[Any], bool]] = {
    "string": lambda value: isinstance(value, str),
    "number": _is_number,
    "integer": lambda value: _is_number(value) and float(value).is_integer(),
    "boolean": lambda value: isinstance(value, bool),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, Mapping),
    "null": lambda value: value is None,
}


def _same(one: Any, other: Any) -> bool:
    """Return whether two values are the same in JSON: there 1 is 1.0, and true is not 1."""
    return _json(_plain(one)) == _json(_plain(other))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)


_ANY = (object,)
_NUMBERS = (int, float)

_RULES: Mapping[str, _Rule] = {
    "type": _Rule(
        _is_type,
        _ANY,
        _has_type,
        lambda kinds: " or ".join(_ARTICLES[each] for each in (kinds if isinstance(kinds, list) else [kinds])),
    ),
    "enum": _Rule(
        lambda value: isinstance(value, list) and bool(value),
        _ANY,
        lambda choices, value: any(_same(each, value) for each in choices),
        lambda choices: f"one of {', '.join(map(_json, choices))}",
    ),
    "const": _Rule(lambda value: True, _ANY, _same, _json),
    "minimum": _Rule(_is_number, _NUMBERS, lambda least, value: value >= least, lambda least: f"at least {least}"),
    "maximum": _Rule(_is_number, _NUMBERS, lambda most, value: value <= most, lambda most: f"at most {most}"),
    "exclusiveMinimum": _Rule(_is_number, _NUMBERS, lambda least, value: value > least, lambda least: f"above {least}"),
    "exclusiveMaximum": _Rule(_is_number, _NUMBERS, lambda most, value: value < most, lambda most: f"below {most}"),
    "multipleOf": _Rule(
        lambda value: _is_number(value) and value > 0,
        _NUMBERS,
        lambda of, value: isclose(value / of, round(value / of), rel_tol=1e-12, abs_tol=1e-12),
        lambda of: f"a multiple of {of}",
    ),
    "minLength": _Rule(
        _is_count, (str,), lambda least, value: len(value) >= least, lambda n: f"a text of at least {n} characters"
    ),
    "maxLength": _Rule(
        _is_count, (str,), lambda most, value: len(value) <= most, lambda n: f"a text of at most {n} characters"
    ),
    "pattern": _Rule(
        _is_pattern,
        (str,),
        lambda pattern, value: re.search(pattern, value) is not None,
        lambda pattern: f"a text that matches {pattern}",
    ),
    "minItems": _Rule(
        _is_count, (list,), lambda least, value: len(value) >= least, lambda n: f"a list of at least {n} entries"
    ),
    "maxItems": _Rule(
        _is_count, (list,), lambda most, value: len(value) <= most, lambda n: f"a list of at most {n} entries"
    ),
    "uniqueItems": _Rule(
        lambda value: isinstance(value, bool),
        (list,),
        lambda unique, value: not unique or len({_json(_plain(each)) for each in value}) == len(value),
        lambda unique: "a list without repetition",
    ),
    "required": _Rule(
        lambda value: isinstance(value, list) and all(isinstance(each, str) for each in value),
        (),  # each missing key has a sentence of its own
        lambda keys, value: True,
        lambda keys: "",
    ),
}


def _target(root: Schema, reference: Any) -> Any:
    """Return what a reference such as `#/$defs/board` leads to in its schema; None for others."""
    if not isinstance(reference, str) or not (reference == "#" or reference.startswith("#/")):
        return None
    found: Any = root
    for step in reference[2:].split("/") if reference != "#" else ():
        step = step.replace("~1", "/").replace("~0", "~")
        if not isinstance(found, Mapping) or step not in found:
            return None
        found = found[step]
    return found if isinstance(found, Mapping | bool) else None


class _Check:
    """One schema against one configuration; references are looked up in the whole schema."""

    def __init__(self, root: Schema) -> None:
        self._root = root

    def against(self, schema: Any, value: Any, loc: Loc, depth: int = 0) -> Iterator[Misfit]:
        """Yield what is wrong with one value, and with what it holds."""
        if schema is False:
            yield Misfit(loc, "false", f"{_this(loc)} is not allowed")
        if not isinstance(schema, Mapping) or depth > _DEEPEST:
            return
        target = _target(self._root, schema.get("$ref"))
        if target is not None:
            yield from self.against(target, value, loc, depth + 1)
        wrong = next((word for word in _RULES if word in schema and not _fits(word, schema[word], value)), None)
        if wrong is not None:
            yield Misfit(loc, wrong, _sentence(loc, _RULES[wrong].words(schema[wrong]), value, wrong))
        if wrong == "type":
            return
        yield from self._combined(schema, value, loc, depth + 1)
        if isinstance(value, Mapping):
            yield from self._object(schema, value, loc, depth + 1)
        elif isinstance(value, list):
            for number, each in enumerate(value):
                yield from self.against(schema.get("items"), each, (*loc, number), depth + 1)

    def _object(self, schema: Schema, value: Mapping[str, Any], loc: Loc, depth: int) -> Iterator[Misfit]:
        properties, required = schema.get("properties"), schema.get("required")
        properties = properties if isinstance(properties, Mapping) else {}
        by_pattern = schema.get("patternProperties")
        by_pattern = by_pattern if isinstance(by_pattern, Mapping) else {}
        if required and _RULES["required"].takes(required):
            for key in required:
                if key not in value:
                    yield Misfit((*loc, key), "missing", f"{named((*loc, key))} is missing")
        for key, each in value.items():
            schemas = [properties[key]] if key in properties else []
            matching = (each for each in by_pattern if _is_pattern(each) and re.search(each, str(key)))
            schemas += [by_pattern[pattern] for pattern in matching]
            if not schemas and schema.get("additionalProperties") is False:
                yield key_misfit((*loc, key), properties)
            for part in schemas or [schema.get("additionalProperties")]:
                yield from self.against(part, each, (*loc, key), depth)

    def _combined(self, schema: Schema, value: Any, loc: Loc, depth: int) -> Iterator[Misfit]:
        for part in _parts("allOf", schema.get("allOf")):
            yield from self.against(part, value, loc, depth)
        for word in ("anyOf", "oneOf"):
            found = [tuple(self.against(part, value, loc, depth)) for part in _parts(word, schema.get(word))]
            fitting = found.count(())
            if found and not fitting:
                # The nearest of them says most: one that takes the type of the value, and refuses least.
                yield from min(found, key=lambda each: (("type", loc) in {(m.kind, m.loc) for m in each}, len(each)))
            elif word == "oneOf" and fitting > 1:
                yield Misfit(loc, word, f"{_this(loc)} fits {fitting} of the forms of which exactly one is meant")
        barred = schema.get("not")
        if isinstance(barred, Mapping | bool) and not any(self.against(barred, value, loc, depth)):
            yield Misfit(loc, "not", f"{_this(loc)} has a form that is not allowed")


def _fits(word: str, wanted: Any, value: Any) -> bool:
    rule = _RULES[word]
    if not rule.takes(wanted) or not isinstance(value, rule.about):
        return True
    if rule.about is _NUMBERS and isinstance(value, bool):
        return True
    return rule.holds(wanted, value)


def _sentence(loc: Loc, wanted: str, value: Any, word: str) -> str:
    if word in ("minLength", "maxLength", "minItems", "maxItems"):
        return f"{_this(loc)} must be {wanted}, not one of {len(value)}"
    kind = "string_pattern_mismatch" if word == "pattern" else word
    return f"{_this(loc)} must be {wanted}, not {described(loc, value, kind)}"


def _this(loc: Loc) -> str:
    return named(loc) if loc else "this"
