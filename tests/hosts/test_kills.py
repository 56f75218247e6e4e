"""Kill -9 of the engine ten times under load; a ledger of ten thousand.

Slow: `make test-all` runs it. The fast forms are in test_two_doors; hosts are killed in test_doors_of_processes.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable

import pytest
from engines import Together, until
from test_two_doors import CHAT, event, send

from devserver.agent_network import AgentNetwork
from devserver.network.others import UNKNOWN

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


class Ledger:
    """What two agents send each other through two doors, what was accepted, what came. Each reads all the time."""

    def __init__(self, together: Together) -> None:
        self.together = together
        self.accepted: dict[str, list[int]] = {"ana": [], "bob": []}
        self.got: dict[str, list[int]] = {"ana": [], "bob": []}
        self.answered = self.unknown = 0
        self.door = {"ana": "laptop", "bob": "gpu-1"}
        self.ends = False

    def network(self, agent_id: str) -> AgentNetwork | None:
        return self.together.networks.get(self.door[agent_id])

    async def send(self, agent_id: str, other: str, most: int) -> None:
        """Send numbers to the other, and events to the mod, each until it is answered or named unknown."""
        n = 0
        while not self.ends and n < most:
            network = self.network(agent_id)
            if network is None:
                await asyncio.sleep(0.02)
                continue
            note = event("chat.note", agent_id, destination_id=f"agent:{other}", payload={"n": n})
            try:
                if (await send(network, note)).success:
                    self.accepted[other].append(n)
                answer = await send(network, event("chat.say", agent_id))
            except (RuntimeError, asyncio.CancelledError):
                answer = None  # its own host was killed: nobody is there to be answered
            if answer is not None:
                assert answer.success or (answer.data or {}).get("code") in UNKNOWN, answer
                self.answered += answer.success
                self.unknown += not answer.success
            n += 1
            await asyncio.sleep(0)

    async def read(self, agent_id: str) -> None:
        """Take what is there, as a client that polls."""
        while True:
            network = self.network(agent_id)
            agent = None if network is None else network.directory.agent(agent_id)
            if agent is not None and not agent.host:
                self.got[agent_id] += [
                    each.to_dict()["payload"]["n"]
                    for each in agent.outbox.take_nowait()
                    if each.to_dict()["event_name"] == "chat.note"
                ]
            await asyncio.sleep(0.005)

    async def run(self, work: Callable[[], Awaitable[None]], most: int = 10**6) -> None:
        """Send and read while `work` does its harm; then until all that was accepted has come."""
        reading = [asyncio.create_task(self.read(each)) for each in ("ana", "bob")]
        sending = [asyncio.create_task(self.send(*pair, most)) for pair in (("ana", "bob"), ("bob", "ana"))]
        try:
            await work()
            self.ends = most == 10**6
            await asyncio.gather(*sending)
            for each in ("ana", "bob"):
                wanted = set(self.accepted[each])
                await until(lambda each=each, wanted=wanted: wanted <= set(self.got[each]), 30)
        finally:
            # Where `work` has failed, too: what sends goes on after a cancellation, which the end of a host is for it.
            self.ends = True
            for task in (*reading, *sending):
                task.cancel()
            await asyncio.gather(*reading, *sending, return_exceptions=True)


async def begun(together: Together) -> Ledger:
    laptop = await together.author(chat=CHAT)
    gpu = await together.join("gpu-1")
    await together.all_know()
    await laptop.register_agent("ana")
    await gpu.register_agent("bob")
    await until(lambda: laptop.directory.agent("bob") is not None and gpu.directory.agent("ana") is not None)
    return Ledger(together)


async def test_ten_thousand_events_through_two_doors_over_twenty_saves(together: Together) -> None:
    """None is lost or doubled, and they come in the order in which each sender sent them."""
    ledger = await begun(together)
    author = together.networks["laptop"]

    async def saves() -> None:
        for number in range(20):
            await asyncio.sleep(0.2)  # the load goes on between saves
            file = together.folder / "laptop" / "mods" / "chat.py"
            file.write_text(file.read_text() + f"\n# {number}\n")
            answer = await author.reload_mod("chat")
            assert answer.success, answer

    await ledger.run(saves, most=5000)
    for each in ("ana", "bob"):
        assert ledger.got[each] == ledger.accepted[each] == list(range(5000))
    assert ledger.unknown == 0 and ledger.answered == 10_000


async def test_the_engine_is_killed_ten_times(together: Together) -> None:
    """Every event is answered or named unknown, and what was accepted comes, once and in order."""
    ledger = await begun(together)

    async def kills() -> None:
        for _ in range(10):
            await asyncio.sleep(0.5)  # the load goes on between kills
            os.kill(together.rig.engine.record.pid, signal.SIGKILL)
            await until(lambda: not together.rig.engine.runs)
            await together.rig.engine.start("demo")
            await until(lambda: all(each.link.connected for each in together.hosts.values()))

    await ledger.run(kills)
    for each in ("ana", "bob"):
        assert ledger.got[each] == sorted(set(ledger.got[each])), "in order and once"
        assert set(ledger.accepted[each]) <= set(ledger.got[each])
