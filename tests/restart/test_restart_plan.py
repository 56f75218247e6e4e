"""A restart in place is decided before it is done: by reasons, by policy, and by what would be lost."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from devserver.model.change import RestartAsked, UndoAsked
from devserver.model.config import ModSpec, NetworkConfig
from devserver.model.lifecycle import RestartPolicy, RestartRules, Way
from devserver.model.plan import LiveMod, Plan, StateMove
from devserver.reload.plan import Situation, make_plan
from devserver.reload.plan.situation import Returns

WIKI = LiveMod("wiki", "mods.wiki", 3, "mods.wiki.mod")
NEEDED = RestartAsked("restart needed", (".env changed",))
BY_PERSON = RestartAsked("key R", by_person=True)
MOVES = StateMove(mod_id="wiki", mod_path="mods.wiki", generation=3, moves=("'pages'",))
LOSES = StateMove(mod_id="wiki", mod_path="mods.wiki", generation=3, lost=("key 'lock' (TypeError: no)",))


def decided(trigger: RestartAsked, policy: RestartPolicy = RestartPolicy.AUTO, **values: object) -> Plan:
    """The plan of a trigger in a network with one mod, which this process can restart."""
    config = NetworkConfig("Test", (ModSpec("mods.wiki"),), restart=RestartRules(policy))
    known = {"can_restart": True, "state_moves": (MOVES,), **values}
    return make_plan(trigger, Situation(config, (WIKI,), **known))  # type: ignore[arg-type]


def waits(plan: Plan) -> str:
    """Why a restart is not done."""
    assert plan.restart is not None
    return plan.restart.waits


def test_a_reason_brings_a_restart_that_says_what_moves() -> None:
    """Each mod that runs is a step by the way of a restart, with the reason."""
    plan = decided(NEEDED, child_processes=("process 7 (sleep 9)",))
    assert plan.restart is not None
    assert (plan.restart.reasons, plan.restart.waits) == ((".env changed",), "")
    assert (plan.restart.moves, plan.restart.ends) == ((MOVES,), ("process 7 (sleep 9)",))
    assert [(step.mod_id, step.way, step.reason) for step in plan.steps] == [("wiki", Way.RESTART, ".env changed")]


def test_reasons_that_waited_are_brought_as_well() -> None:
    """Each once, the oldest first."""
    plan = decided(BY_PERSON, stale_in_process=("a", "b"))
    assert plan.restart is not None
    assert plan.restart.reasons == ("a", "b")


def test_who_asks_without_a_reason_is_the_reason() -> None:
    """A person needs none."""
    plan = decided(BY_PERSON)
    assert plan.restart is not None
    assert (plan.restart.reasons, plan.restart.waits) == (("key R",), "")


def test_an_undo_of_a_mod_that_asks_for_restarts_says_what_the_next_one_brings() -> None:
    """A restart loads what is on disk."""
    known = {"undoable": {"wiki": (("wiki",), ("mods.wiki",))}, "returns": {"wiki": Returns(2, (Path("wiki.py"),))}}
    config = NetworkConfig("Test", (ModSpec("mods.wiki"),))
    situation = Situation(config, (replace(WIKI, restarts=True),), **known)  # type: ignore[arg-type]
    [step] = make_plan(UndoAsked(("wiki",)), situation).steps
    assert step.reason == "undone: v2 again, wiki.py on disk differs; the next restart brings that"


def test_state_that_would_be_lost_waits_for_a_person() -> None:
    """The line names mod, key, why, and the key that cures it."""
    said = waits(decided(NEEDED, state_moves=(LOSES,)))
    assert said == "state would be lost (wiki: key 'lock' (TypeError: no)); R or oa-dev restart brings it"
    assert waits(decided(BY_PERSON, state_moves=(LOSES,))) == ""


@pytest.mark.parametrize("policy", [RestartPolicy.ASK, RestartPolicy.NEVER])
def test_a_policy_waits_for_a_person(policy: RestartPolicy) -> None:
    """And says which one it is. The person is always heard."""
    plan = decided(NEEDED, policy)
    assert waits(plan) == f"dev.restart is {policy.value}; R or oa-dev restart brings it"
    assert plan.steps == ()
    assert waits(decided(BY_PERSON, policy)) == ""


@pytest.mark.parametrize("trigger", [NEEDED, BY_PERSON])
def test_what_is_known_to_fail_is_not_tried(trigger: RestartAsked) -> None:
    """A mod that runs and whose saved code cannot be loaded would be gone afterwards, for any caller."""
    said = waits(decided(trigger, would_fail={"wiki": "SyntaxError: no at mods/wiki/mod.py:3"}))
    assert said == "some mods would not load: wiki (SyntaxError: no at mods/wiki/mod.py:3); mend that first"


@pytest.mark.parametrize("trigger", [NEEDED, BY_PERSON])
def test_an_embedded_network_says_what_it_would_have_done(trigger: RestartAsked) -> None:
    """It owns no process that it could replace."""
    assert waits(decided(trigger, can_restart=False)).startswith("an embedded network never restarts its process")


def test_what_keeps_a_new_process_from_coming_up_is_said_as_that() -> None:
    """It is no mod that would not load; known failures come first, once each."""
    problem = "port 8700 is in use"
    assert (
        waits(decided(BY_PERSON, image_problem=problem))
        == f"a new process would not come up: {problem}; mend that first"
    )
    both = decided(BY_PERSON, image_problem=problem, would_fail={"wiki": "SyntaxError"})
    assert waits(both) == "some mods would not load: wiki (SyntaxError); mend that first"
