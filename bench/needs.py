"""What a plan costs where mods need mods: chains, many needs, and one save among them. Pure: nothing is loaded."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from bench.harness import Options, Result, Table, at_most, median
from devserver.model.change import ConfigChanged, FilesChanged, TidyAsked, Trigger
from devserver.model.config import ModSpec, NetworkConfig
from devserver.model.declared import Declarations
from devserver.model.plan import LiveMod
from devserver.reload.plan import Situation, make_plan
from devserver.sources.graph import ModuleFacts, ModuleGraph

_DEEP, _SMALL, _LARGE, _EACH = 200, 100, 1000, 5
_AT_MOST, _SAVE_AT_MOST = 50.0, 5.0

Needs = dict[str, Declarations]


def measure(options: Options) -> Result:
    """The table."""
    rounds = options.count(30, 3)
    start = ConfigChanged(_listing("mods.mod0"))
    deep, wide = _unloaded(_needing(_DEEP, 1)), _unloaded(_needing(_LARGE, _EACH))
    costs = {
        f"a chain of {_DEEP} comes along": _cost(start, deep, rounds),
        f"{_LARGE:,} mods with {_LARGE * _EACH:,} needs come along": _cost(start, wide, rounds),
        f"one of {_SMALL} mods is saved": _cost(_saved(), _running(_SMALL), rounds),
        f"one of {_LARGE:,} mods is saved": _cost(_saved(), _running(_LARGE), rounds),
        f"what is no longer needed of {_LARGE:,}": _cost(TidyAsked(), _running(_LARGE), rounds),
    }
    first, second, _, save, _ = costs.values()
    rows = tuple((what, f"{cost:.2f}") for what, cost in costs.items())
    notes = (
        f"Each mod but the last needs the next ones ({_EACH}, in the chain 1). Medians of {rounds} plans, in time that"
        " the thread worked: a plan waits for nothing.",
    )
    targets = (
        at_most("plan of a chain of 200 needs", first, _AT_MOST, "ms"),
        at_most("plan of 1,000 mods with 5,000 needs", second, _AT_MOST, "ms"),
        at_most("plan of one save among them", save, _SAVE_AT_MOST, "ms"),
    )
    return Result((Table("Needs: what a plan costs", ("plan", "ms"), rows, notes),), targets)


def _listing(*paths: str) -> NetworkConfig:
    return NetworkConfig("Bench", tuple(ModSpec(each) for each in paths))


def _needing(mods: int, each: int) -> Needs:
    """What so many mods declare, each of which needs the next ones."""
    return {
        f"mods.mod{n}": Declarations(
            tuple(f"mods.mod{n + step}>=1" for step in range(1, each + 1) if n + step < mods), "1"
        )
        for n in range(mods)
    }


def _unloaded(said: Needs) -> Situation:
    return Situation(_listing(), declared=said)


def _running(mods: int) -> Situation:
    """So many mods that run; one of them was saved, and declares what it did."""
    said = _needing(mods, _EACH)
    live = tuple(
        LiveMod(path.rpartition(".")[2], path, 1, path, requires=each.requires, version="1")
        for path, each in said.items()
    )
    graph = ModuleGraph({path: ModuleFacts(path, Path(f"{path}.py")) for path in said})
    graph.affected(["mods.mod0"])
    file = Path("mods.mod5.py")
    declared = {"mods.mod5": said["mods.mod5"]}
    return Situation(_listing(*said), live, graph, {"mods.mod5": file}, declared=declared)


def _saved() -> Trigger:
    return FilesChanged({Path("mods.mod5.py"): "new"})


def _cost(trigger: Trigger, situation: Situation, rounds: int) -> float:
    """The median time of a plan in milliseconds; each has a situation of its own, as in a running network."""
    return median([_timed(lambda: make_plan(trigger, replace(situation))) for _ in range(rounds)])


def _timed(work: Callable[[], object]) -> float:
    began = time.thread_time()
    work()
    return (time.thread_time() - began) * 1000
