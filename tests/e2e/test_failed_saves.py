"""A save that fails changes nothing: the very same instance keeps answering, and people are told where and why."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from rig.agents import Crowd, under_load
from rig.ledger import NOTHING
from rig.mods import KEEPER
from rig.running import Running
from rig.workspace import Workspace

FILE = "mods/keeper/mod.py"

Break = Callable[[str], str]


def _in_initialize(line: str) -> Break:
    return lambda source: source.replace("        self.count = 0\n", f"        {line}\n")


BREAKS: dict[str, tuple[Break, str, str, str]] = {
    "syntax error": (lambda source: source + "\ndef broken(:\n", "compile", "SyntaxError", "def broken(:"),
    "exception at import": (lambda source: source + '\n{}["at import"]\n', "import", "KeyError", '{}["at import"]'),
    "missing class": (lambda source: source.replace("(BaseMod)", ""), "construct", "NoModClass", '"""Counts'),
    "initialize() raises": (_in_initialize('{}["at start"]'), "initialize", "KeyError", '{}["at start"]'),
    "initialize() returns False": (_in_initialize("return False"), "initialize", "HookFailed", "def initialize"),
}
"""By name: how a save breaks the mod, then the phase, the kind of error and what stands at the place that is named."""


@pytest.fixture
def keeper(workspace: Workspace) -> Workspace:
    """A workspace with a mod that counts; asked for before `server` starts."""
    workspace.add_mod("keeper", KEEPER)
    return workspace


@pytest.mark.parametrize("name", BREAKS)
async def test_a_failed_save_leaves_the_same_instance_serving(
    keeper: Workspace, server: Running, agents: Crowd, name: str
) -> None:
    """After a save that fails, instance, state and generation are those of before, and the next good save serves."""
    breaks, phase, kind, where = BREAKS[name]
    assert (await agents.bea.ask("keeper.count.up"))["data"] == {"here": 1, "ever": 1}
    mark = server.mark()
    async with under_load(agents, per_second=50):
        keeper.write(FILE, breaks(KEEPER))
        outcome = await server.outcome("keeper", mark)
        assert (await agents.bea.ask("keeper.count.up"))["data"] == {"here": 2, "ever": 2}
        keeper.write(FILE, KEEPER + "\nREPAIRED = True\n")
        repaired = await server.line("outcome", mark, mod_id="keeper", status="applied")
    assert (outcome["status"], outcome["phase"], outcome["generation"]) == ("rolled_back", phase, 1)
    assert (outcome["error"]["kind"], outcome["error"]["file"]) == (kind, FILE)
    assert where in breaks(KEEPER).splitlines()[outcome["error"]["line"] - 1]
    assert repaired["generation"] == 2
    assert (await agents.bea.ask("keeper.count.up"))["data"] == {"here": 1, "ever": 3}
    assert agents.ledger.faults() == NOTHING
