"""The effects of one run of an event, as plain values: to compare, to keep, and to show."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple, Self

MOST_PRINTED = 4096
"""The most characters that are kept of what a run printed."""

PASSED, ANSWERED, RAISED = "passed", "answered", "raised"


class Sent(NamedTuple):
    """An event that a mod sent while it handled the event of the run."""

    event_name: str
    source: str | None
    destination: str | None
    payload: Any


class Changed(NamedTuple):
    """One place in a mod's state that a run has changed.

    `steps`: the keys (text) and places in lists (numbers) that lead to it; `before` and `after` in
    the form of `replay/plain`; None on both sides is a value; `kind`: "changed", "added" or
    "removed".
    """

    steps: tuple[str | int, ...]
    before: Any
    after: Any
    kind: str = "changed"


@dataclass(frozen=True, slots=True)
class Differs:
    """One place at which two observations differ: "changed", or "added" or "removed", with None for nothing."""

    path: str
    before: Any
    after: Any
    kind: str = "changed"


class Raised(NamedTuple):
    """An exception of a mod's code."""

    mod_id: str
    kind: str
    message: str
    file: str = ""
    line: int = 0
    function: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """The effects of one run of an event; `at`, `took_us`, `printed` and `notes` are not compared.

    `way`: the mods that were asked, each with passed, answered or raised. `told`: names of events
    by the agents that got them. `refused`: what the sandbox did not let the mods do. `at`: when it
    ran, in seconds since 1970. `notes`: what a person should know of this run, such as that a task
    was cut.
    """

    success: bool
    message: str = ""
    data: Any = None
    way: tuple[tuple[str, str], ...] = ()
    sends: tuple[Sent, ...] = ()
    told: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    changed: Mapping[str, tuple[Changed, ...]] = field(default_factory=dict)
    raised: tuple[Raised, ...] = ()
    refused: tuple[str, ...] = ()
    printed: str = ""
    took_us: int = 0
    at: float = 0.0
    generations: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def compared(self) -> dict[str, Any]:
        """Return the values to compare, by the names with which the paths of differences begin."""
        return {
            "answer": {"success": self.success, "message": self.message, "data": self.data},
            "way": [list(each) for each in self.way],
            "sends": [each._asdict() for each in self.sends],
            "told": {agent: list(names) for agent, names in self.told.items()},
            "state": {mod_id: _tree(changes) for mod_id, changes in self.changed.items() if changes},
            # A line moves with every edit above it, which does not change behaviour.
            "raised": [{"mod_id": e.mod_id, "kind": e.kind, "message": e.message} for e in self.raised],
            "refused": list(self.refused),
        }

    def to_dict(self) -> dict[str, Any]:
        """Return the observation as values that JSON has a form for."""
        values = asdict(self)
        values["sends"] = [each._asdict() for each in self.sends]
        values["raised"] = [each._asdict() for each in self.raised]
        values["changed"] = {mod: [each._asdict() for each in changes] for mod, changes in self.changed.items()}
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Make an observation of `to_dict`'s result; raises KeyError, TypeError or ValueError."""
        changed = {mod_id: tuple(map(_changed, rows)) for mod_id, rows in values["changed"].items()}
        return cls(
            success=bool(values["success"]),
            message=str(values["message"]),
            data=values["data"],
            way=tuple((str(mod_id), str(what)) for mod_id, what in values["way"]),
            sends=tuple(Sent(**each) for each in values["sends"]),
            told={str(agent): tuple(map(str, names)) for agent, names in values["told"].items()},
            changed=changed,
            raised=tuple(Raised(**each) for each in values["raised"]),
            refused=tuple(map(str, values["refused"])),
            printed=str(values["printed"]),
            took_us=int(values["took_us"]),
            at=float(values["at"]),
            generations={str(mod_id): int(number) for mod_id, number in values["generations"].items()},
            notes=tuple(map(str, values["notes"])),
        )


def _changed(row: Mapping[str, Any]) -> Changed:
    steps = tuple(each if isinstance(each, int) else str(each) for each in row["steps"])
    return Changed(steps, row["before"], row["after"], str(row["kind"]))


def _tree(changes: Iterable[Changed]) -> dict[str | int, Any]:
    """Return the changes of a state by the keys that lead to them: each has a path of its own."""
    tree: dict[str | int, Any] = {}
    for each in changes:
        inner = tree
        for step in each.steps[:-1]:
            inner = inner.setdefault(step, {})
        last = each.steps[-1] if each.steps else ""
        inner[last] = "removed" if each.kind == "removed" else each.after
    return tree
