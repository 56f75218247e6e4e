"""Ends reloads that bring about the next: a mod's process writes a file that the mod reads.

Python shows what this process writes, and that counts as data of the mod; who wrote a file
elsewhere it does not show. So the same change is applied a few times, then held, and told with the
file's name.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from devserver.loader.started import processes_begun
from devserver.model.lifecycle import Action
from devserver.model.plan import Hold, Plan

MOST = 3
"""The most reloads in a row that a file may cause which changes right after each of them."""
_SOON = 5.0
"""Seconds after a reload in which a change may come from a process that the mod has started for it."""


@dataclass(frozen=True, slots=True)
class _Round:
    """The reloads in a row that a file has caused, the end of the last one, and whether a mod started
    a process in it."""

    count: int
    ended: float
    has_begun: bool


class Echoes:
    """The memory of one engine. `shown` makes a path one that people read."""

    def __init__(self, shown: Callable[[str], str]) -> None:
        self._shown = shown
        self._rounds: dict[Path, _Round] = {}
        self._begun = 0

    def held(self, plan: Plan) -> Plan:
        """Return a plan for changed files, with its reloads held where they would repeat themselves."""
        self._begun = processes_begun()
        if not plan.changed or any(self._count(path) < MOST or path.suffix == ".py" for path in plan.changed):
            return plan
        names = ", ".join(self._shown(str(path)) for path in plan.changed)
        steps = [step for step in plan.steps if step.action is Action.RELOAD]
        why = f"{names} changes after each reload, written by a process that a mod starts for it?"
        holds = [
            Hold(
                Action.RELOAD, each.mod_id, f"{why} oa-dev reload {each.mod_id} brings it", repeats=tuple(plan.changed)
            )
            for each in steps
        ]
        return replace(plan, groups=(), holds=(*plan.holds, *holds))

    def note(self, plan: Plan) -> None:
        """Note that a plan was carried out."""
        has_begun, now = processes_begun() != self._begun, time.monotonic()
        if plan.changed and plan.groups:
            self._rounds = {path: _Round(self._count(path) + 1, now, has_begun) for path in plan.changed}

    def _count(self, path: Path) -> int:
        before = self._rounds.get(path)
        is_echo = before is not None and before.has_begun and time.monotonic() - before.ended < _SOON
        return before.count if before is not None and is_echo else 0
