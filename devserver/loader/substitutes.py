"""Answers imports of chosen names with modules made here, before Python's own finders are asked.

Knows no library: the caller decides on the names and the contents of modules.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.metadata
import importlib.util
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

Contents = Callable[[], Mapping[str, Any]]
"""Makes the attributes of a module when it is first imported."""


class Substitutes(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Serves modules by name. `packages` are the names that other modules lie in."""

    def __init__(self, modules: Mapping[str, Contents], packages: Sequence[str] = ()) -> None:
        self._modules = modules
        self._packages = frozenset(packages)

    def install(self) -> None:
        """Answer from now on, and forget modules of these names that were imported before."""
        if self not in sys.meta_path:
            sys.meta_path.insert(0, self)
            for name in self._modules:
                sys.modules.pop(name, None)

    def remove(self) -> None:
        """Stop answering, and forget the modules that were served."""
        if self in sys.meta_path:
            sys.meta_path.remove(self)
        for name in (*self._modules, *self._packages):
            module = sys.modules.get(name)
            if getattr(getattr(module, "__spec__", None), "loader", None) is self:
                del sys.modules[name]

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Find a module that is served here; None leaves the name to the other finders."""
        if fullname in self._packages:
            spec = importlib.util.spec_from_loader(fullname, self, is_package=True)
            # A folder of that name keeps the modules that it holds.
            folder = importlib.machinery.PathFinder.find_spec(fullname, path)
            if spec is not None and folder is not None:
                spec.submodule_search_locations = list(folder.submodule_search_locations or ())
            return spec
        return importlib.util.spec_from_loader(fullname, self) if fullname in self._modules else None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        """Leave it to Python to make an empty module."""
        return None

    def exec_module(self, module: ModuleType) -> None:
        if module.__name__ in self._modules:
            module.__dict__.update(self._modules[module.__name__]())


def package_folder(package: str) -> Path | None:
    """Return the folder of an installed top-level package; None without one. Imports nothing."""
    found = importlib.machinery.PathFinder.find_spec(package)
    return Path(found.origin).parent if found is not None and found.origin is not None else None


def installed_version(distribution: str) -> str | None:
    """Return the version of an installed distribution; None if it is not installed."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def is_installed(package: str) -> bool:
    """Return whether Python would find a top-level package; a bare folder does not count.

    Imports nothing.
    """
    if package in sys.modules:
        return True
    found = importlib.machinery.PathFinder.find_spec(package)
    return found is not None and found.origin is not None
