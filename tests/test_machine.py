"""Any sequence of loads, unloads, good and bad saves, and edits of network.yaml: what runs follows from the disk.

After every step it is compared with a small model: which files are good, which mods run, since when, with how much
state. Hypothesis looks for a sequence that breaks it, and prints the shortest.
"""

from __future__ import annotations

import asyncio
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from workspaces import Workspace, served, without_mods

from devserver.model.change import FilesChanged, ReloadAsked
from devserver.model.facts import PlanDone, Status
from devserver.model.lifecycle import Action

MODS = ("aa", "bb", "cc")
SHARING = ("aa", "bb")
"""The mods that import the helper."""

BAD_MOD = {
    "syntax": "def broken(:",
    "import": "import mods.lost_{n}",
    "name": "x = undefined_{n}",
    "refuses": "def initialize(self):\n    return False  # {n}",
    "raises": "async def initialize(self):\n    self.state['spoilt'] = {n}\n    raise OSError({n})",
    "exits": "def initialize(self):\n    raise SystemExit({n})",
}
BAD_HELPER = {"syntax": "HELPER = (", "name": "HELPER = undefined", "missing": "OTHER = {n}"}

MOD = st.sampled_from(MODS)


@dataclass
class File:
    """A source on disk."""

    version: int
    good: bool


@dataclass
class Running:
    """A mod that runs, as it should."""

    generation: int
    version: int
    helper: int | None
    asked: int = 0
    instance: Any = None


class Machine(RuleBasedStateMachine):
    """The network, and the model of it."""

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        folder = self.stack.enter_context(tempfile.TemporaryDirectory())
        self.stack.enter_context(without_mods())
        self.runner = self.stack.enter_context(asyncio.Runner())
        self.work = Workspace(Path(folder))
        self.saves = 0
        self.files: dict[str, File] = {}
        self.live: dict[str, Running] = {}
        self.numbers = dict.fromkeys(MODS, 0)
        self.listed: list[str] = []
        self.by_hand: set[str] = set()
        """Listed mods that someone has unloaded since network.yaml was last saved."""
        self.behind: set[str] = set()
        """Mods that run and whose last reload failed, or that were loaded when the helper had failed before."""
        for name in (*MODS, "helper"):
            self._write(name, None)
        self.runner.run(self.work.start())

    def teardown(self) -> None:
        self.runner.run(self.work.end())
        left = self.work.modules()
        self.stack.close()
        assert left == []

    # What happens

    @rule(mod=MOD)
    def load(self, mod: str) -> None:
        """Someone loads a mod by hand."""
        expected = mod not in self.live and self._loads(mod)
        answer = self.runner.run(self.work.net.load_mod(f"mods.{mod}"))
        assert answer.success is expected, answer
        self.by_hand.discard(mod)
        if answer.success:
            self._came(mod)
        self._follow_later()

    @rule(mod=MOD)
    def unload(self, mod: str) -> None:
        """Someone unloads a mod by hand."""
        answer = self.runner.run(self.work.net.unload_mod(mod))
        assert answer.success is (mod in self.live), answer
        self._went(mod)
        self.by_hand.add(mod)
        self._follow_later()

    @rule(mod=MOD)
    def reload(self, mod: str) -> None:
        """Someone reloads a mod by hand."""
        expected = self._good(mod) if mod in self.live else mod in self.listed and self._loads(mod)
        done = self.runner.run(self.work.net.submit(ReloadAsked((mod,))))
        if not (mod in self.live and self._stale_helper(mod)):
            assert (done.outcomes[0].status is Status.APPLIED) is expected, done.outcomes
        self.by_hand.discard(mod)
        self._follow(done)

    @rule(mod=MOD)
    def save_good(self, mod: str) -> None:
        """A mod is saved, and works."""
        self._follow(self._saved(mod, None))

    @rule(mod=MOD, fault=st.sampled_from(sorted(BAD_MOD)))
    def save_bad(self, mod: str, fault: str) -> None:
        """A mod is saved, and does not work."""
        self._follow(self._saved(mod, BAD_MOD[fault]))

    @rule()
    def save_helper(self) -> None:
        """The shared helper is saved, and works."""
        self._follow(self._saved("helper", None))

    @rule(fault=st.sampled_from(sorted(BAD_HELPER)))
    def save_bad_helper(self, fault: str) -> None:
        """The shared helper is saved, and does not work."""
        self._follow(self._saved("helper", BAD_HELPER[fault]))

    @rule(mods=st.lists(MOD, unique=True))
    def save_yaml(self, mods: list[str]) -> None:
        """network.yaml lists these mods, in this order."""
        done = self.runner.run(self.work.save_yaml(*(f"mods.{mod}" for mod in mods)))
        self.listed = mods
        self.by_hand.clear()
        for outcome in done.outcomes:
            if outcome.action is Action.UNLOAD:
                assert outcome.status is Status.APPLIED
                self._went(outcome.mod_id)
        self._follow(done)

    @precondition(lambda self: self.live)
    @rule(data=st.data())
    def send(self, data: st.DataObject) -> None:
        """An agent asks a mod: it answers with its own code, and counts on."""
        mod = data.draw(st.sampled_from(sorted(self.live)))
        self._ask(mod)

    # What is so

    @invariant()
    def the_reported_mods_are_the_expected(self) -> None:
        """The right mods run under the right generations, and no gate is left shut."""
        running = self.work.running()
        assert running == {mod: each.generation for mod, each in self.live.items()}
        self.work.assert_open()

    @invariant()
    def what_is_not_replaced_is_the_same_object(self) -> None:
        """One instance for each mod, which only a new generation replaces."""
        for mod, each in self.live.items():
            assert self.work.instance(mod) is each.instance

    @invariant()
    def what_is_on_disk_is_what_runs(self) -> None:
        """Every mod serves its sources as they are, but for one that could not be reloaded; what is listed runs."""
        for mod, each in self.live.items():
            if mod not in self.behind:
                assert (each.version, each.helper) == self._on_disk(mod)
        for mod in self.listed:
            assert mod in self.live or not self._loads(mod) or mod in self.by_hand

    @invariant()
    def mods_are_asked_in_the_order_of_network_yaml(self) -> None:
        """Those that it lists, loaded by anyone."""
        order = [mod for mod in self.work.running() if mod in self.listed]
        assert order == [mod for mod in self.listed if mod in self.live]

    @invariant()
    def every_mod_answers_with_the_expected_code_and_state(self) -> None:
        """Asked, each says its version and how often it was asked; one that does not run says nothing."""
        for mod in MODS:
            if mod in self.live:
                self._ask(mod)
            else:
                assert self.runner.run(self.work.version(mod)) is None

    # The model

    def _ask(self, mod: str) -> None:
        expected = self.live[mod]
        expected.asked += 1
        data = self.runner.run(self.work.ask(f"{mod}.version.get")).data
        assert data == {"version": [expected.version, expected.helper], "asked": expected.asked}

    def _follow(self, done: PlanDone) -> None:
        """What a plan came to, and what it has led to."""
        self._follow_one(done)
        self._follow_later(done)

    def _follow_later(self, done: PlanDone | None = None) -> None:
        """What has come of attempts that are made again because of what was done: no one waits for these."""
        # Who asks after them is answered after them.
        self.runner.run(self.work.net.submit(FilesChanged({})))
        told, self.work.facts[:] = list(self.work.facts), []
        for fact in told:
            if isinstance(fact, PlanDone) and (done is None or fact.plan is not done.plan) and fact.plan.changed:
                self._follow_one(fact)

    def _follow_one(self, done: PlanDone) -> None:
        """Each step that was applied must be one of good sources, each other one of bad ones."""
        for outcome in done.outcomes:
            mod, applied = outcome.mod_id, outcome.status is Status.APPLIED
            match outcome.action:
                case Action.LOAD:
                    assert applied is self._loads(mod), outcome
                    if applied:
                        self._came(mod)
                case Action.RELOAD if applied:
                    assert self._good(mod), outcome
                    self._replaced(mod)
                case Action.RELOAD if mod in self.live:
                    assert not self._good_together(mod), outcome
                    assert outcome.generation == self.live[mod].generation
                    self.behind.add(mod)

    def _came(self, mod: str) -> None:
        loaded = next((self.live[each].helper for each in SHARING if each in self.live), None)
        version, helper = self._on_disk(mod)
        if mod in SHARING and loaded not in (None, helper):
            # A load takes the modules that run: others were made from them.
            helper = loaded
            self.behind.add(mod)
        self._runs(mod, version, helper)

    def _replaced(self, mod: str) -> None:
        before = self.live[mod]
        self.behind.discard(mod)
        self._runs(mod, *self._on_disk(mod), before.asked)
        assert self.live[mod].instance is not before.instance

    def _runs(self, mod: str, version: int, helper: int | None, asked: int = 0) -> None:
        self.numbers[mod] += 1
        self.live[mod] = Running(self.numbers[mod], version, helper, asked, self.work.instance(mod))

    def _went(self, mod: str) -> None:
        self.live.pop(mod, None)
        self.behind.discard(mod)

    # What is on disk

    def _on_disk(self, mod: str) -> tuple[int, int | None]:
        return self.files[mod].version, self.files["helper"].version if mod in SHARING else None

    def _good(self, mod: str) -> bool:
        return self.files[mod].good and (mod not in SHARING or self.files["helper"].good)

    def _loads(self, mod: str) -> bool:
        """Whether a mod that does not run can be loaded: from its source, and from the helper that runs or is there."""
        return self.files[mod].good if any(each in self.live for each in SHARING) else self._good(mod)

    def _good_together(self, mod: str) -> bool:
        """Whether a mod and all that may be reloaded with it are good."""
        together = [each for each in SHARING if each in self.live] if mod in SHARING else []
        return all(self._good(each) for each in (mod, *together))

    def _stale_helper(self, mod: str) -> bool:
        return mod in SHARING and self.live[mod].helper != self.files["helper"].version

    def _saved(self, name: str, fault: str | None) -> PlanDone:
        file = self._write(name, fault)
        return self.runner.run(self.work.saved(file))

    def _write(self, name: str, fault: str | None) -> Path:
        self.saves += 1
        self.files[name] = File(self.saves, fault is None)
        wrong = "" if fault is None else fault.format(n=self.saves)
        if name == "helper":
            return self.work.write("mods/helper.py", wrong or f"HELPER = {self.saves}\n")
        helper, head = ("HELPER", "from mods.helper import HELPER\n") if name in SHARING else ("None", "")
        body = served(name, "?").replace("'?'", f"[{self.saves}, {helper}]")
        return self.work.mod(name, f"{body}\n{wrong}\n", head)


def run(examples: int, steps: int) -> None:
    """Look for a sequence that breaks the network."""
    Machine.TestCase.settings = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    Machine.TestCase("runTest").runTest()


def test_what_runs_follows_from_what_is_on_disk() -> None:
    """A few short sequences."""
    run(10, 25)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_what_runs_follows_from_what_is_on_disk_for_long() -> None:
    """Many long sequences."""
    run(200, 50)
