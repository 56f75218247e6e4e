"""A hook that blocks in C keeps all mods waiting: it is named meanwhile, and given up where it ran over its limit."""

from __future__ import annotations

import pytest
from rig.running import serving
from rig.workspace import Workspace

SLEEPER = '''\
"""Blocks in initialize() as long as a file of its folder says."""

import time

from devserver import BaseMod, EventResponse, mod_event_handler

N = 1


class SleeperMod(BaseMod):
    {how}def initialize(self):
        if N > 1:
            time.sleep(1.6)

    @mod_event_handler("sleeper.number.get")
    def get(self, event):
        return EventResponse(True, "", {"n": N})
'''


@pytest.mark.parametrize("how", ["", "async "])
async def test_a_start_that_blocks_is_named_and_given_up_past_its_limit(workspace: Workspace, how: str) -> None:
    """Sync or async: the version before keeps running, and the outcome names the line."""
    workspace.add_mod("sleeper", SLEEPER.replace("{how}", how))
    workspace.write("network.yaml", workspace.read("network.yaml") + "\ndev:\n  limits: {initialize: 0.5}\n")
    async with serving(workspace) as server:
        mark = server.mark()
        workspace.replace("mods/sleeper/mod.py", "N = 1", "N = 2")
        outcome = await server.outcome("sleeper", mark)
        assert (outcome["status"], outcome["generation"]) == ("rolled_back", 1)
        assert (outcome["error"]["kind"], outcome["error"]["file"]) == ("BlockedTooLong", "mods/sleeper/mod.py")
        line = workspace.line_of("mods/sleeper/mod.py", "time.sleep")
        assert outcome["error"]["line"] == line
        blocked = [each for each in server.told("notice", mark) if "sleeper blocked" in each["message"]]
        assert [f"mods/sleeper/mod.py:{line}" in each["message"] for each in blocked] == [True]
