"""An attempt that fails in place is tried in a fresh process before the author is blamed."""

from __future__ import annotations

from pathlib import Path

import pytest
from restarts import asked, start_of
from rig.agents import crowd
from rig.running import serving
from rig.workspace import Workspace

from devserver.model.lifecycle import Phase
from devserver.server.aside import Aside
from devserver.server.rehearsal import LIMIT, Tried, comes_up, rehearse

LIBRARY = '''\
"""A library that is set up once in the life of a process."""


def _make():
    done = []

    def set_up():
        if done:
            raise RuntimeError("set up twice")
        done.append(1)

    return set_up


set_up = _make()
'''

ONCE = '''\
"""Sets a library up that can be set up once."""

import os
import sys

sys.path.insert(0, os.environ["ELSEWHERE"])

import once_library

from devserver import BaseMod, EventResponse, mod_event_handler

once_library.set_up()
N = 1


class OnceMod(BaseMod):
    @mod_event_handler("once.number.get")
    def get(self, event):
        self.state["asked"] = self.state.get("asked", 0) + 1
        return EventResponse(True, "", {"n": N, "asked": self.state["asked"]})
'''


@pytest.fixture
def once(workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A network with a mod whose module cannot be executed twice in one process."""
    installed = tmp_path / "venv" / "site-packages"
    installed.mkdir(parents=True)
    (installed / "once_library.py").write_text(LIBRARY)
    monkeypatch.setenv("ELSEWHERE", str(installed))
    workspace.add_mod("once", ONCE)
    return workspace


async def test_what_fails_in_place_alone_is_brought_by_a_restart(once: Workspace) -> None:
    """The author gets no error frame that stays: the save serves, agents and state stay, and the line says why."""
    async with serving(once) as server, crowd(server.port) as made:
        assert await asked(server, "once.number.get") == {"n": 1, "asked": 1}
        mark = server.mark()
        once.replace("mods/once/mod.py", "N = 1\n", "N = 2\n")
        line = await server.line("restart", mark)
        assert "once cannot be reloaded in place, a fresh process loads it" in line["reasons"][0]
        assert await asked(server, "once.number.get") == {"n": 2, "asked": 2}
        outcomes = server.told("outcome", mark, mod_id="once")
        assert outcomes[-1]["way"] == "restart"
        # Once in place and not again, however long the fresh process takes.
        assert [each["way"] for each in outcomes].count("in_place") <= 1
        assert made.ledger.closed == []


async def test_the_fault_of_an_author_stays_one(once: Workspace) -> None:
    """What fails in a fresh process too is told as it is, and nothing is restarted."""
    async with serving(once) as server:
        image, mark = start_of(server.pid), server.mark()
        once.replace("mods/once/mod.py", "N = 1\n", "N = 1 / 0\n")
        outcome = await server.line("outcome", mark, mod_id="once")
        assert (outcome["status"], outcome["generation"]) == ("rolled_back", 1)
        assert start_of(server.pid) == image


def test_a_rehearsal_leaves_nothing(tmp_path: Path) -> None:
    """It writes nowhere, opens no connection and starts no program; what it was kept from proves nothing."""
    from devserver.reload.carry import PackedState
    from devserver.reload.restarting import Arrival

    (tmp_path / "mods").mkdir()
    (tmp_path / "mods" / "writer.py").write_text(
        "from devserver import BaseMod\n"
        "class WriterMod(BaseMod):\n"
        "    def initialize(self):\n"
        "        open('left.txt', 'w')\n"
    )
    (tmp_path / "network.yaml").write_text("network:\n  name: t\n")
    before = sorted(tmp_path.rglob("*"))
    arrival = Arrival(mod_path="mods.writer", generation=1, state=PackedState())
    tried = rehearse(tmp_path / "network.yaml", {"mods.writer": arrival}, Aside(patience=LIMIT))["mods.writer"]
    assert (tried.comes_up, tried.phase, tried.refused) == (False, Phase.INITIALIZE, True)
    assert [each for each in sorted(tmp_path.rglob("*")) if ".oa-dev" not in each.parts] == before
    assert comes_up(tried, Phase.IMPORT)
    assert not comes_up(tried, Phase.INITIALIZE)


@pytest.mark.parametrize(
    ("tried", "expected"),
    [
        (None, False),
        (Tried(True, Phase.OPEN), True),
        (Tried(False, Phase.IMPORT, "x", refused=True), False),
        (Tried(False, Phase.INITIALIZE, "x"), False),
    ],
)
def test_only_a_proof_counts(tried: Tried | None, expected: bool) -> None:
    """A mod of which nothing is known, or that failed by itself, would not come up."""
    assert comes_up(tried, Phase.IMPORT) is expected
