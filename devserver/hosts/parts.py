"""What the host that makes plans and the others send each other about a group: steps, votes, states, what ran. Pure.

Paths travel relative to the workspace, which is another folder on each host.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from devserver.model.change import Sources
from devserver.model.facts import ErrorFacts
from devserver.model.lifecycle import HandOver
from devserver.model.plan import Group, LiveMod, Plan, Step
from devserver.model.wire_form import error_to_dict
from devserver.model.wire_read import error_from_dict
from devserver.reload.carry import PackedState
from devserver.reload.elsewhere import Ran
from devserver.sources.graph import ModuleFacts

_STEPS = TypeAdapter(list[Step])
_TEXTS = ("mod_id", "mod_path", "entry", "version", "came_with")
_FLAGS = ("listed", "takes_config", "restarts", "captures", "reloadable")


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What one host has to do of a group. `numbers`: of each mod that it gets, the generation before; `undo` and
    `redo`: as of a plan."""

    revision: int
    cause: str
    steps: tuple[Step, ...]
    order: tuple[str, ...] | None = None
    numbers: Mapping[str, int] = field(default_factory=dict)
    changed: tuple[str, ...] = ()
    undo: bool = False
    redo: bool = False

    def plan(self, folder: Path, digests: Mapping[Path, str | None]) -> Plan:
        """The part as a plan of this host, whose files lie in a folder and have these digests now."""
        paths = [folder / each for each in self.changed]
        changed = {path: digests[path] for path in paths if path in digests}
        groups = (Group(self.steps),) if self.steps else ()
        return Plan(self.cause, groups, order=self.order, changed=changed, undo=self.undo, redo=self.redo)


def part_to_dict(part: Part) -> dict[str, Any]:
    return {
        "revision": part.revision,
        "cause": part.cause,
        "steps": _STEPS.dump_python(list(part.steps), mode="json"),
        "order": None if part.order is None else list(part.order),
        "numbers": dict(part.numbers),
        "changed": list(part.changed),
        "undo": part.undo,
        "redo": part.redo,
    }


def part_from(values: Mapping[str, Any]) -> Part:
    """Read a part. Raises ValueError, LookupError, TypeError."""
    order = values["order"]
    return Part(
        revision=int(values["revision"]),
        cause=str(values["cause"])[:500],
        steps=tuple(_STEPS.validate_python(values["steps"])),
        order=None if order is None else tuple(str(each) for each in order),
        numbers={str(mod): int(number) for mod, number in dict(values["numbers"]).items()},
        changed=tuple(str(each) for each in values["changed"]),
        undo=values["undo"] is True,
        redo=values["redo"] is True,
    )


# Errors, and what an attempt depended on


def failure_to_dict(mod_id: str, facts: ErrorFacts) -> dict[str, Any]:
    """Which mod failed, and how."""
    return {"mod": mod_id, "error": error_to_dict(facts)}


def failure_from(values: Mapping[str, Any]) -> tuple[str, ErrorFacts]:
    """Read a failure; what cannot be read is one, too."""
    try:
        return str(values["mod"]), error_from_dict(values["error"])
    except (LookupError, TypeError, ValueError):
        return "", ErrorFacts("HostLost", str(values.get("why", "it did not say why"))[:500])


def sources_to_dict(sources: Sources, workspace: Path) -> dict[str, str | None]:
    """Sources as far as they lie in the workspace: nothing else means the same on another host."""
    return {
        path.relative_to(workspace).as_posix(): digest
        for path, digest in sources.items()
        if path.is_relative_to(workspace)
    }


def sources_from(values: object, workspace: Path) -> dict[Path, str | None]:
    found = values if isinstance(values, dict) else {}
    return {
        workspace / str(path): None if digest is None else str(digest)
        for path, digest in found.items()
        if ".." not in str(path).split("/") and not str(path).startswith("/")
    }


# What runs


def ran_to_dict(ran: Ran, workspace: Path) -> dict[str, Any]:
    """Return a mod that runs, with its modules."""
    mod = ran.mod
    inside = {name: each for name, each in ran.modules.items() if each.path.is_relative_to(workspace)}
    return {
        **{name: getattr(mod, name) for name in (*_TEXTS, *_FLAGS, "generation")},
        "config": dict(mod.config),
        "requires": list(mod.requires),
        "optional": list(mod.optional),
        "hand_over": mod.hand_over.value,
        "reads": sources_to_dict(mod.reads, workspace),
        "modules": {
            name: [each.path.relative_to(workspace).as_posix(), sorted(each.imports), each.order]
            for name, each in inside.items()
        },
        "made_from": {name: sources_to_dict(ran.made_from[name], workspace) for name in inside},
    }


def ran_from(values: Mapping[str, Any], workspace: Path, host: str) -> Ran:
    """Read a mod of another host, with the paths of this workspace. Raises ValueError, LookupError, TypeError."""
    modules = {
        str(name): ModuleFacts(str(name), workspace / str(path), frozenset(map(str, imports)), int(order))
        for name, (path, imports, order) in dict(values["modules"]).items()
    }
    texts = {name: str(values[name]) for name in _TEXTS}
    entry = modules.get(texts["entry"])
    mod = LiveMod(
        texts["mod_id"],
        texts["mod_path"],
        int(values["generation"]),
        texts["entry"],
        config=dict(values["config"]),
        version=texts["version"],
        came_with=texts["came_with"],
        requires=tuple(map(str, values["requires"])),
        optional=tuple(map(str, values["optional"])),
        hand_over=HandOver(values["hand_over"]),
        reads=sources_from(values["reads"], workspace),
        file=None if entry is None else entry.path,
        host=host,
        listed=values["listed"] is True,
        takes_config=values["takes_config"] is True,
        restarts=values["restarts"] is True,
        captures=values["captures"] is True,
        reloadable=values["reloadable"] is True,
    )
    made_from = {name: sources_from(dict(values["made_from"]).get(name), workspace) for name in modules}
    return Ran(mod, modules, made_from)


# States


def state_to_dict(state: PackedState) -> dict[str, Any]:
    return {
        "names": list(state.names),
        "whole": _text(state.whole),
        "parts": [_text(each) for each in state.parts],
        "captured": _text(state.captured),
        "lost": list(state.lost),
    }


def state_from(values: Mapping[str, Any]) -> PackedState:
    """Read a packed state. Raises ValueError, LookupError, TypeError."""
    parts: Sequence[Any] = values["parts"]
    return PackedState(
        names=tuple(map(str, values["names"])),
        whole=_bytes(values["whole"]),
        parts=tuple(each for each in map(_bytes, parts) if each is not None),
        captured=_bytes(values["captured"]),
        lost=tuple(map(str, values["lost"])),
    )


def _text(data: bytes | None) -> str | None:
    return None if data is None else base64.b64encode(data).decode("ascii")


def _bytes(text: Any) -> bytes | None:
    return None if text is None else base64.b64decode(str(text), validate=True)
