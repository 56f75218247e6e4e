"""Lists of available mods: one JSON file each, read strictly, searched, and compared by name.

A catalogue tells and refuses; it never installs, changes or deletes. Its texts are a stranger's:
printed only through `ui/escape`. `places` knows where catalogues come from.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from devserver.config.typed import DoesNotFit, fitted
from devserver.errors import DevServerError
from devserver.market.package import LONGEST
from devserver.model.names import normal

MOST_BYTES = 2 * 1024 * 1024
BUILT_IN = "built in"
"""The name of the catalogue that comes with oa-dev."""

_MOST = 1000
_NEAR = 2
_SHORT = 5


class BadCatalogue(DevServerError):
    """A catalogue that cannot be used. Its text names it, and the problem."""


_Said = Annotated[str, Field(max_length=LONGEST)]
_Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9._-]{0,98}[A-Za-z0-9])?$")]
_Version = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._!+-]{0,60}$")]
_WheelFile = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._!+-]{0,190}\.whl$")]
_Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
_SaidTexts = Annotated[list[_Said], Field(max_length=_MOST)]


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, defer_build=True)


class Release(_Strict):
    """One version of a mod. `yanked` and `blocked`: the reason; a yanked one is not chosen.

    `touches` maps a kind of touch to its targets, with places, as `Review.touched` returns it.
    """

    file: _WheelFile
    sha256: _Sha256
    size: Annotated[int, Field(ge=0)] = 0
    requires_python: _Said = ""
    requires: _SaidTexts = []
    answers: _SaidTexts = []
    touches: dict[_Said, _SaidTexts] = {}
    files: Annotated[int, Field(ge=0)] = 0
    lines: Annotated[int, Field(ge=0)] = 0
    made: _Said = ""
    yanked: bool | _Said = False
    blocked: _Said | None = None


class Entry(_Strict):
    """A distribution of mods; `mods` are their paths. Without `releases` its versions come from an index."""

    summary: _Said = ""
    license: _Said = ""
    homepage: _Said = ""
    keywords: _SaidTexts = []
    mods: _SaidTexts = []
    releases: dict[_Version, Release] = {}
    blocked: _Said | None = None
    replaced_by: _Name | None = None

    def newest(self) -> str | None:
        """Return the newest version to choose: final if possible, not yanked or blocked."""
        chosen = [each for each, release in self.releases.items() if not (release.yanked or release.blocked)]
        ordered = in_order(chosen)
        final = [each for each in ordered if not _is_early(each)]
        return next(iter(final or ordered), None)

    def blocked_for(self, version: str) -> str | None:
        """Return why this version is blocked, or all are; None if it is not."""
        release = self.releases.get(version)
        return self.blocked or (release.blocked if release is not None else None)


class _File(_Strict):
    format: Annotated[int, Field(ge=1, le=1)]
    name: _Said
    made: _Said = ""
    mods: dict[_Name, Entry] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """A list of mods by name. `where` is the folder or the address of its wheels; `age` in seconds.

    `age` is None for one that was read where it is made, and counts from the fetch of a remote one.
    """

    name: str
    made: str
    entries: dict[str, Entry]
    where: Path | str
    age: float | None = None

    def find(self, name: str) -> tuple[str, Entry] | None:
        """Return a distribution's entry, by its name or a mod's path, and its name here."""
        wanted = normal(name)
        for each, entry in self.entries.items():
            if normal(each) == wanted or name in entry.mods:
                return each, entry
        return None


@dataclass(frozen=True, slots=True)
class Found:
    """An entry in its catalogue, and the version to choose; empty if only an index knows."""

    name: str
    entry: Entry
    version: str | None
    catalogue: Catalogue

    @property
    def release(self) -> Release | None:
        """What the catalogue says of that version."""
        return self.entry.releases.get(self.version) if self.version is not None else None


def read_catalogue(data: bytes, where: Path | str, *, named: str = "", age: float | None = None) -> Catalogue:
    """Read a catalogue from its bytes; `where` is the place of its files. Raises BadCatalogue.

    `named` is its name here, if that is not its own.
    """
    shown = named or str(where)
    if len(data) > MOST_BYTES:
        raise BadCatalogue(f"{shown} has more than {MOST_BYTES // (1024 * 1024)} MiB")
    try:
        values = json.loads(data, object_pairs_hook=_unrepeated, parse_constant=_no_number)
    except RecursionError:
        raise BadCatalogue(f"{shown} is nested too deeply") from None
    except ValueError as error:
        kind = "HTML" if data.lstrip()[:1] == b"<" else f"not JSON: {str(error)[:LONGEST]}"
        raise BadCatalogue(f"{shown} is not a catalogue: it is {kind}") from None
    if not isinstance(values, dict):
        raise BadCatalogue(f"{shown} is not a catalogue: it is not an object")
    try:
        file: _File = fitted(_File, values)
    except DoesNotFit as error:
        raise BadCatalogue(f"{shown} is not a catalogue of format 1: {error}") from None
    # Two names that are one to indexes: readers would disagree about which of them is meant.
    seen: dict[str, str] = {}
    for each in file.mods:
        other = seen.setdefault(normal(each), each)
        if other != each:
            raise BadCatalogue(f"{shown} is not a catalogue: {other} and {each} are the same name")
    return Catalogue(name=named or file.name, made=file.made, entries=dict(file.mods), where=where, age=age)


def written(name: str, made: str, entries: dict[str, Entry]) -> str:
    """Return a catalogue as the text of its file: sorted, so that two versions can be compared."""
    mods = {each: _as_dict(entries[each]) for each in sorted(entries)}
    return json.dumps({"format": 1, "name": name, "made": made, "mods": mods}, indent=1, ensure_ascii=False) + "\n"


def _as_dict(entry: Entry) -> dict[str, Any]:
    values = entry.model_dump(mode="json")
    values["releases"] = {each: values["releases"][each] for each in in_order(values["releases"])}
    return values


def _unrepeated(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        raise ValueError("a key is there twice")
    return values


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is not a JSON number")


# Looking for mods


def search(catalogues: Sequence[Catalogue], words: str = "") -> tuple[Found, ...]:
    """Return the mods with every word, best first: in short names, in names, in descriptions.

    A name in several catalogues is that of the first.
    """
    wanted = words.casefold().split()
    found: list[tuple[tuple[int, int, str], Found]] = []
    for each in entries_of(catalogues):
        places = _places(each)
        ranks = [next((rank for rank, place in enumerate(places) if word in place), None) for word in wanted]
        if None not in ranks:
            worst = max((rank for rank in ranks if rank is not None), default=0)
            found.append(((worst, len(each.name) if wanted else 0, each.name), each))
    return tuple(each for _, each in sorted(found, key=lambda row: row[0]))


def find(catalogues: Sequence[Catalogue], name: str) -> Found | None:
    """Find the mod of a name, or of a mod's path, in the first catalogue that has it."""
    for catalogue in catalogues:
        entry = catalogue.find(name)
        if entry is not None:
            return Found(entry[0], entry[1], entry[1].newest(), catalogue)
    return None


def entries_of(catalogues: Sequence[Catalogue]) -> tuple[Found, ...]:
    """Return all available mods, each from the first catalogue that has its name."""
    found: dict[str, Found] = {}
    for catalogue in catalogues:
        for name, entry in catalogue.entries.items():
            found.setdefault(normal(name), Found(name, entry, entry.newest(), catalogue))
    return tuple(found.values())


def _places(found: Found) -> tuple[str, ...]:
    """Return the places where words are searched, best first."""
    entry, release = found.entry, found.release
    answers = release.answers if release is not None else []
    texts = (f"{found.name} {' '.join(entry.mods)}", " ".join(entry.keywords), entry.summary, " ".join(answers))
    return tuple(each.casefold() for each in texts)


# Names that are too close


def near_names(name: str, known: Collection[str]) -> tuple[str, ...]:
    """Return known names that `name` may be mistaken for, closest first: at most two letters apart.

    Also those that are the same without `-`, `_` and `.`, which indexes distinguish. A name of less
    than five letters may differ by one. The name itself is not among them.
    """
    wanted, found = normal(name), []
    for each in sorted(set(known)):
        other = normal(each)
        if other == wanted:
            continue
        most = _NEAR if min(len(wanted), len(other)) >= _SHORT else 1
        apart = 0 if _bare(wanted) == _bare(other) else _distance(wanted, other, most)
        if apart <= most:
            found.append((apart, each))
    return tuple(each for _, each in sorted(found))


def _bare(name: str) -> str:
    return name.replace("-", "")


def _distance(one: str, other: str, most: int) -> int:
    """Return how many letters to add, remove, change or swap; above `most` any number."""
    if abs(len(one) - len(other)) > most:
        return most + 1
    before: list[int] = []
    row = list(range(len(other) + 1))
    for number, letter in enumerate(one, 1):
        before, last, row = row, before, [number]
        for place, its in enumerate(other, 1):
            cost = min(row[-1] + 1, before[place] + 1, before[place - 1] + (letter != its))
            if number > 1 and place > 1 and one[number - 2] == its and other[place - 2] == letter:
                cost = min(cost, last[place - 2] + 1)
            row.append(cost)
        if min(row) > most:
            return most + 1
    return row[-1]


# Versions


def in_order(versions: Iterable[str]) -> list[str]:
    """Return versions from the newest to the oldest; invalid ones come last."""
    from packaging.version import InvalidVersion, Version  # slow to import, and seldom needed

    def key(text: str) -> tuple[bool, Any]:
        try:
            return (True, Version(text))
        except InvalidVersion:
            return (False, text)

    return sorted(versions, key=key, reverse=True)


def _is_early(version: str) -> bool:
    from packaging.version import InvalidVersion, Version  # slow to import, and seldom needed

    try:
        return Version(version).is_prerelease
    except InvalidVersion:
        return True
