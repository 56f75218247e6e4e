"""A network under random faults for as long as it is told: `python -m tests.soak --minutes 30`.

Fifty agents send numbered events to each other while mods are edited, broken, mended, loaded, unloaded, reloaded and
taken back, the server restarts in place, network.yaml changes, clients stall and vanish, and handlers fail, block and
hang. At the end the books have
to balance, and the process may not have grown. Prints one line of figures a minute and a summary; with `--write FILE`
the result becomes a page. Ends with 1 where something was lost.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import websockets

sys.path.insert(0, str(Path(__file__).parent))

from invariants import Ledger, log_faults
from live import Live, Site, start

AGENTS = 50
PATIENCE = 60.0
JUST = 0.5
"""Seconds about an event in which its receiver, where it cut its line, may have cut it off."""

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
        self.cuts: list[float] = []
        """When it cut its line."""
        self.sent: dict[tuple[str, int], tuple[float, float]] = {}
        """When each of its events, by receiver and number, was sent and acknowledged."""

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
            self.cuts.append(time.monotonic())
            self._line.transport.abort()

    async def post(self, to: str) -> None:
        """Send a numbered event to a peer, again and again with one event id until it is answered."""
        number, self._sent = self._sent, self._sent + 1
        event = {"event_name": "work.item.post", "destination_id": f"agent:{to}", "payload": {"n": number}}
        event["event_id"] = f"{self.agent_id}-{number}"
        began = time.monotonic()
        answer = await self.ask(event)
        self.sent[to, number] = (began, time.monotonic())
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
        self.sizes: list[int] = []
        """How many bytes the server had at the start, after each minute, and at the end."""
        self.opened: list[int] = []
        """The same of its descriptors."""

    async def run(self, seconds: float) -> list[str]:
        """Soak; what is wrong at the end."""
        listening = [asyncio.create_task(each.live_on()) for each in self._peers]
        await self._until(lambda: all(each.lines for each in self._peers))
        self._measure()
        await self._load(time.monotonic() + seconds)
        await self._settle()
        self._measure()
        for each in (*listening, *self._hanging):
            each.cancel()
        await asyncio.gather(*listening, *self._hanging, return_exceptions=True)
        return self._problems()

    def _measure(self) -> None:
        self.sizes.append(self.live.resident())
        self.opened.append(self.live.descriptors())

    async def _load(self, end: float) -> None:
        work = [asyncio.create_task(self._post(each, end)) for each in self._peers]
        work.append(asyncio.create_task(self._trouble(end)))
        try:
            async for _ in _minutes(end):
                self._measure()
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
            *(self._undo, self._configure, self._vanish, self._stall, self._misbehave, self._garbage, self._restart),
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

    async def _undo(self) -> None:
        await asyncio.to_thread(self.live.control, "undo", mods=["work"])

    async def _configure(self) -> None:
        site = self.live.site
        site.mods = [{"name": "mods.other", "config": {"number": self._version}}, "mods.work"]
        self._chosen.shuffle(site.mods)
        site.yaml()

    async def _unload_and_load(self) -> None:
        for command in ("unload", "load"):
            await asyncio.to_thread(self.live.control, command, mod_path="mods.other")

    async def _restart(self) -> None:
        """A restart in place: lines, events and remembered answers have to outlive it."""
        mark = len(self.live.lines)
        await asyncio.to_thread(self.live.control, "restart")
        await self._until(lambda: self._restarted(mark))

    def _restarted(self, mark: int) -> bool:
        # One that has to wait says so, and is none.
        told = [each for each in self.live.lines[mark:] if each["type"] in ("restart", "plan")]
        return any(each["type"] == "restart" or (each["restart"] or {}).get("waits") for each in told)

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
            await self._until(lambda: not self.unexcused())
        except TimeoutError:
            return  # what is lost will be said

    def lost(self) -> list[tuple[str, str, int]]:
        """What was acknowledged and never arrived: sender, receiver, number."""
        lost = []
        for way, sent in self.ledger.acknowledged.items():
            sender, _, receiver = way.partition(" to ")
            arrived = self.ledger.arrived.get((receiver, way), [])
            lost += [(sender, receiver, number) for number in sorted(set(sent) - set(arrived))]
        return lost

    def unexcused(self) -> list[tuple[str, str, int]]:
        """Of what was lost, that whose receiver did not just then cut its line: what is on it then, no one reads."""
        peers = {each.agent_id: each for each in self._peers}
        return [
            (sender, receiver, number)
            for sender, receiver, number in self.lost()
            if not _any_within(peers[receiver].cuts, *peers[sender].sent[receiver, number])
        ]

    async def _until(self, fact: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not fact():  # noqa: ASYNC110 - no event tells of it
                await asyncio.sleep(0.05)

    def figures(self) -> str:
        """How far it is, in a line."""
        sent = sum(len(each) for each in self.ledger.acknowledged.values())
        trouble = ", ".join(f"{count} × {name}" for name, count in sorted(self.done.items()))
        lost, resident = len(self.lost()), self.live.resident() >> 20
        counts = f"{sent} events, {lost} on their way or on lines that were cut"
        return f"{counts}; {resident} MiB, {self.live.descriptors()} descriptors; {trouble}"

    def twice(self) -> int:
        """How many events arrived more than once."""
        return sum(len(numbers) - len(set(numbers)) for numbers in self.ledger.arrived.values())

    def _problems(self) -> list[str]:
        found = [f"lost: {number} of {sender} to {receiver}" for sender, receiver, number in self.unexcused()[:10]]
        found += [f"{self.twice()} events arrived twice"] if self.twice() else []
        found += [f"refused: {each}" for each in self.ledger.refused[:10]]
        found += [f"in the log: {each}" for each in log_faults(self.live.log())[:10]]
        if self.sizes[-1] - self.sizes[0] > 64 << 20:
            found.append(f"grown from {self.sizes[0] >> 20} to {self.sizes[-1] >> 20} MiB")
        if self.opened[-1] > self.opened[0] + 20:
            found.append(f"{self.opened[-1] - self.opened[0]} more descriptors")
        return found if self.live.healthy() else [*found, "it does not answer"]


def _any_within(cuts: list[float], began: float, ended: float) -> bool:
    """Whether one of these times lies about where something began and ended."""
    return any(began - JUST <= cut <= ended + JUST for cut in cuts)


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
    parser.add_argument("--write", type=Path, metavar="FILE", help="the page that says what came of it")
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        return _soaked(Site(Path(folder) / "network"), arguments.minutes, arguments.seed, arguments.write)


def _soaked(site: Site, minutes: float, seed: int, page: Path | None) -> int:
    site.mod("work", WORK.format(version=0, pause=0))
    site.mod("other", "@mod_event_handler('*')\nasync def see(self, event):\n    await asyncio.sleep(0)")
    site.dev = {"limits": {"handler": 2, "linger": 2}}
    site.yaml()
    live = start(site)
    live.line("ready")
    soak = Soak(live, seed)
    try:
        problems = asyncio.run(soak.run(minutes * 60))
        print(soak.figures())
    finally:
        code = live.stop()
    problems += [] if code == 0 else [f"it ended with {code}"]
    print("\n".join(problems) or f"nothing lost, nothing twice, {minutes:g} minutes")
    if page is not None:
        page.write_text(_page(soak, minutes, seed, problems), encoding="utf-8")
    return 1 if problems else 0


def _page(soak: Soak, minutes: float, seed: int, problems: list[str]) -> str:
    """The result for people, as Markdown."""
    sent = sum(len(each) for each in soak.ledger.acknowledged.values())
    outcomes = Counter((each["action"], each["status"]) for each in soak.live.told("outcome"))
    rows = {
        "When, how long": f"{datetime.now(UTC):%Y-%m-%d}, {minutes:g} minutes, seed {seed}",
        "Machine": _machine(),
        "Agents": f"{AGENTS} on WebSockets, each sending to another five times a second or so",
        "Events acknowledged": f"{sent:,}",
        "Lost": f"{len(soak.unexcused())}",
        "On lines that their receiver had just cut": f"{len(soak.lost()) - len(soak.unexcused())}",
        "Arrived twice": f"{soak.twice()}",
        "Refused to their sender": f"{len(soak.ledger.refused)}",
        "Changes of mods": ", ".join(f"{n:,} × {action} {status}" for (action, status), n in sorted(outcomes.items())),
        "Faults and changes asked for": ", ".join(f"{n:,} × {name}" for name, n in sorted(soak.done.items())),
        "Errors of mods told": f"{len(soak.live.told('mod_error')):,} lines",
        "Memory": _course([size >> 20 for size in soak.sizes], "MiB"),
        "Descriptors": _course(soak.opened, "open"),
        "Faults in the log": f"{len(log_faults(soak.live.log()))}",
        "Verdict": "; ".join(problems) or "nothing lost, nothing twice",
    }
    table = "\n".join(f"| {name} | {words} |" for name, words in rows.items())
    return f"{_HEAD}\n| | |\n|---|---|\n{table}\n"


_HEAD = """# Half an hour under faults

Written by `make soak` (`tests/soak.py`): a real server, agents that send each other numbered events, and a fault or a
change of code every quarter of a second. The books of what was acknowledged and what arrived are compared at the end.
Bytes on a WebSocket that its receiver cuts off without a word are lost, and counted apart.
"""


def _machine() -> str:
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 30
    system = f"{platform.system()} {'.'.join(platform.release().split('.')[:2])}"
    return f"{os.cpu_count()} cores, {memory} GiB, {system}, Python {platform.python_version()}"


def _course(numbers: list[int], unit: str) -> str:
    """How something went from the start over the first five minutes to the end."""
    early = f", {numbers[5]} after five minutes" if len(numbers) > 6 else ""
    return f"{numbers[0]} {unit} at the start{early}, {numbers[-1]} at the end, {max(numbers)} at most"


if __name__ == "__main__":
    sys.exit(main())
