"""The live mods: a slot for each, with gate and generation. The table where both streams meet.

Reload swaps here, in one go and without awaiting; events read here. Decides nothing and runs no
mod's code.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice, pairwise

from devserver.errors import EventRefused
from devserver.live.generation import Call, Generation, expire
from devserver.live.routing import RoutingTable
from devserver.live.split import Asker, Part, Split, parts_of
from devserver.live.tally import Tally
from devserver.model.facts import Held
from devserver.model.lifecycle import ModState
from devserver.model.names import mod_id_of, module_of
from devserver.model.split import MAIN, Line, main_of

_REMEMBERED = 10_000
"""Senders whose version of a mod is remembered."""


@dataclass(slots=True, eq=False)
class _Waiting:
    """One event that waits before a gate: since when (monotonic seconds), and what wakes it."""

    since: float
    call: asyncio.Future[None] | None = None


class Gate:
    """Lets events into a mod, or holds them in order while the mod is swapped.

    For the mods' loop only. FIFO: waiters enter before newcomers, even while the gate is opening. A
    waiter released but not yet inside when it closes again keeps its place.
    """

    __slots__ = ("_closed", "_line", "limit", "shut")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._closed = False
        self._line: deque[_Waiting] = deque()
        self.shut = False
        """Whether an event has to wait: the gate is closed, or others are still entering. Kept, not
        computed: every event looks."""

    @property
    def waiting(self) -> int:
        """The number of events that wait. For any thread."""
        return len(self._line)

    def close(self) -> None:
        """Let events wait from now on."""
        self._closed = self.shut = True

    def open(self) -> Held:
        """Let all waiters in, in order; return their number and how long the first has waited."""
        if not self._closed:
            return Held()
        self._closed, self.shut = False, bool(self._line)
        for each in self._line:
            if each.call is not None and not each.call.done():
                each.call.set_result(None)
        longest = time.monotonic() - self._line[0].since if self._line else 0.0
        return Held(len(self._line), longest * 1000)

    async def wait(self, mod_id: str) -> None:
        """Wait to be let in. Raises EventRefused if too many wait already."""
        if self._closed and len(self._line) >= self.limit:
            raise EventRefused(
                "held_events_full",
                f"{mod_id} is being reloaded and {self.limit} events wait for it already; send again",
            )
        place = _Waiting(time.monotonic())
        self._line.append(place)
        self.shut = True
        try:
            while self._closed or self._line[0] is not place:
                if self._closed:
                    place.call = asyncio.get_running_loop().create_future()
                    await place.call
                else:
                    # All before it have been released, and enter (or give up) within this turn of the loop.
                    await asyncio.sleep(0)
        finally:
            self._line.remove(place)
            self.shut = self._closed or bool(self._line)


@dataclass(slots=True, eq=False)
class Slot:
    """A mod's place in the network, over generations. Each line of a mod has one too."""

    mod_id: str
    mod_path: str
    gate: Gate
    live: Generation | None = None
    host: str = ""
    """The other host that runs it; nothing where that is this one."""
    listens: tuple[str, ...] = ()
    """What a mod of another host listens to."""
    number: int = 0
    """The generation of a mod of another host."""
    line: Line | None = None
    """The line that it is; None for a mod."""
    choice: Choice | None = None
    """The lines beside it, if there are any."""
    tally: Tally | None = None
    """The results of its events, if there are lines."""
    out: str = ""
    """Why this line gets no more events, in words."""

    @property
    def is_shadow(self) -> bool:
        return self.line is not None and self.line.rule.shadow


@dataclass(slots=True, eq=False)
class Choice:
    """A mod with its lines, by label, in order, with those that get no events. Immutable."""

    main: Slot
    tally: Tally
    """The results of the main line."""
    lines: Mapping[str, Slot]
    split: Split
    shadows: tuple[Slot, ...]
    watched: Slot | None
    """The main line, where there are shadows of it."""
    splits: bool
    """Whether any line has events of its own."""
    known: dict[str | None, Slot] = field(default_factory=dict)
    """What was picked for some senders (`source_id`), where nothing but the agent decides: a hash an event is dear."""

    def pick(self, asker: Asker) -> Slot:
        """Return the slot that gets an event."""
        label = self.split.choose(asker)
        return self.main if label is None else self.lines[label]

    def remember(self, sender: str | None, slot: Slot) -> None:
        """Pick this slot for a sender from now on."""
        if len(self.known) >= _REMEMBERED:
            self.known.clear()
        self.known[sender] = slot


def _choice_of(main: Slot, lines: Mapping[str, Slot], parts: Mapping[str, Part]) -> Choice:
    able = {label: slot for label, slot in lines.items() if slot.live is not None and not slot.out}
    rules = {label: slot.line.rule for label, slot in able.items() if slot.line is not None}
    shadows = tuple(slot for label, slot in able.items() if rules[label].shadow)
    split = Split(main.mod_id, rules, parts)
    watched = main if shadows else None
    tally = main.tally or Tally()
    return Choice(main, tally, dict(lines), split, shadows=shadows, watched=watched, splits=bool(split.rules))


@dataclass(slots=True)
class Swap:
    """The changes of one commit: generations for their slots, lines, ended slots, new order."""

    live: list[tuple[Slot, Generation]] = field(default_factory=list)
    removed: list[Slot] = field(default_factory=list)
    order: Sequence[str] | None = None
    lines: list[tuple[Slot, Line]] = field(default_factory=list)


class Registry:
    """All slots, in the order of asking. Changed on the mods' thread alone, and read on any."""

    def __init__(self, held_events: int = 1000) -> None:
        self._slots: dict[str, Slot] = {}
        self._sorted_by: Sequence[str] | None = None
        """The order of the slots, where they have been sorted since one was added."""
        self._places: dict[str, int] = {}
        self._numbers: dict[str, int] = {}
        self._held_events = held_events
        self._paths: dict[str, Slot] = {}
        self._has_lines = False
        self.parts: dict[str, dict[str, Part]] = {}
        """The agents of the lines of each mod, by label, as numbers: also of lines that are still to load."""
        self.moved: dict[str, str] = {}
        """The mods that left for another host, each with that."""
        self._away: dict[str, Slot] = {}
        """The mods that other hosts run, by id."""
        self.away_changes = 0
        """How often that has changed."""
        self._order: Sequence[str] = ()
        """All mods of all hosts, in the order in which they are asked; nothing where there is one host."""
        self._aliases: dict[str, Slot] = {}
        """The lines whose code has a path of its own, by that path and by its id."""
        self._table: RoutingTable[Slot] | None = None
        self._heard: tuple[RoutingTable[Slot], Mapping[str, tuple[str, ...]]] | None = None
        self._live: tuple[Generation, ...] | None = None
        self.commits = 0
        """How often something was swapped: what is remembered of the live mods counts until the next time."""
        self._lock = threading.Lock()
        self.overdue: list[Call] = []
        """The calls that were told to end, until they have ended or are given up."""

    @property
    def table(self) -> RoutingTable[Slot]:
        """The handlers by event, as of the last commit; immutable."""
        table = self._table
        if table is None:
            with self._lock:
                here = [slot for slot in self._slots.values() if slot.live and slot.line is None]
                # A mod that has just come here is told to be elsewhere for a moment still.
                away = [each for mod_id, each in self._away.items() if not self._is_live(mod_id)]
                slots = self._in_order([*here, *away]) if away else here
                table = self._table = RoutingTable((slot, _patterns(slot)) for slot in slots)
        return table

    def _in_order(self, slots: list[Slot]) -> list[Slot]:
        place = {mod_id: number for number, mod_id in enumerate(self._order)}
        return sorted(slots, key=lambda each: place.get(each.mod_id, len(place)))

    def set_away(self, slots: Iterable[Slot], order: Sequence[str]) -> None:
        """Take over what other hosts run, and the order of all mods. May be called from any thread."""
        with self._lock:
            self._away, self._order, self._table = {each.mod_id: each for each in slots}, tuple(order), None
            self.away_changes += 1

    @property
    def away(self) -> tuple[Slot, ...]:
        """The mods that other hosts run, in order."""
        with self._lock:
            return tuple(self._in_order([each for each in self._away.values() if not self._is_live(each.mod_id)]))

    def patterns(self, mod_id: str) -> tuple[str, ...]:
        """Return what a mod of this host listens to, in any of its lines."""
        slot = self._slots.get(mod_id)
        return () if slot is None else _patterns(slot)

    def heard(self) -> Mapping[str, tuple[str, ...]]:
        """Return the patterns of each mod of the network, by id: mods of other hosts included. The
        same object until one of them differs."""
        table = self.table
        if self._heard is None or self._heard[0] is not table:
            self._heard = table, {slot.mod_id: _patterns(slot) for slot in table.all}
        return self._heard[1]

    def find_away(self, path_or_id: str) -> Slot | None:
        """The slot of a mod that another host runs, by id, path or local path; `wiki@main` is wiki."""
        name = path_or_id.removesuffix(f"@{MAIN}")
        path = module_of(name)
        found = self._away.get(name) or next((s for s in self._away.values() if module_of(s.mod_path) == path), None)
        return None if found is None or self._is_live(found.mod_id) else found

    def has_moved(self, mod_id: str) -> bool:
        """Return whether a mod that ran here runs on another host now."""
        return mod_id in self.moved and not self._is_live(mod_id)

    def _is_live(self, mod_id: str) -> bool:
        slot = self._slots.get(mod_id)
        return slot is not None and slot.live is not None

    @property
    def slots(self) -> tuple[Slot, ...]:
        """The slots with a live generation, in order."""
        with self._lock:
            return tuple(each for each in self._slots.values() if each.live is not None)

    @property
    def live(self) -> tuple[Generation, ...]:
        with self._lock:
            if self._live is None:
                # Asked for many times in a change; it differs only after a commit.
                self._live = tuple(each.live for each in self._slots.values() if each.live is not None)
            return self._live

    def find(self, path_or_id: str) -> Slot | None:
        """Return the slot of a mod, by id (`wiki`), path (`mods.wiki`) or local path (`./wiki`)."""
        return self._slots.get(path_or_id) or self._paths.get(module_of(path_or_id))

    def running(self, path_or_id: str) -> Generation | None:
        """Return the live generation of a mod, named as for `find`; None if it does not run."""
        slot = self.find(path_or_id)
        return None if slot is None else slot.live

    def addressed(self, name: str) -> tuple[Slot | None, bool]:
        """Return the slot for an event to `mod:<name>`, and whether the name is that of one line.

        `wiki@2` is that line, `wiki@main` the main line; a line whose code has a path of its own
        has that name, too.
        """
        slot = self.find(name)
        if slot is not None:
            return slot, slot.line is not None
        mod, at, label = name.partition("@")
        if at:
            return (self.find(mod) if label == MAIN else None), True
        return self._aliases.get(module_of(name)) or self._aliases.get(name), True

    def mod_of(self, module: str) -> str | None:
        """Return the id of the running mod that a module belongs to."""
        for generation in self.live:
            package = generation.entry.removesuffix(".mod")
            if module == package or module.startswith(f"{package}."):
                return generation.mod_id
        return None

    def make_slot(self, mod_id: str, mod_path: str) -> Slot:
        """Return a slot for a mod that is being loaded; it joins the table at `commit`."""
        return Slot(mod_id, mod_path, Gate(self._held_events))

    def take_out(self, slot: Slot, why: str) -> None:
        """Give a line no more events, for this reason. It stays loaded; a new rule lets it in."""
        with self._lock:
            slot.out = why
            self._choose()

    def hold_at_most(self, events: int) -> None:
        """Set how many events may wait at each gate."""
        self._held_events = events
        for slot in self.slots:
            slot.gate.limit = events

    def pack(self) -> dict[str, int]:
        """Return the number of the latest generation of each mod that ever ran."""
        with self._lock:
            return dict(self._numbers)

    def unpack(self, numbers: Mapping[str, int]) -> None:
        """Continue the counts of an earlier image of this process."""
        with self._lock:
            self._numbers.update(numbers)

    def next_number(self, mod_id: str) -> int:
        return self._numbers.get(mod_id, 0) + 1

    def commit(self, swap: Swap) -> None:
        """Make a swap real between two events: nothing awaits, other threads see all or nothing."""
        with self._lock:
            self._commit(swap)

    def _commit(self, swap: Swap) -> None:
        self._live = None
        self.commits += 1
        for slot, line in swap.lines:
            slot.line, slot.out, slot.tally = line, "", Tally()
        if (
            swap.lines
            or swap.removed
            or swap.order is not None
            or not all(self._listens_alike(*each) for each in swap.live)
        ):
            self._table = None
        for slot in swap.removed:
            if slot.line is not None:
                self.parts.get(main_of(slot.mod_id), {}).pop(slot.line.label, None)
            self._slots.pop(slot.mod_id, None)
            self._paths.pop(module_of(slot.mod_path), None)
            slot.live = None
            if slot.host:
                self.moved[slot.mod_id] = slot.host
        for slot, generation in swap.live:
            self.moved.pop(slot.mod_id, None)
            slot.live = generation
            generation.state = ModState.LIVE
            self._numbers[slot.mod_id] = generation.number
            self._slots[slot.mod_id] = self._paths[module_of(slot.mod_path)] = slot
            if slot.line is not None:
                # Errors of the code before do not concern this one.
                slot.out, slot.tally = "", Tally()
        if swap.order is not None:
            self._sort(swap.order, len(swap.live))
        elif swap.live:
            self._sorted_by = None
        if self._has_lines or swap.lines:
            self._choose()

    def _choose(self) -> None:
        """Make the choices again, if there are lines or were."""
        lines: dict[str, dict[str, Slot]] = {}
        for slot in self._slots.values():
            if slot.line is not None:
                lines.setdefault(main_of(slot.mod_id), {})[slot.line.label] = slot
        for slot in self._slots.values():
            if slot.mod_id in lines:
                known = slot.choice is not None and slot.choice.lines == lines[slot.mod_id]
                slot.tally = slot.tally if known else Tally()
                parts = self._share_out(slot.mod_id, lines[slot.mod_id])
                slot.choice = _choice_of(slot, lines[slot.mod_id], parts)
            elif slot.choice is not None:
                slot.choice = slot.tally = None
        for slot in self._slots.values():
            if slot.live is not None:
                slot.live.tally = slot.tally
        self._has_lines = bool(lines)
        slots = [slot for slot in self._slots.values() if slot.line is not None and slot.line.code]
        named = [(slot.line.code, slot) for slot in slots if slot.line is not None]
        self._aliases = {name: slot for code, slot in named for name in (code, mod_id_of(code))}

    def _share_out(self, mod_id: str, lines: Mapping[str, Slot]) -> Mapping[str, Part]:
        """Return the numbers of each line of a mod: a line that gets no events now keeps its own."""
        rules = {label: slot.line.rule for label, slot in lines.items() if slot.line is not None}
        shares = {label: 0.0 if rule.shadow else rule.share for label, rule in rules.items()}
        parts = self.parts[mod_id] = parts_of(shares, self.parts.get(mod_id))
        return parts

    def expire(self, call: Call, reason: str) -> bool:
        """End a handler that runs for too long. False if it was told to end before."""
        if not expire(call, reason):
            return False
        self.overdue.append(call)
        return True

    def clear(self) -> None:
        """Remove all slots."""
        self.commit(Swap(removed=list(self._slots.values())))

    def _listens_alike(self, slot: Slot, generation: Generation) -> bool:
        """Return whether a generation has its predecessor's patterns: the table stays right."""
        before = None if slot.live is None or slot.line is not None else slot.live.handlers.patterns
        return before == generation.handlers.patterns

    def _sort(self, order: Sequence[str], added: int) -> None:
        """Sort the slots, of which so many may have been added at the end since."""
        if order is not self._sorted_by:
            self._sorted_by, self._places = order, {mod_id: n for n, mod_id in enumerate(order)}
            added = len(self._slots)
        last = len(order)
        # The groups of a start come in their order: to sort for each would cost the square of their number.
        ends = [self._places.get(each, last) for each in islice(reversed(self._slots), added + 1)]
        if any(above < below for above, below in pairwise(ends)):
            self._slots = dict(sorted(self._slots.items(), key=lambda item: self._places.get(item[0], last)))


def _patterns(slot: Slot) -> tuple[str, ...]:
    """Return the patterns of a mod, with those of its lines."""
    if slot.host:
        return slot.listens
    choice = slot.choice
    slots = [slot] if choice is None else [slot, *choice.lines.values()]
    return tuple(dict.fromkeys(each for one in slots if one.live is not None for each in one.live.handlers.patterns))
