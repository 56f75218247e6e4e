"""A hundred agents on WebSockets while mods come and go: each event arrives at each of them once, in order."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import websockets
from live import PATIENCE, Json, Live, Site, serving

AGENTS = 100
TELLER = """
    @mod_event_handler("teller.all.post")
    async def post(self, event):
        number = event.payload["n"]
        for part in range(2):
            told = {{"event_name": "teller.all.told", "payload": {{"n": 2 * number + part}}}}
            await self.send_event(Event(destination_id="agent:broadcast", **told))
            await asyncio.sleep({pause})
        return {{"version": {version}}}
"""


class Listener:
    """An agent that resumes with its secret, and the numbers that it was sent."""

    def __init__(self, live: Live, agent_id: str) -> None:
        self.agent_id = agent_id
        self.numbers: list[int] = []
        self._live = live
        self._secret: str | None = None
        self._line: Any = None
        self._answers: dict[str, Json] = {}
        self._listening: asyncio.Task[None] | None = None

    async def come(self) -> None:
        """Open a line; as admin, so that a hundred may come in one minute."""
        bearer = {"Authorization": f"Bearer {self._live.token}"}
        self._line = await websockets.connect(f"ws://127.0.0.1:{self._live.port}/ws", additional_headers=bearer)
        known = {"secret": self._secret} if self._secret is not None else {}
        await self._line.send(json.dumps({"type": "register", "agent_id": self.agent_id, **known}))
        told = json.loads(await self._line.recv())
        assert told["type"] == "registered" and told["resumed"] is bool(known), told
        self._secret = told["secret"]
        self._listening = asyncio.create_task(self._listen())

    async def go(self) -> None:
        """Cut the line, without a word."""
        self._line.transport.abort()
        assert self._listening is not None
        await self._listening

    async def ask(self, event_name: str, **values: Any) -> Json:
        """Send an event; its answer."""
        key = str(random.random())
        await self._line.send(json.dumps({"type": "send", "id": key, "event": {"event_name": event_name, **values}}))
        await until(lambda: key in self._answers)
        return self._answers.pop(key)

    async def _listen(self) -> None:
        try:
            async for raw in self._line:
                message = json.loads(raw)
                if message["type"] == "event" and "n" in message["event"]["payload"]:
                    self.numbers.append(message["event"]["payload"]["n"])
                elif message["type"] in ("response", "error"):
                    self._answers[message["id"]] = message
        except websockets.ConnectionClosed:
            return


async def until(fact: Any) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(PATIENCE):
        while not fact():  # noqa: ASYNC110 - what makes it so knows nothing of this test
            await asyncio.sleep(0.002)


@asynccontextmanager
async def crowd(live: Live) -> AsyncIterator[list[Listener]]:
    """A hundred agents that are connected."""
    listeners = [Listener(live, f"agent{number}") for number in range(AGENTS)]
    async with AsyncExitStack() as stack:
        await asyncio.gather(*(each.come() for each in listeners))
        for each in listeners:
            stack.push_async_callback(each.go)
        yield listeners


def test_an_unload_in_the_middle_of_a_broadcast_loses_and_doubles_nothing(site: Site) -> None:
    """Agents broadcast, and a mod broadcasts for them; what was acknowledged has arrived at each, once, in order."""
    site.mod("teller", TELLER.format(pause=0.001, version=1))
    with serving(site, "--no-watch") as live:
        asyncio.run(_broadcast_while_it_is_unloaded(live))


async def _broadcast_while_it_is_unloaded(live: Live) -> None:
    async with crowd(live) as listeners:
        sender, over = listeners[0], asyncio.Event()
        plain: list[int] = []
        by_mod: list[int] = []

        async def change() -> None:
            for _ in range(10):
                for command in ("unload", "load"):
                    done = await asyncio.to_thread(live.control, command, mod_path="mods.teller")
                    assert done["success"], done
            over.set()

        async def broadcast() -> None:
            number = 0
            # Some are sent in any case, also where the changes are done before.
            while not over.is_set() or number <= 20:
                number += 1
                to_all = {"destination_id": "agent:broadcast", "payload": {"n": 1_000_000 + number}}
                answer, of_mod = await asyncio.gather(
                    sender.ask("note.all.post", **to_all),
                    sender.ask("teller.all.post", destination_id="mod:teller", payload={"n": number}),
                )
                assert (answer["success"], answer["data"]["delivered"]) == (True, AGENTS - 1)
                plain.append(1_000_000 + number)
                by_mod.extend((2 * number, 2 * number + 1) if of_mod["success"] else ())

        await asyncio.gather(change(), broadcast())
        others = listeners[1:]
        await until(lambda: all(set(plain + by_mod) <= set(each.numbers) for each in others))
        assert len(plain) > 20 and by_mod
        for each in others:
            assert [number for number in each.numbers if number > 1_000_000] == plain
            mods = [number for number in each.numbers if number < 1_000_000]
            # An event of a handler that was refused half-way may have gone out: to everyone, once.
            assert mods == sorted(set(mods)) == [number for number in others[0].numbers if number < 1_000_000]


def test_agents_that_come_and_go_during_reloads_get_what_waited_for_them_once(site: Site) -> None:
    """Half of a hundred cut their lines, all are sent to while a mod reloads, the half resumes: each gets all, once."""
    site.mod("teller", TELLER.format(pause=0, version=1))
    with serving(site) as live:
        asyncio.run(_come_and_go(live))


async def _come_and_go(live: Live) -> None:
    chosen = random.Random(7)
    async with crowd(live) as listeners:
        sender, others = listeners[0], listeners[1:]
        for round_ in range(6):
            lines, away = live.descriptors(), chosen.sample(others, len(others) // 2)
            await asyncio.gather(*(each.go() for each in away))
            # What is written to a line before the server has seen that it was cut, no one can read.
            await until(lambda: live.descriptors() <= lines - len(away))  # noqa: B023 - called at once
            live.site.mod("teller", TELLER.format(pause=0, version=round_ + 2))
            sent = asyncio.gather(*(_send_to(sender, each, round_) for each in others))
            await asyncio.gather(sent, *(_come_back(each, chosen.random() * 0.02) for each in away))
            # Nor what came to an agent that cuts its line before it has read.
            await until(lambda: all(len(each.numbers) >= 3 * (round_ + 1) for each in others))  # noqa: B023
        assert {tuple(each.numbers) for each in others} == {tuple(range(18))}
        connected = {each["agent_id"] for each in live.control("status")["agents"]}
        assert connected == {each.agent_id for each in listeners}
        assert live.running()["teller"] > 1


async def _send_to(sender: Listener, to: Listener, round_: int) -> None:
    for part in range(3):
        answer = await sender.ask("note.for.one", destination_id=to.agent_id, payload={"n": 3 * round_ + part})
        assert answer["success"], answer


async def _come_back(listener: Listener, after: float) -> None:
    await asyncio.sleep(after)
    await listener.come()
