"""The books: what agents sent, what was answered, what arrived. Says what is missing; sends nothing itself."""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

NOTHING: dict[str, Any] = {
    "unanswered": [],
    "refused": [],
    "lost": [],
    "duplicated": [],
    "out of order": [],
    "errors": [],
    "closed": [],
}
"""The faults of a network that does its duty."""


@dataclass(slots=True)
class Ledger:
    """Numbered posts between agents, each of which every other agent has to get, once and in order."""

    agents: list[str] = field(default_factory=list)
    sent: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    answers: dict[tuple[str, int], dict[str, Any]] = field(default_factory=dict)
    arrived: dict[tuple[str, str], list[int]] = field(default_factory=lambda: defaultdict(list))
    took: list[float] = field(default_factory=list)
    """How many seconds each answer took, in the order in which they came."""
    errors: list[str] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def send(self, sender: str) -> int:
        """The number of the next post of a sender, from 0."""
        number = self.sent[sender]
        self.sent[sender] += 1
        return number

    def deliver(self, receiver: str, sender: str, number: int) -> None:
        """A post has arrived."""
        self.arrived[receiver, sender].append(number)
        self._news.set()

    def ways(self) -> list[tuple[str, str]]:
        """Each receiver with each sender."""
        return [(receiver, sender) for receiver in self.agents for sender in self.sent if receiver != sender]

    async def complete(self, patience: float = 20.0) -> None:
        """Wait until everything has arrived; after `patience` seconds `faults` says what has not."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                while any(self._lost(way) for way in self.ways()):
                    self._news.clear()
                    await self._news.wait()

    def faults(self) -> dict[str, Any]:
        """Everything that went wrong, by kind; `NOTHING` where nothing did."""
        known = ((sender, number) for sender, count in self.sent.items() for number in range(count))
        return {
            "unanswered": [each for each in known if each not in self.answers],
            "refused": [answer for answer in self.answers.values() if not answer["success"]],
            "lost": [(*way, each) for way in self.ways() for each in self._lost(way)],
            "duplicated": [way for way in self.ways() if len(set(self.arrived[way])) != len(self.arrived[way])],
            "out of order": [way for way in self.ways() if sorted(self.arrived[way]) != self.arrived[way]],
            "errors": self.errors,
            "closed": self.closed,
        }

    def _lost(self, way: tuple[str, str]) -> list[int]:
        _, sender = way
        if len(self.arrived[way]) >= self.sent[sender]:
            return []
        return sorted(set(range(self.sent[sender])) - set(self.arrived[way]))
