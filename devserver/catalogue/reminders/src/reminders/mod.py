"""The reminders mod: answers `reminders.*`, and tells an agent something when its time has come.

A reminder for an agent that is away waits until it is there again. Times are in seconds since 1970.
"""

from __future__ import annotations

import uuid
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from devserver import BaseMod, Event, EventResponse, Refused, mod_event_handler

LONGEST = 366 * 86_400.0

Line = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500)]


class Set(BaseModel):
    """What to say, and when: `in_seconds` from now, or `at` a time. `agent` is the sender where it is left out."""

    model_config = ConfigDict(strict=True)

    text: Line
    in_seconds: Annotated[float, Field(gt=0, le=LONGEST)] | None = None
    at: Annotated[float, Field(gt=0)] | None = None
    agent: Line | None = None

    @model_validator(mode="after")
    def _one_time(self) -> Self:
        if (self.in_seconds is None) == (self.at is None):
            raise ValueError("either in_seconds or at is needed")
        return self


class Cancel(BaseModel):
    """A reminder, by its id."""

    model_config = ConfigDict(strict=True)

    reminder_id: Line


class RemindersMod(BaseMod):
    """Reminders that agents set for themselves or for each other. They survive reloads and crashes."""

    version = "1.0.0"
    persist_state = True

    class Config(BaseModel):
        """How many reminders one agent may have set, and how often it is looked which are due."""

        model_config = ConfigDict(strict=True, frozen=True)

        max_per_agent: Annotated[int, Field(ge=1, le=10_000)] = 100
        every_seconds: Annotated[float, Field(gt=0, le=3600)] = 1.0

    config: Config

    def initialize(self) -> bool:
        """Go on with the reminders that there are."""
        self.state.setdefault("reminders", {})
        self.every(self.config.every_seconds, self.ring)
        return True

    @mod_event_handler("reminders.set")
    def set(self, event: Event, new: Set) -> EventResponse:
        """Set a reminder."""
        by, now = event.source.id, self.network.time()
        at = new.at if new.at is not None else now + (new.in_seconds or 0)
        if not now < at <= now + LONGEST:
            raise Refused("a reminder is for a time within the next year")
        if len(self._of(by)) >= self.config.max_per_agent:
            raise Refused(f"{by} has set {self.config.max_per_agent} reminders, more are not kept: cancel one")
        reminder = {"reminder_id": uuid.uuid4().hex[:8], "text": new.text, "at": at, "by": by, "agent": new.agent or by}
        self.state["reminders"][reminder["reminder_id"]] = reminder
        return EventResponse(True, f"{reminder['agent']} is reminded in {at - now:.0f} s", dict(reminder))

    @mod_event_handler("reminders.list")
    def list_reminders(self, event: Event) -> EventResponse:
        """List what the sender has set, the next one first."""
        found = sorted(self._of(event.source.id), key=lambda each: each["at"])
        return EventResponse(True, f"{len(found)} reminders", {"reminders": found})

    @mod_event_handler("reminders.cancel")
    def cancel(self, event: Event, wanted: Cancel) -> EventResponse:
        """Cancel a reminder that the sender has set."""
        found = self.state["reminders"].get(wanted.reminder_id)
        if found is None or found["by"] != event.source.id:
            raise Refused(f"{event.source.id} has set no reminder {wanted.reminder_id!r}")
        del self.state["reminders"][wanted.reminder_id]
        return EventResponse(True, f"Cancelled: {found['text']}", found)

    async def ring(self) -> None:
        """Tell what is due to those who are there; a reminder goes once it was delivered."""
        now, present = self.network.time(), self.network.agents()
        due = [each for each in self.state["reminders"].values() if each["at"] <= now and each["agent"] in present]
        for each in sorted(due, key=lambda reminder: reminder["at"]):
            answer = await self.network.ask(f"agent:{each['agent']}", "reminders.due", dict(each))
            if answer.success:
                self.state["reminders"].pop(each["reminder_id"], None)

    def _of(self, agent: str) -> list[dict[str, Any]]:
        return [dict(each) for each in self.state["reminders"].values() if each["by"] == agent]
