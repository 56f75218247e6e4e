"""Why a mod or a package runs, as lines: what needs it, what it needs, and when it goes. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from devserver.ui.look import View
from devserver.ui.segments import Line, dim, joined, plain, strong

Row = Mapping[str, Any]

_CAME = {"listed": "", "automatic": "loaded automatically", "asked": "loaded by hand"}


def why_lines(answer: Row, view: View) -> tuple[Line, ...]:
    """Return the lines of an answer of `oa-dev why`."""
    match answer["kind"]:
        case "mod":
            return tuple(_mod(answer, view))
        case "package":
            return tuple(_package(answer, view))
        case _:
            return ((plain(str(answer["reason"])),),)


def _mod(row: Row, view: View) -> Iterator[Line]:
    version = f" v{row['generation']}" if row["generation"] else ""
    came = _CAME.get(row["came"], "") or _listing(row["listed"])
    waits = f"not loaded: {row['waits']}" if row["waits"] else ""
    head = joined((f"{row['mod_path']} {row['version']}", came, waits), view.dot)
    yield (strong(str(row["mod_id"])), plain(f"{version}{view.dot}"), plain(head))
    if row["beside"]:
        yield (dim(f"  beside {row['beside']['mod_id']}{view.dot}{row['beside']['gets']}"),)
    for each in row["needed_by"]:
        verb = "works with it: " if each["optional"] else "needed by "
        yield (dim(f"  {verb}{each['mod_id']} ({_requirement(each)}), {_how(each)}"),)
    for each in row["needs"]:
        yield (dim(f"  needs {each['requirement']}{_place(each)}: {_state(each)}"),)
    for each in row["works_with"]:
        yield (dim(f"  works with {each['requirement']}{_place(each)}: {_state(each)}"),)
    for each in row["packages"]:
        yield (dim(f"  needs the package {each['requirement']}{_place(each)}"),)
    if row["goes_with"]:
        *others, last = row["goes_with"]
        needing = f"{', '.join(others)} and {last}" if others else last
        yield (dim(f"  goes when {needing} {'goes' if len(row['goes_with']) == 1 else 'go'}"),)


def _listing(listed: Row | None) -> str:
    if listed is None:
        return ""
    line = "" if listed["line"] is None else f":{listed['line']}"
    return f"listed in network.yaml{line}" if listed["enabled"] else f"disabled in network.yaml{line}"


def _how(row: Row) -> str:
    """Return how a mod that needs another one is there itself."""
    if not row["runs"]:
        return joined(("which does not run", _listing(row["listed"])), ", ")
    return _CAME.get(row["came"], "") or _listing(row["listed"])


def _requirement(row: Row) -> str:
    return joined((row["requirement"], "" if row["file"] is None else f"{row['file']}:{row['line']}"), ", ")


def _place(row: Row) -> str:
    return "" if row["file"] is None else f" ({row['file']}:{row['line']})"


def _state(row: Row) -> str:
    if not row["generation"]:
        return f"{row['mod_id']} does not run"
    suits = "" if row["fits"] else ", which does not suit"
    return f"{row['mod_id']} v{row['generation']} is {row['version']}{suits}"


def _package(row: Row, view: View) -> Iterator[Line]:
    importers = f"imported by {', '.join(row['imported_by'])}" if row["imported_by"] else ""
    other = row["imported"] if row["imported"] != row["version"] else None
    process = f"{other} is imported in this process" if other else ""
    version = row["version"] or "is not installed"
    yield (strong(str(row["name"])), plain(f" {joined((version, row['folder'] or '', importers, process), view.dot)}"))
    for each in row["needed_by"]:
        yield (dim(f"  needed by {each['mod_path']} {each['version']} ({_requirement(each)})"),)
    for each in row["needed_by_packages"]:
        yield (dim(f"  needed by {each['name']} {each['version']} ({each['requirement']})"),)
