"""A network under random faults for as long as it is told: `python -m tests.soak --minutes 30`.

Fifty agents send numbered events to each other while mods are edited, broken, mended, loaded, unloaded and reloaded,
clients stall and vanish, and handlers fail, block and hang. At the end the books have to balance, and the process may
not have grown. Prints one line of figures a minute and a summary; ends with 1 where something was lost.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import websockets

sys.path.insert(0, str(Path(__file__).parent))

from invariants import Ledger, log_faults
from live import Live, Site, start

AGENTS = 50
PATIENCE = 60.0

WORK = """
    @mod_event_handler("work.item.post")
    async def post(self, event):
        self.state["posted"] = self.state.get("posted", 0) + 1
        await asyncio.sleep({pause})
        return None if event.destination_id else {{"version": {version}}}

    @mod_event_handler("work.fail.do")
    async def fail(self, event):
        raise RuntimeError("asked to fail")

    @mod_event_handler("work.block.do")
    async def block(self, event):
        time.sleep(0.2)

    @mod_event_handler("work.hang.do")
    async def hang(self, event):
        await asyncio.sleep(3600)
"""
BROKEN = ("def (", "raise ValueError('no')", "import nothing_of_that_name", "raise SystemExit(3)")


class Peer:
    """An agent on a WebSocket that answers for itself: it resumes with its secret when its line ends."""

    def __init__(self, live: Live, agent_id: str, ledger: Ledger) -> None:
        self.agent_id = agent_id
        self._live, self._ledger = live, ledger
        self._secret: str | None = None
        self._line: Any = None
        self._waiting: dict[str, asyncio.Future[dict[str, Any]]] = {}
        self._sent = 0
        self.lines = 0
        self.vanished = 0

    async def live_on(self) -> None:
        """Be connected, and listen."""
        while True:
            try:
                async with websockets.connect(f"ws://127.0.0.1:{self._live.port}/ws") as line:
                    await self._begin(line)
                    async for raw in line:
                        self._take(json.loads(raw))
            except (OSError, websockets.ConnectionClosed):
                self._fail_waiting()

    async def _begin(self, line: Any) -> None:
        known = {"secret": self._secret} if self._secret is not None else {}
        await line.send(json.dumps({"type": "register", "agent_id": self.agent_id, **known}))
        answer = json.loads(await line.recv())
        if answer["type"] != "registered":
            raise OSError(answer["message"])
        self._secret, self._line = answer["secret"], line
        self.lines += 1

    def _take(self, message: dict[str, Any]) -> None:
        if message["type"] == "event" and "n" in message["event"]["payload"]:
            event = message["event"]
            self._ledger.arrive(self.agent_id, f"{event['source_id']} to {self.agent_id}", event["payload"]["n"])
        elif message["type"] in ("response", "error") and message.get("id") in self._waiting:
            self._waiting.pop(message["id"]).set_result(message)

    def _fail_waiting(self) -> None:
        waiting, self._waiting = self._waiting, {}
        for each in waiting.values():
            each.cancel()

    async def vanish(self) -> None:
        """End the line without a word."""
        if self._line is not None:
            self.vanished += 1
            self._line.transport.abort()

    async def post(self, to: str) -> None:
        """Send a numbered event to a peer, again and again with one event id until it is answered."""
        number, self._sent = self._sent, self._sent + 1
        event = {"event_name": "work.item.post", "destination_id": f"agent:{to}", "payload": {"n": number}}
        event["event_id"] = f"{self.agent_id}-{number}"
        answer = await self.ask(event)
        self._ledger.answer(f"{self.agent_id} to {to}", number, answer)

    async def ask(self, event: dict[str, Any]) -> dict[str, Any]:
        """The answer to an event; an event that a line took with it is sent again on the next."""
        async with asyncio.timeout(PATIENCE):
            while True:
                key = f"{self.agent_id} {random.random()}"
                waiting = self._waiting[key] = asyncio.get_running_loop().create_future()
                try:
                    await self._line.send(json.dumps({"type": "send", "id": key, "event": event}))
                    return await waiting
                except (websockets.ConnectionClosed, AttributeError):
                    self._waiting.pop(key, None)
                    await asyncio.sleep(0.05)
                except asyncio.CancelledError:
                    if not waiting.cancelled():
                        raise


class Soak:
    """One run."""

    def __init__(self, live: Live, seed: int) -> None:
        self.live = live
        self.ledger = Ledger()
        self.done: Counter[str] = Counter()
        self._chosen = random.Random(seed)
        self._version = 0
        self._peers = [Peer(live, f"peer{number}", self.ledger) for number in range(AGENTS)]
        self._hanging: set[asyncio.Task[Any]] = set()

    async def run(self, seconds: float) -> list[str]:
        """Soak; what is wrong at the end."""
        listening = [asyncio.create_task(each.live_on()) for each in self._peers]
        await self._until(lambda: all(each.lines for each in self._peers))
        before = self.live.resident(), self.live.descriptors()
        await self._load(time.monotonic() + seconds)
        await self._settle()
        for each in (*listening, *self._hanging):
            each.cancel()
        await asyncio.gather(*listening, *self._hanging, return_exceptions=True)
        return self._problems(*before)

    async def _load(self, end: float) -> None:
        work = [asyncio.create_task(self._post(each, end)) for each in self._peers]
        work.append(asyncio.create_task(self._trouble(end)))
        try:
            async for _ in _minutes(end):
                print(self.figures(), flush=True)
            await asyncio.gather(*work)
        finally:
            for each in work:
                each.cancel()

    async def _post(self, peer: Peer, end: float) -> None:
        others = [each.agent_id for each in self._peers if each is not peer]
        while time.monotonic() < end:
            await peer.post(self._chosen.choice(others))
            await asyncio.sleep(self._chosen.random() * 0.2)

    async def _trouble(self, end: float) -> None:
        kinds: list[Callable[[], Awaitable[object]]] = [
            *(self._edit, self._edit, self._break, self._reload, self._unload_and_load),
            *(self._vanish, self._stall, self._misbehave, self._garbage),
        ]
        while time.monotonic() < end:
            kind = self._chosen.choice(kinds)
            self.done[kind.__name__.strip("_")] += 1
            await kind()
            await asyncio.sleep(self._chosen.random() * 0.5)

    async def _edit(self) -> None:
        self._version += 1
        pause = self._chosen.choice([0, 0, 0.001, 0.05])
        self.live.site.mod("work", WORK.format(version=self._version, pause=pause))

    async def _break(self) -> None:
        self.live.site.mod("work", WORK.format(version=-1, pause=0), head=self._chosen.choice(BROKEN))
        await asyncio.sleep(0.1)
        await self._edit()

    async def _reload(self) -> None:
        await asyncio.to_thread(self.live.control, "reload", mods=[])

    async def _unload_and_load(self) -> None:
        for command in ("unload", "load"):
            await asyncio.to_thread(self.live.control, command, mod_path="mods.other")

    async def _vanish(self) -> None:
        await self._chosen.choice(self._peers).vanish()

    async def _stall(self) -> None:
        wire = self.live.wire()
        wire.send(b"POST /api/register HTTP/1.1\r\nHost:")
        await asyncio.sleep(0.2)
        wire.close()

    async def _misbehave(self) -> None:
        name = self._chosen.choice(["work.fail.do", "work.block.do", "work.hang.do"])
        task = asyncio.create_task(self._chosen.choice(self._peers).ask({"event_name": name, "payload": {}}))
        self._hanging.add(task)
        task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
        task.add_done_callback(self._hanging.discard)

    async def _garbage(self) -> None:
        wire = self.live.wire()
        wire.send(self._chosen.randbytes(300) + b"\r\n\r\n")
        wire.close()

    async def _settle(self) -> None:
        try:
            await self._until(lambda: not self._lost())
        except TimeoutError:
            return  # what is lost will be said

    def _lost(self) -> list[str]:
        """What was acknowledged and never arrived, as "sender to receiver"; once for each event."""
        lost = []
        for way, sent in self.ledger.acknowledged.items():
            arrived = self.ledger.arrived.get((way.partition(" to ")[2], way), [])
            lost += [way] * len(set(sent) - set(arrived))
        return lost

    def _never_excused(self) -> list[str]:
        """Of what was lost, that for which no line was cut on which it may just have been."""
        cut = {each.agent_id for each in self._peers if each.vanished}
        return [way for way in self._lost() if way.partition(" to ")[2] not in cut]

    async def _until(self, fact: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not fact():  # noqa: ASYNC110 - nobody tells of it
                await asyncio.sleep(0.05)

    def figures(self) -> str:
        """How far it is, in a line."""
        sent = sum(len(each) for each in self.ledger.acknowledged.values())
        trouble = ", ".join(f"{count} × {name}" for name, count in sorted(self.done.items()))
        lost, resident = len(self._lost()), self.live.resident() >> 20
        counts = f"{sent} events, {lost} on their way or on lines that were cut"
        return f"{counts}; {resident} MiB, {self.live.descriptors()} descriptors; {trouble}"

    def _problems(self, resident: int, descriptors: int) -> list[str]:
        found = [f"lost: {way}" for way in self._never_excused()]
        if len(self._lost()) > self.done["vanish"]:
            found.append(f"{len(self._lost())} events were lost with {self.done['vanish']} lines")
        pairs = [numbers for numbers in self.ledger.arrived.values() if len(numbers) != len(set(numbers))]
        found += [f"{len(pairs)} pairs of agents got an event twice"] if pairs else []
        found += [f"refused: {each}" for each in self.ledger.refused[:10]]
        found += [f"in the log: {each}" for each in log_faults(self.live.log())[:10]]
        if self.live.resident() - resident > 64 << 20:
            found.append(f"grown from {resident >> 20} to {self.live.resident() >> 20} MiB")
        if self.live.descriptors() > descriptors + 20:
            found.append(f"{self.live.descriptors() - descriptors} more descriptors")
        return found if self.live.healthy() else [*found, "it does not answer"]


async def _minutes(end: float) -> Any:
    """Comes around once a minute until the end."""
    while (left := end - time.monotonic()) > 0:
        await asyncio.sleep(min(60.0, left))
        yield left


def main() -> int:
    """Soak as the arguments say; 1 where something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        return _soaked(Site(Path(folder) / "network"), arguments.minutes * 60, arguments.seed)


def _soaked(site: Site, seconds: float, seed: int) -> int:
    site.mod("work", WORK.format(version=0, pause=0))
    site.mod("other", "@mod_event_handler('*')\nasync def see(self, event):\n    await asyncio.sleep(0)")
    site.dev = {"limits": {"handler": 2, "linger": 2}}
    site.yaml()
    live = start(site)
    live.line("ready")
    soak = Soak(live, seed)
    try:
        problems = asyncio.run(soak.run(seconds))
        print(soak.figures())
    finally:
        code = live.stop()
    problems += [] if code == 0 else [f"it ended with {code}"]
    print("\n".join(problems) or f"nothing lost, nothing twice, {seconds / 60:g} minutes")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
