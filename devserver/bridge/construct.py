"""Makes an instance of an openagents mod as openagents does.

Their `BaseMod.__init__` reads every attribute of the class, properties included, and some of these
ask for the mod's folder, which is a fresh temporary one there until the mod is bound. Here there is
one folder, and it goes with the mod.
"""

from __future__ import annotations

import inspect
import shutil
import tempfile
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any


def construct(mod_class: type[Any], mod_name: str) -> Any:
    """Make an instance, with the mod's path if its constructor takes a name; that may raise."""
    arguments = (mod_name,) if _takes_name(mod_class) else ()
    instance = mod_class.__new__(mod_class, *arguments)
    if mod_class.get_storage_path.__qualname__ == "BaseMod.get_storage_path":
        vars(instance)["get_storage_path"] = _storage_of(instance)
    instance.__init__(*arguments)
    vars(instance).pop("get_storage_path", None)
    if not arguments:
        instance._mod_name = mod_name
    return instance


def _takes_name(mod_class: type[Any]) -> bool:
    first = next(iter(inspect.signature(mod_class).parameters.values()), None)
    return first is not None and (first.default is first.empty or first.name in ("mod_name", "name"))


def _storage_of(instance: Any) -> Callable[[], Path]:
    """Return the substitute for `get_storage_path` in the constructor, which objects may keep."""
    made: list[Path] = []

    def get_storage_path() -> Path:
        if "get_storage_path" not in vars(instance):
            return Path(type(instance).get_storage_path(instance))
        if not made:
            made.append(Path(tempfile.mkdtemp(prefix="oa-dev-mod-")))
            weakref.finalize(instance, shutil.rmtree, made[0], ignore_errors=True)
        return made[0]

    return get_storage_path
