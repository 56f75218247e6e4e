"""Finds the class of an openagents mod in its module, by the rules of openagents where these are
sound.

There the first subclass in alphabetical order is taken when no name fits, imported helpers
included; here the classes that the mod's own code defines come first, and among these the ones that
are not base classes of others.
"""

from __future__ import annotations

import inspect
from types import ModuleType
from typing import Any


def find_class(module: ModuleType, mod_id: str, base: type[Any]) -> type[Any] | None:
    """Return the class of a mod, or None if the module has none (contract, D3)."""
    found: dict[str, type[Any]] = {name: value for name, value in sorted(vars(module).items()) if _is_mod(value, base)}
    for name in _conventional(mod_id):
        if name in found:
            return found[name]
    own = [each for each in found.values() if _is_own(each, module)]
    leaves = [each for each in own if not any(o is not each and issubclass(o, each) for o in own)]
    return next(iter(leaves or found.values()), None)


def _conventional(mod_id: str) -> tuple[str, ...]:
    title = mod_id.title().replace("_", "")
    return "NetworkMod", f"{title}NetworkMod", f"{title}Mod", "Mod"


def _is_mod(value: object, base: type[Any]) -> bool:
    return inspect.isclass(value) and issubclass(value, base) and value is not base and not inspect.isabstract(value)


def _is_own(value: type[Any], module: ModuleType) -> bool:
    package = module.__name__.removesuffix(".mod")
    return value.__module__ == package or value.__module__.startswith(f"{package}.")
