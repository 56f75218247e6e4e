"""The mods that run, as plans know them: a `LiveMod` of each generation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeGuard

from devserver.live.generation import Generation
from devserver.live.registry import Registry
from devserver.loader import raw
from devserver.loader.modules import LoadedModules, Text
from devserver.model.lifecycle import HandOver
from devserver.model.plan import LiveMod
from devserver.model.split import Line, label_of
from devserver.reload import hooks


class LiveMods:
    """Makes the `LiveMod` of a generation, and keeps it."""

    def __init__(self, modules: LoadedModules, registry: Registry) -> None:
        self._modules = modules
        self._registry = registry

    def all(self) -> tuple[LiveMod, ...]:
        """Return the mods that run, in their order."""
        return tuple([each.planned if _is_as(each.planned, each) else self.of(each) for each in self._registry.live])

    def of(self, generation: Generation) -> LiveMod:
        """Return a generation as plans know it; made again if its configuration changed."""
        if label_of(generation.mod_id) is not None:
            # Facts about a line change with each event.
            slot = self._registry.find(generation.mod_path)
            loaded = self._modules.get(generation.entry)
            line, out = (slot.line, slot.out) if slot is not None else (None, "")
            return _as_live_mod(generation, loaded.text if loaded else None, line, out)
        if not _is_as(generation.planned, generation):
            loaded = self._modules.get(generation.entry)
            generation.planned = _as_live_mod(generation, loaded.text if loaded else None)
        return generation.planned

    def forget(self, generation: Generation) -> None:
        """Make a generation's `LiveMod` again at the next request, because its files changed."""
        generation.planned = None


def _is_as(planned: LiveMod | None, generation: Generation) -> TypeGuard[LiveMod]:
    """Return whether a generation is still as plans know it."""
    return (
        planned is not None
        and planned.config is generation.config
        and planned.listed == generation.listed
        and planned.came_with == generation.came_with
    )


def _as_live_mod(generation: Generation, text: Text | None, line: Line | None = None, out: str = "") -> LiveMod:
    instance = generation.instance
    return LiveMod(
        generation.mod_id,
        generation.mod_path,
        generation.number,
        generation.entry,
        config=generation.config,
        listed=generation.listed,
        requires=_texts(instance.requires),
        optional=_texts(getattr(instance, "optional", ())),
        version=str(instance.version),
        came_with=generation.came_with,
        takes_config=hooks.takes_config(instance),
        restarts=generation.hand_over is HandOver.RESTART,
        reads=generation.reads,
        file=None if text is None else text.path,
        text=b"" if text is None else text.data,
        manifest=generation.manifest,
        line=line,
        code=generation.code,
        hand_over=generation.hand_over,
        is_bridged=raw.own(instance, "take_class") is not None,
        reloadable=generation.reloadable,
        captures=callable(raw.own(instance, "capture_state")),
        handled=generation.handled,
        out=out,
    )


def _texts(requires: object) -> tuple[str, ...]:
    """Return the needs that a running mod declares, whatever it has set since it was loaded."""
    if isinstance(requires, str):
        return (requires,)
    found = requires if isinstance(requires, Sequence) else ()
    return tuple(each for each in found if isinstance(each, str))
