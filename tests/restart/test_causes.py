"""What cannot be swapped in place is brought by a restart in place: agents stay, and the reason is said."""

from __future__ import annotations

import zipfile
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml
from restarts import asked
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


async def test_each_cause_is_brought_and_named(teller: Workspace, tmp_path: Path) -> None:
    """A zip, an installed package, `.env`, pyproject.toml, and a mod that asks for it: one restart each."""
    async with serving(teller) as server, crowd(server.port) as made:
        assert await asked(server, "teller.all.tell") == {"n": 1, "packed": 1, "installed": 1, "word": None}
        mark = server.mark()
        _pack(teller.root / "mods/teller/vendor.zip", 22)
        assert await _reasons(server, mark) == ["vendor.zip has changed, which was imported and is no source of a mod"]
        mark = server.mark()
        (tmp_path / "venv/site-packages/installed_here.py").write_text("N = 22\n")
        assert await _reasons(server, mark) == ["the installed package installed_here has changed"]
        mark = server.mark()
        teller.write(".env", "WORD=xyzzy\n")
        assert await _reasons(server, mark) == [".env changed, which is read at the start"]
        mark = server.mark()
        teller.write("pyproject.toml", '[tool.oa-dev]\nlog-level = "info"\n')
        assert await _reasons(server, mark) == ["pyproject.toml changed, which is read at the start"]
        mark = server.mark()
        teller.replace("mods/teller/mod.py", "N = 1\n", "N = 22\n")
        assert await _reasons(server, mark) == ["teller changed, and its reload_mode is restart"]
        told = {"n": 22, "packed": 22, "installed": 22, "word": "xyzzy"}
        assert await asked(server, "teller.all.tell") == told
        assert made.ledger.closed == []


async def _reasons(server: Running, mark: int) -> list[str]:
    line = await server.line("restart", mark)
    assert line["failed"] == []
    reasons: list[str] = line["reasons"]
    return reasons


async def test_a_new_port_is_heard_and_old_connections_stay(workspace: Workspace) -> None:
    """The new address is bound before the old one is given up; who is connected goes on."""
    old, new = _free_port(), _free_port()
    _set_port(workspace, old)
    async with serving(workspace, any_port=False) as server, crowd(server.port) as made:
        mark = server.mark()
        _set_port(workspace, new)
        line = await server.line("restart", mark)
        assert urlsplit(line["url"]).port == new
        assert line["reasons"] == [f"network.port {old} → {new}"]
        assert (await made.bea.ask("wiki.pages.list"))["success"]
        assert made.ledger.closed == []


async def test_another_host_is_heard_and_old_connections_stay(workspace: Workspace) -> None:
    """Another loopback address is another place to listen at; who is connected goes on where it was."""
    async with serving(workspace) as server, crowd(server.port) as made:
        mark = server.mark()
        values = yaml.safe_load(workspace.read("network.yaml"))
        values["network"]["transports"][0]["config"]["host"] = "127.0.0.2"
        workspace.write("network.yaml", yaml.safe_dump(values, sort_keys=False))
        line = await server.line("restart", mark)
        assert urlsplit(line["url"]).hostname == "127.0.0.2"
        assert (await made.bea.ask("wiki.pages.list"))["success"]
        assert made.ledger.closed == []


def _free_port() -> int:
    with bind("127.0.0.1", 0, strict=True) as free:
        port: int = free.getsockname()[1]
    return port


def _set_port(workspace: Workspace, port: int) -> None:
    values = yaml.safe_load(workspace.read("network.yaml"))
    values["network"]["transports"] = [{"type": "http", "config": {"port": port}}]
    workspace.write("network.yaml", yaml.safe_dump(values, sort_keys=False))
