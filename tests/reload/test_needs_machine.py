"""Random graphs of needs: whatever is saved, listed, loaded and unloaded, what runs has what it needs, and no more."""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from workspaces import Workspace, without_mods

from devserver.market.requirements import parse_requirement
from devserver.model.change import ConfigChanged, FilesChanged, LoadAsked, ReloadAsked, TidyAsked, UnloadAsked
from devserver.model.facts import PlanMade
from devserver.model.lifecycle import Action
from devserver.model.names import module_of

NAMES = tuple(f"m{number}" for number in range(8))
RANGES = ("", ">=1", ">=2", "<2")

names = st.sampled_from(NAMES)
needs = st.lists(st.builds("mods.{}{}".format, names, st.sampled_from(RANGES)), max_size=2, unique=True)


@dataclass
class Saved:
    """What is written of one mod."""

    name: str
    version: str = "1"
    requires: list[str] = field(default_factory=list)
    optional: list[str] = field(default_factory=list)
    broken: bool = False

    def write(self, work: Workspace) -> Path:
        says = f"version = {self.version!r}\nrequires = {self.requires!r}\noptional = {self.optional!r}\n"
        return work.mod(self.name, says, "raise ValueError('broken')\n" if self.broken else "")


saved = st.builds(
    Saved,
    names,
    st.sampled_from(["1", "1.5", "2"]),
    needs,
    needs,
    st.sampled_from([False, False, False, True]),
)
listing = st.lists(st.tuples(names, st.sampled_from([True, True, False])), max_size=4, unique_by=lambda each: each[0])
steps = st.one_of(
    saved,
    st.tuples(st.just("list"), listing),
    st.tuples(st.just("load"), names),
    st.tuples(st.sampled_from(["unload", "cascade", "force"]), names),
    st.tuples(st.just("reload"), st.just("")),
)


class World:
    """A network, and which mods were forced out while others needed them."""

    def __init__(self, work: Workspace) -> None:
        self.work = work
        self.forced: set[str] = set()

    async def step(self, step: object) -> None:
        work, net = self.work, self.work.net
        match step:
            case Saved():
                await work.saved(step.write(work))
            case ("list", entries):
                await work.save_yaml(*({"name": f"mods.{name}", "enabled": on} for name, on in entries))
            case ("load", name):
                await net.submit(LoadAsked(f"mods.{name}"))
            case ("reload", _):
                await net.submit(ReloadAsked())
            case (how, name):
                self.forced |= {name} if how == "force" else set()
                await net.submit(UnloadAsked(name, how == "force", cascade=how == "cascade"))

    def check(self) -> None:
        live = {module_of(each.mod_path): each for each in self.work.net.engine.registry.live}
        self.forced -= {each.mod_id for each in live.values()}
        for each in live.values():
            for needed in map(parse_requirement, each.instance.requires):
                found = live.get(needed.path)
                is_forced = needed.path.rpartition(".")[2] in self.forced
                assert is_forced or (found is not None and needed.allows(found.instance.version)), (each.mod_id, needed)
        self._check_automatic(live)
        self._check_order()
        # What a plan has done is not planned again.
        net = self.work.net
        assert net.plan(TidyAsked()).empty
        assert net.plan(FilesChanged({})).empty
        again = net.plan(ConfigChanged(net.config))
        assert not {step.mod_path for step in again.steps} & {each.mod_path for each in live.values()}

    @staticmethod
    def _check_automatic(live: dict) -> None:
        wanted = [each for each in live.values() if not each.came_with]
        for each in wanted:
            paths = [parse_requirement(text).path for text in each.instance.requires]
            wanted += [live[path] for path in paths if path in live and live[path] not in wanted]
        assert {each.mod_id for each in live.values()} == {each.mod_id for each in wanted}

    def _check_order(self) -> None:
        """Each load comes after those of the same plan that it needs."""
        loads = [
            s.mod_path for each in self.work.told(PlanMade)[-1:] for s in each.plan.steps if s.action is Action.LOAD
        ]
        live = {each.mod_path: each for each in self.work.net.engine.registry.live}
        for number, path in enumerate(loads):
            texts = live[path].instance.requires if path in live else ()
            later = set(loads[number + 1 :])
            assert later.isdisjoint(parse_requirement(text).path for text in texts)


async def play(folder: Path, first: list[Saved], then: list[object]) -> None:
    work = Workspace(folder)
    for each in first:
        each.write(work)
    await work.start(*(f"mods.{each.name}" for each in first[:2]))
    try:
        world = World(work)
        world.check()
        for step in then:
            await world.step(step)
            world.check()
    finally:
        await work.end()


@pytest.mark.slow
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(saved, max_size=8, unique_by=lambda each: each.name), st.lists(steps, min_size=3, max_size=14))
def test_what_runs_has_what_it_needs_and_nothing_runs_for_nothing(first: list[Saved], then: list[object]) -> None:
    """Unless a person has forced it."""
    with tempfile.TemporaryDirectory() as folder, without_mods():
        asyncio.run(play(Path(folder), first, then))
