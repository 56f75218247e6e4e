"""The table of phases: what the fold runs and what the architecture page shows are one."""

from __future__ import annotations

from pathlib import Path

import pytest
from workspaces import Workspace, mod_text, served

import devserver
from devserver.model.change import LoadAsked
from devserver.model.lifecycle import PHASE_TABLE, Action, Phase, Thread
from devserver.reload import apply
from devserver.reload.apply import Transaction

PAGE = Path(devserver.__file__).with_name("README.md")


def test_the_table_has_every_phase_once_in_its_order() -> None:
    """And the code of each."""
    assert [rule.phase for rule in PHASE_TABLE] == list(Phase) == list(apply._PHASES)


def test_traffic_is_held_from_the_gate_to_the_opening() -> None:
    """In one piece: the gate is not opened in between."""
    held = [rule.phase for rule in PHASE_TABLE if rule.holds_traffic]
    phases = list(Phase)
    assert held == phases[phases.index(Phase.GATE) : phases.index(Phase.OPEN)]


def test_the_architecture_page_shows_the_table() -> None:
    """Row by row."""
    shown = [line for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    rows = [[cell.strip(" *") for cell in line.strip("|").split("|")] for line in shown]
    assert [row for row in rows if row[0] in set(Phase)] == [
        [rule.phase, rule.what, rule.thread, "held" if rule.holds_traffic else "flows", rule.undone_by]
        for rule in PHASE_TABLE
    ]


async def test_each_phase_runs_on_the_thread_of_its_row(work: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a mod's code sees while it is imported, constructed and initialised."""
    names = "import threading\nBUILD = threading.current_thread().name\n"
    body = """
        def __init__(self):
            super().__init__()
            self.made = threading.current_thread().name

        def initialize(self):
            self.began = threading.current_thread().name
    """
    work.mod("ant", body, names)
    await work.start("mods.ant", home="thread")
    ant = work.instance("ant")
    threads = {Thread.BUILD: "oa-dev build", Thread.MODS: ant.began}
    at = {rule.phase: threads[rule.thread] for rule in PHASE_TABLE}
    build = type(ant).__init__.__globals__["BUILD"]
    assert (build, ant.made, ant.began) == (at[Phase.IMPORT], at[Phase.CONSTRUCT], at[Phase.INITIALIZE])


async def test_a_fold_that_ends_before_the_gate_has_started_nothing(work: Workspace) -> None:
    """A check of a mod is its load without the rest."""
    work.mod("ant", served("ant", 1))
    work.write("mods/bee.py", mod_text("Bee", "began = []\ndef initialize(self):\n    self.began.append(1)\n"))
    await work.start("mods.ant")
    engine = work.net.engine
    plan = engine.plan(LoadAsked("mods.bee"))
    carried = await Transaction(engine, plan.groups[0], plan).run(before=Phase.GATE)
    new = carried.candidates[0].new
    assert carried.failure is None and carried.phase is Phase.CONSTRUCT
    assert new is not None and new.instance.began == []
    assert work.running() == {"ant": 1}


TAKES = """
def update_config(self, config):
    self.state.setdefault("offered", []).append(dict(config))
    return config["size"] != 2
"""


async def test_what_a_refused_configuration_leads_to_is_in_the_plan(work: Workspace) -> None:
    """The instance that runs is asked last of all, and people have seen what comes if it refuses."""
    work.mod("ant", served("ant", 1) + TAKES)
    await work.start({"name": "mods.ant", "config": {"size": 0}})
    done = await work.save_yaml({"name": "mods.ant", "config": {"size": 1}})
    assert [(each.action, each.phase) for each in done.outcomes] == [(Action.RECONFIGURE, Phase.COMMIT)]
    done = await work.save_yaml({"name": "mods.ant", "config": {"size": 2}})
    (step,) = done.plan.steps
    assert step.otherwise is not None and step.otherwise.action is Action.RELOAD
    assert [each.action for each in done.outcomes] == [Action.RELOAD]
    assert work.running() == {"ant": 2}
    assert work.instance("ant").config == {"size": 2}
