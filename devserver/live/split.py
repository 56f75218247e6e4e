"""The version of a mod that an event goes to, and why. Pure; the cost of a choice does not grow
with agents.

In this order: the agents that a line names, its groups, the metadata of the event, its share. The share is decided by
a hash of the agent, so that nothing is kept about agents: an agent stays in its line for as long as the share of that
line does not fall and those of the lines before it stay. Another line, listed last, moves agents of the main line
alone.

Where the share of an earlier line falls by `d`, a part `d / (1 - the shares before)` of a later line's agents
changes places with agents that the earlier line let go. No rule that knows the shares alone can spare them: the agents
of each line would have to be the same whatever the others' shares are, so for two lines with all agents between them
the one's would be those that the other leaves, and of three lines each would have to be what is left of both others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from devserver.model.split import Rule, shown_share

_ALL = 2**64


@dataclass(frozen=True, slots=True)
class Asker:
    """The sender of an event: the agent at the start of its chain, its group, and the metadata of
    the first event."""

    agent: str | None = None
    group: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)


NOT_AN_AGENT = Asker()
"""The sender of a timer's or the network's own event: it goes to the main line."""


@dataclass(frozen=True, slots=True)
class Reason:
    """The line of an agent (None: the main line), and the reason in words."""

    label: str | None
    words: str


class Split:
    """The rules of one mod's lines, by label, in their listed order."""

    __slots__ = ("_by_agent", "_others", "_shares", "by_agent_alone", "mod_id", "rules")

    def __init__(self, mod_id: str, rules: Mapping[str, Rule]) -> None:
        self.mod_id = mod_id
        self.rules = {label: rule for label, rule in rules.items() if not rule.shadow}
        self._by_agent = {agent: label for label, rule in reversed(self.rules.items()) for agent in rule.agents}
        self._others = [(label, rule) for label, rule in self.rules.items() if rule.groups or rule.when]
        self._shares = [(label, rule.share) for label, rule in self.rules.items() if rule.share]
        self.by_agent_alone = not self._others
        """Whether all rules need only the name of the agent."""

    def choose(self, asker: Asker) -> str | None:
        """Return the label of the line that gets an event; None for the main line."""
        named = self._by_agent.get(asker.agent) if asker.agent is not None else None
        if named is not None:
            return named
        for fits in (_fits_group, _fits_metadata) if self._others else ():
            for label, rule in self._others:
                if fits(rule, asker):
                    return label
        return by_share(self.mod_id, asker.agent, self._shares) if asker.agent is not None else None

    def why(self, asker: Asker) -> Reason:
        """Return the line of an event of this agent, and the reason."""
        label = self.choose(asker)
        if label is None:
            shares = ", ".join(f"{each} has {shown_share(share)}" for each, share in self._shares)
            numbers = ", ".join(self._number(each, asker.agent) for each, _ in self._shares) if asker.agent else ""
            return Reason(None, f"{numbers}, and {shares}" if numbers else "no rule of a line names it")
        rule = self.rules[label]
        if asker.agent in rule.agents:
            return Reason(label, "named in its agents")
        if _fits_group(rule, asker):
            return Reason(label, f"group {asker.group} is named in its groups")
        if _fits_metadata(rule, asker):
            return Reason(label, f"the metadata holds {dict(rule.when)}")
        return Reason(label, f"{self._number(label, asker.agent or '')} of {shown_share(rule.share)}")

    def _number(self, label: str, agent: str) -> str:
        left = 1.0
        for each, share in self._shares:
            if each == label:
                break
            left -= share
        return f"bucket {bucket(self.mod_id, label, agent) * left * 100:.2f}"


def by_share(mod_id: str, agent: str, shares: Sequence[tuple[str, float]]) -> str | None:
    """Return the label that the shares of lines, in order, give to an agent; None: the main
    line."""
    left = 1.0
    for label, share in shares:
        if bucket(mod_id, label, agent) * left < share:
            return label
        left -= share
    return None


def bucket(mod_id: str, label: str, agent: str) -> float:
    """Return a number from 0 to 1 that is constant for an agent, a mod and a line, and evenly
    spread over agents."""
    digest = blake2b(f"{mod_id}\0{label}\0{agent}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") / _ALL


def _fits_group(rule: Rule, asker: Asker) -> bool:
    return asker.group is not None and asker.group in rule.groups


def _fits_metadata(rule: Rule, asker: Asker) -> bool:
    return bool(rule.when) and all(
        key in asker.metadata and asker.metadata[key] == value for key, value in rule.when.items()
    )
