"""The results on a running server of files that a command has changed: taken in, and shown.

`following` waits for them, and imports this while the server is at work.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from devserver.cli.output import say, show, view
from devserver.model.facts import PlanDone, Status
from devserver.model.wire_read import plan_done_from_dict, restarted_from_dict
from devserver.ui.plan_lines import became, restarted


@dataclass(frozen=True, slots=True, kw_only=True)
class Became:
    """The results of the mods that were waited for. `note` says why they are unknown."""

    plans: tuple[PlanDone, ...] = ()
    rows: tuple[dict[str, Any], ...] = ()
    good: bool = True
    note: str = ""

    def tell(self) -> None:
        """Show the results to a person."""
        for each in self.plans:
            show(became(each, view()))
        for row in self.rows:
            if "restarted" in row:
                show((restarted(restarted_from_dict(row["restarted"]), view()),))
        if self.note:
            say(self.note)


@dataclass(slots=True)
class Seen:
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

    def ended(self, note: str = "") -> Became:
        return Became(plans=tuple(self.plans), rows=tuple(self.rows), good=self.good, note=note)
