"""What a plan costs as networks grow. Compared are ratios of work on this machine, never times."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import pytest
from plan_cases import live, saved, situation, yaml

from devserver.model.change import ConfigChanged, ReloadAsked, TidyAsked, Trigger, UnloadAsked
from devserver.reload.plan import Situation, make_plan

SMALL, LARGE = 100, 1000
QUADRATIC = (LARGE / SMALL) ** 2


def network(size: int, stale: str) -> Situation:
    """So many mods, all of which import one helper."""
    mods = [live(f"mod{n}") for n in range(size)]
    imports = {mod.entry: ["mods.lib.helper"] for mod in mods} | {"mods.lib.helper": []}
    found = situation(mods, imports=imports, stale=[stale])
    # The graph outlives plans, and indexes itself once.
    found.graph.affected(["mods.mod0"])
    return found


def turned_round(size: int) -> Trigger:
    return ConfigChanged(yaml(*(f"mod{n}" for n in reversed(range(size)))))


def cost(plan: Callable[[], object]) -> float:
    """The least time of several that this thread has worked, in seconds: what else the machine does takes no part."""
    times = []
    for _ in range(7):
        began = time.thread_time()
        plan()
        times.append(time.thread_time() - began)
    return min(times)


def needing(size: int) -> dict[str, tuple[tuple[str, ...], str]]:
    """What so many mods declare, each of which needs the next five."""
    return {
        f"mod{n}": (tuple(f"mods.mod{n + step}>=1" for step in range(1, 6) if n + step < size), "1")
        for n in range(size)
    }


def needed(size: int) -> Situation:
    """So many mods that run, with needs, one of which was saved."""
    said = needing(size)
    mods = [live(name, requires=requires, version=version) for name, (requires, version) in said.items()]
    found = situation(mods, stale=["mods.mod5"], declared={"mod5": said["mod5"]})
    found.graph.affected(["mods.mod0"])
    return found


PLANS: dict[str, Callable[[int], tuple[Trigger, Situation]]] = {
    "one mod": lambda size: (saved("mods.mod5"), network(size, "mods.mod5")),
    "all, by a helper": lambda size: (saved("mods.lib.helper"), network(size, "mods.lib.helper")),
    "all, asked": lambda size: (ReloadAsked(), network(size, "mods.mod5")),
    "all, turned round": lambda size: (turned_round(size), network(size, "mods.mod5")),
    "all unloaded": lambda size: (ConfigChanged(yaml()), network(size, "mods.mod5")),
    "all come along": lambda size: (ConfigChanged(yaml("mod0")), situation((), yaml(), declared=needing(size))),
    "all that need one": lambda size: (UnloadAsked(f"mod{size - 1}", cascade=True), needed(size)),
    "what is no longer needed": lambda size: (TidyAsked(), needed(size)),
    "all loaded": lambda size: (ConfigChanged(yaml(*(f"mod{n}" for n in range(size)))), situation((), yaml())),
}


@pytest.mark.parametrize("name", PLANS)
def test_the_cost_of_a_plan_grows_no_faster_than_the_network(name: str) -> None:
    """Ten times as many mods do not cost a hundred times as much, whatever the trigger concerns."""
    small, large = (PLANS[name](size) for size in (SMALL, LARGE))
    # A situation is new each time, as in a running network.
    ratio = cost(lambda: make_plan(large[0], replace(large[1]))) / cost(lambda: make_plan(small[0], replace(small[1])))
    assert ratio < QUADRATIC / 2


def test_a_change_of_one_mod_costs_little_of_what_a_change_of_all_costs() -> None:
    """In a network of a thousand mods, a plan for one is cheaper by far than a plan for all."""
    (one, few), (every, many) = PLANS["one mod"](LARGE), PLANS["all, by a helper"](LARGE)
    assert cost(lambda: make_plan(one, replace(few))) < cost(lambda: make_plan(every, replace(many))) / 10


def test_needs_of_a_thousand_mods_are_planned_within_the_time_of_a_start() -> None:
    """5,000 needs, and a chain of 200: 50 ms each where nothing else runs, ten times that on a machine that is busy."""
    deep = {f"mod{n}": ((f"mods.mod{n + 1}>=1",) if n < 199 else (), "1") for n in range(200)}
    for said, steps in ((deep, 200), (needing(LARGE), LARGE)):
        found = situation((), yaml(), declared=said)
        trigger = ConfigChanged(yaml("mod0"))
        assert len(make_plan(trigger, replace(found)).steps) == steps
        assert cost(lambda trigger=trigger, found=found: make_plan(trigger, replace(found))) < 0.5


def test_a_save_among_mods_with_needs_costs_what_its_own_needs_cost() -> None:
    """In a network of a thousand mods as in one of a hundred, but for what is counted once for each mod."""
    small, large = needed(SMALL), needed(LARGE)
    trigger = saved("mods.mod5")
    ratio = cost(lambda: make_plan(trigger, replace(large))) / cost(lambda: make_plan(trigger, replace(small)))
    assert ratio < LARGE / SMALL
