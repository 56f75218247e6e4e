"""A group of reloads that fails in a phase: all of it is rolled back, and what ran runs on as if nothing had happened.

Two mods share a module and are saved together; the fault is in the second, or in the only one. For each way to hand
over, and each phase in which a mod can fail.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from textwrap import dedent
from typing import Any

import pytest
from workspaces import Workspace, mod_text, served

from devserver.model.facts import PlanDone, Status
from devserver.model.lifecycle import Phase

Names = tuple[str, ...]
ALONE: Names = ("aa",)
BOTH: Names = ("aa", "bb")

LOCKS = "held = sys.modules['locks'].held"

HEAD = f"import sys\nfrom mods.shared import VERSION\n{LOCKS}\n"

BODY = """
    reload_mode = {mode!r}

    def initialize(self):
        assert self.reload_mode != "exclusive" or self.mod_name not in held, "the lock is held"
        held.append(self.mod_name)
        self.register_event_handler(self.by_hand, "{name}.hand.get")

    def shutdown(self):
        held.remove(self.mod_name)

    def by_hand(self, event):
        return {{"version": VERSION}}
"""


@dataclass(frozen=True)
class Fault:
    """What is wrong with the new source of a mod: where it shows, and what is said. `{name}` is the mod's."""

    phase: Phase
    said: str
    more: str = ""
    head: str = ""
    modes: tuple[str, ...] = ("fresh", "exclusive", "rebind")
    old: str = ""
    """What the generation before has too."""


CAPTURE = "def capture_state(self):\n    return dict(self.state)\n"
OWN = ("fresh", "exclusive")

FAULTS = {
    "compile": Fault(Phase.COMPILE, "SyntaxError: ", "def broken(:\n    pass"),
    "import": Fault(Phase.IMPORT, "KeyError: 'lost' at mods/{name}.py:", head="{}['lost']\n"),
    "import missing": Fault(Phase.IMPORT, "No module named 'mods.lost'", head="import mods.lost\n"),
    "class": Fault(Phase.CONSTRUCT, "reload_mode is 'warm'", "reload_mode = 'warm'"),
    "constructor": Fault(
        Phase.CONSTRUCT, "at mods/{name}.py:", "def __init__(self):\n    raise OSError('no')", modes=OWN
    ),
    "capture": Fault(
        Phase.HAND_OVER,
        "OSError: no at mods/{name}.py:",
        "def restore_state(self, state):\n    pass",
        modes=OWN,
        old="def capture_state(self):\n    raise OSError('no')\n",
    ),
    "restore": Fault(
        Phase.HAND_OVER,
        "OSError: no at mods/{name}.py:",
        "def restore_state(self, state):\n    raise OSError('no')\n",
        modes=OWN,
        old=CAPTURE,
    ),
    "restore refuses": Fault(
        Phase.HAND_OVER,
        "restore_state() returned False",
        "def restore_state(self, state): return False",
        modes=OWN,
        old=CAPTURE,
    ),
    "layout": Fault(
        Phase.HAND_OVER, "the instance cannot take its new class", "__slots__ = ('extra',)", modes=("rebind",)
    ),
    "initialize": Fault(
        Phase.INITIALIZE,
        "OSError: no at mods/{name}.py:",
        "def initialize(self):\n    held.append(self.mod_name)\n    raise OSError('no')",
        modes=OWN,
    ),
    "initialize refuses": Fault(
        Phase.INITIALIZE,
        "{name}: initialize() returned False",
        "async def initialize(self):\n    held.append(self.mod_name)\n    return False",
        modes=OWN,
    ),
    "initialize spoils the state": Fault(
        Phase.INITIALIZE,
        "OSError: no",
        "def initialize(self):\n    held.append(self.mod_name)\n    self.state.clear()\n    raise OSError('no')",
        modes=OWN,
    ),
}
CASES = [(fault, mode) for fault, each in FAULTS.items() for mode in each.modes]


@pytest.fixture
def held() -> Iterator[list[str]]:
    """The mods that hold what only one of them at a time can hold, as a port."""
    locks: Any = type(sys)("locks")
    locks.held = []
    sys.modules["locks"] = locks
    yield locks.held
    del sys.modules["locks"]


def source(name: str, mode: str, more: str = "", head: str = "") -> str:
    """A mod that serves the version of the shared module."""
    version = served(name, "?").replace("'?'", "VERSION")
    body = dedent(BODY.format(mode=mode, name=name)) + version + dedent(more)
    return mod_text(name.title(), body, HEAD + head)


async def started(work: Workspace, names: Names, mode: str, old: str = "") -> None:
    """These mods run, and each has answered once."""
    work.write("mods/shared.py", "VERSION = 1\n")
    for name in names:
        work.write(f"mods/{name}.py", source(name, mode, old))
    await work.start(*(f"mods.{name}" for name in names))
    assert tuple(work.running()) == names, [str(each.error) for each in work.outcomes()]
    for name in names:
        assert (await work.ask(f"{name}.version.get")).data == {"version": 1, "asked": 1}


async def save(work: Workspace, names: Names, mode: str, more: str = "", head: str = "") -> PlanDone:
    """Save the shared module and the mods; what is new is in the last of them."""
    files = [work.write("mods/shared.py", f"VERSION = 2{' ' * len(more)}\n")]
    for name in names:
        last = name == names[-1]
        files.append(work.write(f"mods/{name}.py", source(name, mode, more if last else "", head if last else "")))
    return await work.saved(*files)


def modules() -> dict[str, object]:
    """The modules of the mods, and what their packages call by their names."""
    found: dict[str, object] = {name: each for name, each in sys.modules.items() if name.partition(".")[0] == "mods"}
    return found | {f"attribute {name}": getattr(sys.modules["mods"], name) for name in ("shared", "aa")}


@pytest.mark.parametrize("names", [ALONE, BOTH], ids=["alone", "both"])
@pytest.mark.parametrize(("fault", "mode"), CASES)
async def test_a_failed_reload_changes_nothing(
    work: Workspace, held: list[str], fault: str, mode: str, names: Names
) -> None:
    """The same instances serve with their state and modules, gates are open, the error names mod, phase and place."""
    wrong = FAULTS[fault]
    await started(work, names, mode, wrong.old)
    before, instances = modules(), {name: work.instance(name) for name in names}
    classes = {name: type(each) for name, each in instances.items()}

    done = await save(work, names, mode, wrong.more, wrong.head)

    assert [(each.mod_id, each.status, each.generation) for each in done.outcomes] == [
        (name, Status.ROLLED_BACK, 1) for name in names
    ]
    assert {each.phase for each in done.outcomes} == {wrong.phase}
    assert all(wrong.said.format(name=names[-1]) in str(each.error) for each in done.outcomes)
    assert [each.note for each in done.outcomes] == ["rolled back because bb failed", ""][-len(names) :]
    assert modules() == before
    assert {name: work.instance(name) for name in names} == instances
    assert {name: type(work.instance(name)) for name in names} == classes
    assert sorted(held) == [f"mods.{name}" for name in names]
    work.assert_open()
    for name in names:
        assert (await work.ask(f"{name}.version.get")).data == {"version": 1, "asked": 2}
        assert (await work.ask(f"{name}.hand.get")).data == {"version": 1}

    # What is wrong with the old generation's own hooks its next one cannot mend.
    if fault != "capture":
        done = await save(work, names, mode)
        assert [(each.mod_id, each.status, each.generation) for each in done.outcomes] == [
            (name, Status.APPLIED, 2) for name in names
        ]
        for name in names:
            assert (await work.ask(f"{name}.version.get")).data == {"version": 2, "asked": 3}
            assert (await work.ask(f"{name}.hand.get")).data == {"version": 2}


@pytest.mark.parametrize("mode", ["fresh", "exclusive", "rebind"])
async def test_a_reload_keeps_the_state_and_replaces_the_code(work: Workspace, held: list[str], mode: str) -> None:
    """The next generation goes on counting; a rebind keeps the instance, the other ways make a new one."""
    await started(work, BOTH, mode)
    instance, state = work.instance("aa"), work.instance("aa").state
    done = await save(work, BOTH, mode)
    assert [each.status for each in done.outcomes] == [Status.APPLIED] * 2
    assert (work.instance("aa") is instance) is (mode == "rebind")
    assert work.instance("aa").state is state
    assert type(work.instance("aa")) is sys.modules["mods.aa"].AaMod
    assert (await work.ask("aa.version.get")).data == {"version": 2, "asked": 2}


async def test_a_failed_exclusive_reload_that_cannot_be_undone_says_both(work: Workspace, held: list[str]) -> None:
    """Where the old generation does not start again either, nothing is hidden: both errors are told."""
    old = """
        def initialize(self):
            if self.state.get("asked"):
                raise OSError("the door is stuck")
            held.append(self.mod_name)
            self.register_event_handler(self.by_hand, "aa.hand.get")
    """
    await started(work, ALONE, "exclusive", old)
    done = await save(work, ALONE, "exclusive", "def initialize(self):\n    held.append(1)\n    raise OSError('no')")
    (outcome,) = done.outcomes
    assert "OSError: no" in str(outcome.error)
    assert "the door is stuck" in outcome.note
    work.assert_open()
