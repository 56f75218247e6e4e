"""Which host runs which mod, as all know it: each host tells of its own, and takes what others tell into the table."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from devserver.errors import DevServerError
from devserver.hosts.follow import Followed, Key, Row
from devserver.hosts.link import Conflict
from devserver.hosts.seats import Seat
from devserver.hosts.work import whole_number
from devserver.live.registry import Gate, Registry, Slot
from devserver.model.event import pattern_problem
from devserver.model.names import host_name_problem, mod_name_problem
from devserver.model.split import label_of

_MOST_PATTERNS = 1000


class Rooms:
    """The mods of all hosts. `order`: the mods of network.yaml, in order, where that is read, else as told."""

    def __init__(self, registry: Registry, rows: Followed, host: str) -> None:
        self._registry, self._rows, self._host = registry, rows, host
        self._publishing = asyncio.Lock()
        self._ran: set[str] = set()
        self.holds: Callable[[], bool] = lambda: True
        """Whether what runs here is this host's still: a host that was cut off claims it first."""
        self.written = 0
        """The revision of the last that this host has told."""
        self.told: set[str] = set()
        """The mods that run here, as others were told last."""
        self._taking: set[str] = set()
        """The mods whose seat this host has written, and that are on their way here."""
        self._waiting: set[asyncio.Future[None]] = set()
        self._seats: Mapping[str, Seat] = {}
        self.order: Sequence[str] = ()
        """All mods of network.yaml, as far as this host knows."""

    def set_order(self, order: Sequence[str]) -> None:
        """Take the order of all mods, as the author has it."""
        self.order = tuple(order)

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
        return 0 if row is None else whole_number(row.values.get("generation"))

    async def publish(self, *, whole: bool = False) -> None:
        """Tell what runs here, as far as that has changed. Raises EngineAway and others.

        `whole`: whether that is all that shall run here. A host that has begun again is yet to get its mods, and takes
        back none but those that it has run itself.
        """
        async with self._publishing:
            if not self.holds():
                return
            live = [each for each in self._registry.live if label_of(each.mod_id) is None]
            for place, each in enumerate(live):
                row = self._rows.get(each.mod_id)
                values: dict[str, Any] = {
                    "host": self._host,
                    "epoch": 1,
                    "path": each.mod_path,
                    "generation": each.number,
                    "patterns": list(self._registry.patterns(each.mod_id)),
                    "place": self._place(each.mod_id, place),
                }
                seat = Seat(each.mod_id, *_seat(row)) if row is not None else None
                if seat is not None:
                    values["epoch"] = (seat if seat.host == self._host else seat.given_to(self._host)).epoch
                if row is None or {**row.values, **values} != row.values:
                    last = self._rows.revision_of(each.mod_id)
                    self.written = await self._rows.put((each.mod_id,), values, last=last)
            here = {each.mod_id for each in live}
            self._ran |= here
            self.told = here
            for mod_id in self.of(self._host):
                row = self._rows.get(mod_id)
                # What has moved its new host tells of, over this row.
                is_gone = mod_id not in here and mod_id not in self._registry.moved and mod_id not in self._taking
                if is_gone and row is not None and (whole or mod_id in self._ran):
                    await self._take_back(mod_id, row.revision)

    async def _take_back(self, mod_id: str, revision: int) -> None:
        try:
            self.written = await self._rows.delete((mod_id,), last=revision)
        except Conflict:
            return  # it runs on another host now

    def _place(self, mod_id: str, here: int) -> int:
        """The place of a mod among those of all hosts."""
        return self.order.index(mod_id) if mod_id in self.order else len(self.order) + here

    async def seated(self, mods: Sequence[str], seconds: float) -> str:
        """Wait until all these run here that should; why they do not, in words."""
        end = time.monotonic() + seconds
        while missing := [each for each in mods if self._is_missing(each)]:
            if any(self._host_of(each) != self._host for each in missing):
                return "it sits on another host now"
            if time.monotonic() >= end:
                return "it does not run here yet"
            await self.news()
        return ""

    def runs(self, mods: Sequence[str], seats: Mapping[str, int]) -> bool:
        """Return whether all these run here, in the seats of these epochs."""
        return not (self.stale(seats) or any(self._is_missing(each) for each in mods))

    def path(self, mod_id: str) -> str:
        """The path of a mod, as its host tells; "" where it tells none that can be one."""
        row = self._rows.get(mod_id)
        path = None if row is None else row.values.get("path")
        return path if isinstance(path, str) and mod_name_problem(path) is None else ""

    def seat(self, mod_id: str) -> Seat:
        """The seat of a mod, as this host knows it; its host is "" where it has none."""
        found = self._seats.get(mod_id)
        return Seat(mod_id, "", 0) if found is None else found

    def seats_at(self, host: str, mods: Sequence[str]) -> dict[str, int] | None:
        """The epochs of the seats of mods; None unless all are at that host."""
        seats: dict[str, int] = {}
        for mod_id in mods:
            seat = self._seats.get(mod_id)
            if seat is None or seat.host != host:
                return None
            seats[mod_id] = seat.epoch
        return seats

    async def known(self, seats: Mapping[str, int], seconds: float) -> None:
        """Wait until this host knows these epochs, or later ones: others may hear of a seat that it writes before it
        hears that the seat stands."""
        end = time.monotonic() + seconds
        while any(self.seat(mod_id).epoch < epoch for mod_id, epoch in seats.items()) and time.monotonic() < end:
            await self.news()

    def stale(self, seats: Mapping[str, int]) -> bool:
        """Return whether an ask was sent to a seat that this host has not, or has had before."""
        return any(self.seat(mod_id).problem(self._host, epoch) for mod_id, epoch in seats.items())

    async def take(self, mod_id: str) -> bool:
        """Write the seat of a mod for this host, over what it knows: of another one, or its own again with the next
        epoch. False where another was first. Raises EngineAway and others."""
        row = self._rows.get(mod_id)
        if row is None:
            return False
        seat = self.seat(mod_id).given_to(self._host)
        try:
            await self._rows.put((mod_id,), {**row.values, "host": seat.host, "epoch": seat.epoch}, last=row.revision)
        except Conflict:
            return False
        return True

    def expect(self, mods: Iterable[str]) -> None:
        """Keep the seats of these mods, which are about to run here; of none, once they do."""
        self._taking = set(mods)

    async def let_go(self, mod_id: str) -> None:
        """Take back the seat of a mod that does not run here after all. Raises EngineAway and others."""
        await self._take_back(mod_id, self._rows.revision_of(mod_id))

    async def look(self) -> None:
        """Know what others have told until now. Raises EngineAway and others."""
        await self._rows.catch_up()

    async def until(self, revision: int) -> object:
        """Know what others have told until then, unless that takes too long."""
        return await self._rows.until(revision)

    async def read(self) -> None:
        """Know all seats as they stand written. Raises EngineAway and others."""
        await self._rows.read()

    def _is_missing(self, mod_id: str) -> bool:
        slot = self._registry.find(mod_id)
        return (slot is None or slot.live is None) and bool(self._host_of(mod_id))

    def _host_of(self, mod_id: str) -> str:
        row = self._rows.get(mod_id)
        return "" if row is None else str(row.values.get("host"))

    async def news(self) -> None:
        """Wait until a row changes, or for a moment: what runs here changes without one."""
        waiting = asyncio.get_running_loop().create_future()
        self._waiting.add(waiting)
        try:
            await asyncio.wait([waiting], timeout=0.05)
        finally:
            self._waiting.discard(waiting)

    async def publish_if_possible(self) -> int:
        """As `publish`; without an engine it is told when that is back. The revision of the last that was told."""
        with suppress(DevServerError):
            await self.publish()
        return self.written

    def _changed(self, key: Key, before: Row | None, after: Row | None) -> None:
        for each in self._waiting:
            if not each.done():
                each.set_result(None)
        self._take_over()

    def _take_over(self) -> None:
        self._seats = {key[0]: Seat(key[0], *_seat(row)) for key, row in self._rows.rows.items() if len(key) == 1}
        rows = [(key[0], row.values) for key, row in self._rows.rows.items() if len(key) == 1]
        rows.sort(key=lambda each: _place(each[1]))
        away = [slot for mod_id, values in rows if (slot := self._slot(mod_id, values)) is not None]
        self._registry.set_away(away, [mod_id for mod_id, _ in rows])

    def _slot(self, mod_id: str, values: Mapping[str, Any]) -> Slot | None:
        """The place of a mod that may be elsewhere; None for what cannot be believed. One of this
        host counts only while it does not run here: then it is about to, or has moved."""
        host, path = values.get("host"), values.get("path")
        if not isinstance(host, str) or host_name_problem(host) is not None:
            return None
        if not isinstance(path, str) or mod_name_problem(path) is not None:
            return None
        listens, number = tuple(_patterns(values.get("patterns"))), self.generation(mod_id)
        return Slot(mod_id, path, Gate(1), host=host, listens=listens, number=number)


def _seat(row: Row) -> tuple[str, int]:
    return str(row.values.get("host")), whole_number(row.values.get("epoch"), 1)


def _patterns(values: object) -> Sequence[str]:
    found = values[:_MOST_PATTERNS] if isinstance(values, list) else []
    return [each for each in found if pattern_problem(each) is None]


def _place(values: Mapping[str, Any]) -> int:
    return whole_number(values.get("place"), 10**6)
