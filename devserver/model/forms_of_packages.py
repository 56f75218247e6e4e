"""What the commands about mods and packages from outside print with `--json`. See `forms`."""

from __future__ import annotations

from typing import Any, Literal

# From typing_extensions: pydantic takes Python's own only from 3.12 on.
from typing_extensions import TypedDict

PackageRow = TypedDict("PackageRow", {"name": str, "from": str | None, "to": str | None})
"""A package that came (`from` is null), went (`to` is null) or has another version."""


class InstalledForm(TypedDict):
    """What was locked and installed: the lock beside network.yaml, and the folder of its
    packages."""

    lock: str
    packages: list[PackageRow]
    env: str
    duration_ms: float


class InstalledAnswer(TypedDict):
    """The change is in effect. `listed`: lines added to network.yaml; `done`: what a running server
    did with them."""

    success: Literal[True]
    installed: InstalledForm
    listed: list[str]
    done: list[dict[str, Any]]


class NothingAnswer(TypedDict):
    """There was nothing to do."""

    success: Literal[True]
    installed: None
    message: str


class RestoredAnswer(TypedDict):
    """The files that were restored from the lock."""

    success: Literal[True]
    restored: list[str]


class AsksAnswer(TypedDict):
    """Nothing was changed: `--yes` agrees to the questions. `reviews`: by package, what its source
    does."""

    success: Literal[False]
    asks: str
    packages: list[PackageRow]
    reviews: dict[str, dict[str, Any]]


class SideForm(TypedDict):
    """One side of a conflict."""

    who: str
    needs: str
    place: str


class ConflictAnswer(TypedDict):
    """No set of packages fits: both sides, or a sentence, and how uv derives it."""

    success: Literal[False]
    error: str
    package: str
    sides: list[SideForm]
    sentence: str
    derivation: str


class TakenBackAnswer(TypedDict):
    """The mod did not start, and every file is restored."""

    success: Literal[False]
    error: str
    done: list[dict[str, Any]]


Changed = InstalledAnswer | NothingAnswer | AsksAnswer | ConflictAnswer | TakenBackAnswer
ANSWERS: dict[str, Any] = {
    "add": Changed,
    "update": Changed,
    "remove": Changed,
    "sync": Changed | RestoredAnswer,
}
