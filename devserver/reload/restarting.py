"""Restarts in place, as the engine knows them: why one is needed, and what the last image left.

`plan/restart` decides on a restart and the server, which alone owns the process, does it. Here is
the rest: the reasons that wait, the states that are packed before, and the states that arrive
after.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from devserver.live.children import child_processes
from devserver.live.generation import Generation
from devserver.loader.modules import Reading
from devserver.model.facts import Outcome, Status, Way
from devserver.model.lifecycle import Action, Phase
from devserver.model.names import module_of
from devserver.model.plan import Plan, StateMove
from devserver.reload.carry import PackedState, move_of, pack_state, unpack_state
from devserver.reload.plan import Situation
from devserver.reload.plan.settings import RESTART_SETTINGS
from devserver.sources.files import sources_now


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """A mod of the image before this one: its state, and what loads it if no file lists it."""

    mod_path: str
    generation: int
    state: PackedState
    listed: bool = True
    came_with: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)
    sources: Mapping[str, tuple[str, bytes, str]] = field(default_factory=dict)
    """The modules that it was made from, each with the path, bytes and digest of its source."""
    packages: str = ""
    """The folder of the packages that have it, if no lock names that."""


class Restarting:
    """The memory of one engine. `replace` replaces the process as a plan says; None: impossible."""

    def __init__(self) -> None:
        self.replace: Callable[[Plan], None] | None = None
        self.rehearse: Callable[[Mapping[str, Arrival], Phase], Awaitable[bool]] | None = None
        """Whether these mods, which have failed in a phase in place, all come up in a fresh process."""
        self.problem: Callable[[Collection[str]], Awaitable[str | None]] = _no_problem
        """Why the process could not be started again, as far as that can be known before; given the mods (plain
        paths) that are looked at elsewhere."""
        self.waiting: dict[str, None] = {}
        """The reasons of restarts that were not done, each once, in order."""
        self.why = ""
        """Why they wait."""
        self.cause = ""
        """Why the image before this one was replaced; "" for a first start."""
        self.arrivals: dict[str, Arrival] = {}
        """By mod path, the mods that ran before and have not been loaded yet."""
        self.unloaded: set[str] = set()
        """The mods (plain paths) that network.yaml lists and a person has unloaded."""
        self.on_arrival: Callable[[Arrival, Outcome], None] = lambda arrival, outcome: None
        """Told of each mod that ran in the image before and runs again."""
        self._foreseen: asyncio.Future[str | None] | None = None

    def foresee(self, rehearsed: Collection[str]) -> None:
        """Begin to look for what would keep the process from starting, before a restart that is likely asks for it.

        `rehearsed`: the mods (plain paths) that are tried meanwhile; the restart is asked for if they come up.
        """
        self.forget_foreseen()
        self._foreseen = asyncio.ensure_future(self.problem(rehearsed))

    async def foreseen(self, seconds: float) -> None:
        """Wait until that is known, at most so long."""
        if self._foreseen is not None:
            await asyncio.wait((self._foreseen,), timeout=seconds)

    def forget_foreseen(self) -> None:
        """Forget that: no restart follows, or the files have changed."""
        if self._foreseen is not None:
            self._foreseen.cancel()
            self._foreseen = None

    async def why_not(self, failed: Collection[str] = ()) -> str | None:
        """Return why the process could not be started again now, or None. `failed`: the mods (plain
        paths) that are known to fail; they are not looked at again."""
        if self._foreseen is None:
            return await self.problem(failed)
        foreseen, self._foreseen = self._foreseen, None
        return await foreseen

    async def moves(self, generations: Iterable[Generation], limit: float) -> tuple[StateMove, ...]:
        """Return what a restart would do with each state. Call it where mods run."""
        return tuple([move_of(each, await pack_state(each, limit)) for each in generations])

    def facts(self) -> dict[str, Any]:
        """Return what the next image needs, as plain values; `unpack` takes it there."""
        arrivals = {path: arrival_to_dict(each) for path, each in self.arrivals.items()}
        return {"arrivals": arrivals, "unloaded": sorted(self.unloaded)}

    def unpack(self, packed: Mapping[str, Any]) -> None:
        self.arrivals = {path: arrival_from_dict(each) for path, each in packed["arrivals"].items()}
        # An image of another version may not have packed these.
        self.unloaded = set(packed.get("unloaded", ()))

    async def known(self, situation: Situation) -> Situation:
        """Return a situation with what a decision on a restart depends on, but for the states that move."""
        failed = frozenset(module_of(mod.mod_path) for mod in situation.live if mod.mod_id in situation.would_fail)
        return replace(
            situation,
            image_problem=await self.why_not(failed),
            can_restart=self.replace is not None,
            stale_in_process=tuple(self.waiting),
            child_processes=tuple(str(each) for each in child_processes()),
        )

    def note(self, plan: Plan) -> bool:
        """Note a plan of a restart; return whether it is news."""
        assert plan.restart is not None
        before = (tuple(self.waiting), self.why)
        self.waiting = dict.fromkeys(plan.restart.reasons) if plan.restart.waits else {}
        self.why = plan.restart.waits
        return not plan.restart.waits or before != (tuple(self.waiting), self.why)

    def forget(self, reasons: Collection[str]) -> None:
        """Forget reasons that no longer count."""
        self.waiting = {each: None for each in self.waiting if each not in reasons}

    def keep_settings(self, reasons: Collection[str]) -> None:
        """Forget settings that network.yaml has as they run, or has changed again: all but these."""
        settings = tuple(f"{name} " for name in RESTART_SETTINGS.values())
        self.forget([each for each in self.waiting if each.startswith(settings) and each not in reasons])

    async def pack(
        self,
        generations: Iterable[Generation],
        limit: float,
        sources: Mapping[str, Mapping[str, Reading]] = MappingProxyType({}),
        *,
        brought: Mapping[str, str] = MappingProxyType({}),
    ) -> dict[str, Arrival]:
        """Pack what the next image needs of mods. Call it where mods run, with no handler at work.

        `sources`: by mod (id) and module, what it was made from. `brought`: by mod (plain path) the
        folder of packages that it was brought with for this run.
        """
        packed = dict(self.arrivals)
        for each in generations:
            state = await pack_state(each, limit)
            packed[module_of(each.mod_path)] = Arrival(
                mod_path=each.mod_path,
                generation=each.number,
                state=state,
                listed=each.listed,
                came_with=each.came_with,
                config=dict(each.config),
                sources={
                    name: (str(text.path), text.data, text.digest)
                    for name, text in sources.get(each.mod_id, {}).items()
                },
                packages="" if each.listed else brought.get(module_of(each.mod_path), ""),
            )
        return packed

    def former(self, mod_path: str) -> dict[Path, bytes]:
        """Return the sources that a mod ran in the image before, if others are on disk now."""
        arrival = self.arrivals.get(module_of(mod_path))
        found = {} if arrival is None else {Path(path): (data, was) for path, data, was in arrival.sources.values()}
        now = sources_now(found)
        is_other = any(now[path] != was for path, (_, was) in found.items())
        return {path: data for path, (data, _) in found.items()} if is_other else {}

    def sources(self, mod_paths: Iterable[str]) -> dict[Path, bytes]:
        """Return the sources that these mods ran in the image before, of those that have not been loaded since."""
        found = (self.arrivals[path] for each in mod_paths if (path := module_of(each)) in self.arrivals)
        return {Path(path): data for each in found for path, data, _ in each.sources.values()}

    def unlisted(self, enabled: Collection[str]) -> tuple[Arrival, ...]:
        """Return the mods that ran before though no file lists them. Former listed mods that are
        not `enabled` now are forgotten.

        A mod that another one needed comes with that one again.
        """
        listed = {path for path, each in self.arrivals.items() if each.listed}
        for path in listed - {module_of(each) for each in enabled}:
            del self.arrivals[path]
        return tuple(each for each in self.arrivals.values() if not each.listed and not each.came_with)

    async def give_state(self, generation: Generation, limit: float) -> str:
        """Give a mod its state of the image before; return the result, "" if it has none."""
        arrival = self.arrivals.get(module_of(generation.mod_path))
        return "" if arrival is None else await unpack_state(generation, arrival.state, limit)

    def told(self, outcome: Outcome) -> Outcome:
        """Return a load's outcome as people see it: a restart has reloaded a known mod."""
        arrival = self.arrivals.get(module_of(outcome.mod_path))
        if arrival is None or outcome.action is not Action.LOAD:
            return outcome
        if outcome.status is Status.APPLIED:
            del self.arrivals[module_of(outcome.mod_path)]
            self.on_arrival(arrival, outcome)
        return replace(outcome, action=Action.RELOAD, way=Way.RESTART, reason=self.cause or outcome.reason)


async def _no_problem(rehearsed: Collection[str]) -> str | None:
    return None


def arrival_to_dict(arrival: Arrival) -> dict[str, Any]:
    """Return an arrival as plain values: another version of this code may read it."""
    state = {name: getattr(arrival.state, name) for name in ("names", "whole", "parts", "captured", "lost")}
    return {**{name: getattr(arrival, name) for name in _OWN}, "state": state}


def arrival_from_dict(values: Mapping[str, Any]) -> Arrival:
    own = {name: values[name] for name in _OWN if name in values}
    return Arrival(**own, state=PackedState(**values["state"]))


_OWN = ("mod_path", "generation", "listed", "came_with", "config", "sources", "packages")
