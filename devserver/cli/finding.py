"""The commands `search` and `show`: they read catalogues and wheels, and import nothing of them.

Addresses are asked only here, and for commands that change packages.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from devserver.cli.exits import Exit, Problem
from devserver.cli.locate import network_file, working_directory
from devserver.cli.output import say, say_json, show_lines, view
from devserver.config.network_yaml import read_network
from devserver.errors import DevServerError
from devserver.market import shown
from devserver.market.catalogue import Found, in_order, search
from devserver.market.places import Ask, Listed, catalogues_of
from devserver.market.review import Review, compared
from devserver.ui import catalogue as ui


def catalogues(ask: Ask = Ask.FETCH) -> tuple[Listed, Path]:
    """Read the network's catalogues, else the built-in one; return them with their folder.

    Raises ConfigError for a network.yaml that cannot be read.
    """
    try:
        path = network_file(None)
    except Problem:
        return catalogues_of(None, working_directory(), ask), working_directory()
    return catalogues_of(read_network(path), path.parent, ask), path.parent


def find_mods(words: str, *, as_json: bool) -> int:
    """Print the mods in which every word occurs. Exits with 1 if no catalogue can be read."""
    listed, _ = catalogues()
    found = search(listed.catalogues, words)
    rows = [shown.row(each) for each in found]
    told = shown.counted(found, listed.catalogues)
    if as_json:
        say_json({"mods": rows, **told, "problems": list(listed.problems)})
    else:
        show_lines((*ui.search_lines(rows, view()), ui.counted_line(told, shown.names_of(listed.catalogues))))
        for each in listed.problems:
            say(each)
    return Exit.CLEAN if listed.catalogues else Exit.FATAL


def show_mod(name: str, *, source: bool, diff: bool, as_json: bool) -> int:
    """Print what is known of a mod before it runs; with its source, or a version's differences."""
    listed, workspace = catalogues()
    plain, _, version = name.partition("==")
    try:
        found = shown.find_listed(listed.catalogues, plain)
        chosen = _version(found, version)
        if source or diff:
            return _show_code(found, chosen, workspace, diff=diff, as_json=as_json)
        values = shown.facts(found, chosen)
    except Problem:
        raise
    except DevServerError as error:
        raise Problem(str(error), "; ".join(listed.problems), Exit.FATAL) from error
    if as_json:
        say_json(values)
    else:
        show_lines(ui.shown_lines(values))
        if values.get("sha256"):
            say(f"oa-dev show {found.name} --source shows all of it")
    return Exit.CLEAN


def _version(found: Found, wanted: str) -> str | None:
    if not wanted:
        return found.version
    if wanted not in found.entry.releases:
        known = ", ".join(in_order(found.entry.releases)[:8])
        raise Problem(f"{found.catalogue.name} has no {found.name} {wanted}", known and f"it has {known}", Exit.FATAL)
    return wanted


def _show_code(found: Found, version: str | None, workspace: Path, *, diff: bool, as_json: bool) -> int:
    if version is None:
        raise Problem(f"{found.name} is listed in {found.catalogue.name} without its files", code=Exit.FATAL)
    new = shown.reviewed(found, version)
    if diff:
        return _show_difference(_before(found, version, workspace), new, as_json=as_json)
    if as_json:
        say_json({"name": found.name, "version": version, "sources": dict(new.sources)})
    else:
        show_lines(ui.source_lines(new.sources))
    return Exit.CLEAN


def _before(found: Found, version: str, workspace: Path) -> Review:
    """Return the version to compare with: the locked one here, else the one before it."""
    older = in_order(found.entry.releases)
    locked = _locked(found.name, workspace)
    chosen = locked or next(iter(older[older.index(version) + 1 :]), None)
    if chosen is None or chosen == version:
        raise Problem(f"there is nothing to compare {found.name} {version} with", code=Exit.FATAL)
    return shown.reviewed(found, chosen)


def _locked(name: str, workspace: Path) -> str | None:
    from devserver.market.lock import LIMIT, NAME, read_lock
    from devserver.model.names import normal

    try:
        with open(workspace / NAME, "rb") as file:
            package = read_lock(file.read(LIMIT)).package(normal(name))
    except FileNotFoundError:
        return None
    return package.version if package is not None else None


def _show_difference(old: Review, new: Review, *, as_json: bool) -> int:
    values: dict[str, Any] = {"name": new.package.name, **shown.difference_facts(old, new)}
    diff = compared(old, new).diff
    if as_json:
        say_json({**values, "diff": list(diff)})
        return Exit.CLEAN
    say(f"{new.package.name} {old.package.version} → {new.package.version}")
    show_lines((*ui.difference_lines(values), *ui.diff_lines(diff)))
    return Exit.CLEAN
