"""Which host runs which mod, as all know it: each host tells of its own, and takes what others tell into the table."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from devserver.errors import DevServerError
from devserver.hosts.follow import Followed, Key, Row
from devserver.hosts.names import host_name_problem
from devserver.live.registry import Gate, Registry, Slot
from devserver.model.event import pattern_problem
from devserver.model.names import mod_name_problem
from devserver.model.split import label_of

_MOST_PATTERNS = 1000


class Rooms:
    """The mods of all hosts. `order`: the mods of network.yaml, in order, where that is read; else as it is told."""

    def __init__(self, registry: Registry, rows: Followed, host: str) -> None:
        self._registry, self._rows, self._host = registry, rows, host
        self._publishing = asyncio.Lock()

    def begin(self) -> None:
        """Know what others run from now on."""
        self._rows.on_change.append(self._changed)
        self._take_over()

    def of(self, host: str) -> tuple[str, ...]:
        """The mods that a host runs, in order."""
        rows = sorted(self._rows.rows.items(), key=lambda each: _place(each[1].values))
        return tuple(key[0] for key, row in rows if len(key) == 1 and row.values.get("host") == host)

    def generation(self, mod_id: str) -> int:
        """The generation of a mod, as its host tells; 0 where it tells none."""
        row = self._rows.get(mod_id)
        value = None if row is None else row.values.get("generation")
        return value if isinstance(value, int) and not isinstance(value, bool) else 0

    async def publish(self) -> None:
        """Tell what runs here, as far as that has changed. Raises EngineAway and others."""
        async with self._publishing:
            live = [each for each in self._registry.live if label_of(each.mod_id) is None]
            for place, each in enumerate(live):
                row = self._rows.get(each.mod_id)
                values: dict[str, Any] = {
                    "host": self._host,
                    "epoch": 1,
                    "path": each.mod_path,
                    "generation": each.number,
                    "patterns": list(self._registry.patterns(each.mod_id)),
                    "place": place,
                }
                if row is None or {**row.values, **values, "epoch": row.values.get("epoch", 1)} != row.values:
                    values["epoch"] = 1 if row is None else row.values.get("epoch", 1)
                    await self._rows.put((each.mod_id,), values, last=self._rows.revision_of(each.mod_id))
            here = {each.mod_id for each in live}
            for mod_id in self.of(self._host):
                if mod_id not in here:
                    await self._rows.delete((mod_id,))

    async def publish_if_possible(self) -> None:
        """As `publish`; without an engine it is told when that is back."""
        try:
            await self.publish()
        except DevServerError:
            return

    def _changed(self, key: Key, before: Row | None, after: Row | None) -> None:
        hosts = {row.values.get("host") for row in (before, after) if row is not None}
        if hosts - {self._host}:
            self._take_over()

    def _take_over(self) -> None:
        rows = [(key[0], row.values) for key, row in self._rows.rows.items() if len(key) == 1]
        rows.sort(key=lambda each: _place(each[1]))
        away = [slot for mod_id, values in rows if (slot := self._slot(mod_id, values)) is not None]
        self._registry.set_away(away, [mod_id for mod_id, _ in rows])

    def _slot(self, mod_id: str, values: Mapping[str, Any]) -> Slot | None:
        """The place of a mod of another host; None for one of this host, or what cannot be believed."""
        host, path = values.get("host"), values.get("path")
        if not isinstance(host, str) or host == self._host or host_name_problem(host) is not None:
            return None
        if not isinstance(path, str) or mod_name_problem(path) is not None:
            return None
        return Slot(mod_id, path, Gate(1), host=host, listens=tuple(_patterns(values.get("patterns"))))


def _patterns(values: object) -> Sequence[str]:
    found = values[:_MOST_PATTERNS] if isinstance(values, list) else []
    return [each for each in found if pattern_problem(each) is None]


def _place(values: Mapping[str, Any]) -> int:
    value = values.get("place")
    return value if isinstance(value, int) and not isinstance(value, bool) else 10**6
