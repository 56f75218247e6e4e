"""The versions beside a mod in network.yaml: all their problems, and the lines that they want.

`network` checks each key alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from devserver.config.network import Mod, Version
from devserver.config.yaml_values import Document, Loc, path_of
from devserver.model.config import ModSpec
from devserver.model.names import mod_name_problem, module_of
from devserver.model.split import (
    Guard,
    Line,
    Rule,
    StateMode,
    default_label,
    label_of_versions,
    parse_share,
    shown_share,
)

_ROUNDING = 1e-9
_Numbered = tuple[int, dict[str, Any]]
"""A version that is a mapping, and its place among the versions of its mod."""


def check_versions(document: Document, entries: object) -> None:
    """Note versions of one mod that contradict each other: labels twice, too large shares."""
    for number, entry in enumerate(entries if isinstance(entries, list) else ()):
        versions = entry.get("versions") if isinstance(entry, dict) else None
        if isinstance(versions, list) and isinstance(entry.get("name"), str):
            loc: Loc = ("network", "mods", number, "versions")
            mappings = [(place, each) for place, each in enumerate(versions) if isinstance(each, dict)]
            _check_labels(document, loc, entry["name"], mappings)
            _check_sources(document, loc, entry, mappings)
            if entry.get("runs_on") and versions:
                says = f"{path_of(loc)} run where network.yaml is, and the mod on {entry['runs_on']}"
                document.report(loc, says, "take runs_on or the versions out", about_key=True)
            enabled = [each for _, each in mappings if each.get("enabled") is not False]
            written = [each["share"] for each in enabled if isinstance(each.get("share"), str)]
            total = sum(share for each in written if (share := parse_share(each)) is not None)
            if total > 1 + _ROUNDING:
                document.report(
                    loc, f"the shares of {path_of(loc)} add up to {shown_share(total)}", "100 % are all agents"
                )
            _check_shadows(document, loc, mappings)


def _check_labels(document: Document, loc: Loc, name: str, versions: Sequence[_Numbered]) -> None:
    first: dict[str, int] = {}
    for number, version in versions:
        place = (*loc, number)
        label, other, versions_from = version.get("label"), version.get("name"), version.get("version")
        if isinstance(other, str) and mod_name_problem(other) is None and module_of(other) == module_of(name):
            document.report((*place, "name"), f"{path_of(place)}.name is the mod itself", "leave it out")
        if isinstance(other, str) and versions_from is not None:
            says = f"{path_of(place)} names another mod and a version of this one"
            document.report((*place, "version"), says, "leave one of them out", about_key=True)
        if label is None and isinstance(versions_from, str):
            label = label_of_versions(versions_from)
        if label is None and not isinstance(other, str):
            document.report(place, f"{path_of(place)}.label is missing", "write label: next")
            continue
        if label is None and isinstance(other, str) and mod_name_problem(other) is None:
            label = default_label(other)
        if label is None:
            document.report(place, f"{path_of(place)}.label is missing", f"no label can be made of {other}")
            continue
        line = document.begin_of(place)[0]
        if str(label) in first:
            lines = f"lines {first[str(label)]} and {line}"
            document.report(place, f"the version {label} of {name} is listed twice: {lines}", "give it a label")
        first.setdefault(str(label), line)


def _check_sources(document: Document, loc: Loc, entry: Mapping[str, Any], versions: Sequence[_Numbered]) -> None:
    """Note versions that would run the code of another one, or of the mod itself."""
    of_disk: int | None = None
    for number, version in versions:
        place = (*loc, number)
        wanted = version.get("version")
        if wanted is not None and wanted == entry.get("version"):
            says = f"{path_of(place)}.version is that of the mod itself"
            document.report((*place, "version"), says, "write another range, as in ~=2.0")
        if wanted is None and version.get("name") is None:
            if of_disk is not None:
                says = f"{path_of(place)} runs the file on disk, as {path_of((*loc, of_disk))} does"
                document.report(place, says, "a save goes to one of them: give the other a name or a version")
            of_disk = number if of_disk is None else of_disk


def _check_shadows(document: Document, loc: Loc, versions: Sequence[_Numbered]) -> None:
    for number, version in versions:
        place = (*loc, number)
        if version.get("shadow") is not True:
            continue
        for key in ("share", "agents", "groups", "when"):
            if key in version:
                says = f"{path_of((*place, key))} says who gets a shadow, which gets a copy of everything"
                document.report((*place, key), says, "leave it out", about_key=True)
        if version.get("state") not in (None, StateMode.COPY.value):
            document.report((*place, "state"), f"{path_of((*place, 'state'))} of a shadow is copy", "leave it out")


def versions_of(document: Document, mod: Mod, loc: Loc) -> Iterator[ModSpec]:
    """Yield the lines beside a mod, in the order of the file."""
    for number, each in enumerate(mod.versions):
        place = (*loc, "versions", number)
        label = each.label or label_of_versions(each.version) or default_label(each.name or "")
        assert label is not None
        config, written = _config_of(each, mod, place)
        yield ModSpec(
            f"{module_of(mod.name)}@{label}",
            config,
            mod.enabled and each.enabled,
            each.version,
            line=document.begin_of(place)[0],
            named_at=document.begin_of((*place, "name")),
            place_of=document.places_in(written),
            beside=_line(label, each, f"{module_of(mod.name)}@{label}"),
        )


def _config_of(version: Version, mod: Mod, loc: Loc) -> tuple[Mapping[str, Any], Loc]:
    """Return a line's configuration, and where it is written: its mod's, unless it has one."""
    if "config" in version.model_fields_set:
        return version.config, (*loc, "config")
    return mod.config, (*loc[:3], "config") if "config" in mod.model_fields_set else loc[:3]


def _line(label: str, version: Version, path: str) -> Line:
    guard = Guard(version.guard.errors, version.guard.of) if "guard" in version.model_fields_set else None
    return Line(
        label=label,
        rule=Rule(
            share=version.share,
            agents=tuple(version.agents),
            groups=tuple(version.groups),
            when=version.when,
            shadow=version.shadow,
        ),
        state=StateMode.COPY if version.shadow else StateMode(version.state or StateMode.SHARED),
        guard=guard,
        code=path if version.version else module_of(version.name) if version.name is not None else "",
        ignore=tuple(version.compare.ignore),
        versions=version.version,
    )
