"""How a server starts and ends: ports, exit codes, and what it leaves."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import time

import pytest
from rig.agents import crowd
from rig.mods import SLEEPER
from rig.running import PATIENCE, Running, serving, started
from rig.workspace import CONFIG, Workspace

from devserver.server.sockets import port_holder
from devserver.transports.http.wire import HOLD_SECONDS

INTERRUPTED = 130
CONFIG_INVALID, PORT_TAKEN = 3, 4

both = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])


@both
async def test_a_signal_stops_cleanly_with_agents_connected(workspace: Workspace, number: signal.Signals) -> None:
    """With polls held and a WebSocket open: 0, `stopped`, nothing cut off, no run file, a free port."""
    async with serving(workspace) as server:
        run_file = workspace.root / ".oa-dev" / "run.json"
        assert run_file.is_file()
        async with crowd(server.port) as agents:
            began, mark = time.monotonic(), server.mark()
            server.signal(number)
            assert await server.ended() == 0
            assert time.monotonic() - began < HOLD_SECONDS
            # The server ended these connections, and it was asked to.
            agents.ledger.closed.clear()
        assert server.lines[-1]["type"] == "stopped"
        # What it had to leave or to cut off would be told, too.
        said = [each["message"] for each in server.told("notice", mark)]
        assert all(each.startswith(("stopping", "waiting")) for each in said), said
        assert not run_file.exists()
        _listen(server.port).close()


@both
async def test_a_second_signal_ends_at_once(workspace: Workspace, number: signal.Signals) -> None:
    """While a stop waits for a mod that blocks, a second signal ends the process with 130."""
    workspace.add_mod("sleeper", SLEEPER)
    server = await started(workspace)
    await server.line("ready")
    async with crowd(server.port) as agents:
        never = asyncio.create_task(agents.ana.ask("sleeper.block.all", {"until": str(workspace.root / "never")}))
        await server.line("notice")
        server.signal(number)
        # A signal that comes before the first was seen is the same signal to the kernel.
        await _stopping(server)
        server.signal(number)
        assert await server.ended() == INTERRUPTED
        never.cancel()


async def _stopping(server: Running) -> None:
    """Wait until the server has begun to stop: its run file goes first."""
    run_file = server.workspace.root / ".oa-dev" / "run.json"
    async with asyncio.timeout(PATIENCE):
        while run_file.exists():  # noqa: ASYNC110  # another process removes it
            await asyncio.sleep(0)


async def test_a_taken_port_makes_way_for_the_next(workspace: Workspace) -> None:
    """Where the port is taken the next free one is used, and a notice says so, and which process has it."""
    with _listen(0) as taken:
        port = taken.getsockname()[1]
        async with serving(workspace, "--port", str(port)) as server:
            [notice] = [line["message"] for line in server.told("notice")]
            assert server.port > port
            by = f" by {holder}" if (holder := port_holder(port)) else ""
            assert notice == f"port {port} is in use{by}; listening on {server.port} instead"
            assert (f"(process {os.getpid()})" in notice) is (sys.platform == "linux")


async def test_a_taken_port_is_an_error_where_it_has_to_be_that_one(workspace: Workspace) -> None:
    """With --strict-port a taken port ends the command with 4 and a sentence; nothing is said to be ready."""
    with _listen(0) as taken:
        port = taken.getsockname()[1]
        server = await started(workspace, "--port", str(port), "--strict-port")
        assert await server.ended() == PORT_TAKEN
    assert f"port {port} on 127.0.0.1 is in use" in server.errors()
    assert server.told("ready") == []


async def test_a_network_yaml_that_cannot_be_used_ends_the_start(workspace: Workspace) -> None:
    """A broken network.yaml ends the command with 3, and the line says file and line; nothing is bound or loaded."""
    rows = workspace.mods()
    workspace.set_mods([{**rows[0], "enabled": "perhaps"}, *rows[1:]])
    server = await started(workspace)
    assert await server.ended() == CONFIG_INVALID
    error = server.lines[0]["error"]
    assert (error["file"], error["line"]) == (CONFIG, workspace.line_of(CONFIG, "perhaps"))
    assert [line["type"] for line in server.lines] == ["outcome"]


async def test_a_mod_that_fails_at_the_start_is_told_and_loads_when_repaired(workspace: Workspace) -> None:
    """The others serve at once; the first good save of the failed one loads it."""
    file = "mods/wiki/mod.py"
    good = workspace.read(file)
    workspace.write(file, good + '\n{}["at import"]\n')
    async with serving(workspace) as server:
        failed = await server.outcome("wiki", 0)
        assert (failed["status"], failed["generation"], failed["error"]["file"]) == ("failed", 0, file)
        assert "wiki" not in [each["mod_id"] for each in server.told("ready")[0]["mods"]]
        mark = server.mark()
        workspace.write(file, good)
        loaded = await server.outcome("wiki", mark)
        assert (loaded["action"], loaded["status"], loaded["generation"]) == ("load", "applied", 1)


def _listen(port: int) -> socket.socket:
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind(("127.0.0.1", port))
    listening.listen()
    return listening
