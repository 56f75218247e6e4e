"""A real server that the tests of a module attack: a network with an echo, and mods that no one asked for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from invariants import quiet_log
from live import Live, Site, serving

__all__ = ["quiet_log"]

ECHO = """
    def initialize(self):
        self.state.setdefault("asked", 0)

    @mod_event_handler("echo.say.get")
    async def say(self, event):
        self.state["asked"] += 1
        return EventResponse(True, data={"asked": self.state["asked"], "source": event.source_id})

    @mod_event_handler("echo.nan.post")
    async def nan(self, event):
        worst = {"nan": float("nan"), "inf": float("inf"), "set": {1}, "odd": object(), "big": 2**80, 5: "\\ud800"}
        return await self.send_event(Event(event_name="echo.nan.told", destination_id="broadcast", payload=worst))

    @mod_event_handler("echo.fail.post")
    async def fail(self, event):
        raise RuntimeError("inner secret of a mod")
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """The workspace. `mods/evil.py` leaves the file `loaded` when any of its code runs."""
    made = Site(tmp_path_factory.mktemp("attacked") / "network")
    made.mod("echo", ECHO)
    loaded = made.folder / "loaded"
    made.mod("evil", "pass", head=f"open({str(loaded)!r}, 'w').close()", listed=False)
    made.mod("wanted", "pass", listed=False)
    made.write("secret/__init__.py", f"open({str(loaded)!r}, 'w').close()\n")
    made.write("secret/mod.py", "from devserver import BaseMod\nclass SecretMod(BaseMod):\n    pass\n")
    made.dev = {"grants": {"tester": ["mods:write"], "loader": ["mods:write"]}, "mod_paths": ["mods.wanted"]}
    made.settings = {"agent_groups": {"admin": {"password_hash": "x" * 64}}, "default_agent_group": "guest"}
    return made


@pytest.fixture(scope="module")
def live(site: Site) -> Iterator[Live]:
    """The server."""
    with serving(site) as running:
        yield running


@pytest.fixture
def loaded(site: Site) -> Path:
    """The file that is there once code ran that no one may run."""
    return site.folder / "loaded"
