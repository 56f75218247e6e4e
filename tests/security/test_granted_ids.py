"""Grants of network.yaml against strangers on this machine, over both doors of a real server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import websockets.sync.client as websocket
from live import OA_DEV, PATIENCE, Agent, Json, Live, Site, environment, serving
from nursery import run

LOAD = {"mod_path": "mods.wanted"}


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A network that grants two ids something; nothing but the admin token proves `boss`."""
    site = Site(tmp_path_factory.mktemp("grants") / "network")
    site.mod("wanted", "pass", listed=False)
    site.dev = {"grants": {"tester": ["mods:write"], "boss": ["admin"]}, "mod_paths": ["mods.wanted"]}
    team = {"password_hash": "f" * 64, "metadata": {"agents": ["tester"]}}
    visitors = {"password_hash": "e" * 64}
    site.settings = {"agent_groups": {"team": team, "visitors": visitors}}
    with serving(site) as running:
        yield running


def try_over_ws(net: Live, **values: str) -> Json:
    """Register over a WebSocket without any token."""
    with websocket.connect(f"ws://127.0.0.1:{net.port}/ws") as line:
        line.send(json.dumps({"type": "register", **values}))
        answer = json.loads(line.recv(PATIENCE))
        assert isinstance(answer, dict)
        return answer


@pytest.mark.parametrize("agent_id", ["tester", "boss"])
@pytest.mark.parametrize("shown", [{}, {"password_hash": "e" * 64}, {"password_hash": "x"}, {"secret": "x" * 64}])
def test_a_stranger_takes_no_granted_id(net: Live, agent_id: str, shown: Json) -> None:
    """Without a proof it is refused, and told what would be one."""
    over_http = net.post("/api/register", agent_id=agent_id, **shown)
    over_ws = try_over_ws(net, agent_id=agent_id, **shown)
    assert (over_http["success"], over_http["code"], over_ws["code"]) == (False, "proof_required", "proof_required")
    assert "admin token" in over_http["error_message"]


def test_who_proved_itself_acts_and_keeps_the_id_when_it_has_left(net: Live) -> None:
    """With the password of the group that lists it; a stranger who waits for its end gets nothing."""
    tester = net.join("tester", password_hash="f" * 64)
    assert tester.send("system.mod.load", LOAD)["success"] is True
    assert tester.send("system.mod.unload", LOAD)["success"] is True
    with websocket.connect(f"ws://127.0.0.1:{net.port}/ws") as line:
        line.send(json.dumps({"type": "register", "agent_id": "tester", "secret": tester.secret}))
        assert json.loads(line.recv(PATIENCE))["resumed"] is True
    assert net.post("/api/register", agent_id="tester")["success"] is False
    net.post("/api/unregister", agent_id="tester", secret=tester.secret)
    assert net.post("/api/register", agent_id="tester")["code"] == "proof_required"
    assert tester.send("system.mod.load", LOAD)["success"] is False
    boss = net.join("boss", trusted=True)
    assert boss.send("system.mod.load", LOAD)["success"] is True
    assert boss.send("system.mod.unload", LOAD)["success"] is True
    net.post("/api/unregister", agent_id="boss", secret=boss.secret)


def test_a_grant_that_comes_later_is_not_for_who_holds_the_name(tmp_path: Path) -> None:
    """The agent that is there goes on without it, and is told why."""
    site = Site(tmp_path / "network")
    site.mod("wanted", "pass", listed=False)
    with serving(site) as live:
        early = live.join("tester")
        site.dev = {"grants": {"tester": ["mods:write"]}, "mod_paths": ["mods.wanted"]}
        site.yaml()
        live.until(lambda: "proof" in early.send("system.mod.load", LOAD)["message"])
        again = Agent(live, "tester", early.secret)
        assert again.send("system.mod.load", LOAD)["success"] is False


def test_check_says_what_to_write(tmp_path: Path) -> None:
    """For a network.yaml of before, whose granted agents had to prove nothing."""
    site = Site(tmp_path / "network")
    site.dev = {"grants": {"tester": ["mods:write"]}}
    site.yaml()
    for arguments in ([], ["--json"]):
        done = run(
            [OA_DEV, "check", *arguments],
            cwd=site.folder, env=environment(), capture_output=True, text=True, timeout=PATIENCE, check=True,
        )  # fmt: skip
        assert "metadata: {agents: [tester]}" in done.stdout
