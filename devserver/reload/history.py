"""What a reload replaced, kept so that it can be undone: the sources of the modules, and each state as it was.

A state is kept as pickle keeps it: small, fast, and instances of a mod's classes by name, so that they come back as
instances of the code that is undone to. A state that is too large for that, or that cannot be pickled, is not kept.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from devserver.reload.handover import NOTHING
from devserver.reload.loader.shelf import Text

MOST_BYTES = 1024 * 1024
"""The largest state that is kept: pickling this much takes a few milliseconds, during which events wait."""


@dataclass(frozen=True, slots=True)
class Past:
    """What one reload replaced. `mods` are those it reloaded, each with the generation that it brought."""

    mods: Mapping[str, int]
    modules: tuple[str, ...]
    texts: Mapping[Path, Text]
    states: Mapping[str, bytes | None]


class History:
    """The last reload of each mod."""

    def __init__(self) -> None:
        self._past: dict[str, Past] = {}
        self._last: tuple[str, ...] = ()

    @property
    def last(self) -> tuple[str, ...]:
        """The mods of the reload that came last."""
        return self._last

    def remember(self, past: Past) -> None:
        """A reload has been committed."""
        self._last = tuple(past.mods)
        self._past.update(dict.fromkeys(past.mods, past))

    def undoable(self, running: Mapping[str, int]) -> dict[str, Past]:
        """What can be undone: the reloads whose mods all still run in the generation that these brought."""
        return {
            mod_id: past
            for mod_id, past in self._past.items()
            if all(running.get(each) == number for each, number in past.mods.items())
        }


def freeze(state: Any) -> bytes | None:
    """A state as bytes, or None for one that is too large or that cannot be pickled."""
    kept = _Bounded()
    try:
        pickle.Pickler(kept, protocol=pickle.HIGHEST_PROTOCOL).dump(state)
    except Exception:
        # Whatever an object of a mod does when it is pickled: then this state cannot be gone back to.
        return None
    return kept.getvalue()


def thaw(kept: bytes | None) -> Any:
    """The state again, with the classes that are loaded now; NOTHING where it was not kept or these cannot take it."""
    if kept is None:
        return NOTHING
    try:
        return pickle.loads(kept)
    except Exception:
        # A class that is undone to may not know the attributes of the one that was pickled.
        return NOTHING


class _Bounded(io.BytesIO):
    """A buffer that refuses to grow beyond what is kept."""

    def write(self, data: Any) -> int:
        if self.tell() + len(data) > MOST_BYTES:
            raise OverflowError(f"a state of more than {MOST_BYTES} bytes is not kept")
        return super().write(data)
