"""The part of its mod's state that a line gets: the same dict, a copy, or nothing; and the part
that the mod gets back.

Both see one dict only if it holds plain data: an object of a class that each of them has for itself
would be of the wrong class for one of them. A copy is pickled, and its objects come back as those
of the other's classes.
"""

from __future__ import annotations

import io
import pickle
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

from devserver.errors import HookFailed
from devserver.live.generation import Generation
from devserver.loader import raw
from devserver.loader.walk import Walk
from devserver.mod import BaseMod
from devserver.model.lifecycle import HandOver
from devserver.model.plan import Step
from devserver.model.split import Line, StateMode

MOST_COPIED = 50 * 1024 * 1024
"""The most bytes of a mod's folder that a line gets a copy of; a larger folder is not copied."""


def expect_class(step: Step, mod_class: type[BaseMod], line: Line, way: HandOver) -> None:
    """Raise HookFailed for code that cannot run twice, or not with this part of the state."""
    if way is HandOver.EXCLUSIVE:
        raise HookFailed(f"{step.mod_id} holds what only one can have (reload_mode is exclusive)")
    if line.state is StateMode.SHARED and callable(getattr(mod_class, "capture_state", None)):
        raise HookFailed(f"{step.mod_id} hands its state over itself (capture_state): say state: copy or empty")


def begin(new: Generation, main: Generation, mode: StateMode) -> str:
    """Give a line that starts its part of its mod's state; return what that is, in words. Raises
    HookFailed if the two cannot share it, or if it cannot be copied."""
    if main.hand_over is HandOver.EXCLUSIVE:
        raise HookFailed(f"{main.mod_id} holds what only one can have (reload_mode is exclusive)")
    match mode:
        case StateMode.SHARED:
            check_shareable(new, main)
            new.instance.state = main.instance.state
            return f"state shared with {main.mod_id}"
        case StateMode.COPY:
            if raw.own(main.instance, "take_class") is not None:
                return "state not copied: a mod of openagents keeps it in itself"
            new.instance.state = copied(main, new)
            return f"state copied ({_keys(new.kept)})"
        case StateMode.EMPTY:
            return "no state"


def check_shareable(new: Generation, main: Generation) -> None:
    """Raise HookFailed if a mod and its line cannot have one dict, for classes that both have."""
    for each in (new, main):
        if callable(raw.own(each.instance, "capture_state")):
            raise HookFailed(f"{each.mod_id} hands its state over itself (capture_state): say state: copy or empty")
        if raw.own(each.instance, "take_class") is not None:
            raise HookFailed(f"{each.mod_id} keeps its data in itself: say state: copy or empty")
    walk = Walk(main.instance.state)
    walk.finish()
    packages = _package(main), _package(new)
    found = [thing for _, thing in walk.of_kind(lambda kind: _is_of(kind.cls, packages))]
    if not found:
        return
    keys = walk.keys_of({id(each) for each in found})
    (name, count), *_ = Counter(type(each).__name__ for each in found).most_common(1)
    objects = f"{count} {name} object" if count == 1 else f"{count} {name} objects"
    key = next(iter(keys.values()), "?")
    raise HookFailed(f"state holds {objects} (key {key}): say state: copy, or keep dicts")


def copied(source: Generation, target: Generation) -> dict[Any, Any]:
    """Return the state of one of them for the other. Raises HookFailed, naming the key."""
    state: dict[Any, Any] = {}
    for key, value in source.kept.items():
        try:
            data = pickle.dumps((key, value), pickle.HIGHEST_PROTOCOL)
            again, copy = _Translated(io.BytesIO(data), _package(source), _package(target)).load()
        except Exception as error:
            why = f"{type(error).__name__}: {error}"
            raise HookFailed(f"key {key!r} of the state cannot be copied ({why[:120]}): say state: empty") from error
        state[again] = copy
    return state


def copy_folder(source: Path, target: Path) -> str:
    """Give a line a copy of its mod's folder of data, unless too large; return the result."""
    if target.exists() or not source.is_dir():
        return ""
    size = sum(each.lstat().st_size for each in source.rglob("*") if each.is_file())
    if not size:
        return ""
    if size > MOST_COPIED:
        return f"its folder is empty: that of its mod has {size / 1024 / 1024:.0f} MiB"
    shutil.copytree(source, target, symlinks=True)
    return "folder copied"


class _Translated(pickle.Unpickler):
    """Finds the classes of one package in another."""

    def __init__(self, file: io.BytesIO, source: str, target: str) -> None:
        super().__init__(file)
        self._source, self._target = source, target

    def find_class(self, module: str, name: str) -> Any:
        if module == self._source or module.startswith(f"{self._source}."):
            module = self._target + module[len(self._source) :]
        return super().find_class(module, name)


def _package(generation: Generation) -> str:
    """Return the package, or module, of a mod's or line's code, as Python's table has it."""
    return generation.entry.removesuffix(".mod")


def _is_of(cls: type, packages: tuple[str, ...]) -> bool:
    module = cls.__module__
    return any(module == each or str(module).startswith(f"{each}.") for each in packages)


def _keys(state: dict[Any, Any]) -> str:
    return f"{len(state)} key" if len(state) == 1 else f"{len(state)} keys"
