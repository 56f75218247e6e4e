"""Removes live secrets from all that is shown: log lines, errors, outcomes. Writes nothing itself.

Keeps only the run's own tokens. An agent's secret is recognised by its digest, which is all that is
known of it.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast
from weakref import WeakKeyDictionary

from devserver.model.encoding import from_json, to_json
from devserver.network.identity import secret_digest

HIDDEN = "[secret]"
_SECRET_LENGTH = 64
_SECRET = re.compile(rf"(?<![A-Za-z0-9])[A-Za-z0-9]{{{_SECRET_LENGTH}}}(?![A-Za-z0-9])")
_RAW_HIDDEN = HIDDEN.encode()
_RAW_SECRET = re.compile(
    rb"(?:(?<![A-Za-z0-9])|(?<=\\[bfnrt])|(?<=\\u[0-9a-fA-F]{4}))[A-Za-z0-9]{%d}(?![A-Za-z0-9])" % _SECRET_LENGTH
)
"""In JSON an escape may come before it, as in `\n`, whose letter is not part of the secret."""
_MASK = bytes(ord("a" if each < 128 and chr(each).isalnum() else " ") for each in range(256))
_RUN = b"a" * _SECRET_LENGTH
"""What a secret is under that mask: to look for it takes a fiftieth of the time of the pattern above."""
_DEEPEST = 8
_known_names: WeakKeyDictionary[type, tuple[str, ...]] = WeakKeyDictionary()

T = TypeVar("T")


class Redactor:
    """Arguments: `token` and `more` are hidden; `is_known`: whether a digest is a secret's."""

    def __init__(self, token: str, is_known: Callable[[str], bool], more: tuple[str, ...] = ()) -> None:
        self._is_known = is_known
        self._tokens: tuple[str, ...] = ()
        self.hide(token, *more)

    def hide(self, *more: str) -> None:
        """Hide these, too, from now on."""
        self._tokens = (*self._tokens, *more)
        self._raw_tokens = tuple(each.encode() for each in self._tokens)
        self._shortest = min(_SECRET_LENGTH, *map(len, self._tokens))

    def text(self, text: str) -> str:
        """Return a text without live secrets."""
        if len(text) < self._shortest:
            return text
        for token in self._tokens:
            text = text.replace(token, HIDDEN)
        return _SECRET.sub(self._hidden, text)

    def json(self, raw: bytes) -> bytes:
        """Return JSON without live secrets."""
        if len(raw) < self._shortest:
            return raw
        for token in self._raw_tokens:
            raw = raw.replace(token, _RAW_HIDDEN)
        return _RAW_SECRET.sub(self._raw_hidden, raw) if _RUN in raw.translate(_MASK) else raw

    def plain(self, value: T) -> T:
        """Return a value that JSON can hold without live secrets, at any depth; itself if there were none."""
        raw = to_json(value)
        clean = self.json(raw)
        return value if clean == raw else cast("T", from_json(clean))

    def of(self, value: T, depth: int = _DEEPEST) -> T:
        """Return a value without live secrets in its texts; itself if there were none."""
        found = self._of(value, depth)
        return value if found is None else found

    def before(self, tell: Callable[[T], None]) -> Callable[[T], None]:
        """Return the same function, which is never told a secret."""
        return lambda value: tell(self.of(value))

    def _of(self, value: Any, depth: int) -> Any:
        """Return a changed copy of a value, or None if nothing changes."""
        if isinstance(value, str):
            clean = self.text(value)
            return clean if clean is not value and clean != value else None
        if not depth or value is None or isinstance(value, int | float):
            return None
        if isinstance(value, tuple | list):
            items = [self.of(each, depth - 1) for each in value]
            same = all(one is other for one, other in zip(items, value, strict=True))
            return None if same else type(value)(items)
        if isinstance(value, Mapping):
            changed = self._changed(value, depth)
            return {**value, **changed} if changed else None
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            changed = self._changed({name: getattr(value, name) for name in _names(type(value))}, depth)
            return dataclasses.replace(value, **changed) if changed else None
        return None

    def _changed(self, values: Mapping[Any, Any], depth: int) -> dict[Any, Any]:
        found = ((key, self._of(each, depth - 1)) for key, each in values.items())
        return {key: clean for key, clean in found if clean is not None}

    def _raw_hidden(self, match: re.Match[bytes]) -> bytes:
        return _RAW_HIDDEN if self._is_known(secret_digest(match[0].decode())) else match[0]

    def _hidden(self, match: re.Match[str]) -> str:
        return HIDDEN if self._is_known(secret_digest(match[0])) else match[0]


def _names(kind: type) -> tuple[str, ...]:
    """Return a dataclass's field names: asking for them costs more than looking at values."""
    known = _known_names.get(kind)
    if known is None:
        known = _known_names[kind] = tuple(each.name for each in dataclasses.fields(kind))
    return known
