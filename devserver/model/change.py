"""What asks for a plan: a trigger, with the facts that it brings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from devserver.model.config import NetworkConfig
from devserver.model.split import Line, Rule

Digest = str
"""The SHA-256 of a file's bytes in hexadecimal. Where a digest may be missing, None means: no such file."""

Sources = Mapping[Path, Digest | None]
"""What a build was made from: each file it read, and (None) each place where it looked and found nothing."""


Keep = Literal["", "main", "line"]
"""Whose state stays when a line ends that has one of its own; nothing where that was not said."""


@dataclass(frozen=True, slots=True)
class FilesChanged:
    """Sources on disk differ from what is loaded. `texts` are the bytes of those of them that were read."""

    changed: Sources
    cause: str = "saved"
    texts: Mapping[Path, bytes] = field(default_factory=dict, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class ConfigChanged:
    """network.yaml says something else than before."""

    config: NetworkConfig
    cause: str = "network.yaml"
    left_out: frozenset[str] = frozenset()
    """The mods (plain paths) that stay unloaded all the same: a person has unloaded them before a restart in place."""


@dataclass(frozen=True, slots=True)
class LockChanged:
    """The lock of what comes from outside (`pylock.oa-dev.toml`) says something else than before."""

    cause: str = "pylock.oa-dev.toml"


@dataclass(frozen=True, slots=True)
class ReloadAsked:
    """A key, a command, a call or an event asks for a reload. No mods named means all.

    `seen`, here and below, is the generation that who asks for one mod saw it at, 0 for one that did not run: where
    another runs by now, nothing is done. None asks whatever runs.
    """

    mods: tuple[str, ...] = ()
    cause: str = "asked"
    seen: int | None = None


@dataclass(frozen=True, slots=True)
class LoadAsked:
    """A call or an event asks for a mod. `trusted` callers already run code here; others obey the allow list."""

    path: str
    config: Mapping[str, Any] = field(default_factory=dict)
    cause: str = "asked"
    trusted: bool = True
    seen: int | None = None


@dataclass(frozen=True, slots=True)
class UnloadAsked:
    """A call or an event asks to end a mod; `cascade` with those that need it, `force` also where others need it."""

    mod: str
    force: bool = False
    cause: str = "asked"
    seen: int | None = None
    cascade: bool = False


@dataclass(frozen=True, slots=True)
class TidyAsked:
    """A plan was carried out: what runs and is no longer needed may go. `failed`: the mods (ids) that did not load."""

    failed: tuple[str, ...] = ()
    cause: str = "no mod needs it any more"


@dataclass(frozen=True, slots=True)
class UndoAsked:
    """A key or a command asks to go back to the generations before the last reload of these mods; none: the latest.

    Asked again it goes back further. `redo`: to take the last undo back.
    """

    mods: tuple[str, ...] = ()
    cause: str = "undo"
    seen: int | None = None
    redo: bool = False


@dataclass(frozen=True, slots=True)
class RestartAsked:
    """What is on disk cannot be brought in place, for these reasons; or a person asks for a restart, perhaps for none.

    `by_person`: a key, a command or the page asks, which no policy refuses.
    """

    cause: str = "asked"
    reasons: tuple[str, ...] = ()
    by_person: bool = False


@dataclass(frozen=True, slots=True)
class LineAsked:
    """A command or a call asks for a version beside a mod (`main`, by path or id). Without `config` it gets the mod's.

    `trusted`, as of `LoadAsked`: whether the code of another path may be any.
    """

    main: str
    line: Line
    config: Mapping[str, Any] | None = None
    cause: str = "asked"
    trusted: bool = True


@dataclass(frozen=True, slots=True)
class SplitAsked:
    """A command or a call asks for other agents for a line (`wiki@next`)."""

    line: str
    rule: Rule
    cause: str = "asked"


@dataclass(frozen=True, slots=True)
class PromoteAsked:
    """A command or a call asks that a line becomes its mod. `keep`: whose state stays where both have their own."""

    line: str
    keep: Keep = ""
    cause: str = "asked"


@dataclass(frozen=True, slots=True)
class DropAsked:
    """A command or a call asks that a line ends: all its agents go back to the main line. `keep`: as of a promotion."""

    line: str
    keep: Keep = ""
    cause: str = "asked"


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
)
