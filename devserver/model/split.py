"""Several versions of one mod at once, as values: lines, and which events go to which of them.

A *line* is a version of a mod that serves beside its main line, under the mod's id and a label:
`wiki@2`. A *split* says which agents get which line. `live/split` chooses by it; nothing here has
an effect.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from devserver.model.names import mod_id_of

MAIN = "main"
"""The label of the main line."""

_LABEL = re.compile(r"[a-z0-9_]{1,20}")


class StateMode(StrEnum):
    """The state of its mod that a line starts with."""

    SHARED = "shared"
    """The same dict, which both read and write: plain data only."""
    COPY = "copy"
    """A copy of the main line's state, made when the line begins."""
    EMPTY = "empty"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Which events a line gets: `share` is a part of all agents, from 0 to 1. A `shadow` gets a
    copy of every event of the main line, and nothing of what it answers or sends leaves."""

    share: float = 0.0
    agents: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    when: Mapping[str, Any] = field(default_factory=dict)
    """The metadata of an event that goes here, from any sender."""
    shadow: bool = False

    def __str__(self) -> str:
        if self.shadow:
            return "shadow"
        share = [f"{shown_share(self.share)} of agents"] if self.share else []
        groups = [f"group {each}" for each in self.groups]
        when = [f"metadata {key}={value}" for key, value in self.when.items()]
        return ", ".join([*self.agents, *groups, *when, *share]) or "who names it"


@dataclass(frozen=True, slots=True)
class Guard:
    """When a line gets no more events: when more than this part of its last `of` failed."""

    errors: float = 0.05
    of: int = 100

    @property
    def most(self) -> float:
        """How many of them may fail."""
        return self.errors * self.of

    def __str__(self) -> str:
        return f"guard {shown_share(self.errors)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A version beside the main line. `code`: the path of its code if not the main line's.

    Without `code` it runs the main line's own source: saves go to this line then, and the main line
    stays as loaded. The code of a version from an index is the line's own name (`wiki_extras@2`),
    and `versions` is its range. `ignore`: paths in answers that are not compared with a shadow's.
    """

    label: str
    rule: Rule = field(default_factory=Rule)
    state: StateMode = StateMode.SHARED
    guard: Guard | None = None
    code: str = ""
    ignore: tuple[str, ...] = ()
    versions: str = ""


def label_problem(label: str) -> str | None:
    """Return why a text cannot be the label of a line, as a clause about "it"; None if it can."""
    if label == MAIN:
        return "main is the version that the mod itself names"
    return None if _LABEL.fullmatch(label) else "it is 1 to 20 out of a-z, 0-9 and _"


def default_label(name: str) -> str | None:
    """Return the label of a line whose code is another mod's: the text behind the last `_` of its
    name, or the name."""
    mod_id = mod_id_of(name)
    found = (each for each in (mod_id.rpartition("_")[2], mod_id) if label_problem(each) is None)
    return next(found, None)


def label_of_versions(text: str) -> str | None:
    """Return the label of a version from an index: its major version, as in "2" for "~=2.0"."""
    found = re.search(r"[0-9]{1,20}", text)
    return found[0] if found is not None else None


def label_of(mod_path: str) -> str | None:
    """Return the label in the path or id of a line (`mods.wiki@2`); None for a mod."""
    _, at, label = mod_path.partition("@")
    return label if at else None


def main_of(mod_path: str) -> str:
    """Return the path or id of the mod of a line: `wiki` of `wiki@2`; a mod's own stays."""
    return mod_path.partition("@")[0]


def shown_share(share: float) -> str:
    """Return a part of all as people write it: `10 %`."""
    return f"{share * 100:.4g} %"


def parse_share(text: str) -> float | None:
    """Return the part of all that a text names, as in `10%`; None if it names none."""
    found = re.fullmatch(r"([0-9]{1,3}(?:\.[0-9]{1,6})?) ?%", text.strip(), re.ASCII)
    share = float(found[1]) / 100 if found else None
    return share if share is not None and share <= 1 else None
