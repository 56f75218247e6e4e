"""After a crash: what is lost is said, and what a mod persists comes back."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from live import Live, Site, start

COUNTS = """
persist_state = {persists}

@mod_event_handler("count.on.add")
async def add(self, event):
    self.state["count"] = self.state.get("count", 0) + 1
    self.state.setdefault("more", {{"a": [1, 2.5, None, True]}})
    self.state["gate"] = asyncio.Event()
    return {{"count": self.state["count"]}}
"""

BAD = '@mod_event_handler("bad.end.do")\nasync def end(self, event):\n    os._exit(7)'


def kept(site: Site) -> Path:
    return site.folder / ".oa-dev" / "state.json"


def on_disk(site: Site) -> dict[str, dict[str, object]]:
    return {path: entry["state"] for path, entry in json.loads(kept(site).read_text()).items()}


def served(site: Site, *, persists: bool) -> Live:
    """A supervised server with a mod that counts and one that ends the process."""
    site.mod("count", COUNTS.format(persists=persists))
    site.mod("bad", BAD, head="import os")
    site.yaml()
    live = start(site, "--supervise")
    live.line("ready")
    return live


def crash(live: Live) -> int:
    mark, agent = live.mark(), live.join("ana")
    with pytest.raises(ConnectionError):
        agent.send("bad.end.do")
    live.line("ready", mark)
    return mark


def test_what_a_mod_persists_comes_back_after_a_crash(site: Site) -> None:
    """Plain data, from a file of the user's alone; what is none is named; a clean end begins again."""
    live = served(site, persists=True)
    try:
        assert live.join("bea").send("count.on.add")["data"] == {"count": 1}
        live.until(lambda: kept(site).exists() and "mods.count" in on_disk(site))
        assert on_disk(site) == {"mods.count": {"count": 1, "more": {"a": [1, 2.5, None, True]}}}
        assert stat.S_IMODE(kept(site).stat().st_mode) == 0o600
        live.until(lambda: any("key 'gate' would not survive" in each["message"] for each in live.told("notice")))
        mark = crash(live)
        words = live.line("notice", mark)["message"]
        assert "the run before crashed (exit 7)" in words
        assert "but for what came back: count" in words
        assert live.join("cem").send("count.on.add")["data"] == {"count": 2}
    finally:
        assert live.stop() == 0
    assert on_disk(site) == {}


def test_that_state_was_lost_is_said(site: Site) -> None:
    """With how and since when, and what to do about it."""
    live = served(site, persists=False)
    try:
        live.join("bea").send("count.on.add")
        mark = crash(live)
        words = live.line("notice", mark)["message"]
        assert "what mods had in their state since " in words
        assert "is lost; persist_state = True in a mod keeps plain data" in words
        assert live.join("cem").send("count.on.add")["data"] == {"count": 1}
    finally:
        assert live.stop() == 0
    assert not kept(site).exists()


@pytest.mark.parametrize("text", ["{", "[]", '{"mods.count": 1}', '{"mods.count": {"state": [1]}}'])
def test_a_file_that_cannot_be_used_keeps_nothing_from_starting(site: Site, text: str) -> None:
    """The mod begins again."""
    site.mod("count", COUNTS.format(persists=True))
    site.yaml()
    kept(site).parent.mkdir(mode=0o700)
    kept(site).write_text(text)
    kept(site).chmod(0o600)
    live = start(site)
    try:
        live.line("ready")
        assert live.join("bea").send("count.on.add")["data"] == {"count": 1}
    finally:
        assert live.stop() == 0
