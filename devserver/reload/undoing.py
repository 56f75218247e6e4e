"""What an undo or a redo can bring back: the code and states in the history, beside what runs and what
is on disk now. Decides nothing."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from pathlib import Path

from devserver.live.registry import Registry
from devserver.loader.environment import Environment
from devserver.loader.modules import LoadedModules, Reading
from devserver.loader.moving import Remembered
from devserver.model.facts import Outcome
from devserver.model.plan import Plan
from devserver.reload.elsewhere import Ran
from devserver.reload.history import History, Past
from devserver.reload.plan.situation import Returns
from devserver.reload.restarting import Arrival
from devserver.sources.files import sources_now


class Undoing:
    """The undos and redos of one engine; `ran` gives the mods of other hosts."""

    def __init__(
        self,
        modules: LoadedModules,
        registry: Registry,
        environment: Environment,
        ran: Callable[[], Collection[Ran]],
    ) -> None:
        self.history = History()
        self._modules = modules
        self._registry = registry
        self._environment = environment
        self._ran = ran

    def possible(self, *, redo: bool) -> dict[str, Past]:
        """Return the reloads that can be undone (or undos that can be redone), by mod (id)."""
        here = {each.mod_id: each.number for each in self._registry.live}
        return self.history.back({**{each.mod.mod_id: each.mod.generation for each in self._ran()}, **here}, redo=redo)

    def returns(self, past: Past, mod_id: str) -> Returns:
        """Return what an undo of a reload brings of a mod, and whether the disk differs."""
        now = sources_now(past.texts)
        others = tuple(path for path, text in past.texts.items() if now[path] != text.digest)
        number, code = self.history.code_of(mod_id, past.replaced[mod_id]), past.codes.get(mod_id, "")
        return Returns(number, others, code, "@" in code and self._environment.folder_of(code) is None)

    def texts_before(self, plan: Plan) -> dict[Path, Reading]:
        """Return the sources that a plan goes back to: those that the last reload of its mods
        replaced, or the last undo. Those that an earlier image has replaced have no code."""
        undoable, mods = self.possible(redo=plan.redo), [step.mod_id for step in plan.steps]
        return {path: text for each in mods if each in undoable for path, text in undoable[each].texts.items()}

    def state_before(self, mod_id: str, *, redo: bool) -> Remembered | None:
        """Return the contents of a mod's state before its last reload (or undo), or None."""
        past = self.possible(redo=redo).get(mod_id)
        return None if past is None else past.states.get(mod_id)

    def can_undo(self, mods: Iterable[str], *, redo: bool) -> bool:
        """Return whether the last reload (or undo) of all these mods, by id, can be taken back here."""
        return self.possible(redo=redo).keys() >= set(mods)

    def came(self, arrival: Arrival, outcome: Outcome) -> None:
        """Note a mod of the image before that runs again: what differs can be undone."""
        before = {name: Reading(Path(path), data, was) for name, (path, data, was) in arrival.sources.items()}
        loaded = self._modules.digests
        now = {each.path: loaded.get(each.path) for each in before.values()}
        # A module that only a handler imports is not loaded yet, and will be what is on disk.
        now |= sources_now(path for path in now if path not in loaded)
        other = {name: each for name, each in before.items() if now[each.path] != each.digest}
        past = Past(
            mods={outcome.mod_id: outcome.generation},
            replaced={outcome.mod_id: arrival.generation},
            modules=tuple(other),
            texts={each.path: each for each in other.values()},
            states={},
        )
        self.history.came(outcome.mod_id, outcome.generation, arrival.generation, past if other else None)
