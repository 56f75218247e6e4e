"""What a plan costs as networks grow. Compared are ratios of work on this machine, never times."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import pytest
from plan_cases import live, saved, situation, yaml

from devserver.model.change import ConfigChanged, ReloadAsked, Trigger
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


PLANS: dict[str, Callable[[int], tuple[Trigger, Situation]]] = {
    "one mod": lambda size: (saved("mods.mod5"), network(size, "mods.mod5")),
    "all, by a helper": lambda size: (saved("mods.lib.helper"), network(size, "mods.lib.helper")),
    "all, asked": lambda size: (ReloadAsked(), network(size, "mods.mod5")),
    "all, turned round": lambda size: (turned_round(size), network(size, "mods.mod5")),
    "all unloaded": lambda size: (ConfigChanged(yaml()), network(size, "mods.mod5")),
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
