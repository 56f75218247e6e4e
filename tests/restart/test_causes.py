"""What cannot be swapped in place is brought by a restart in place: agents stay, and the reason is said."""

from __future__ import annotations

import zipfile
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml
from restarts import asked, restarted
from rig.agents import crowd
from rig.running import Running, serving
from rig.workspace import Workspace

from devserver.server.sockets import bind

TELLER = '''\
"""Says what it was made from."""

import os
import sys
from pathlib import Path

from devserver import BaseMod, EventResponse, mod_event_handler

sys.path.insert(0, str(Path(__file__).with_name("vendor.zip")))
sys.path.insert(0, os.environ["ELSEWHERE"])

import installed_here
import packed

N = 1


class TellerMod(BaseMod):
    reload_mode = "restart"

    @mod_event_handler("teller.all.tell")
    def tell(self, event):
        told = {"n": N, "packed": packed.N, "installed": installed_here.N, "word": os.environ.get("WORD")}
        return EventResponse(True, "", told)
'''


def _pack(path: Path, value: int) -> None:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("packed.py", f"N = {value}\n")


@pytest.fixture
def teller(workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A network with a mod that is made from much."""
    installed = tmp_path / "venv" / "site-packages"
    installed.mkdir(parents=True)
    (installed / "installed_here.py").write_text("N = 1\n")
    monkeypatch.setenv("ELSEWHERE", str(installed))
    workspace.add_mod("teller", TELLER)
    _pack(workspace.root / "mods/teller/vendor.zip", 1)
    return workspace


async def test_a_cause_is_brought_and_further_ones_wait_where_a_person_is_to_be_asked(
    teller: Workspace, tmp_path: Path
) -> None:
    """A zip at once; with `dev.restart: ask` one restart for an installed package, two files of settings and a mod."""
    async with serving(teller) as server, crowd(server.port) as made:
        assert await asked(server, "teller.all.tell") == {"n": 1, "packed": 1, "installed": 1, "word": None}
        mark = server.mark()
        _pack(teller.root / "mods/teller/vendor.zip", 22)
        line = await server.line("restart", mark)
        # The watch of sources and that of what was imported both see it; either may be first.
        assert len(line["reasons"]) == 1 and "vendor.zip" in line["reasons"][0]
        teller.write("network.yaml", teller.read("network.yaml") + "\ndev:\n  restart: ask\n")
        await server.line("notice", mark, message="dev.restart.policy auto → ask: counts from now on")
        mark = server.mark()
        (tmp_path / "venv/site-packages/installed_here.py").write_text("N = 22\n")
        teller.write(".env", "WORD=xyzzy\n")
        teller.write("pyproject.toml", '[tool.oa-dev]\nlog-level = "info"\n')
        teller.replace("mods/teller/mod.py", "N = 1\n", "N = 22\n")
        causes = {
            "the installed package installed_here has changed",
            ".env changed, which is read at the start",
            "pyproject.toml changed, which is read at the start",
            "teller changed, and its reload_mode is restart",
        }
        await _all_wait(server, mark, causes)
        assert await asked(server, "teller.all.tell") == {"n": 1, "packed": 22, "installed": 1, "word": None}
        line = await restarted(server)
        assert (set(line["reasons"]), line["failed"]) == (causes, [])
        told = {"n": 22, "packed": 22, "installed": 22, "word": "xyzzy"}
        assert await asked(server, "teller.all.tell") == told
        assert made.ledger.closed == []


async def _all_wait(server: Running, mark: int, causes: set[str]) -> None:
    """Wait until the plan of a restart that waits has all of these reasons."""
    count = 0
    while True:
        count += 1
        plan = (await server.several("plan", count, mark))[-1]
        if plan["restart"] is not None and set(plan["restart"]["reasons"]) == causes:
            assert plan["restart"]["waits"] == "dev.restart is ask; R or oa-dev restart brings it"
            return


async def test_a_new_address_is_heard_and_old_connections_stay(workspace: Workspace) -> None:
    """Another port, and another loopback address: bound before the old one is given up; who is connected goes on."""
    old, new = _free_port(), _free_port()
    _set_address(workspace, old)
    async with serving(workspace, any_port=False) as server, crowd(server.port) as made:
        mark = server.mark()
        _set_address(workspace, new, "127.0.0.2")
        line = await server.line("restart", mark)
        heard = urlsplit(line["url"])
        assert (heard.hostname, heard.port) == ("127.0.0.2", new)
        assert set(line["reasons"]) == {f"network.port {old} → {new}", "network.host 127.0.0.1 → 127.0.0.2"}
        assert (await made.bea.ask("wiki.pages.list"))["success"]
        assert made.ledger.closed == []


def _free_port() -> int:
    with bind("127.0.0.1", 0, strict=True) as free:
        port: int = free.getsockname()[1]
    return port


def _set_address(workspace: Workspace, port: int, host: str = "127.0.0.1") -> None:
    values = yaml.safe_load(workspace.read("network.yaml"))
    values["network"]["transports"] = [{"type": "http", "config": {"port": port, "host": host}}]
    workspace.write("network.yaml", yaml.safe_dump(values, sort_keys=False))
