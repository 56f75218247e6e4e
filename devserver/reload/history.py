"""What a reload replaced, kept so that it can be undone: the sources of the modules, and each state as it was.

A state is kept as the contents of its containers and objects, by identity (`loader.moving.Remembered`): nothing is
pickled or copied deeply. A state that is too large for that is not kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from devserver.loader.modules import Text
from devserver.loader.moving import Remembered
from devserver.model.facts import Outcome, Status
from devserver.model.lifecycle import Action


@dataclass(frozen=True, slots=True)
class Past:
    """What one reload replaced. `mods` are those it reloaded, each with the generation that it brought."""

    mods: Mapping[str, int]
    modules: tuple[str, ...]
    texts: Mapping[Path, Text]
    states: Mapping[str, Remembered | None]


class History:
    """The last reload of each mod, and what the last trigger that has changed something came to."""

    def __init__(self) -> None:
        self._past: dict[str, Past] = {}
        self._has_begun = False
        self.latest: tuple[str, ...] = ()
        """The mods that it reloaded, in all its groups, which can be undone."""
        self.final: tuple[str, ...] = ()
        """What else it did, in words: only what led to it can take that back."""

    def applied(self, pasts: Sequence[Past], outcomes: Iterable[Outcome], *, of_code: bool) -> None:
        """A trigger has been carried out. `of_code`: it asked for what is on disk or was loaded, and for no more."""
        done = [each for each in outcomes if each.status is Status.APPLIED]
        kept = pasts if of_code else ()
        reloaded = {mod_id: past for past in kept for mod_id in past.mods}
        self._past.update(reloaded)
        if done and self._has_begun:
            self.latest = tuple(reloaded)
            self.final = tuple(_words(each) for each in done if each.mod_id not in reloaded)
        # The first is the start of the network, which nobody wants to undo.
        self._has_begun = True

    def undoable(self, running: Mapping[str, int]) -> dict[str, Past]:
        """What can be undone: the reloads whose mods all still run in the generation that these brought."""
        return {
            mod_id: past
            for mod_id, past in self._past.items()
            if all(running.get(each) == number for each, number in past.mods.items())
        }


def _words(outcome: Outcome) -> str:
    why = f" ({outcome.reason})" if outcome.action in (Action.RELOAD, Action.RECONFIGURE) else ""
    return f"{_DONE[outcome.action]} {outcome.mod_id}{why}"


_DONE = {
    Action.LOAD: "loaded",
    Action.UNLOAD: "unloaded",
    Action.RELOAD: "reloaded",
    Action.RECONFIGURE: "reconfigured",
    Action.REORDER: "moved",
}
