"""What asks for a plan: a trigger, with the facts that it brings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from devserver.model.config import NetworkConfig
from devserver.model.split import Line, Rule

Digest = str
"""The SHA-256 of a file's bytes in hexadecimal; None for a file that does not exist."""

Sources = Mapping[Path, Digest | None]
"""What a build was made from: each file that it read, and (None) each place without a file."""


Keep = Literal["", "main", "line"]
"""Whose state stays when a line with a state of its own ends; empty if the caller did not say."""


@dataclass(frozen=True, slots=True)
class FilesChanged:
    """Sources on disk differ from what is loaded. `texts`: the bytes of those that were read."""

    changed: Sources
    cause: str = "saved"
    texts: Mapping[Path, bytes] = field(default_factory=dict, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class ConfigChanged:
    """network.yaml has changed."""

    config: NetworkConfig
    cause: str = "network.yaml"
    left_out: frozenset[str] = frozenset()
    """The mods (plain paths) that stay unloaded: a person unloaded them before a restart."""


@dataclass(frozen=True, slots=True)
class LockChanged:
    """The lock of what comes from outside (`pylock.oa-dev.toml`) has changed."""

    cause: str = "pylock.oa-dev.toml"


@dataclass(frozen=True, slots=True)
class ReloadAsked:
    """A key, a command, a call or an event asks for a reload. No mods named means all.

    `seen`, here and below: the generation that the caller saw, 0 for a mod that did not run. If
    another one runs now, nothing is done. None accepts any generation.
    """

    mods: tuple[str, ...] = ()
    cause: str = "asked"
    seen: int | None = None


@dataclass(frozen=True, slots=True)
class LoadAsked:
    """A call or an event asks for a mod. Callers that are not `trusted` obey the allow list."""

    path: str
    config: Mapping[str, Any] = field(default_factory=dict)
    cause: str = "asked"
    trusted: bool = True
    seen: int | None = None
    packages: Path | None = None
    """The folder of packages to use from now on, which has the mod."""


@dataclass(frozen=True, slots=True)
class UnloadAsked:
    """A call or an event asks to unload a mod. `cascade`: with its dependents; `force`: anyway."""

    mod: str
    force: bool = False
    cause: str = "asked"
    seen: int | None = None
    cascade: bool = False


@dataclass(frozen=True, slots=True)
class TidyAsked:
    """A plan was carried out: mods that are not needed may go. `failed`: ids that did not load."""

    failed: tuple[str, ...] = ()
    cause: str = "no mod needs it any more"


@dataclass(frozen=True, slots=True)
class UndoAsked:
    """A key or a command asks to go back to the generations before the last reload of these mods.

    No mods named means those of the latest reload. A second undo goes back further. `redo`: take
    the last undo back.
    """

    mods: tuple[str, ...] = ()
    cause: str = "undo"
    seen: int | None = None
    redo: bool = False


@dataclass(frozen=True, slots=True)
class RestartAsked:
    """A change on disk cannot be applied in place, for these reasons; or a person asks for a restart.

    `by_person`: a key, a command or the page asks, which no policy refuses.
    """

    cause: str = "asked"
    reasons: tuple[str, ...] = ()
    by_person: bool = False


@dataclass(frozen=True, slots=True)
class LineAsked:
    """A command or a call asks for a version beside a mod (`main`, by path or id).

    Without `config` it gets the mod's. `trusted`, as of `LoadAsked`: the code may be of any path.
    `again`: an undo brings it back.
    """

    main: str
    line: Line
    config: Mapping[str, Any] | None = None
    cause: str = "asked"
    trusted: bool = True
    again: bool = False


@dataclass(frozen=True, slots=True)
class SplitAsked:
    """A command or a call changes which agents get a line (`wiki@next`)."""

    line: str
    rule: Rule
    cause: str = "asked"


@dataclass(frozen=True, slots=True)
class PromoteAsked:
    """A command or a call asks that a line becomes its mod. `keep`: whose state stays if both have
    one. `written`: the caller writes a version from an index to network.yaml."""

    line: str
    keep: Keep = ""
    cause: str = "asked"
    written: bool = False


@dataclass(frozen=True, slots=True)
class DropAsked:
    """A person ends a line: its agents get the main line again. `keep`: as of a promotion."""

    line: str
    keep: Keep = ""
    cause: str = "asked"


@dataclass(frozen=True, slots=True)
class PartAsked:
    """The host that makes plans asks this one for its part of one.

    `plan`: the part, a `Plan`; `pact`: what is agreed on, a `reload.elsewhere.Pact`, None where it was decided before;
    `numbers`: the number of the generation before, of each mod.
    """

    plan: Any
    pact: Any = None
    numbers: Mapping[str, int] = field(default_factory=dict)
    cause: str = "another host"


Trigger = (
    FilesChanged
    | ConfigChanged
    | LockChanged
    | ReloadAsked
    | LoadAsked
    | UnloadAsked
    | TidyAsked
    | UndoAsked
    | RestartAsked
    | LineAsked
    | SplitAsked
    | PromoteAsked
    | DropAsked
    | PartAsked
)


def command_of(trigger: Trigger) -> str:
    """Return the command that asks for the same, as a person types it; "" for a trigger without a command."""
    match trigger:
        case ReloadAsked():
            words = ["reload", *trigger.mods]
        case UndoAsked():
            words = ["redo" if trigger.redo else "undo", *trigger.mods]
        case LoadAsked():
            words = ["load", trigger.path]
        case UnloadAsked():
            words = ["unload", trigger.mod]
        case _:
            return ""
    return " ".join(["oa-dev", *words])
