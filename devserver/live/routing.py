"""Which mods an event is offered to, in which order: a pure lookup, indexed by event name.

A table is immutable; a swap makes a new one. Its cost per event does not grow with the number of
mods.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Generic, TypeVar

Target = TypeVar("Target")

_MEMORY = 10_000


class RoutingTable(Generic[Target]):
    """Targets in the order in which they are asked, found by event name.

    Arguments: `entries`, each target with its patterns, in order. Patterns are those of
    `devserver.mod_event_handler`.
    """

    def __init__(self, entries: Iterable[tuple[Target, Sequence[str]]] = ()) -> None:
        self._targets: list[Target] = []
        self._exact: dict[str, list[int]] = {}
        self._prefixes: dict[str, list[int]] = {}
        self._memory: dict[str, tuple[Target, ...]] = {}
        for place, (target, patterns) in enumerate(entries):
            self._targets.append(target)
            for pattern in patterns:
                index = self._prefixes if pattern.endswith("*") else self._exact
                index.setdefault(pattern.removesuffix("*"), []).append(place)

    @property
    def all(self) -> tuple[Target, ...]:
        """Every target, in order."""
        return tuple(self._targets)

    def targets(self, event_name: str) -> tuple[Target, ...]:
        """Return the targets that listen to an event of this name, in order, each once."""
        known = self._memory.get(event_name)
        if known is None:
            known = self._find(event_name)
            if len(self._memory) >= _MEMORY:
                self._memory.clear()
            self._memory[event_name] = known
        return known

    def _find(self, event_name: str) -> tuple[Target, ...]:
        places = set(self._exact.get(event_name, ()))
        for prefix, listening in self._prefixes.items():
            if event_name.startswith(prefix):
                places.update(listening)
        return tuple(self._targets[place] for place in sorted(places))
