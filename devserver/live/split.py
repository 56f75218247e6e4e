"""The version of a mod that an event goes to, and why. Pure; more agents do not make it slower.

In this order: the agents that a line names, its groups, the metadata of the event, its share. A share is a part of all
numbers, and an agent has one number for each mod, a hash of its id: nothing is kept about agents. A line keeps its part
while its share stays, gives up the end of it when that falls, and takes what is free when it rises (`parts_of`): no
agent leaves a line but where the share of that line falls, and none changes from one line to another.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from devserver.model.split import Rule, shown_share

ALL = 10**8
"""How many numbers there are: shares are written with six decimals of a percentage."""

Part = tuple[tuple[int, int], ...]
"""Numbers that belong to a line: ranges in order, each with its first number and the one behind its last."""


@dataclass(frozen=True, slots=True)
class Asker:
    """The sender of an event: its chain's first agent, its group, the first event's metadata."""

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
    """The rules of one mod's lines, by label, in their listed order. `parts`: the numbers of each
    line. Those of a line without a rule, which gets no events now, go to the main line."""

    __slots__ = ("_by_agent", "_others", "_parts", "by_agent_alone", "mod_id", "rules")

    def __init__(self, mod_id: str, rules: Mapping[str, Rule], parts: Mapping[str, Part] | None = None) -> None:
        self.mod_id = mod_id
        self.rules = {label: rule for label, rule in rules.items() if not rule.shadow}
        self._by_agent = {agent: label for label, rule in reversed(self.rules.items()) for agent in rule.agents}
        self._others = [(label, rule) for label, rule in self.rules.items() if rule.groups or rule.when]
        known = parts_of({label: rule.share for label, rule in self.rules.items()}) if parts is None else parts
        self._parts = {label: part for label, part in known.items() if label in self.rules and part}
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
        return self._by_share(asker.agent) if asker.agent is not None and self._parts else None

    def _by_share(self, agent: str) -> str | None:
        number = number_of(self.mod_id, agent)
        for label, part in self._parts.items():
            for first, end in part:
                if first <= number < end:
                    return label
        return None

    def why(self, asker: Asker) -> Reason:
        """Return the line of an event of this agent, and the reason."""
        label = self.choose(asker)
        number = f"bucket {number_of(self.mod_id, asker.agent) / ALL * 100:.2f}" if asker.agent is not None else ""
        if label is None:
            parts = ", ".join(f"{each} has {_shown(part)}" for each, part in self._parts.items())
            return Reason(None, f"{number}, and {parts}" if number and parts else "no rule of a line names it")
        rule = self.rules[label]
        if asker.agent in rule.agents:
            return Reason(label, "named in its agents")
        if _fits_group(rule, asker):
            return Reason(label, f"group {asker.group} is named in its groups")
        if _fits_metadata(rule, asker):
            return Reason(label, f"the metadata holds {dict(rule.when)}")
        return Reason(label, f"{number} of {_shown(self._parts[label])}")


def number_of(mod_id: str, agent: str) -> int:
    """Return the number of an agent for a mod, below ALL: always the same, and evenly spread over agents."""
    digest = blake2b(f"{mod_id}\0{agent}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") * ALL >> 64


def parts_of(shares: Mapping[str, float], before: Mapping[str, Part] | None = None) -> dict[str, Part]:
    """Return the numbers of each line by their shares, from those that lines had before.

    What a line had, and has no more share of, is free; one that needs more takes the first free numbers. Those of a
    line of `before` that is not here now are taken last, and else stay its own: it may still load.
    """
    former = before or {}
    sizes = {label: round(share * ALL) for label, share in shares.items()}
    found = {label: _first(former.get(label, ()), size) for label, size in sizes.items()}
    absent = [each for label, part in former.items() if label not in shares for each in part]
    for label, size in sizes.items():
        free = _without(((0, ALL),), (each for part in found.values() for each in part))
        unclaimed = _without(free, absent)
        missing = size - sum(end - first for first, end in found[label])
        more = _first((*unclaimed, *_without(free, unclaimed)), missing)
        found[label] = _joined((*found[label], *more))
    taken = [each for part in found.values() for each in part]
    return found | {label: _without(part, taken) for label, part in former.items() if label not in shares}


def _first(part: Part, size: int) -> Part:
    found: list[tuple[int, int]] = []
    for first, end in part:
        if size <= 0:
            break
        found.append((first, min(end, first + size)))
        size -= end - first
    return tuple(found)


def _without(part: Part, taken: Iterable[tuple[int, int]]) -> Part:
    left = list(part)
    for start, stop in taken:
        pieces = [piece for first, end in left for piece in ((first, min(end, start)), (max(first, stop), end))]
        left = [(first, end) for first, end in pieces if first < end]
    return tuple(left)


def _joined(part: Iterable[tuple[int, int]]) -> Part:
    found: list[tuple[int, int]] = []
    for first, end in sorted(part):
        if found and found[-1][1] == first:
            found[-1] = (found[-1][0], end)
        else:
            found.append((first, end))
    return tuple(found)


def _shown(part: Part) -> str:
    """Return a part in percent: `10 %` of the first, else from where to where."""
    if len(part) == 1 and part[0][0] == 0:
        return shown_share(part[0][1] / ALL)
    return " and ".join(f"{first / ALL * 100:.4g} to {shown_share(end / ALL)}" for first, end in part)


def _fits_group(rule: Rule, asker: Asker) -> bool:
    return asker.group is not None and asker.group in rule.groups


def _fits_metadata(rule: Rule, asker: Asker) -> bool:
    return bool(rule.when) and all(
        key in asker.metadata and asker.metadata[key] == value for key, value in rule.when.items()
    )
