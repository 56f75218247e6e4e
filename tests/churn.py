"""Agents that come, do what agents can do, and go: `python -m tests.churn --minutes 10`.

Some end, some vanish, some are never heard again; mods are saved meanwhile. What is kept for them, as `oa-dev status
--memory` says, may not grow after two minutes, but for a tenth. The memory of the process may grow by 192 MiB: malloc
keeps what threads have freed, so that it grows by steps. At the end nothing is kept for agents that have left: an
account that is full all the time would not be seen to grow. Prints the accounts every half minute. Ends with 1 where
one has grown or is not empty, and with any other fault.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import socket
import sys
import tempfile
import threading
import time
from pathlib import Path

from websockets.sync import client as websocket

sys.path.insert(0, str(Path(__file__).parent))

from invariants import log_faults
from live import Live, Site, start

CLIENTS = 4
SETTLED = 120.0
"""Seconds after which nothing may grow: agents that were silent for longer than `agent_timeout` are gone by then. Of a
shorter run it is a third."""
ROOM = 1.1
"""How much more than before an account may have for a moment."""
SILENT = 20
"""Seconds after which an agent that says nothing is gone."""
OWNED = ("outboxes", "identities", "subscriptions", "answers", "connections")
"""The accounts of what is kept for agents."""
SPARE = {"resident": 192 << 20, "descriptors": 20}
"""How much more than before the process may have; an account, 64 KiB."""

WORK = """
    @mod_event_handler("work.item.post")
    async def post(self, event):
        return {{"version": {version}, "text": event.payload.get("text")}}
"""


class Churn:
    """One run: clients on threads, and the accounts by name, as they were every second."""

    def __init__(self, live: Live, seconds: float) -> None:
        self.live = live
        self.seen: list[tuple[float, dict[str, int]]] = []
        self.lives = 0
        self._numbers = itertools.count()
        self._began = time.monotonic()
        self._seconds = seconds
        self._failed: list[BaseException] = []

    @property
    def _age(self) -> float:
        return time.monotonic() - self._began

    def run(self) -> list[str]:
        """Churn; what has grown, and what a client met."""
        clients = [threading.Thread(target=self._client, args=(each,), daemon=True) for each in range(CLIENTS)]
        for each in clients:
            each.start()
        told = 0.0
        for version in itertools.count(1):
            if self._age >= self._seconds or self._failed:
                break
            self.live.site.mod("work", WORK.format(version=version))
            self._look()
            if self._age >= told:
                told += 30
                print(f"{self._age:.0f} s, {self.lives} lives: {self.seen[-1][1]}", flush=True)
            time.sleep(1)
        for each in clients:
            each.join()
        return [*map(repr, self._failed), *self._grown(), *self._left()]

    def _left(self) -> list[str]:
        """Return what is still kept for agents when the last of them has been gone for long."""
        latest = time.monotonic() + 3 * SILENT
        while left := {name: self.seen[-1][1][name] for name in OWNED if self.seen[-1][1][name]}:
            if time.monotonic() > latest:
                return [f"{name} keeps {size:,} of agents that have left" for name, size in left.items()]
            time.sleep(1)
            self._look()
        return []

    def _look(self) -> None:
        rows = self.live.control("status")["memory"]
        assert all(each["bytes"] <= each["most"] for each in rows), rows
        found = {each["name"]: each["bytes"] for each in rows}
        found |= {"resident": self.live.resident(), "descriptors": self.live.descriptors()}
        self.seen.append((self._age, found))

    def _grown(self) -> list[str]:
        """Return what was larger in the last quarter than ever between the second minute and half the time."""
        settled = min(SETTLED, self._seconds / 3)
        before = [found for at, found in self.seen if settled <= at <= self._seconds / 2]
        after = [found for at, found in self.seen if at >= self._seconds * 0.75]
        if not before or not after:
            return ["it was too short to show whether anything grows"]
        problems = []
        for name in self.seen[-1][1]:
            most, now = max(each.get(name, 0) for each in before), max(each.get(name, 0) for each in after)
            if now > most * ROOM + SPARE.get(name, 64 << 10):
                problems.append(f"{name} has grown from {most:,} to {now:,}")
        return problems

    def _client(self, seed: int) -> None:
        chosen = random.Random(seed)
        try:
            while self._age < self._seconds:
                self._live_one(chosen)
                self.lives += 1
                time.sleep(chosen.random() * 0.1)
        except BaseException as error:
            self._failed.append(error)

    def _live_one(self, chosen: random.Random) -> None:
        """The life of one agent."""
        agent = self.live.join(f"agent{next(self._numbers)}", trusted=True, metadata={"about": "x" * 1000})
        for _ in range(5):
            text = "y" * chosen.choice((10, 1000, 20_000))
            assert agent.send("work.item.post", {"text": text})["success"]
            # Its receiver may have gone, or never polls.
            agent.send(
                "note.for.other", {"text": text}, to=f"agent{max(0, next(self._numbers) - chosen.randint(1, 20))}"
            )
        agent.send("system.subscribe_events", {"event_patterns": [f"{agent.agent_id}.*"]})
        how = chosen.choice(("end", "silent", "vanish"))
        if how == "end":
            agent.taken()
            self.live.post("/api/unregister", agent_id=agent.agent_id, secret=agent.secret)
        elif how == "vanish":
            with websocket.connect(f"ws://127.0.0.1:{self.live.port}/ws") as line:
                line.send(json.dumps({"type": "register", "agent_id": agent.agent_id, "secret": agent.secret}))
                line.recv(60)
                line.socket.shutdown(socket.SHUT_RDWR)


def main() -> int:
    """Churn for as long as the arguments say; 1 where something has grown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    seconds = parser.parse_args().minutes * 60
    with tempfile.TemporaryDirectory() as folder:
        site = Site(Path(folder) / "network")
        site.settings = {"agent_timeout": SILENT}
        site.mod("work", WORK.format(version=0))
        site.yaml()
        live = start(site)
        live.line("ready")
        try:
            problems = Churn(live, seconds).run()
        finally:
            code = live.stop()
        failed = [each for each in live.told("outcome") if each["status"] not in ("applied", "skipped")]
        problems += [*map(str, failed), *log_faults(live.log())]
    problems += [] if code == 0 else [f"it ended with {code}"]
    print("\n".join(problems) or "nothing has grown")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
