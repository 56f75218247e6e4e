"""Finds the module of a mod without importing it, and the class in an imported one.

The allow list and the place of a file are checked here, before any of its code, or its parent
package's code, runs.
"""

from __future__ import annotations

import difflib
import importlib.util
import inspect
import os
import stat
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from devserver.errors import ModNotFound, ModRefused, NoModClass
from devserver.loader import raw
from devserver.loader.suggest import hint_for
from devserver.model.names import mod_id_of, mod_name_problem, module_of, normal, shown_name
from devserver.sources.roots import Roots

if TYPE_CHECKING:
    from devserver.mod import BaseMod

_FINE, _COARSE = 0.02, 2.0
"""Seconds in which time stamps of files stay the same, also on the coarsest system (FAT)."""
_ALWAYS_ALLOWED = ("openagents.mods",)


@dataclass(frozen=True, slots=True)
class Located:
    """The place of a mod's code: its module, that module's file, and whether it is reloaded."""

    mod_id: str
    mod_path: str
    entry: str
    file: Path
    reloadable: bool


def locate(
    mod_path: str, roots: Roots, allowed: Iterable[str] | None = None, *, packages: dict[str, list[str]] | None = None
) -> Located:
    """Find the module to import for `mod_path`, importing nothing, not even a parent package.

    `allowed` are the packages and mods that may be loaded; None means any (the caller runs code
    here already). `packages` gets the folders of the packages that were found: many mods that are
    located at once share theirs. Raises ModRefused for a name or place that is not allowed,
    ModNotFound if there is no module.
    """
    name = module_of(mod_path)
    problem = mod_name_problem(mod_path) or _is_pythons_own(name)
    if problem is not None:
        raise ModRefused(f"{shown_name(mod_path)} cannot name a mod: {problem}")
    if allowed is not None and not _covered(name, (*allowed, *_ALWAYS_ALLOWED)):
        raise ModRefused(
            f"the mod {mod_path} is not on the list of what may be loaded: list it in network.yaml, "
            "or its package under dev.mod_paths"
        )
    entry, file = _find(name, roots, {} if packages is None else packages)
    if not stat.S_ISREG(os.stat(file).st_mode):
        raise ModRefused(f"{mod_path}: {file.name} is not a regular file")
    refused = roots.why_refused(file)
    if refused is not None:
        raise ModRefused(f"{mod_path}: {refused}")
    return Located(mod_id_of(mod_path), mod_path, entry, file, roots.holds(file))


def locate_line(line: str, folder: Path, roots: Roots) -> Located:
    """Find the module of a version of a mod that was installed beside others: `wiki_extras@2`, in
    `folder`. Raises ModRefused, ModNotFound."""
    plain, _, label = line.partition("@")
    entry, file = _entry(plain, [str(folder)], roots)
    refused = roots.why_refused(file)
    if refused is not None:
        raise ModRefused(f"{line}: {refused}")
    return Located(mod_id_of(line), line, f"{plain}@{label}{entry[len(plain) :]}", file, roots.holds(file))


def find_mod_class(module: ModuleType, mod_id: str) -> type[BaseMod]:
    """Return the class of a mod: that of the conventional name, or the only one of its own code.

    Conventional names, as in OpenAgents: `NetworkMod`, `<Name>NetworkMod`, `<Name>Mod`, `Mod`. Base
    classes of other classes of the module do not count, nor do abstract ones. Raises NoModClass,
    with what was found.
    """
    package = module.__name__.removesuffix(".mod")
    found = _own_classes(module, package)
    title = mod_id.title().replace("_", "")
    for name in ("NetworkMod", f"{title}NetworkMod", f"{title}Mod", "Mod"):
        if name in found:
            return found[name]
    leaves = [each for each in found.values() if not any(o is not each and issubclass(o, each) for o in found.values())]
    if len(leaves) == 1:
        return leaves[0]
    if not leaves:
        needed = f"it needs a class that extends BaseMod, such as {title}Mod"
        raise NoModClass(f"{module.__name__} defines no mod: {needed}", file=module.__file__)
    names = ", ".join(sorted(each.__name__ for each in leaves))
    raise NoModClass(f"{module.__name__} defines several mods ({names}): name one {title}Mod", file=module.__file__)


def imported(name: str) -> ModuleType | None:
    return sys.modules.get(name)


def _own_classes(module: ModuleType, package: str) -> dict[str, type[BaseMod]]:
    # Here and not above: commands locate mods, too, and need no network.
    from devserver.mod import BaseMod

    def is_own(value: Any) -> bool:
        return (
            # By its type: a stand-in object may do anything when it is asked for its class.
            raw.derives(type(value), type)
            and issubclass(value, BaseMod)
            and not inspect.isabstract(value)
            and (value.__module__ == package or value.__module__.startswith(f"{package}."))
        )

    return {name: value for name, value in vars(module).items() if is_own(value)}


def _is_pythons_own(name: str) -> str | None:
    top = name.partition(".")[0]
    return f"{top} belongs to Python's standard library" if top in sys.stdlib_module_names else None


def _covered(name: str, allowed: Iterable[str]) -> bool:
    return any(name == each or name.startswith(f"{each}.") for each in allowed)


def _find(name: str, roots: Roots, packages: dict[str, list[str]]) -> tuple[str, Path]:
    """Return a mod's entry module and its file: `name.mod` if there, else package or module."""
    path: list[str] | None = None
    parents = name.split(".")[:-1]
    for depth, part in enumerate(parents, 1):
        package = ".".join(parents[:depth])
        if package in packages:
            path = packages[package]
            continue
        found = _spec(part, path, roots)
        if found is None or not found.submodule_search_locations:
            if found is not None and found.has_location:
                raise ModNotFound(f"no mod {name}: {_in_the_way(package, str(found.origin), roots)}")
            hint = hint_for(name, roots) or _near(parents[:depth], path, roots)
            raise ModNotFound(f"no mod {name}: there is no package {package}{hint}")
        path = packages[package] = list(found.submodule_search_locations)
    return _entry(name, path, roots)


def _in_the_way(package: str, file: str, roots: Roots) -> str:
    """Say that a file is imported instead of a package: Python prefers it to a bare folder."""
    folder = package.replace(".", "/")
    has_folder = (roots.workspace / folder).is_dir()
    way_out = f"rename it, or put an __init__.py into {folder}" if has_folder else "rename it"
    return f"{package} is the file {file}, not a package; {way_out}"


def _entry(name: str, path: list[str] | None, roots: Roots) -> tuple[str, Path]:
    """Return the entry module of a mod whose package, if it has one, has these folders."""
    *parents, last = name.split(".")
    own = _spec(last, path, roots)
    inside = (
        _spec("mod", list(own.submodule_search_locations), roots) if own and own.submodule_search_locations else None
    )
    for entry, spec in ((f"{name}.mod", inside), (name, own)):
        if spec is not None and spec.origin is not None and spec.has_location:
            return entry, Path(spec.origin)
    place = "/".join((*parents, last))
    near = hint_for(name, roots) or _near((*parents, last), path, roots)
    if not near and not parents:
        # A package cannot bring what lies below mods/, which is the workspace's own.
        near = f"; if it is locked, oa-dev sync brings it, else oa-dev add {normal(name)}"
    raise ModNotFound(f"no mod {name}: looked for {place}/mod.py, {place}/__init__.py and {place}.py{near}")


def _spec(part: str, path: list[str] | None, roots: Roots) -> ModuleSpec | None:
    """Return the place of a dotted name's part, found as Python does: no package is run."""
    folders = [str(roots.workspace)] if path is None else path
    if folders and roots.is_inside(folders[0]) and (source := _source(part, folders[0])) is not None:
        return source
    for folder in folders:
        _forget_listing(folder)
    found = PathFinder.find_spec(part, folders)
    if path is not None or (found is not None and found.origin is not None):
        return found
    if part not in sys.modules:
        for folder in sys.path:
            _forget_listing(folder)
    try:
        # A top-level name has no parent that could run; this call knows editable installs.
        return importlib.util.find_spec(part) or found
    except ValueError:
        return found


def _source(part: str, folder: str) -> ModuleSpec | None:
    """Return the source of a part as the finder of watched modules looks for it, first of all: it asks the disk,
    and Python would list the folder."""
    base = os.path.join(folder, part)
    for file, inside in ((os.path.join(base, "__init__.py"), [base]), (f"{base}.py", None)):
        if os.path.isfile(file):
            return importlib.util.spec_from_file_location(part, file, submodule_search_locations=inside)
    return None


def _forget_listing(folder: str) -> None:
    """Have Python list a folder again if the time of its last change may hide another one."""
    finder = sys.path_importer_cache.get(folder)
    if finder is None:
        # Python remembers missing folders, too.
        sys.path_importer_cache.pop(folder, None)
        return
    forget = getattr(finder, "invalidate_caches", None)
    if forget is None:
        return
    try:
        changed = os.stat(folder).st_mtime_ns
    except OSError:
        is_old = False
    else:
        # Only a stamp of whole seconds can belong to a file system that has no finer ones.
        same_for = _FINE if changed % 1_000_000_000 else _COARSE
        is_old = time.time() - changed / 1e9 > same_for
    if not is_old:
        forget()


def _near(wanted: Sequence[str], path: list[str] | None, roots: Roots) -> str:
    *parents, last = wanted
    folders = [Path(each) for each in path or [str(roots.workspace)]]
    names = {each.stem for folder in folders if folder.is_dir() for each in folder.iterdir()}
    close = difflib.get_close_matches(last, names, n=1)
    return f". Did you mean {'.'.join((*parents, close[0]))!r}?" if close else ""
