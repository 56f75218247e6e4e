"""The sources that a plan changes, as a receipt shows them: before it, and after it was carried out
or failed. Reads what is loaded; changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from devserver.loader.modules import LoadedModules
from devserver.model.facts import CodeChange
from devserver.model.lifecycle import Action
from devserver.model.plan import Plan


class CodeChanges:
    """The changes by one plan after the other; `shown` gives a file's path as people read it."""

    def __init__(self, modules: LoadedModules, shown: Callable[[str], str]) -> None:
        self._modules = modules
        self._shown = shown
        self.tried: dict[Path, bytes] = {}
        """The sources that the current plan has compiled."""

    def before(self, plan: Plan) -> dict[Path, bytes]:
        """Return the sources that a plan begins from. None of its own has been compiled yet."""
        self.tried = {}
        return self._running(plan)

    def changed(
        self, plan: Plan, before: Mapping[Path, bytes], arrived: Mapping[Path, bytes]
    ) -> tuple[CodeChange, ...]:
        """Return the changes of sources by a plan that was carried out, or failed. `arrived`: the
        sources of mods that it brings back after a restart."""
        loaded = {each.path: each.text.data for each in self._modules.current.values() if each.path in arrived}
        # What only a handler imports is not loaded yet after a restart.
        before = {**before, **{path: arrived[path] for path in loaded}}
        after = {**loaded, **self._running(plan), **plan.texts, **self.tried}
        # A first load is not a change, unless it was saved.
        paths = {*before, *plan.texts, *self.tried} if before else plan.texts.keys()
        return tuple(
            CodeChange(self._shown(str(path)), before.get(path), after.get(path))
            for path in sorted(paths)
            if path.suffix == ".py" and before.get(path) != after.get(path)
        )

    def _running(self, plan: Plan) -> dict[Path, bytes]:
        """Return the running sources of reloaded modules, and saved ones that are back to them."""
        names = {name for step in plan.steps if step.action is Action.RELOAD for name in step.modules}
        loaded = (self._modules.get(name) for name in names)
        saved = ((path, data, plan.changed.get(path)) for path, data in plan.texts.items())
        back = {path: data for path, data, digest in saved if digest and self._modules.text_of(path, digest)}
        return back | {each.path: each.text.data for each in loaded if each is not None}
