"""From the tree of a YAML text to plain values, and back from a value to its place.

Scalars have their meaning in YAML 1.2's core schema; a scalar that YAML 1.1 reads differently is
not guessed: it becomes `Unclear`. Knows no key by name.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import yaml

from devserver.config.yaml_text import Source, kind
from devserver.errors import ConfigError
from devserver.model.declared import ErrorFacts, Frame
from devserver.model.names import near

Loc = tuple[str | int, ...]
"""The keys and indexes that lead to a value."""

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


_FLAG_WORDS = {"true": ("true", "yes", "on", "y", "1"), "false": ("false", "no", "off", "n", "0")}
_SECRET_PATH = re.compile(r"password|secret|token|api_key", re.IGNORECASE)
_VERSION_KEY = re.compile(r"(?:.*_)?version", re.IGNORECASE)
_MERGE = "<<"


class Unclear(NamedTuple):
    """A scalar that YAML 1.1 and 1.2 read differently, or no finite number; with a hint."""

    text: str
    hint: str


def resolve(text: str) -> str | int | float | bool | Unclear | None:
    """Return the meaning of an unquoted scalar. Unclear are `yes`, `no`, `on`, `off`, numbers with
    leading zeros or underscores, infinite and very long ones."""
    if text in _NULLS:
        return None
    if text in _FLAGS:
        return _FLAGS[text]
    if _WORDS.fullmatch(text):
        return Unclear(text, "write true or false, or put it in quotes if it is a text")
    if _NUMERALS.fullmatch(text):
        plainly = "write the number plainly (no leading zero, no _, at most 18 digits), or put it in quotes"
        return Unclear(text, plainly)
    if _INT.fullmatch(text):
        return int(text)
    if _BASED.fullmatch(text):
        return int(text, 0)
    if _ENDLESS.fullmatch(text):
        return Unclear(text, "write a finite number")
    if not _FLOAT.fullmatch(text):
        return text
    number = float(text)
    return number if math.isfinite(number) else Unclear(text, "write a smaller number, or put it in quotes")


def did_you_mean(word: str | None) -> str | None:
    """Return the hint that goes with a guess."""
    return None if word is None else f"did you mean {word!r}?"


@dataclass
class Document:
    """A tree with its problems; keys and indexes lead to values."""

    source: Source
    root: yaml.Node
    problems: list[ErrorFacts] = field(default_factory=list)
    _guesses: int = 0

    def values(self) -> Any:
        """Return the document as values: merges (`<<`) written out, unclear scalars as `Unclear`.

        The value of a key that is `version` or ends in `_version` stays text: 1.10 is not 1.1.
        """
        return self._values(self.root, ())

    def _values(self, node: yaml.Node, loc: Loc) -> Any:
        if isinstance(node, yaml.MappingNode):
            found: dict[str, Any] = {}
            for key, value in self._pairs(node, loc):
                if key.value not in found:
                    found[key.value] = self._under(key.value, value, (*loc, key.value))
            return found
        if isinstance(node, yaml.SequenceNode):
            return [self._values(each, (*loc, number)) for number, each in enumerate(node.value)]
        assert isinstance(node, yaml.ScalarNode)
        return node.value if node.style else resolve(node.value)

    def _under(self, key: str, node: yaml.Node, loc: Loc) -> Any:
        is_version = isinstance(node, yaml.ScalarNode) and _VERSION_KEY.fullmatch(key) and not is_null(node)
        return node.value if is_version else self._values(node, loc)

    def _pairs(self, mapping: yaml.MappingNode, loc: Loc) -> Iterator[tuple[yaml.ScalarNode, yaml.Node]]:
        """Return own keys first: they win over merged ones. Those not scalar were reported."""
        own = [(key, node) for key, node in mapping.value if isinstance(key, yaml.ScalarNode)]
        yield from ((key, node) for key, node in own if key.value != _MERGE)
        for merged in _merged(own):
            if isinstance(merged, yaml.MappingNode):
                yield from self._pairs(merged, loc)
            else:
                self.report(loc, f"what << merges into {path_of(loc)} is a mapping or a list of mappings")

    def node(self, loc: Loc) -> tuple[yaml.Node | None, yaml.Node]:
        """Return the key and value that `loc` leads to, or those of the nearest value around."""
        key, value = None, self.root
        for step in loc:
            inner = _inner(value, step)
            if inner is None:
                break
            key, value = inner
        return key, value

    def has(self, loc: Loc) -> bool:
        """Return whether `loc` leads to a value."""
        value: yaml.Node = self.root
        for step in loc:
            inner = _inner(value, step)
            if inner is None:
                return False
            value = inner[1]
        return True

    def report(self, loc: Loc, message: str, hint: str | None = None, *, about_key: bool = False) -> None:
        """Note a problem with a value, or with its key."""
        key, value = self.node(loc)
        self.problems.append(self.source.node_problem(message, key if about_key and key else value, hint))

    def begin_of(self, loc: Loc) -> tuple[int, int]:
        """Return the line and column, from 1, of the value that `loc` leads to, or of the nearest around."""
        mark = self.node(loc)[1].start_mark
        return mark.line + 1, mark.column + 1

    def place_of(self, loc: Loc, about_key: bool = False) -> Frame:
        """Return the place of the value (or key) that `loc` leads to, or of the nearest around."""
        key, value = self.node(loc)
        where = self.source.node_problem("", key if about_key and key else value).where
        assert where is not None
        return where

    def places_in(self, loc: Loc) -> Callable[[Loc, bool], Frame]:
        """Return places as `place_of` does, within the value that `loc` leads to."""

        def place_of(inner: Loc, about_key: bool) -> Frame:
            return self.place_of((*loc, *inner), about_key)

        return place_of

    def text(self, loc: Loc) -> str:
        """Return the text of a single value as written; "" for any other."""
        _, node = self.node(loc)
        return node.value if isinstance(node, yaml.ScalarNode) else ""

    def near(self, word: str, known: Collection[str]) -> str | None:
        """Guess as `near`, for the first MAX_GUESSES words: a guess is slow."""
        self._guesses += 1
        return near(word, known) if self._guesses <= MAX_GUESSES else None

    def raise_problems(self) -> None:
        """Raise ConfigError if there are problems: in the file's order, MAX_PROBLEMS at most."""
        if not self.problems:
            return
        ordered = sorted(self.problems, key=_position)
        more = ordered[MAX_PROBLEMS:]
        if more:
            ordered[MAX_PROBLEMS:] = [ErrorFacts("ConfigError", f"and {len(more)} more problems", more[0].where)]
        raise ConfigError(tuple(ordered))

    def described(self, loc: Loc) -> str:
        """Describe a value without telling a secret."""
        _, node = self.node(loc)
        if is_null(node):
            return "null"
        if not isinstance(node, yaml.ScalarNode) or _SECRET_PATH.search(path_of(loc)):
            return kind(node)
        text = node.value if len(node.value) <= 40 else node.value[:40] + "…"
        return f"the text {text!r}" if node.style else str(text)

    def hint_for(self, loc: Loc, wanted: str) -> str | None:
        """Return what to write instead, if the value is close to a valid one."""
        _, node = self.node(loc)
        if wanted == "a list":
            return f"write {loc[-1]}: [] for none" if is_null(node) else None
        if not isinstance(node, yaml.ScalarNode) or is_null(node):
            return None
        word = node.value
        if wanted.startswith("a text"):
            return None if node.style else "put it in quotes"
        if wanted == "true or false":
            meant = next((w for w, words in _FLAG_WORDS.items() if word.lower() in words), None)
            return f"did you mean {meant}?" if meant else None
        if node.style and _INT.fullmatch(word):
            return f"write {word} without quotes"
        return "write it without leading zeros" if re.fullmatch(r"0[0-9]+", word) else None


def is_null(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and not node.style and node.value in _NULLS


def path_of(loc: Loc) -> str:
    """Return a key path as people write it, as `mods[0].name`; keys under `network` without it."""
    text = ""
    for step in loc[1:] if loc[:1] == ("network",) and len(loc) > 1 else loc:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def _merged(pairs: list[tuple[yaml.ScalarNode, yaml.Node]]) -> Iterator[yaml.Node]:
    for _, node in (each for each in pairs if each[0].value == _MERGE):
        yield from node.value if isinstance(node, yaml.SequenceNode) else [node]


def _inner(node: yaml.Node, step: str | int) -> tuple[yaml.Node | None, yaml.Node] | None:
    """Return the key node, if any, and the node that a step leads to; merged keys come last."""
    if isinstance(step, int):
        inside = isinstance(node, yaml.SequenceNode) and step < len(node.value)
        return (None, node.value[step]) if inside else None
    if not isinstance(node, yaml.MappingNode):
        return None
    for key, value in node.value:
        if isinstance(key, yaml.ScalarNode) and key.value == step:
            return key, value
    own = [each for each in node.value if isinstance(each[0], yaml.ScalarNode)]
    return next((found for each in _merged(own) if (found := _inner(each, step)) is not None), None)


def _position(problem: ErrorFacts) -> tuple[int, int]:
    where = problem.where
    return (where.line, where.column or 0) if where else (0, 0)
