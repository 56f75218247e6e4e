"""The versions that run beside mods, as people see them: which agents get which, why, and the
results of each.

Takes a line out if its guard says so; loads, reloads and ends none. `.oa-dev/splits.json` keeps the numbers of the
lines' agents over a start: without it, shares are given out in the order of network.yaml.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from devserver.live.generation import Generation
from devserver.live.registry import Choice, Registry, Slot
from devserver.live.split import ALL, Asker, Part
from devserver.market.folder import private_folder, write_whole
from devserver.model.facts import Guarded, LineSeen, Notice, SplitSeen
from devserver.model.split import MAIN, Guard, StateMode, main_of
from devserver.network.agents import Directory

_MOST_NAMED = 5


class Lines:
    """The lines of one network."""

    def __init__(
        self, registry: Registry, directory: Directory, tell: Callable[[SplitSeen | Guarded | Notice], None]
    ) -> None:
        self._registry = registry
        self._directory = directory
        self._tell = tell
        self.kept: Path | None = None
        """The file in which the agents of lines are kept over a start; none where something is only tried out."""
        self._told: dict[str, tuple[tuple[str, str, str], ...]] = {}
        """The last told facts of each mod: its lines, which events they get, why they get none."""

    def begin(self) -> None:
        """Let lines have the agents that they had when the network last ran. Call it before any is loaded."""
        if self.kept is not None:
            self._registry.parts = read_parts(self.kept)

    def _keep(self) -> None:
        if self.kept is None:
            return
        try:
            write_parts(self.kept, self._registry.parts)
        except OSError as error:
            self._tell(Notice(f"agents may change versions at the next start: {self.kept.name}: {error.strerror}"))

    def told(self, mod_id: str) -> None:
        """Tell which agents get which version of a mod, after that has changed."""
        slot = self._registry.find(main_of(mod_id))
        if slot is None:
            return
        choice = slot.choice
        got = {} if choice is None else self._got(choice)
        lines = [] if choice is None else [(label, each.line, each.out) for label, each in choice.lines.items()]
        seen = [
            LineSeen(label, str(line.rule), line.rule.share, tuple(sorted(got[label])), out)
            for label, line, out in lines
            if line is not None
        ]
        rules = tuple((each.label, each.gets, each.out) for each in seen)
        if rules != self._told.get(slot.mod_id, ()):
            # A save of a line changes nothing about who gets it.
            self._told[slot.mod_id] = rules
            self._keep()
            self._tell(SplitSeen(slot.mod_id, tuple(seen), len(self._directory.agents())))

    def row(self, mod_id: str) -> dict[str, Any]:
        """Describe a line, or a mod that has lines; nothing for any other."""
        slot = self._registry.find(mod_id)
        main = slot if slot is None or slot.line is None else self._registry.find(main_of(mod_id))
        if slot is None or main is None or main.choice is None:
            return {}
        tally, got = slot.tally, self._got(main.choice)
        label = MAIN if slot.line is None else slot.line.label
        found: dict[str, Any] = {
            "label": label,
            "share": self._share(main.choice, label),
            "agents": len(got.get(label, ())),
            "lines": [each.mod_id for each in main.choice.lines.values()] if slot.line is None else [],
        }
        if tally is not None:
            found |= {
                "events": tally.events,
                "failed_events": tally.failed,
                "p50_ms": _rounded(tally.percentile(0.5)),
                "p99_ms": _rounded(tally.percentile(0.99)),
            }
        if slot.line is not None:
            rule = slot.line.rule
            found |= {
                "line_of": main.mod_id,
                "shadow": rule.shadow,
                "gets": str(rule),
                "line_state": slot.line.state.value,
                "code": slot.line.code or None,
                "out": slot.out or None,
            }
        return found

    def why(self, agent: str, mod: str) -> dict[str, Any] | None:
        """Return the version of a mod that an agent gets, and why; None for an unknown mod."""
        slot = self._registry.addressed(mod)[0] or self._registry.find(main_of(mod))
        slot = self._registry.find(main_of(slot.mod_id)) if slot is not None else None
        if slot is None:
            return None
        known = self._directory.agent(agent)
        found = {"agent": agent, "mod_id": slot.mod_id, "connected": known is not None}
        if slot.choice is None:
            return {**found, "gets": slot.mod_id, "why": "it has one version", "lines": []}
        reason = slot.choice.split.why(Asker(agent, None if known is None else known.group))
        gets = slot.mod_id if reason.label is None else f"{slot.mod_id}@{reason.label}"
        lines = [
            {"mod_id": each.mod_id, "gets": str(each.line.rule), "out": each.out or None}
            for each in slot.choice.lines.values()
            if each.line is not None
        ]
        return {**found, "gets": gets, "why": reason.words, "lines": lines}

    def _got(self, choice: Choice) -> dict[str, list[str]]:
        """Return the known agents by the label of the version that each gets."""
        found: dict[str, list[str]] = {label: [] for label in (MAIN, *choice.lines)}
        for agent in self._directory.agents():
            label = choice.split.choose(Asker(agent.agent_id, agent.group))
            found[label or MAIN].append(agent.agent_id)
        return found

    @staticmethod
    def _share(choice: Choice, label: str) -> float:
        shares = {each: rule.share for each, rule in choice.split.rules.items()}
        return round(1 - sum(shares.values()), 6) if label == MAIN else shares.get(label, 0.0)

    # Guards

    def on_error(self, generation: Generation) -> None:
        """Check the guards after an event has failed. Call it where mods run."""
        slot = self._registry.find(generation.mod_path)
        if slot is None or slot.live is not generation:
            return
        if slot.line is not None:
            if slot.line.guard is not None and slot.tally is not None and slot.tally.trips(slot.line.guard):
                failed = f"{slot.tally.failures(slot.line.guard)} of its last {_last(slot, slot.line.guard)}"
                self._take_out(slot, f"{failed} failed ({slot.line.guard}) · {slot.tally.last_error}")
            return
        for each in slot.choice.lines.values() if slot.choice is not None else ():
            line, tally = each.line, slot.tally
            if line is None or line.guard is None or tally is None or line.state is not StateMode.SHARED or each.out:
                continue
            if tally.trips(line.guard):
                # One thread writes what the other reads.
                times = f"raised {tally.failures(line.guard)} times since {each.mod_id} shares its state"
                self._take_out(each, f"{slot.mod_id} {times} · {tally.last_error}")

    def _take_out(self, slot: Slot, why: str) -> None:
        if slot.out or slot.live is None:
            return
        self._registry.take_out(slot, why)
        self._tell(Guarded(slot.mod_id, main_of(slot.mod_id), slot.live.number, why))


def _last(slot: Slot, guard: Guard) -> int:
    return min(guard.of, slot.tally.events) if slot.tally is not None else 0


def _rounded(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else round(milliseconds, 3)


def named(agents: tuple[str, ...]) -> str:
    """Name the first of some agents, and count the others."""
    more = [f"{len(agents) - _MOST_NAMED} more"] if len(agents) > _MOST_NAMED else []
    return ", ".join([*agents[:_MOST_NAMED], *more])


LIMIT = 1024 * 1024
"""The largest file in bytes that is read."""


def read_parts(file: Path) -> dict[str, dict[str, Part]]:
    """Return the numbers of each line by its mod and its label; of a mod without sound ones nothing."""
    try:
        with open(file, "rb") as stream:
            values = json.loads(stream.read(LIMIT))
        return {str(mod_id): dict(_lines(rows)) for mod_id, rows in values.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        # A missing or damaged file costs stickiness over this start, and nothing else.
        return {}


def _lines(rows: Mapping[str, Any]) -> Iterator[tuple[str, Part]]:
    """Raise ValueError for numbers that two lines have, or that are not numbers."""
    last = 0
    for first, end in sorted((first, end) for part in rows.values() for first, end in part):
        if not (isinstance(first, int) and isinstance(end, int) and last <= first < end <= ALL):
            raise ValueError
        last = end
    yield from ((label, tuple((first, end) for first, end in part)) for label, part in rows.items())


def write_parts(file: Path, parts: Mapping[str, Mapping[str, Part]]) -> None:
    """Replace the file; without lines remove it. Raises OSError."""
    kept = {mod_id: {label: part for label, part in lines.items() if part} for mod_id, lines in parts.items()}
    kept = {mod_id: lines for mod_id, lines in kept.items() if lines}
    if kept:
        private_folder(file.parent)
        write_whole(file, json.dumps(kept).encode())
    else:
        file.unlink(missing_ok=True)
