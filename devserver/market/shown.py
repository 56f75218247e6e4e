"""The facts about an available mod as plain values, the same for people and programs.

If its wheel is at hand, they come from the wheel itself, and the catalogue is checked against it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from devserver.market.catalogue import (
    BUILT_IN,
    BadCatalogue,
    Catalogue,
    Found,
    entries_of,
    find,
    in_order,
    near_names,
)
from devserver.market.package import PackageRefused, wheel_of
from devserver.market.places import fetched_wheel, shown
from devserver.market.review import Review, by_kind, compared, review
from devserver.market.wheel import build_built_in

NOT_ATTESTED = "not attested"
NOT_VERIFIED = "says the index; not verified: pip install 'oa-dev[provenance]'"


class NotListed(BadCatalogue):
    """A name that no catalogue lists. `near` are similar names."""

    def __init__(self, sentence: str, near: tuple[str, ...]) -> None:
        super().__init__(sentence)
        self.near = near


def find_listed(catalogues: Sequence[Catalogue], name: str) -> Found:
    """Find a mod by its name or a path of its mods. Raises NotListed, with similar names."""
    found = find(catalogues, name)
    if found is not None:
        return found
    near = near_names(name, [each.name for each in entries_of(catalogues)])
    meant = f". Did you mean {' or '.join(near[:3])}?" if near else ""
    names = ", ".join("the built-in mods" if each.name == BUILT_IN else shown(each.name) for each in catalogues)
    raise NotListed(f"there is no {name[:100]} in {names or 'any catalogue'}{meant}", near)


def wheel_data(found: Found, version: str) -> tuple[bytes, str]:
    """Return the bytes of a wheel and its file name: from its folder, a build, or its address.

    Raises BadCatalogue if it is not at hand or differs from its listing, and as `build_built_in`.
    """
    release = found.entry.releases.get(version)
    if release is None:
        raise BadCatalogue(f"{found.catalogue.name} lists no wheel of {found.name} {version}")
    where = found.catalogue.where
    if found.catalogue.name == BUILT_IN:
        with tempfile.TemporaryDirectory(prefix="oa-dev-show-") as folder:
            data = build_built_in(found.name, Path(folder)).read_bytes()
    elif isinstance(where, Path):
        try:
            data = (where / release.file).read_bytes()
        except OSError as error:
            raise BadCatalogue(f"{found.catalogue.name}/{release.file} cannot be read: {error.strerror}") from error
    else:
        data = fetched_wheel(where, release.file)
    package = wheel_of(data, release.file)
    if package.sha256 != release.sha256:
        raise PackageRefused(
            "other_bytes",
            f"{found.name} {version} is not what {found.catalogue.name} lists: sha256 {release.sha256[:8]}… expected, "
            f"{package.sha256[:8]}… found; nothing of it was read further",
        )
    return data, release.file


def reviewed(found: Found, version: str) -> Review:
    """Review the wheel of a version that a catalogue lists. Raises as `wheel_data`, and PackageRefused."""
    data, name = wheel_data(found, version)
    return review(wheel_of(data, name))


def row(found: Found) -> dict[str, Any]:
    """Return a mod as a search tells it."""
    return {
        "name": found.name,
        "version": found.version,
        "summary": found.entry.summary,
        "catalogue": found.catalogue.name,
        "mods": list(found.entry.mods),
        "blocked": found.entry.blocked_for(found.version or ""),
        "replaced_by": found.entry.replaced_by,
    }


def listed_facts(found: Found, version: str | None = None) -> dict[str, Any]:
    """Return all that a catalogue says of a mod; of its newest version unless one is named."""
    entry, chosen = found.entry, version or found.version
    release = entry.releases.get(chosen) if chosen is not None else None
    values: dict[str, Any] = {
        **row(found),
        "version": chosen,
        "blocked": entry.blocked_for(chosen or ""),
        "license": entry.license,
        "homepage": entry.homepage,
        "versions": [
            {"version": each, "made": it.made, "yanked": it.yanked, "blocked": entry.blocked or it.blocked}
            for each in in_order(entry.releases)
            for it in (entry.releases[each],)
        ],
        # A wheel that lies beside a catalogue has no attestation; only an index tells one, when it is asked.
        "by": NOT_ATTESTED if entry.releases else "told by the index, when it is added",
        "read_from": "catalogue",
    }
    if release is not None:
        keys = ("answers", "requires", "touches", "files", "lines", "size", "sha256", "file")
        values |= {key: getattr(release, key) for key in keys}
    return values


def facts(found: Found, version: str | None = None) -> dict[str, Any]:
    """Return all facts about a mod: from its wheel if that is at hand, else from the catalogue."""
    values = listed_facts(found, version)
    if values["version"] is None or isinstance(found.catalogue.where, str):
        return values
    return values | review_facts(reviewed(found, values["version"]))


def review_facts(found: Review) -> dict[str, Any]:
    """Return what was read from a package itself."""
    package = found.package
    return {
        "mods": list(package.mods),
        "summary": package.summary,
        "license": package.license,
        "answers": list(found.answers),
        "requires": list(found.needs),
        "touches": found.touched(),
        "by_text": [f"{each.what} ({each.where})" for each in found.by_text],
        "files": found.files,
        "lines": found.lines,
        "size": package.size,
        "sha256": package.sha256,
        "read_from": "source",
    }


def difference_facts(old: Review, new: Review) -> dict[str, Any]:
    """Return what a version newly answers, needs, touches, and how much code is different."""
    found = compared(old, new)
    return {
        "from": old.package.version,
        "to": new.package.version,
        "new_answers": list(found.new_answers),
        "gone_answers": list(found.gone_answers),
        "new_needs": list(found.new_needs),
        "gone_needs": list(found.gone_needs),
        "new_touches": by_kind(found.new_touches),
        "gone_touches": by_kind(found.gone_touches),
        "files": list(found.files),
        "of_files": new.files,
        "added": found.added,
        "removed": found.removed,
    }


def age_of(catalogue: Catalogue) -> str:
    """Tell the age of a catalogue's facts, unless it was read where it is made."""
    if catalogue.age is None or catalogue.age < 60:
        return ""
    hours = catalogue.age / 3600
    return f"kept, {hours:.0f} hours old" if hours < 48 else f"kept, {hours / 24:.0f} days old"


def names_of(catalogues: Sequence[Catalogue]) -> str:
    """Name catalogues, with their dates or ages if these matter."""
    found = []
    for each in catalogues:
        note = age_of(each) or (each.made[:10] if each.name == BUILT_IN else "")
        found.append(f"{shown(each.name)} ({note})" if note else shown(each.name))
    return ", ".join(found)


def counted(found: Sequence[Found], catalogues: Sequence[Catalogue]) -> Mapping[str, Any]:
    """Return the facts of a search beside its rows."""
    return {"found": len(found), "of": len(entries_of(catalogues)), "catalogues": [each.name for each in catalogues]}
