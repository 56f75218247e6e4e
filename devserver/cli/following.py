"""Waits for the effects on a running server of files that a command has changed."""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from devserver.cli.client import Client, NotRunning, connect
from devserver.model.facts import PlanDone, Status
from devserver.model.wire_read import plan_done_from_dict

PATIENCE = 60.0
"""Seconds to wait for the effects: imports and initialize() have shorter limits of their own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Became:
    """The results of the mods that were waited for. `note` says why they are unknown."""

    plans: tuple[PlanDone, ...] = ()
    rows: tuple[dict[str, Any], ...] = ()
    good: bool = True
    note: str = ""


_HELD = 2.0
"""Seconds that one question for news is held."""


@dataclass(slots=True)
class _Seen:
    """The results so far of the mods that are waited for."""

    missing: set[str]
    restart: bool = False
    """Whether only a restart in place brings the new version, which follows or waits."""
    plans: list[PlanDone] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)
    good: bool = True

    def take(self, row: dict[str, Any]) -> str | None:
        """Take in one row; return a text, perhaps empty, when there is nothing more to wait for."""
        if "refused" in row:
            self.rows.append(row)
            self.good = False
            return "network.yaml cannot be used"
        if "restarted" in row:
            self.rows.append(row)
            self.good = bool(row["success"])
            self.missing.clear()
            return ""
        done = plan_done_from_dict(row)
        told = {each.mod_path: each.status for each in done.outcomes if each.mod_path in self.missing}
        if not told:
            return None
        self.plans.append(done)
        self.rows.append(row)
        if row.get("not_applied") and Status.SKIPPED in told.values():
            self.restart = True
            told = {path: status for path, status in told.items() if status is not Status.SKIPPED}
        self.good = self.good and all(status is Status.APPLIED for status in told.values())
        self.missing -= told.keys()
        return None

    def became(self, note: str = "") -> Became:
        return Became(plans=tuple(self.plans), rows=tuple(self.rows), good=self.good, note=note)


class Followed:
    """A running server, and the number of the last plan before files were changed."""

    def __init__(self, server: Client, number: int, *, paused: bool) -> None:
        self.server = server
        self.number = number
        self._paused = paused

    @classmethod
    def begin(cls, workspace: Path) -> Followed | None:
        """Return the server that runs in a workspace; None without one."""
        try:
            server = connect(workspace)
            status, number = server.status(), server.reloads()["next"]
        except NotRunning:
            return None
        return cls(server, number, paused=bool(status.get("paused")) or not status.get("watching", True))

    def wait(self, paths: Collection[str]) -> Became:
        """Wait until each of these mods was loaded, reloaded, unloaded or held."""
        if self._paused:
            return Became(note="the server does not apply saves by itself now: oa-dev apply")
        seen = _Seen(set(paths))
        until = time.monotonic() + PATIENCE
        while seen.missing:
            left = until - time.monotonic()
            if left <= 0:
                return seen.became(f"nothing came of it within {PATIENCE:g} s")
            for row in self._rows(left):
                self.number = row["number"]
                if (note := seen.take(row)) is not None:
                    return seen.became(note)
            if seen.restart and (waits := self._waits()):
                return seen.became(waits)
        return seen.became()

    def _waits(self) -> str:
        """Return why a restart in place does not come on its own, or ""."""
        try:
            problems = self.server.settle(1.0)["problems"]
        except NotRunning:
            return ""
        return next((f"locked; {each['why']}" for each in problems if each["kind"] == "restart"), "")

    def settle(self) -> None:
        """Wait until everything on disk is dealt with."""
        try:
            self.server.settle()
        except NotRunning:
            return

    def _rows(self, seconds: float) -> list[dict[str, Any]]:
        try:
            rows: list[dict[str, Any]] = self.server.reloads(self.number, min(seconds, _HELD))["reloads"]
        except NotRunning:
            if not self.server.is_alive:
                raise
            # Between two images of a restart in place.
            time.sleep(0.05)
            return []
        return rows
