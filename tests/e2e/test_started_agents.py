"""Agents that `dev.agents` lists: `oa-dev run` starts them, restarts them on save, and ends them."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from live import Live, Site, serving, start

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

AGENT = """
import asyncio
from helper import WORD
from devserver import Agent

def never():
    __import__("/")  # text that no module has for a name

async def main():
    async with Agent("ana") as me:
        print(f"ana says {WORD}", flush=True)
        async for event in me:
            print(event.payload)

asyncio.run(main())
"""


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A network with one mod and one agent, which imports a helper beside it."""
    site = Site(tmp_path / "network")
    site.mod("echo")
    site.write("agents/ana.py", AGENT)
    site.write("agents/helper.py", "WORD = 'one'\n")
    site.dev = {"agents": ["agents/ana.py"]}
    site.yaml()
    return site


@pytest.fixture
def live(site: Site) -> Iterator[Live]:
    """The network while it runs, once its agent is there."""
    with serving(site) as live:
        live.line("agent", agent_id="ana", came=True)
        yield live


def _program(live: Live, since: int = 0, **wanted: object) -> dict[str, object]:
    return live.line("notice", since, about="agent_program", file="agents/ana.py", **wanted)


def test_a_listed_agent_joins_and_its_output_is_named(live: Live) -> None:
    """It finds the network by itself; what it prints stands behind its file."""
    assert _program(live)["state"] == "started"
    live.until(lambda: "ana says one" in live.log())
    assert any("agents/ana.py" in each for each in live.log().splitlines() if "ana says one" in each)


def test_a_save_of_a_module_that_it_imports_restarts_it(live: Live, site: Site) -> None:
    """The agent that comes back runs the new code, under the same id."""
    mark = live.mark()
    site.write("agents/helper.py", "WORD = 'two'\n")
    assert _program(live, mark, state="restarted")["pid"] != _program(live)["pid"]
    live.line("agent", mark, agent_id="ana", came=True)
    live.until(lambda: "ana says two" in live.log())


def test_a_save_that_does_not_compile_keeps_the_agent_running(live: Live, site: Site) -> None:
    """The line is named, and the mended file starts it again."""
    mark = live.mark()
    site.write("agents/ana.py", "async def main(:\n    pass\n")
    told = _program(live, mark, state="kept")
    assert "line 1" in str(told["why"])
    os.kill(int(str(_program(live)["pid"])), 0)
    site.write("agents/ana.py", AGENT.replace("says", "said"))
    assert _program(live, mark, state="restarted")


def test_an_exit_is_told_with_its_code_and_a_save_starts_it_again(live: Live, site: Site) -> None:
    """An agent that fails is not started again and again."""
    mark = live.mark()
    site.write("agents/ana.py", "print('oh'); raise SystemExit(3)\n")
    assert _program(live, mark, state="ended")["code"] == 3
    site.write("agents/ana.py", AGENT)
    live.line("agent", mark, agent_id="ana", came=True)


def test_an_agent_that_network_yaml_lists_no_more_is_ended(live: Live, site: Site) -> None:
    """And one that it lists later is started, without a restart of the server."""
    mark = live.mark()
    site.dev = {}
    site.yaml()
    assert _program(live, mark, state="ended")["why"] == "network.yaml lists it no more"
    site.dev = {"agents": ["agents/ana.py"]}
    site.yaml()
    assert _program(live, mark, state="started")


def test_a_restart_in_place_keeps_the_same_process(live: Live, site: Site) -> None:
    """Its connection stays, its output is still told, and a save still restarts it."""
    before, mark = _program(live)["pid"], live.mark()
    live.control("restart")
    live.line("restart", mark)
    os.kill(int(str(before)), 0)
    site.write("agents/helper.py", "WORD = 'three'\n")
    assert _program(live, mark, state="restarted")
    live.until(lambda: "ana says three" in live.log())


def test_the_end_of_the_server_ends_the_agent(site: Site) -> None:
    """A program does not outlive the network that it was started for."""
    live = start(site)
    live.line("agent", agent_id="ana", came=True)
    pid = int(str(_program(live)["pid"]))
    assert live.stop() == 0
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_what_a_killed_server_has_left_is_ended_by_the_next_one(site: Site) -> None:
    """Two programs under one id would fight for it."""
    killed = start(site, "--no-supervise")
    killed.line("agent", agent_id="ana", came=True)
    left = int(str(_program(killed)["pid"]))
    killed.process.kill()
    killed.process.wait()
    with serving(site) as again:
        again.line("agent", agent_id="ana", came=True)
        command = Path(f"/proc/{left}/cmdline")
        again.until(lambda: not command.exists() or not command.read_bytes())
        assert _program(again)["pid"] != left


@pytest.mark.parametrize(
    ("file", "says"),
    [("agents/ana.txt", "a Python file"), ("../ana.py", "in the folder of network.yaml"), (5, "text")],
)
def test_a_file_that_cannot_be_an_agent_is_refused_at_its_line(site: Site, file: object, says: str) -> None:
    """Nothing outside the folder of network.yaml is run."""
    from devserver.config.network_yaml import read_network
    from devserver.errors import ConfigError

    site.dev = {"agents": [file]}
    with pytest.raises(ConfigError) as refused:
        read_network(site.yaml())
    assert says in str(refused.value)
