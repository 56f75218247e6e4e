"""Suggestions for a mod that is not found: of the workspace, or brought by openagents.

Looks at folders alone; imports nothing.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from importlib.machinery import PathFinder
from pathlib import Path

from devserver.sources.roots import Roots

_PACKAGE = "openagents"
_DEEPEST = 4
"""The most folders below the mods of openagents that are searched."""
_NEVER_SHIPPED = frozenset({"analytics", "heavy_analytics"})
"""The announcement of dynamic loading names them; no version of openagents has them."""


def hint_for(name: str, roots: Roots) -> str:
    """Return a sentence that suggests a mod for the dotted name of a missing one; else ""."""
    top, _, rest = name.partition(".")
    last = name.rpartition(".")[2]
    if not rest and _is_mod(roots.workspace / "mods" / name):
        return f". Did you mean './{name}'?"
    folder = _bundled_folder()
    if folder is None:
        return f". Install it: pip install {_PACKAGE}" if top == _PACKAGE else ""
    known = sorted(_bundled(folder, f"{_PACKAGE}.mods", _DEEPEST))
    for each in known:
        if each.rpartition(".")[2] == last and each != name and (top == _PACKAGE or not rest):
            return f". Did you mean {each!r}?"
    if top != _PACKAGE:
        return ""
    close = difflib.get_close_matches(name, known, n=1)
    if last in _NEVER_SHIPPED:
        return f": no version of {_PACKAGE} has a mod {last}. It has {', '.join(known)}"
    return f". Did you mean {close[0]!r}?" if close else f". {_PACKAGE} has {', '.join(known)}"


def _is_mod(place: Path) -> bool:
    return (place / "mod.py").is_file() or (place / "__init__.py").is_file() or place.with_suffix(".py").is_file()


def _bundled_folder() -> Path | None:
    """Return the folder of the package's mods; None if it is not installed."""
    found = PathFinder.find_spec(_PACKAGE)
    for each in (found.submodule_search_locations or ()) if found is not None else ():
        if (Path(each) / "mods").is_dir():
            return Path(each) / "mods"
    return None


def _bundled(folder: Path, name: str, depth: int) -> Iterator[str]:
    for each in folder.iterdir() if depth else ():
        if each.is_dir() and each.name.isidentifier() and not each.name.startswith("_"):
            inner = f"{name}.{each.name}"
            if (each / "mod.py").is_file():
                yield inner
            yield from _bundled(each, inner, depth - 1)
