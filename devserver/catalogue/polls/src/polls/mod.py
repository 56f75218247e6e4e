"""The polls mod: answers `polls.*`, and tells agents when a poll opens and what came of it.

What a poll is and what may be done to it is decided in `polls`.
"""

from __future__ import annotations

from typing import Any

from devserver import BaseMod, Event, EventResponse, mod_event_handler

from . import polls
from .payloads import AboutPoll, ListPolls, OpenPoll, Rules, Vote


class PollsMod(BaseMod):
    """Polls that any agent may open; who opened one closes it. Votes survive reloads and crashes."""

    version = "1.0.0"
    persist_state = True

    Config = Rules
    config: Rules

    def initialize(self) -> bool:
        """Begin without polls, or go on with those that there are."""
        self.state.setdefault("polls", {})
        return True

    def update_config(self, config: Rules) -> bool:
        """Take new limits in place: each handler reads them when it is called."""
        return True

    @mod_event_handler("polls.open")
    async def open(self, event: Event, asked: OpenPoll) -> EventResponse:
        """Open a poll, and tell all agents of it."""
        poll = polls.open_poll(self.state["polls"], self.config, asked, event.source.id, self.network.time())
        if self.config.announce:
            await self._tell("agent:broadcast", "opened", poll)
        return EventResponse(True, f"Opened poll {poll['poll_id']}", polls.result(poll))

    @mod_event_handler("polls.vote")
    def vote(self, event: Event, given: Vote) -> EventResponse:
        """Count the sender's vote, in place of an earlier one."""
        poll = polls.find(self.state["polls"], given.poll_id)
        polls.vote(poll, event.source.id, given.options)
        return EventResponse(True, f"Counted in poll {poll['poll_id']}", polls.result(poll))

    @mod_event_handler("polls.close")
    async def close(self, event: Event, wanted: AboutPoll) -> EventResponse:
        """Close a poll, and tell those who have voted what came of it."""
        poll = polls.find(self.state["polls"], wanted.poll_id)
        polls.close(poll, event.source.id, self.network.time())
        present = self.network.agents()
        for agent in [each for each in poll["votes"] if each in present and each != event.source.id]:
            await self._tell(f"agent:{agent}", "closed", poll)
        return EventResponse(True, f"Closed poll {poll['poll_id']}", polls.result(poll))

    @mod_event_handler("polls.get")
    def get(self, event: Event, wanted: AboutPoll) -> EventResponse:
        """Get a poll with its counts."""
        poll = polls.find(self.state["polls"], wanted.poll_id)
        return EventResponse(True, poll["question"], polls.result(poll))

    @mod_event_handler("polls.list")
    def list_polls(self, event: Event, wanted: ListPolls) -> EventResponse:
        """List polls with their counts, newest first."""
        found = [each for each in reversed(self.state["polls"].values()) if self._is_wanted(each, wanted)]
        shown = [polls.result(each) for each in found[: wanted.limit]]
        return EventResponse(True, f"{len(shown)} polls", {"polls": shown, "total_count": len(found)})

    @staticmethod
    def _is_wanted(poll: dict[str, Any], wanted: ListPolls) -> bool:
        return poll["closed_at"] is None or not wanted.only_open

    async def _tell(self, receiver: str, what: str, poll: dict[str, Any]) -> None:
        name = f"polls.notification.{what}"
        answer = await self.network.ask(receiver, name, polls.result(poll))
        if not answer.success:
            self.log.info("notification refused", name=name, receiver=receiver, reason=answer.message)
