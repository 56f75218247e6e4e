"""Floods of what a server keeps for agents, over a real server: the accounts stay within their bounds."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from live import OA_DEV, PATIENCE, Agent, Json, Live, Site, Wire, environment, serving
from nursery import run

ANSWERS = """
    @mod_event_handler("large.answer.get")
    async def answer(self, event):
        return {"text": "y" * event.payload["size"]}

    @mod_event_handler("large.number.get")
    async def number(self, event):
        await self.send_event(Event(event_name="large.number.told", destination_id="idle", payload={"n": 10 ** 5000}))
        return {"n": 10 ** 5000}
"""


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A network with a mod that answers at length."""
    site = Site(tmp_path_factory.mktemp("flooded") / "network")
    site.mod("large", ANSWERS)
    with serving(site, "--log-level", "warning") as running:
        yield running


def accounts(net: Live) -> dict[str, Json]:
    """The accounts, as a person's command gets them."""
    done = run(
        [OA_DEV, "status", "--memory", "--json"],
        cwd=net.site.folder, env=environment(), capture_output=True, text=True, timeout=PATIENCE, check=True,
    )  # fmt: skip
    return {each["name"]: each for each in json.loads(done.stdout)["memory"]}


def send_many(agent: Agent, times: int, name: str, to: str = "", **fields: Any) -> list[Json]:
    """Send an event many times over one connection, or until three were refused since all is full; the answers."""
    wire = Wire(agent.live.port)
    values = {"event_name": name, "source_id": agent.agent_id, "secret": agent.secret, "target_agent_id": to} | fields
    body = json.dumps(values).encode()
    head = f"POST /api/send_event HTTP/1.1\r\nHost: 127.0.0.1:{agent.live.port}\r\n"
    request = f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
    answers = []
    for _ in range(times):
        wire.send(request)
        answers.append(wire.answer().json)
        if len(answers) > 2 and all((each["data"] or {}).get("full") for each in answers[-3:]):
            break
    wire.close()
    return answers


@pytest.mark.parametrize("size", [60_000, 100_000])
def test_large_answers_are_kept_within_a_bound_and_go_with_their_senders(net: Live, size: int) -> None:
    """A thousand questions of five senders once took 2.4 GB, for good."""
    senders = [net.join(f"asker{n}") for n in range(5)]
    before = net.resident()
    for sender in senders:
        answers = send_many(sender, 200, "large.answer.get", payload={"size": size})
        assert all(len(each["data"]["text"]) == size for each in answers)
    kept, recorded = accounts(net)["answers"], accounts(net)["recorder"]
    assert kept["bytes"] <= 5 * kept["each"]
    assert recorded["bytes"] <= recorded["each"]
    assert net.resident() - before < 40 * 2**20 + recorded["bytes"]
    for sender in senders:
        net.post("/api/unregister", agent_id=sender.agent_id, secret=sender.secret)
    assert accounts(net)["answers"]["bytes"] == 0


@pytest.mark.parametrize(
    "fields",
    [
        {"metadata": {"x": "y" * 200_000}},
        {"text_representation": "y" * 200_000},
        {"payload": {"x": [0] * 100_000}},
        {"metadata": {f"k{n}": {} for n in range(20_000)}},
        {"allowed_agents": [f"{n:060}" for n in range(999)] + ["idle"], "visibility": "restricted"},
    ],
    ids=["metadata", "text", "zeros", "objects", "allowed"],
)
def test_events_for_an_agent_that_never_polls_are_kept_within_a_bound(net: Live, fields: Json) -> None:
    """The bound counts the whole event, in whichever part it is large; the sender is told when it is full."""
    idle, sender = net.join("idle"), net.join("sender")
    answers = send_many(sender, 200, "note.for.idle", to="idle", **fields)
    kept = accounts(net)["outboxes"]
    assert kept["bytes"] <= kept["each"]
    if len(json.dumps(fields)) > 100_000:
        assert "idle" in answers[-1]["data"]["full"]
    for agent in (idle, sender):
        net.post("/api/unregister", agent_id=agent.agent_id, secret=agent.secret)
    assert accounts(net)["outboxes"]["bytes"] == 0


def test_a_value_that_cannot_be_written_costs_only_itself(net: Live) -> None:
    """An integer of 5,000 digits in an answer or an event: the rest arrives, and what comes after it."""
    idle, sender = net.join("idle"), net.join("sender")
    assert sender.send("large.number.get")["success"] is True
    assert sender.send("note.for.idle", {"n": 1}, "idle")["success"] is True
    events = [each for each in idle.taken() if not each["event_name"].startswith("system.")]
    assert [each["event_name"] for each in events] == ["large.number.told", "note.for.idle"]
    for agent in (idle, sender):
        net.post("/api/unregister", agent_id=agent.agent_id, secret=agent.secret)


def test_a_person_sees_the_accounts(tmp_path: Path) -> None:
    """How much of how much, for whom, and what happens beyond."""
    site = Site(tmp_path / "network")
    with serving(site) as live:
        sender = live.join("ana")
        live.join("idle")
        sender.send("note.for.idle", {"x": "y" * 1000}, "idle")
        done = run(
            [OA_DEV, "status", "--memory"],
            cwd=site.folder, env=environment(), capture_output=True, text=True, timeout=PATIENCE, check=True,
        )  # fmt: skip
        assert "outboxes  1." in done.stdout and "idle 1." in done.stdout
        assert "the newest event is refused and its sender is told" in done.stdout
