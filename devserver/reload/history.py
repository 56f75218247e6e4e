"""What reloads replaced, kept so that they can be undone one after the other, and redone: sources, and states.

A state is kept as the contents of its containers and objects, by identity (`loader.moving.Remembered`): nothing is
pickled or copied deeply. A state that is too large for that is not kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from devserver.loader.modules import Reading
from devserver.loader.moving import Remembered
from devserver.model.facts import Outcome, Status
from devserver.model.lifecycle import Action

MOST_KEPT = 10
"""The reloads of one mod that can be undone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """What one reload replaced. `mods` are those it reloaded, each with the generation that it brought.

    `replaced` are the generations that ran before.
    """

    mods: Mapping[str, int]
    replaced: Mapping[str, int]
    modules: tuple[str, ...]
    texts: Mapping[Path, Reading]
    states: dict[str, Remembered | None]
    codes: Mapping[str, str] = field(default_factory=dict)
    """The paths of the code that mods ran before, where the reload gave them another's."""


@dataclass(slots=True)
class _Change:
    """What one trigger has changed: the mods that it reloaded, and in words what else it did."""

    mods: tuple[str, ...]
    final: tuple[str, ...] = ()


class History:
    """The reloads of each mod, the latest last: those that can be undone, and those that were and can be redone."""

    def __init__(self) -> None:
        self._reloads: dict[str, list[Past]] = {}
        self._undos: dict[str, list[Past]] = {}
        self._changes: list[_Change] = []
        self._undone: list[_Change] = []
        self._code_of: dict[tuple[str, int], int] = {}
        self._has_begun = False

    def latest(self, *, redo: bool = False) -> tuple[str, ...]:
        """The mods that the latest change has reloaded, in all its groups; or, to redo, the latest undo."""
        changes = self._undone if redo else self._changes
        return changes[-1].mods if changes else ()

    @property
    def final(self) -> tuple[str, ...]:
        """What else the latest change did, in words: only what led to it can take that back."""
        return self._changes[-1].final if self._changes else ()

    def applied(self, pasts: Sequence[Past], outcomes: Iterable[Outcome], *, of_code: bool) -> None:
        """A trigger has been carried out. `of_code`: it asked for what is on disk or was loaded, and for no more."""
        done = [each for each in outcomes if each.status is Status.APPLIED]
        kept = pasts if of_code else ()
        reloaded = {mod_id: past for past in kept for mod_id in past.mods}
        for mod_id, past in reloaded.items():
            self._push(self._reloads, mod_id, past)
            self._undos.pop(mod_id, None)
        if done and self._has_begun:
            others = tuple(_words(each) for each in done if each.mod_id not in reloaded)
            self._changes.append(_Change(tuple(reloaded), others))
            del self._changes[:-MOST_KEPT]
            self._undone.clear()
        # The first is the start of the network, which nobody wants to undo.
        self._has_begun = True

    def went(self, pasts: Sequence[Past], *, redo: bool) -> None:
        """An undo has been carried out, or a redo."""
        reloaded = {mod_id: past for past in pasts for mod_id in past.mods}
        if not reloaded:
            return
        taken, given = (self._undos, self._reloads) if redo else (self._reloads, self._undos)
        for mod_id, past in reloaded.items():
            back = taken[mod_id].pop()
            self._code_of[mod_id, past.mods[mod_id]] = self.code_of(mod_id, back.replaced[mod_id])
            self._push(given, mod_id, past)
        names = tuple(reloaded)
        self._strike(self._undone if redo else self._changes, set(names))
        (self._changes if redo else self._undone).append(_Change(names))

    @staticmethod
    def _strike(changes: list[_Change], names: set[str]) -> None:
        """Strike mods from the latest change that has each of them."""
        for change in reversed(changes):
            struck = names & set(change.mods)
            change.mods = tuple(each for each in change.mods if each not in struck)
            names -= struck
        changes[:] = [each for each in changes if each.mods or each.final]

    def _push(self, stacks: dict[str, list[Past]], mod_id: str, past: Past) -> None:
        for each in self._pasts(mod_id):
            state = each.states.get(mod_id)
            if state is not None and state.holds_replaced():
                # What cannot move on with the state would keep code alive that is to be gone.
                each.states[mod_id] = None
        stack = stacks.setdefault(mod_id, [])
        stack.append(past)
        del stack[:-MOST_KEPT]

    def _pasts(self, mod_id: str) -> list[Past]:
        return [*self._reloads.get(mod_id, ()), *self._undos.get(mod_id, ())]

    def states_of(self, mod_id: str) -> list[Remembered]:
        """The states that a mod may get back."""
        return [state for each in self._pasts(mod_id) if (state := each.states.get(mod_id)) is not None]

    # A restart in place

    def came(self, mod_id: str, number: int, before: int, past: Past | None) -> None:
        """A mod has come up in a fresh image; `before` ran in the one before. `past`: what differs, if anything."""
        if past is None:
            self._code_of[mod_id, number] = self.code_of(mod_id, before)
            return
        self._push(self._reloads, mod_id, past)
        self._undos.pop(mod_id, None)
        self._changes.append(_Change((mod_id,)))
        del self._changes[:-MOST_KEPT]

    def pack(self) -> dict[str, Any]:
        """What the next image can undo, as plain values; states stay behind."""
        return {
            "reloads": {mod_id: [_packed(each) for each in stack] for mod_id, stack in self._reloads.items()},
            "undos": {mod_id: [_packed(each) for each in stack] for mod_id, stack in self._undos.items()},
            "changes": [(each.mods, each.final) for each in self._changes],
            "undone": [(each.mods, each.final) for each in self._undone],
            "code_of": [(*key, number) for key, number in self._code_of.items()],
        }

    def unpack(self, packed: Mapping[str, Any]) -> None:
        """Go on where an earlier image was. To be called before the first trigger."""
        self._reloads = {mod_id: [_unpacked(each) for each in stack] for mod_id, stack in packed["reloads"].items()}
        self._undos = {mod_id: [_unpacked(each) for each in stack] for mod_id, stack in packed["undos"].items()}
        self._changes = [_Change(tuple(mods), tuple(final)) for mods, final in packed["changes"]]
        self._undone = [_Change(tuple(mods), tuple(final)) for mods, final in packed["undone"]]
        self._code_of = {(mod_id, number): code for mod_id, number, code in packed["code_of"]}

    def code_of(self, mod_id: str, number: int) -> int:
        """The generation whose code a generation runs: its own, or after an undo that of an earlier one."""
        return self._code_of.get((mod_id, number), number)

    def back(self, running: Mapping[str, int], *, redo: bool = False) -> dict[str, Past]:
        """What can be undone (or redone), by mod: the latest reload whose mods all run what it brought."""
        stacks = self._undos if redo else self._reloads
        tops = {mod_id: stack[-1] for mod_id, stack in stacks.items() if stack}
        return {
            mod_id: past
            for mod_id, past in tops.items()
            if all(self._runs(running, each, number) for each, number in past.mods.items())
        }

    def _runs(self, running: Mapping[str, int], mod_id: str, number: int) -> bool:
        now = running.get(mod_id)
        return now is not None and self.code_of(mod_id, now) == self.code_of(mod_id, number)


def _packed(past: Past) -> dict[str, Any]:
    texts = {str(path): (each.data, each.digest) for path, each in past.texts.items()}
    return {"mods": dict(past.mods), "replaced": dict(past.replaced), "modules": past.modules, "texts": texts}


def _unpacked(values: Mapping[str, Any]) -> Past:
    texts = {Path(path): Reading(Path(path), data, digest) for path, (data, digest) in values["texts"].items()}
    return Past(**{**values, "modules": tuple(values["modules"]), "texts": texts}, states={})


def _words(outcome: Outcome) -> str:
    why = f" ({outcome.reason})" if outcome.action in (Action.RELOAD, Action.RECONFIGURE) else ""
    return f"{_DONE[outcome.action]} {outcome.mod_id}{why}"


_DONE = {
    Action.LOAD: "loaded",
    Action.UNLOAD: "unloaded",
    Action.RELOAD: "reloaded",
    Action.RECONFIGURE: "reconfigured",
    Action.REORDER: "moved",
    Action.SPLIT: "split",
}
