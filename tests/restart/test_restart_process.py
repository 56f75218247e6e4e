"""What a restart in place does with handlers, processes and supervisors; and what happens if it is cut off."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import stat
from typing import Any

import pytest
import websockets
from restarts import KEEPER, asked, command, is_alive, restarted, start_of
from rig.agents import SocketAgent, crowd
from rig.ledger import Ledger
from rig.running import Running, serving, started
from rig.workspace import Workspace

from devserver.server import image

RELEASED = """\
\"\"\"Waits in a handler until a file is there.\"\"\"

import asyncio
import pathlib

from devserver import BaseMod, EventResponse, mod_event_handler


class WaiterMod(BaseMod):
    @mod_event_handler("waiter.wait.here")
    async def wait_here(self, event):
        while not pathlib.Path("go").exists():
            await asyncio.sleep(0.01)
        return EventResponse(True, "released", {"version": 1})
"""

SPAWNER = '''\
"""Starts a process and forgets it."""

import subprocess

from devserver import BaseMod, EventResponse, mod_event_handler


class SpawnerMod(BaseMod):
    @mod_event_handler("spawner.child.start")
    def start(self, event):
        return EventResponse(True, "", {"pid": subprocess.Popen(["sleep", "1000"]).pid})
'''


async def test_a_handler_in_flight_finishes_first(workspace: Workspace) -> None:
    """It is named while it is waited for, and its sender gets its answer."""
    workspace.add_mod("waiter", RELEASED)
    async with serving(workspace) as server, crowd(server.port) as made:
        waiting = asyncio.create_task(made.bea.ask("waiter.wait.here"))
        await _is_in_flight(server, "waiter")
        mark, image = server.mark(), start_of(server.pid)
        restart = asyncio.create_task(command(server, "restart"))
        await _notice(server, mark, "restart waits for waiter (waiter.wait.here)")
        assert start_of(server.pid) == image
        workspace.write("go", "")
        assert (await waiting)["data"] == {"version": 1}
        assert (await restart)[0] == 0
        assert start_of(server.pid) != image


async def test_a_handler_that_does_not_end_is_ended_at_the_limit(workspace: Workspace) -> None:
    """Its sender is told."""
    workspace.add_mod("waiter", RELEASED)
    workspace.write("network.yaml", workspace.read("network.yaml") + "\ndev:\n  restart: {drain: 1.2}\n")
    async with serving(workspace) as server, crowd(server.port) as made:
        waiting = asyncio.create_task(made.bea.ask("waiter.wait.here"))
        await _is_in_flight(server, "waiter")
        await restarted(server)
        answer = await waiting
        assert (answer["success"], "restart" in answer["message"]) == (False, True)


async def test_processes_of_mods_are_named_and_ended(workspace: Workspace) -> None:
    """The next image does not know them."""
    workspace.add_mod("spawner", SPAWNER)
    async with serving(workspace) as server:
        pid = (await asked(server, "spawner.child.start"))["pid"]
        mark = server.mark()
        line = await restarted(server)
        named = [f"process {pid} (sleep 1000)"]
        assert (server.told("plan", mark)[0]["restart"]["ends"], line["ended"]) == (named, named)
        assert not is_alive(pid)


CRAMPED = '''\
"""Leaves the process no room when it ends, as a file says: for other files, or the arguments of another program."""

import os
import pathlib
import resource

from devserver import BaseMod, EventResponse, mod_event_handler

KINDS = (("disk", resource.RLIMIT_FSIZE, 100), ("arguments", resource.RLIMIT_STACK, 4 * 128 * 1024))


class CrampedMod(BaseMod):
    def initialize(self):
        self.state["starts"] = self.state.get("starts", 0) + 1

    def shutdown(self):
        file = pathlib.Path(os.environ["CRAMPED"])
        what = file.read_text() if file.exists() else ""
        for name, kind, little in KINDS:
            roomy = resource.getrlimit(kind)[1]
            resource.setrlimit(kind, (little if what == name else roomy, roomy))

    @mod_event_handler("cramped.starts.count")
    def count(self, event):
        for _, kind, _ in KINDS:
            resource.setrlimit(kind, (resource.getrlimit(kind)[1],) * 2)
        return EventResponse(True, "", {"starts": self.state["starts"]})
'''

REFUSED = {"disk": "[Errno 27] File too large", "arguments": "[Errno 7] Argument list too long"}


def test_what_survives_is_on_disk_where_the_system_has_no_memory_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a file without a name, which only this user can read."""

    def refused(name: str) -> int:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(os, "memfd_create", refused)
    descriptor = image.write_memory({"state": [1, 2]})
    found = os.fstat(descriptor)
    assert (stat.S_IMODE(found.st_mode), found.st_nlink) == (0o600, 0)
    assert image.take_memory({image.VARIABLE: str(descriptor)}) == {"state": [1, 2]}


async def test_where_the_system_refuses_the_image_of_before_serves_on(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """It says why; states, agents and connections are there, it watches and stops as before, and restarts later."""
    for number in range(3):
        monkeypatch.setenv(f"FILLING_{number}", "x" * 100_000)
    # Elsewhere: a file in the workspace that the mod asks for is one of its inputs.
    file = tmp_path_factory.mktemp("elsewhere") / "cramped"
    monkeypatch.setenv("CRAMPED", str(file))
    workspace.add_mod("cramped", CRAMPED)
    async with serving(workspace) as server, crowd(server.port) as made:
        before = start_of(server.pid)
        for starts, (what, why) in enumerate(REFUSED.items(), 2):
            file.write_text(what)
            mark = server.mark()
            code, said = await command(server, "restart")
            assert (code, why in said) == (1, True), said
            await _notice(server, mark, f"not restarted: {why}")
            assert start_of(server.pid) == before
            assert await asked(server, "cramped.starts.count") == {"starts": starts}
        assert (await made.bea.ask("wiki.page.list"))["success"]
        file.unlink()
        mark = server.mark()
        workspace.write("mods/wiki/mod.py", workspace.read("mods/wiki/mod.py") + "\nX = 1\n")
        assert (await server.outcome("wiki", mark))["status"] == "applied"
        # What it waited for may be mended by the save: it is tried again by itself.
        await server.line("restart", mark)
        assert start_of(server.pid) != before
        assert await asked(server, "cramped.starts.count") == {"starts": 4}
        assert made.ledger.closed == []
        server.signal(signal.SIGINT)
        assert await server.ended() == 0


async def test_two_restarts_at_once_are_one(server: Running) -> None:
    """Who asks while one is under way learns what it came to."""
    done = await asyncio.gather(command(server, "restart"), command(server, "restart"))
    assert [code for code, _ in done] == [0, 0]


async def test_killed_in_the_middle_everything_starts_anew(workspace: Workspace) -> None:
    """Nothing is left behind that would keep the next server from starting; agents are known again."""
    running = await started(workspace)
    await running.line("ready")
    ana = SocketAgent("ana", Ledger(["ana"]))
    await ana.join(running.port)
    restart = asyncio.create_task(command(running, "restart"))
    await running.line("plan", running.mark())
    running.process.kill()
    await running.process.wait()
    await restart
    with contextlib.suppress(websockets.ConnectionClosed, OSError):
        await ana.leave()
    async with serving(workspace) as again:
        code, said = await command(again, "status", "--json")
        assert code == 0
        assert [each["agent_id"] for each in json.loads(said)["agents"]] == ["ana"]


async def test_ctrl_c_after_a_restart_ends_cleanly(server: Running) -> None:
    """Signals are held back between two images, and heard afterwards."""
    await restarted(server)
    server.signal(signal.SIGINT)
    assert await server.ended() == 0
    assert server.told("stopped") != []


async def test_supervised_it_restarts_and_is_still_supervised(workspace: Workspace) -> None:
    """The supervisor's child keeps its id over the restart; crashed later, it is started again with the same port."""
    workspace.add_mod("keeper", KEEPER)
    async with serving(workspace, "--supervise") as server:
        status = await _status(server)
        await restarted(server)
        assert (await _status(server))["pid"] == status["pid"] != server.pid
        mark = server.mark()
        os.kill(status["pid"], signal.SIGKILL)
        ready = await server.line("ready", mark)
        assert ready["url"] == status["url"]
        assert (await _status(server))["pid"] != status["pid"]
        server._errors.write_text("")  # the supervisor has said that it crashed


@pytest.mark.slow
async def test_a_thousand_websockets_stay(workspace: Workspace, server: Running) -> None:
    """Each gets what is sent to all, before and after."""
    ledger = Ledger([])
    agents = [SocketAgent(f"a{number}", ledger) for number in range(1000)]
    token = json.loads((workspace.root / ".oa-dev" / "run.json").read_text())["token"]
    for agent in agents:
        await agent.join(server.port, token)
    line = await restarted(server)
    assert line["connections"]["kept"] >= 1000
    assert line["agents"] == {"connected": 1000, "dropped": 0}
    await asyncio.gather(*(agent.ping() for agent in agents))
    assert ledger.closed == []
    for agent in agents:
        await agent.leave()


async def _status(server: Running) -> dict[str, Any]:
    code, said = await command(server, "status", "--json")
    assert code == 0, said
    values: dict[str, Any] = json.loads(said)
    return values


async def _is_in_flight(server: Running, mod_id: str) -> None:
    """Wait until a handler of a mod runs."""
    while not any(each["mod_id"] == mod_id and each["in_flight"] for each in (await _status(server))["mods"]):
        pass


async def _notice(server: Running, mark: int, words: str) -> None:
    """Wait for a notice that begins with some words."""
    async with asyncio.timeout(30):
        while not any(each["message"].startswith(words) for each in server.told("notice", mark)):
            server._news.clear()
            await server._news.wait()
