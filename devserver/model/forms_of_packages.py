"""What the commands about mods and packages from outside print with `--json`. See `forms`."""

from __future__ import annotations

from typing import Any, Literal, NotRequired

# From typing_extensions: pydantic takes Python's own only from 3.12 on.
from typing_extensions import TypedDict

from devserver.model.forms import InstalledForm, PackageForm


class InstalledAnswer(TypedDict):
    """The change is in effect. `listed`: lines added to network.yaml; `notes`: releases that are too
    young; `done`: what a running server did with them."""

    success: Literal[True]
    installed: InstalledForm
    listed: list[str]
    notes: list[str]
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
    """Nothing was changed: `--yes` agrees. `reviews`: by package, what its source does."""

    success: Literal[False]
    asks: str
    packages: list[PackageForm]
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


class FoundForm(TypedDict):
    """A mod that a search has found; `blocked`: why it must not be used, if so."""

    name: str
    version: str | None
    summary: str
    catalogue: str
    mods: list[str]
    blocked: str | None
    replaced_by: str | None


class SearchAnswer(TypedDict):
    """The mods that were found, of how many, in which catalogues; `problems`: what could not be read."""

    mods: list[FoundForm]
    found: int
    of: int
    catalogues: list[str]
    problems: list[str]


class VersionForm(TypedDict):
    """A version that a catalogue lists."""

    version: str
    made: str
    yanked: bool | str
    blocked: str | None


class ShowAnswer(FoundForm):
    """All that is known of a mod. `read_from`: source, where its wheel was read, else catalogue."""

    license: str | None
    homepage: str | None
    versions: list[VersionForm]
    by: str
    read_from: Literal["catalogue", "source"]
    answers: NotRequired[list[Any]]
    requires: NotRequired[list[str]]
    touches: NotRequired[Any]
    by_text: NotRequired[list[str]]
    files: NotRequired[int]
    lines: NotRequired[int]
    size: NotRequired[int]
    sha256: NotRequired[str]
    file: NotRequired[str]


class SourceAnswer(TypedDict):
    """The source of a mod: texts by file."""

    name: str
    version: str
    sources: dict[str, str]


class AskedForm(TypedDict):
    """A mod that an agent has asked for."""

    number: int
    agent_id: str
    name: str
    version: str
    catalogue: str
    why: str
    sha256: str
    state: str


class AskedAnswer(TypedDict):
    """The mods that agents have asked for, and that wait for a person."""

    asked: list[AskedForm]


class PackedAnswer(TypedDict):
    """A wheel that was made of a mod and checked; `notes`: what could not be checked."""

    success: Literal[True]
    file: str
    name: str
    version: str
    sha256: str
    handlers: int
    notes: list[str]


class NotPackedAnswer(TypedDict):
    """Why no wheel was made."""

    success: Literal[False]
    name: str
    problems: list[str]


class PublishedAnswer(TypedDict):
    """Where a wheel was published to."""

    published: str
    version: str
    sha256: str
    to: str


class IndexAnswer(TypedDict):
    """The index.json that lists the mods of a folder; `left_out`: wheels, each with why."""

    file: str
    mods: int
    releases: int
    left_out: dict[str, str]


CompareVersions = TypedDict(
    "CompareVersions",
    {
        "name": str,
        "from": str,
        "to": str,
        "new_answers": list[Any],
        "gone_answers": list[Any],
        "new_needs": list[str],
        "gone_needs": list[str],
        "new_touches": Any,
        "gone_touches": Any,
        "files": list[Any],
        "of_files": int,
        "added": int,
        "removed": int,
        "diff": list[str],
    },
)
"""What a version has that the one before had not, and the difference of the source."""


Changed = InstalledAnswer | NothingAnswer | AsksAnswer | ConflictAnswer | TakenBackAnswer


class PlacedForm(TypedDict):
    """A requirement, and where it is written."""

    requirement: str
    file: str | None
    line: int | None


class NeedForm(PlacedForm):
    """A requirement, where it is written, and which version of it runs."""

    mod_id: str
    generation: int
    version: str | None
    fits: bool


class ListedForm(TypedDict):
    """Where network.yaml lists a mod."""

    line: int | None
    enabled: bool


class NeederForm(PlacedForm):
    """A mod that needs another one, or a package, with the requirement and its place."""

    mod_id: str
    mod_path: str
    runs: bool
    came: str
    listed: ListedForm | None
    optional: NotRequired[bool]
    version: NotRequired[str]


class BesideForm(TypedDict):
    """A version beside a mod: which mod, and its code, agents and state in words."""

    mod_id: str
    gets: str


class WhyModAnswer(TypedDict):
    """Why a mod runs (`came`: "listed", "asked", "automatic"), or why it does not (`waits`)."""

    kind: Literal["mod"]
    mod_id: str
    mod_path: str
    generation: int
    version: str
    came: str
    listed: ListedForm | None
    needed_by: list[NeederForm]
    needs: list[NeedForm]
    works_with: list[NeedForm]
    packages: list[PlacedForm]
    beside: BesideForm | None
    goes_with: list[str]
    waits: str


class NeedingPackageForm(TypedDict):
    """A package that needs another one."""

    name: str
    version: str
    requirement: str


class WhyPackageAnswer(TypedDict):
    """The mods and packages that need and import a package; `imported`: its version here."""

    kind: Literal["package"]
    name: str
    version: str | None
    imported: str | None
    folder: str | None
    imported_by: list[str]
    needed_by: list[NeederForm]
    needed_by_packages: list[NeedingPackageForm]


class WhyUnknownAnswer(TypedDict):
    """The name of no known mod or package."""

    kind: Literal["unknown"]
    name: str
    reason: str


ANSWERS: dict[str, Any] = {
    "add": Changed,
    "update": Changed,
    "remove": Changed,
    "sync": Changed | RestoredAnswer,
    "search": SearchAnswer,
    "show": ShowAnswer | SourceAnswer | CompareVersions,
    "asked": AskedAnswer | AskedForm | ShowAnswer,
    "pack": PackedAnswer | NotPackedAnswer,
    "publish": PublishedAnswer,
    "index": IndexAnswer,
}
