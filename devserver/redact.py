"""Takes live secrets out of what is about to be shown: log lines, errors, outcomes. Keeps only the run's token itself.

What looks like an agent's secret is recognised by its digest, which is all that is known of it. Writes nothing itself.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from devserver.network.identity import secret_digest

HIDDEN = "[secret]"
_SECRET = re.compile(r"(?<![A-Za-z0-9])[A-Za-z0-9]{64}(?![A-Za-z0-9])")
_DEEPEST = 8

T = TypeVar("T")


class Redactor:
    """Arguments: `token`, which is hidden wherever it stands; `is_known`, whether a digest is that of a live secret."""

    def __init__(self, token: str, is_known: Callable[[str], bool]) -> None:
        self._token = token
        self._is_known = is_known

    def text(self, text: str) -> str:
        """A text without live secrets."""
        return _SECRET.sub(self._hidden, text.replace(self._token, HIDDEN))

    def of(self, value: T, depth: int = _DEEPEST) -> T:
        """A value without live secrets in its texts; itself where there were none."""
        found = self._of(value, depth)
        return value if found is None else found

    def before(self, tell: Callable[[T], None]) -> Callable[[T], None]:
        """The same function, which is never told a secret."""
        return lambda value: tell(self.of(value))

    def _of(self, value: Any, depth: int) -> Any:
        """A changed copy of a value, or None where nothing is to be changed."""
        if isinstance(value, str):
            clean = self.text(value)
            return clean if clean != value else None
        if not depth:
            return None
        if isinstance(value, tuple | list):
            return self._of_items(value, depth)
        if isinstance(value, Mapping):
            changed = self._changed(value, depth)
            return {**value, **changed} if changed else None
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            changed = self._changed({each.name: getattr(value, each.name) for each in dataclasses.fields(value)}, depth)
            return dataclasses.replace(value, **changed) if changed else None
        return None

    def _of_items(self, values: tuple[Any, ...] | list[Any], depth: int) -> Any:
        clean = [self.of(each, depth - 1) for each in values]
        same = all(one is other for one, other in zip(clean, values, strict=True))
        return None if same else type(values)(clean)

    def _changed(self, values: Mapping[Any, Any], depth: int) -> dict[Any, Any]:
        found = ((key, self._of(each, depth - 1)) for key, each in values.items())
        return {key: clean for key, clean in found if clean is not None}

    def _hidden(self, match: re.Match[str]) -> str:
        return HIDDEN if self._is_known(secret_digest(match[0])) else match[0]
