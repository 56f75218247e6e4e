"""The code and states that reloads replaced, kept so that they can be undone one after the other,
and redone.

A state is kept as the contents of its containers and objects, by identity
(`loader.moving.Remembered`): nothing is pickled or copied deeply. A state that is too large for
that is not kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from devserver.loader.modules import Reading
from devserver.loader.moving import Remembered
from devserver.model.config import ModSpec
from devserver.model.facts import Outcome, Status
from devserver.model.lifecycle import Action
from devserver.model.split import Guard, Line, Rule, StateMode

MOST_KEPT = 10
"""The most reloads of one mod that can be undone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """The code and states that one reload replaced. `mods`: those that it reloaded, each with the
    generation that it brought.

    `replaced`: the generations that ran before. Without `texts` and `codes`, code was only moved
    within its file, as by a comment, and there is nothing to undo.
    """

    mods: Mapping[str, int]
    replaced: Mapping[str, int]
    modules: tuple[str, ...]
    texts: Mapping[Path, Reading]
    states: dict[str, Remembered | None]
    codes: Mapping[str, str] = field(default_factory=dict)
    """The former paths of mods' code, if the reload gave them another path."""
    line: ModSpec | None = None
    """The line that this reload promoted: it has ended, and an undo brings it back."""

    @property
    def replaced_code(self) -> bool:
        """Whether other code runs than before."""
        return bool(self.texts or self.codes)


@dataclass(slots=True)
class _Change:
    """The effects of one trigger: the mods that it reloaded, and others in words."""

    mods: tuple[str, ...]
    final: tuple[str, ...] = ()


class History:
    """The reloads of each mod, the latest last: to be undone, or undone and to be redone."""

    def __init__(self) -> None:
        self._reloads: dict[str, list[Past]] = {}
        self._undos: dict[str, list[Past]] = {}
        self._changes: list[_Change] = []
        self._undone: list[_Change] = []
        self._code_of: dict[tuple[str, int], int] = {}
        self._has_begun = False
        self.moved: set[str] = set()
        """The mods whose latest save moved their code within its file alone, as one of comments does."""

    def latest(self, *, redo: bool = False) -> tuple[str, ...]:
        """Return the mods that the latest change has reloaded; to redo, the latest undo."""
        changes = self._undone if redo else self._changes
        return changes[-1].mods if changes else ()

    @property
    def final(self) -> tuple[str, ...]:
        """The other effects of the latest change, in words: an undo does not take them back."""
        return self._changes[-1].final if self._changes else ()

    def applied(self, pasts: Sequence[Past], outcomes: Iterable[Outcome], *, of_code: bool) -> None:
        """Note a trigger that was carried out. `of_code`: it asked for code and nothing else."""
        done = [each for each in outcomes if each.status is Status.APPLIED]
        kept = [each for each in pasts if each.replaced_code] if of_code else []
        moved = {mod_id: past for past in pasts if not past.replaced_code for mod_id in past.mods}
        for mod_id, past in moved.items():
            self._code_of[mod_id, past.mods[mod_id]] = self.code_of(mod_id, past.replaced[mod_id])
        done = [each for each in done if each.mod_id not in moved]
        self.moved = (self.moved - {each.mod_id for each in done}) | moved.keys()
        reloaded = {mod_id: past for past in kept for mod_id in past.mods}
        for mod_id, past in reloaded.items():
            self._push(self._reloads, mod_id, past)
            self._undos.pop(mod_id, None)
        if done and self._has_begun:
            # An undo of a promotion brings its line back.
            back = {past.line.path for past in kept if past.line is not None}
            others = tuple(_words(each) for each in done if each.mod_id not in reloaded and each.mod_path not in back)
            self._changes.append(_Change(tuple(reloaded), others))
            del self._changes[:-MOST_KEPT]
            self._undone.clear()
        # The first one is the start of the network, which no one wants to undo.
        self._has_begun = True

    def went(self, pasts: Sequence[Past], *, redo: bool) -> tuple[ModSpec, ...]:
        """Note an undo, or a redo; return the lines that are to run again."""
        reloaded = {mod_id: past for past in pasts for mod_id in past.mods}
        if not reloaded:
            return ()
        lines = dict[str, ModSpec]()
        taken, given = (self._undos, self._reloads) if redo else (self._reloads, self._undos)
        for mod_id, past in reloaded.items():
            back = taken[mod_id].pop()
            self._code_of[mod_id, past.mods[mod_id]] = self.code_of(mod_id, back.replaced[mod_id])
            if back.line is None:
                self._push(given, mod_id, past)
            else:
                # No redo: its line can be promoted once more.
                lines[back.line.path] = back.line
        names = tuple(reloaded)
        self._strike(self._undone if redo else self._changes, set(names))
        if not lines:
            (self._changes if redo else self._undone).append(_Change(names))
        return tuple(lines.values())

    @staticmethod
    def _strike(changes: list[_Change], names: set[str]) -> None:
        """Remove mods from the latest change of each."""
        for change in reversed(changes):
            struck = names & set(change.mods)
            change.mods = tuple(each for each in change.mods if each not in struck)
            names -= struck
        changes[:] = [each for each in changes if each.mods or each.final]

    def _push(self, stacks: dict[str, list[Past]], mod_id: str, past: Past) -> None:
        for each in self._pasts(mod_id):
            state = each.states.get(mod_id)
            if state is not None and state.holds_replaced():
                # Contents that cannot move on with the state would keep replaced code alive.
                each.states[mod_id] = None
        stack = stacks.setdefault(mod_id, [])
        stack.append(past)
        del stack[:-MOST_KEPT]

    def _pasts(self, mod_id: str) -> list[Past]:
        return [*self._reloads.get(mod_id, ()), *self._undos.get(mod_id, ())]

    def states_of(self, mod_id: str) -> list[Remembered]:
        """Return the states that an undo may give back to a mod."""
        return [state for each in self._pasts(mod_id) if (state := each.states.get(mod_id)) is not None]

    def state_before(self, mod_id: str) -> Remembered | None:
        """Return the state of a mod before its latest reload that can be undone."""
        stack = self._reloads.get(mod_id)
        return stack[-1].states.get(mod_id) if stack else None

    # A restart in place

    def came(self, mod_id: str, number: int, before: int, past: Past | None) -> None:
        """Note a mod in a fresh image; `before` ran in the former one, `past`: the differences."""
        if past is None:
            self._code_of[mod_id, number] = self.code_of(mod_id, before)
            return
        self._push(self._reloads, mod_id, past)
        self._undos.pop(mod_id, None)
        self._changes.append(_Change((mod_id,)))
        del self._changes[:-MOST_KEPT]

    def pack(self) -> dict[str, Any]:
        """Return what the next image can undo, as plain values; states are left out."""
        return {
            "reloads": {mod_id: [_packed(each) for each in stack] for mod_id, stack in self._reloads.items()},
            "undos": {mod_id: [_packed(each) for each in stack] for mod_id, stack in self._undos.items()},
            "changes": [(each.mods, each.final) for each in self._changes],
            "undone": [(each.mods, each.final) for each in self._undone],
            "code_of": [(*key, number) for key, number in self._code_of.items()],
        }

    def unpack(self, packed: Mapping[str, Any]) -> None:
        """Continue after an earlier image. Call it before the first trigger."""
        self._reloads = {mod_id: [_unpacked(each) for each in stack] for mod_id, stack in packed["reloads"].items()}
        self._undos = {mod_id: [_unpacked(each) for each in stack] for mod_id, stack in packed["undos"].items()}
        self._changes = [_Change(tuple(mods), tuple(final)) for mods, final in packed["changes"]]
        self._undone = [_Change(tuple(mods), tuple(final)) for mods, final in packed["undone"]]
        self._code_of = {(mod_id, number): code for mod_id, number, code in packed["code_of"]}

    def code_of(self, mod_id: str, number: int) -> int:
        """Return the generation whose code a generation runs: its own, or an earlier one's."""
        return self._code_of.get((mod_id, number), number)

    def back(self, running: Mapping[str, int], *, redo: bool = False) -> dict[str, Past]:
        """Return what can be undone (or redone), by mod: the latest reload whose result all run."""
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
    own = {"mods": dict(past.mods), "replaced": dict(past.replaced), "codes": dict(past.codes), "line": None}
    if past.line is not None and past.line.beside is not None:
        beside = {**asdict(past.line.beside), "state": past.line.beside.state.value}
        own["line"] = {"path": past.line.path, "config": dict(past.line.config), "beside": beside}
    return {**own, "modules": past.modules, "texts": texts}


def _unpacked(values: Mapping[str, Any]) -> Past:
    texts = {Path(path): Reading(Path(path), data, digest) for path, (data, digest) in values["texts"].items()}
    # An image of another version may not have packed a line.
    line = _line_of(values["line"]) if values.get("line") else None
    return Past(**{**values, "modules": tuple(values["modules"]), "texts": texts, "line": line}, states={})


def _line_of(values: Mapping[str, Any]) -> ModSpec:
    beside = values["beside"]
    guard = Guard(**beside["guard"]) if beside["guard"] else None
    more = {"rule": Rule(**beside["rule"]), "state": StateMode(beside["state"]), "guard": guard}
    return ModSpec(values["path"], values["config"], beside=Line(**{**beside, **more}))


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
    Action.MOVE: "moved",
}
