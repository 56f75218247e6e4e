"""Typed reading of a YAML tree: text, numbers, flags, lists and sections, each asked for by its key path.

A value of the wrong type is noted with its place, and a default takes its part so that reading goes on and every
problem is found. What scalars mean is YAML 1.2's core schema; where YAML 1.1 reads something else, nothing is guessed.
Knows no key by name.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

import yaml

from devserver.config.yaml_text import Source, kind
from devserver.errors import ConfigError
from devserver.model.facts import ErrorFacts, Frame

T = TypeVar("T")
Scalar = str | int | float | bool | None

MAX_PROBLEMS = 100
MAX_GUESSES = 200

_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_FLAGS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,17})")
_BASED = re.compile(r"0o[0-7]{1,20}|0x[0-9a-fA-F]{1,15}")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_ENDLESS = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_WORDS = re.compile(r"yes|Yes|YES|no|No|NO|on|On|ON|off|Off|OFF")
_NUMERALS = re.compile(r"[-+]?(?:0[0-9_]+|[0-9]{19,}|[0-9]+(?:_[0-9]+)+)")
_TRUE_WORDS = frozenset({"true", "yes", "on", "y", "1"})
_FALSE_WORDS = frozenset({"false", "no", "off", "n", "0"})
_SECRET_PATH = re.compile(r"password|secret|token|api_key", re.IGNORECASE)
_VERSION_KEY = re.compile(r"(?:.*_)?version", re.IGNORECASE)
_MERGE = "<<"


class Ambiguous(ValueError):
    """A scalar that YAML 1.1 and 1.2 read differently, or that is no finite number; the text says what to write."""


def resolve(text: str) -> Scalar:
    """What an unquoted scalar means.

    Raises Ambiguous for `yes`, `no`, `on`, `off`, for numbers with leading zeros or underscores, and for endless and
    very long ones.
    """
    if text in _NULLS:
        return None
    if text in _FLAGS:
        return _FLAGS[text]
    if _WORDS.fullmatch(text):
        raise Ambiguous("write true or false, or put it in quotes if it is a text")
    if _NUMERALS.fullmatch(text):
        raise Ambiguous("write the number plainly (no leading zero, no _, at most 18 digits), or put it in quotes")
    return _number(text)


def _number(text: str) -> str | int | float:
    if _INT.fullmatch(text):
        return int(text)
    if _BASED.fullmatch(text):
        return int(text, 0)
    if _ENDLESS.fullmatch(text):
        raise Ambiguous("write a finite number")
    if not _FLOAT.fullmatch(text):
        return text
    number = float(text)
    if math.isinf(number):
        raise Ambiguous("write a smaller number, or put it in quotes if it is a text")
    return number


def near(word: str, known: Collection[str]) -> str | None:
    """The known word that `word` was probably meant to be, if any."""
    found = difflib.get_close_matches(word, sorted(known), n=1, cutoff=0.75)
    return found[0] if found else None


def did_you_mean(word: str | None) -> str | None:
    """The hint that goes with a guess."""
    return None if word is None else f"did you mean {word!r}?"


@dataclass
class Notes:
    """What reading brings to light besides the values: problems, and keys that have no effect here."""

    source: Source
    problems: list[ErrorFacts] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)
    _guesses: int = 0

    def near(self, word: str, known: Collection[str]) -> str | None:
        """As `near`, for the first MAX_GUESSES words: a guess is slow, and more of them help nobody."""
        self._guesses += 1
        return near(word, known) if self._guesses <= MAX_GUESSES else None

    def raise_problems(self) -> None:
        """Raise ConfigError when there are problems: in the order of the file, MAX_PROBLEMS at most."""
        if not self.problems:
            return
        ordered = sorted(self.problems, key=_position)
        more = ordered[MAX_PROBLEMS:]
        if more:
            ordered[MAX_PROBLEMS:] = [ErrorFacts("ConfigError", f"and {len(more)} more problems", more[0].where)]
        raise ConfigError(tuple(ordered))


def _position(problem: ErrorFacts) -> tuple[int, int]:
    where = problem.where
    return (where.line, where.column or 0) if where else (0, 0)


class Keys(NamedTuple):
    """The keys of a section: those that are read, and those that are known but have no effect here.

    An unknown key that is close to a known one is a misspelling. Any other is unused, or in a `strict` section a
    problem.
    """

    read: frozenset[str]
    known: frozenset[str] = frozenset()
    strict: bool = False


@dataclass(frozen=True, slots=True)
class Value:
    """A node with its key path. Each reader returns the value, or notes a problem and returns `default`.

    `key` is the node of the key that it stands under, if it stands under one.
    """

    node: yaml.Node
    path: str
    notes: Notes
    key: yaml.Node | None = None

    @property
    def line(self) -> int:
        """The line it begins on, counted from 1."""
        return self.node.start_mark.line + 1

    def is_null(self) -> bool:
        """Whether it says null, or nothing at all."""
        return isinstance(self.node, yaml.ScalarNode) and not self.node.style and self.node.value in _NULLS

    def is_mapping(self) -> bool:
        """Whether it has keys of its own."""
        return isinstance(self.node, yaml.MappingNode)

    def report(self, message: str, hint: str | None = None) -> None:
        """Note a problem with this value."""
        self.notes.problems.append(self.notes.source.node_problem(message, self.node, hint))

    def report_key(self, message: str, hint: str | None = None) -> None:
        """Note a problem with the key that this value stands under."""
        self.notes.problems.append(self.notes.source.node_problem(message, self.key or self.node, hint))

    def mistyped(self, wanted: str, hint: str | None = None) -> None:
        """Note that this value is not what is `wanted`."""
        self.report(f"{self.path} is {wanted}, not {self._described()}", hint)

    def place_of(self, loc: tuple[str | int, ...], about_key: bool = False) -> Frame:
        """Return the place of the value (or key) that `loc` leads to, else of the nearest value around it."""
        value, key = self.node, self.key
        for step in loc:
            inner = _step(value, step)
            if inner is None:
                break
            key, value = inner
        where = self.notes.source.node_problem("", key if about_key and key is not None else value).where
        assert where is not None
        return where

    def text(self, default: T, *, empty: bool = False) -> str | T:
        """A text, which may be empty only with `empty`. Null will do where the default is None."""
        found = self._scalar()
        if isinstance(found, str) and (empty or found.strip()):
            return self._literal(found, default)
        if not (default is None and self.is_null()):
            self.mistyped("a text" if empty else "a text that is not empty", self._text_hint())
        return default

    def flag(self, default: bool) -> bool:
        """true or false, and no other word for it."""
        found = self._scalar()
        if isinstance(found, bool):
            return found
        self.mistyped("true or false", self._flag_hint())
        return default

    def whole(self, low: int, high: int, default: int) -> int:
        """A whole number from `low` to `high`."""
        found = self._scalar()
        if isinstance(found, int) and not isinstance(found, bool) and low <= found <= high:
            return found
        self.mistyped(f"a whole number from {low} to {high}", self._number_hint())
        return default

    def seconds(self, longest: float, default: float) -> float:
        """A time in seconds, above 0 and at most `longest`."""
        found = self._scalar()
        if isinstance(found, int | float) and not isinstance(found, bool) and 0 < found <= longest:
            return float(found)
        self.mistyped(f"a number of seconds above 0, at most {longest:g}", self._number_hint())
        return default

    def items(self) -> list[Value]:
        """The entries of a list."""
        if isinstance(self.node, yaml.SequenceNode):
            return [Value(node, f"{self.path}[{i}]", self.notes) for i, node in enumerate(self.node.value)]
        self.mistyped("a list", f"write {self.path.rpartition('.')[2]}: [] for none" if self.is_null() else None)
        return []

    def entries(self) -> dict[str, Value]:
        """The keys and values of a mapping, merges (`<<`) included. Null is a mapping without keys."""
        if isinstance(self.node, yaml.MappingNode):
            found: dict[str, Value] = {}
            for key, node in self._pairs(self.node):
                path = f"{self.path}.{key.value}" if self.path else key.value
                found.setdefault(key.value, Value(node, path, self.notes, key))
            return found
        if not self.is_null():
            self.mistyped("a mapping")
        return {}

    def free(self) -> Any:
        """Whatever stands there, as plain Python values.

        What stands under a key that is `version` or ends in `_version` stays the text that it is: 1.10 is not 1.1.
        """
        if isinstance(self.node, yaml.MappingNode):
            return {key: each.free_under(key) for key, each in self.entries().items()}
        if isinstance(self.node, yaml.SequenceNode):
            return [each.free() for each in self.items()]
        found = self._scalar(refused=True)
        return self._literal(found, "") if isinstance(found, str) else found

    def free_under(self, key: str) -> Any:
        """As `free`, for the value of `key`."""
        if _VERSION_KEY.fullmatch(key) and isinstance(self.node, yaml.ScalarNode) and not self.is_null():
            return self.node.value
        return self.free()

    def _pairs(self, mapping: yaml.MappingNode) -> Iterator[tuple[yaml.ScalarNode, yaml.Node]]:
        """Own keys first, so that they win over merged ones. Keys that are no scalars have been reported before."""
        own = [(key, node) for key, node in mapping.value if isinstance(key, yaml.ScalarNode)]
        yield from ((key, node) for key, node in own if key.value != _MERGE)
        for node in (node for key, node in own if key.value == _MERGE):
            for merged in node.value if isinstance(node, yaml.SequenceNode) else [node]:
                if isinstance(merged, yaml.MappingNode):
                    yield from self._pairs(merged)
                else:
                    self.report(f"what << merges into {self.path} is a mapping or a list of mappings")

    def _scalar(self, *, refused: bool = False) -> Scalar:
        """The scalar; None for null and for what is none. With `refused`, ambiguous ones are reported."""
        if not isinstance(self.node, yaml.ScalarNode):
            return None
        if self.node.style:
            return str(self.node.value)
        try:
            return resolve(self.node.value)
        except Ambiguous as error:
            if refused:
                self.report(f"{self.path} is {self._described()}, which YAML readers take differently", str(error))
            return None

    def _literal(self, text: str, default: T) -> str | T:
        if not (text.startswith("${") and text.endswith("}")):
            return text
        self.report(f"{self.path} names an environment variable, and those are not filled in here", "write the value")
        return default

    def _described(self) -> str:
        """What stands there, in words that tell no secret."""
        if self.is_null():
            return "null"
        if not isinstance(self.node, yaml.ScalarNode) or _SECRET_PATH.search(self.path):
            return kind(self.node)
        text = self.node.value if len(self.node.value) <= 40 else self.node.value[:40] + "…"
        return f"the text {text!r}" if self.node.style else str(text)

    def _text_hint(self) -> str | None:
        plain = isinstance(self.node, yaml.ScalarNode) and not self.node.style and not self.is_null()
        return "put it in quotes" if plain else None

    def _flag_hint(self) -> str | None:
        word = self.node.value.lower() if isinstance(self.node, yaml.ScalarNode) else ""
        if word in _TRUE_WORDS:
            return "did you mean true?"
        return "did you mean false?" if word in _FALSE_WORDS else None

    def _number_hint(self) -> str | None:
        if not isinstance(self.node, yaml.ScalarNode):
            return None
        if self.node.style and _INT.fullmatch(self.node.value):
            return f"write {self.node.value} without quotes"
        return "write it without leading zeros" if re.fullmatch(r"0[0-9]+", self.node.value) else None


def _step(node: yaml.Node, step: str | int) -> tuple[yaml.Node | None, yaml.Node] | None:
    """The key node, if it has one, and the node that one step leads to; merged keys after a mapping's own."""
    if isinstance(step, int):
        inside = isinstance(node, yaml.SequenceNode) and step < len(node.value)
        return (None, node.value[step]) if inside else None
    if not isinstance(node, yaml.MappingNode):
        return None
    merged: list[yaml.Node] = []
    for key, value in node.value:
        if key.value == step:
            return key, value
        if key.value == _MERGE:
            merged += value.value if isinstance(value, yaml.SequenceNode) else [value]
    return next((found for each in merged if (found := _step(each, step)) is not None), None)


class Section:
    """A mapping whose keys are known. What nobody asks for is noted as unused or misspelt when it is opened."""

    def __init__(self, value: Value, keys: Keys) -> None:
        self.value = value
        self.notes = value.notes
        self._entries = value.entries()
        for key, entry in self._entries.items():
            if key not in keys.read:
                self._unread(key, entry, keys)

    def __contains__(self, key: str) -> bool:
        return key in self._entries

    def get(self, key: str) -> Value | None:
        """The value of a key, or None where it is left out."""
        return self._entries.get(key)

    def required(self, key: str) -> Value | None:
        """As `get`; that the key is missing is a problem."""
        if key not in self._entries:
            self.value.report(f"{self.path_of(key)} is missing")
        return self._entries.get(key)

    def path_of(self, key: str) -> str:
        """The key path of a key in this section."""
        return f"{self.value.path}.{key}" if self.value.path else key

    def unused(self, *keys: str) -> None:
        """Note that these keys, where they stand, have no effect."""
        self.notes.unused.extend(self._entries[key].path for key in keys if key in self._entries)

    def text(self, key: str, default: T, *, empty: bool = False) -> str | T:
        """A text (see `Value.text`)."""
        value = self._entries.get(key)
        return default if value is None else value.text(default, empty=empty)

    def flag(self, key: str, default: bool) -> bool:
        """true or false (see `Value.flag`)."""
        value = self._entries.get(key)
        return default if value is None else value.flag(default)

    def whole(self, key: str, low: int, high: int, default: int) -> int:
        """A whole number (see `Value.whole`)."""
        value = self._entries.get(key)
        return default if value is None else value.whole(low, high, default)

    def seconds(self, key: str, longest: float, default: float) -> float:
        """A time in seconds (see `Value.seconds`)."""
        value = self._entries.get(key)
        return default if value is None else value.seconds(longest, default)

    def choice(self, key: str, choices: Collection[str], default: str) -> str:
        """One word out of `choices`."""
        value = self._entries.get(key)
        word = default if value is None else value.text(default)
        if value is None or word in choices:
            return word
        value.report(
            f"{value.path} is one of {', '.join(sorted(choices))}", did_you_mean(self.notes.near(word, choices))
        )
        return default

    def items(self, key: str) -> list[Value]:
        """The entries of a list, none where the key is left out."""
        value = self._entries.get(key)
        return [] if value is None else value.items()

    def free(self, key: str) -> Mapping[str, Any]:
        """A mapping of whatever values, empty where the key is left out or null."""
        value = self._entries.get(key)
        return {} if value is None else {name: each.free_under(name) for name, each in value.entries().items()}

    def _unread(self, key: str, entry: Value, keys: Keys) -> None:
        meant = None if key in keys.known else self.notes.near(key, keys.read | keys.known)
        if meant is not None or keys.strict:
            entry.report_key(f"{entry.path} is no key that is known here", did_you_mean(meant))
        else:
            self.notes.unused.append(entry.path)
