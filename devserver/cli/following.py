"""Waits for what a running server makes of files that a command has changed."""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from devserver.cli.client import Client, NotRunning, connect
from devserver.model.facts import PlanDone, Status
from devserver.model.wire_form import plan_done_from_dict

PATIENCE = 60.0
"""Seconds that a change of files is waited for: imports and initialize() have limits of their own below that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Became:
    """What became of the mods that were waited for. `note` says why it is not known, where that is so."""

    plans: tuple[PlanDone, ...] = ()
    rows: tuple[dict[str, Any], ...] = ()
    good: bool = True
    note: str = ""


class Followed:
    """A running server, and the number of the last plan before files were changed."""

    def __init__(self, server: Client, number: int, *, paused: bool) -> None:
        self._server = server
        self._number = number
        self._paused = paused

    @classmethod
    def begin(cls, workspace: Path) -> Followed | None:
        """The server that runs in a workspace; None where none does."""
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
        missing, good = set(paths), True
        plans: list[PlanDone] = []
        rows: list[dict[str, Any]] = []
        until = time.monotonic() + PATIENCE
        while missing:
            left = until - time.monotonic()
            if left <= 0:
                return Became(plans=tuple(plans), rows=tuple(rows), note=f"nothing came of it within {PATIENCE:g} s")
            for row in self._rows(left):
                self._number = row["number"]
                if "refused" in row:
                    return Became(rows=(row,), good=False, note="network.yaml cannot be used as it is now")
                if "restarted" in row:
                    return Became(plans=tuple(plans), rows=(*rows, row), good=bool(row["success"]))
                done = plan_done_from_dict(row)
                told = {each.mod_path for each in done.outcomes}
                if missing & told:
                    plans.append(done)
                    rows.append(row)
                    good = good and all(
                        each.status is Status.APPLIED for each in done.outcomes if each.mod_path in missing
                    )
                    missing -= told
        return Became(plans=tuple(plans), rows=tuple(rows), good=good)

    def settle(self) -> None:
        """Wait until what is on disk is dealt with."""
        try:
            self._server.settle()
        except NotRunning:
            return

    def _rows(self, seconds: float) -> list[dict[str, Any]]:
        try:
            rows: list[dict[str, Any]] = self._server.reloads(self._number, min(seconds, 5.0))["reloads"]
        except NotRunning:
            if not self._server.is_alive:
                raise
            # Between two images of a restart in place.
            time.sleep(0.05)
            return []
        return rows
