"""The poll report mod: answers `poll_report.get`, and sends the report to all agents once a week.

It asks the mod polls for what it knows; it keeps nothing but the time of its last report.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from devserver import BaseMod, Event, EventResponse, Refused, mod_event_handler

DAY = 86_400.0

Days = Annotated[int, Field(ge=1, le=366)]


class GetReport(BaseModel):
    """The days that the report is about; as many as the configuration says where they are left out."""

    model_config = ConfigDict(strict=True)

    days: Days | None = None


class PollReportMod(BaseMod):
    """What was asked and decided in the last days."""

    version = "0.2.1"
    requires = ("polls>=1",)
    persist_state = True

    class Config(BaseModel):
        """How many days a report is about, and whether it is sent by itself."""

        model_config = ConfigDict(strict=True, frozen=True)

        days: Days = 7
        send: bool = True

    config: Config

    def initialize(self) -> bool:
        """Count the days from the first start on."""
        self.state.setdefault("reported_at", self.network.time())
        if self.config.send:
            self.every(3600.0, self.report_when_due)
        return True

    @mod_event_handler("poll_report.get")
    async def get(self, event: Event, wanted: GetReport) -> EventResponse:
        """Get a report of the last days."""
        report = await self._report(wanted.days or self.config.days)
        return EventResponse(True, report["text"], report)

    async def report_when_due(self) -> None:
        """Send the report, where the last one is as many days old as it is about."""
        if self.network.time() - self.state["reported_at"] < self.config.days * DAY:
            return
        report = await self._report(self.config.days)
        self.state["reported_at"] = self.network.time()
        await self.network.ask("agent:broadcast", "poll_report.notification", report)

    async def _report(self, days: int) -> dict[str, Any]:
        answer = await self.network.ask("mod:polls", "polls.list", {"limit": 500})
        if not answer.success or answer.data is None:
            raise Refused(f"polls does not answer: {answer.message}")
        since = self.network.time() - days * DAY
        recent = [each for each in answer.data["polls"] if each["opened_at"] >= since]
        rows = [_row(each) for each in recent]
        text = "\n".join([f"{len(recent)} polls in {days} days", *rows])
        return {"days": days, "polls": recent, "text": text}


def _row(poll: dict[str, Any]) -> str:
    state = "open" if poll["closed_at"] is None else "closed"
    leading = ", ".join(poll["leading"]) or "no votes"
    return f"{poll['question']}: {leading} ({poll['voters']} voters, {state})"
