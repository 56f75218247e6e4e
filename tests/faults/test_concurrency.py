"""Many at once: each request is answered, changes come one after the other, and agents get what was acknowledged."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import pairwise

import pytest
import websockets.sync.client as websocket
from invariants import Ledger
from live import Agent, Json, Live, Site, Wire, serving

COUNTER = """
    @mod_event_handler("work.version.get")
    async def version(self, event):
        self.state["asked"] = self.state.get("asked", 0) + 1
        return {{"version": {0}, "asked": self.state["asked"]}}
"""


def test_a_hundred_requests_at_once_are_serialised(site: Site) -> None:
    """Load, unload and reload of one mod from two clients, with saves between: one instance, generations that rise."""
    site.mod("work", COUNTER.format(0))
    with serving(site) as live, ThreadPoolExecutor(3) as pool:
        ana = live.join("ana")

        def client(seed: int) -> list[tuple[str, Json]]:
            chosen = random.Random(seed)
            kinds = [chosen.choice(["load", "unload", "reload", "reload"]) for _ in range(50)]
            return [(kind, live.control(kind, **asked(kind))) for kind in kinds]

        def save() -> None:
            for number in range(1, 30):
                site.mod("work", COUNTER.format(number))
                live.healthy()

        clients = [pool.submit(client, seed) for seed in (1, 2)]
        pool.submit(save).result()
        answers = [each for done in clients for each in done.result()]
        live.control("load", mod_path="mods.work")
        mark = live.mark()
        site.mod("work", COUNTER.format(99))
        live.line("outcome", mark, mod_id="work", status="applied")
        # The line may be of a save before it.
        live.until(lambda: ana.send("work.version.get")["data"]["version"] == 99)
    assert len(answers) == 100
    assert [answer for _, answer in answers if "outcomes" not in answer] == []
    applied = live.told("outcome", mod_id="work", status="applied")
    brought = [each["generation"] for each in applied if each["action"] in ("load", "reload")]
    # Strictly: no two builds had one number, none came late.
    assert brought == sorted(set(brought))
    assert brought == list(range(1, len(brought) + 1))
    # No load came twice without an unload between, for any caller.
    changes = [each["action"] for each in applied if each["action"] in ("load", "unload")]
    assert all(one != other for one, other in pairwise(changes))


def asked(kind: str) -> Json:
    """The body of a request."""
    return {"mods": ["mods.work"]} if kind == "reload" else {"mod_path": "mods.work"}


def test_of_two_loads_at_once_one_loads(site: Site) -> None:
    """The other is told that the mod runs, and as which generation; there is one instance."""
    site.mod("work", COUNTER.format(1), listed=False)
    with serving(site) as live, ThreadPoolExecutor(2) as pool:
        for _ in range(25):
            barrier = threading.Barrier(2)

            def load(at: threading.Barrier = barrier) -> Json:
                at.wait()
                return live.control("load", mod_path="mods.work")

            both = [pool.submit(load) for _ in range(2)]
            answers = sorted((each.result() for each in both), key=lambda each: each["success"])
            assert [each["success"] for each in answers] == [False, True]
            assert answers[0]["outcomes"][0]["generation"] == answers[1]["outcomes"][0]["generation"]
            assert list(live.running()) == ["work"]
            assert live.control("unload", mod_path="mods.work")["success"] is True


@pytest.mark.parametrize("pause", [0.0, 0.02, 2.0], ids=["at once", "20 ms", "2 s"])
def test_a_slow_start_makes_no_gap(site: Site, pause: float) -> None:
    """Events that come while the new generation starts are answered, by it or by the one before."""
    start = f"async def initialize(self):\n    await asyncio.sleep({pause})\n    return True"
    site.mod("work", start, COUNTER.format(1))
    with serving(site) as live, ThreadPoolExecutor(4) as pool:
        answers, stop = senders(live, pool, 4)
        for _ in range(2 if pause > 1 else 10):
            assert live.control("reload", mods=["work"])["success"] is True
        stop()
    assert [each for each in answers if not each["success"]] == []
    assert sorted(each["data"]["asked"] for each in answers) == list(range(1, len(answers) + 1))


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("taskset") is None, reason="needs taskset")
def test_a_server_without_a_core_of_its_own_keeps_its_promises(site: Site) -> None:
    """It shares one with two loops that never rest: slower, and nothing fails, and the last save is served."""
    site.mod("work", COUNTER.format(0))
    loops = [subprocess.Popen(["taskset", "-c", "0", "sh", "-c", "while :; do :; done"]) for _ in range(2)]
    try:
        with serving(site, wrapper=("taskset", "-c", "0")) as live, ThreadPoolExecutor(4) as pool:
            answers, stop = senders(live, pool, 4)
            for number in range(1, 31):
                mark = live.mark()
                site.mod("work", COUNTER.format(number))
                assert live.line("outcome", mark, mod_id="work")["status"] == "applied"
            stop()
            assert answers[-1]["success"] and live.join("last").send("work.version.get")["data"]["version"] == 30
    finally:
        for each in loops:
            each.kill()
            each.wait()
    assert [each for each in answers if not each["success"]] == []
    assert sorted(each["data"]["asked"] for each in answers) == list(range(1, len(answers) + 1))


def senders(live: Live, pool: ThreadPoolExecutor, count: int) -> tuple[list[Json], Callable[[], None]]:
    """So many agents that ask all the time; their answers, and the function that stops them."""
    over, answers = threading.Event(), []

    def ask(agent: Agent) -> None:
        while not over.wait(0.002):
            answers.append(agent.send("work.version.get"))

    asking = [pool.submit(ask, live.join(f"a{number}")) for number in range(count)]

    def stop() -> None:
        over.set()
        for each in asking:
            each.result()

    return answers, stop


class Listener:
    """An agent on a WebSocket that notes the numbers that reach it."""

    def __init__(self, live: Live, agent_id: str, ledger: Ledger) -> None:
        self.agent_id = agent_id
        self._ledger = ledger
        self._open = ExitStack()
        self._line = self._open.enter_context(websocket.connect(f"ws://127.0.0.1:{live.port}/ws", open_timeout=30))
        self.tell({"type": "register", "agent_id": agent_id})
        assert self.hear()["type"] == "registered"

    def tell(self, message: Json) -> None:
        """Send a message."""
        self._line.send(json.dumps(message))

    def hear(self) -> Json:
        """The next message."""
        return dict(json.loads(self._line.recv(timeout=30)))

    def listen_to(self, sender: str, last: int) -> None:
        """Note the events of a sender until the one with the number `last` is there."""
        while True:
            message = self.hear()
            event = message.get("event", {})
            if event.get("source_id") == sender:
                self._ledger.arrive(self.agent_id, sender, event["payload"]["n"])
                if event["payload"]["n"] == last:
                    return

    def close(self) -> None:
        """End the line."""
        self._open.close()


def test_what_one_sends_arrives_in_order_through_reloads(site: Site) -> None:
    """Numbered events to a hundred agents, while mods on their way are reloaded and unloaded: each once, in order."""
    site.mod("work", "@mod_event_handler('*')\nasync def see(self, event):\n    await asyncio.sleep(0)")
    site.mod("other", "@mod_event_handler('note.*')\ndef see(self, event):\n    pass")
    site.settings = {"max_connections": 500}
    ledger, count = Ledger(), 300
    with serving(site) as live, ThreadPoolExecutor(64) as pool:
        listeners = [Listener(live, f"l{number}", ledger) for number in range(50)]
        ana = live.join("ana")
        hearing = [pool.submit(each.listen_to, "ana", count - 1) for each in listeners]
        for number in range(count):
            if number % 30 == 10:
                pool.submit(live.control, "reload", mods=["work"])
            if number % 60 == 20:
                pool.submit(live.control, "unload", mod_path="mods.other")
            if number % 60 == 40:
                pool.submit(live.control, "load", mod_path="mods.other")
            ledger.answer("ana", number, ana.send("note.for.all", {"n": number}, to="agent:broadcast"))
        for each in hearing:
            each.result(60)
        for listener in listeners:
            listener.close()
        assert (ledger.refused, ledger.faults(f"l{n}" for n in range(50))) == ([], {})


def test_an_event_that_runs_in_a_circle_is_stopped(site: Site) -> None:
    """Both mods are named, and afterwards both still answer."""
    for one, other in (("ping", "pong"), ("pong", "ping")):
        site.mod(
            one,
            f"""
            @mod_event_handler("{one}.ball.hit")
            async def hit(self, event):
                hits = event.payload.get("hits", 0) + 1
                answer = await self.send_event(Event(event_name="{other}.ball.hit", payload={{"hits": hits}}))
                return {{"hits": hits, "last": answer.message, **(answer.data or {{}})}}

            @mod_event_handler("{one}.hello.get")
            async def hello(self, event):
                return True
            """,
        )
    with serving(site) as live:
        ana = live.join("ana")
        answer = ana.send("ping.ball.hit")
        assert answer["data"]["code"] == "too_many_hops"
        assert answer["data"]["hits"] <= 33
        assert "ping → pong" in answer["data"]["last"]
        assert [ana.send(f"{name}.hello.get")["success"] for name in ("ping", "pong")] == [True, True]


def test_a_mod_that_reloads_itself_does_not_wait_for_itself(site: Site) -> None:
    """Nor one that unloads another; the request comes after the handler, and is answered."""
    site.mod(
        "work",
        """
        @mod_event_handler("work.again.do")
        async def again(self, event):
            self.state["times"] = self.state.get("times", 0) + 1
            self.create_task(self.network.reload_mod("work"))
            return {"times": self.state["times"]}
        """,
    )
    with serving(site) as live:
        ana = live.join("ana")
        for number in range(1, 21):
            assert ana.send("work.again.do")["data"] == {"times": number}
        live.until(lambda: live.running().get("work", 0) == 21)


def test_a_flood_of_handlers_that_never_answer_ends(site: Site) -> None:
    """Each sender is told, and the mod beside answers meanwhile and afterwards."""
    site.dev = {"limits": {"handler": 1}}
    site.mod("hang", "@mod_event_handler('hang.on.do')\nasync def hang(self, event):\n    await asyncio.Event().wait()")
    site.mod("work", "@mod_event_handler('work.hello.get')\nasync def hello(self, event):\n    return True")
    with serving(site) as live, ThreadPoolExecutor(50) as pool:
        ana = live.join("ana")
        hanging = [pool.submit(ana.send, "hang.on.do") for _ in range(50)]
        while not all(each.done() for each in hanging):
            assert ana.send("work.hello.get")["success"] is True
        assert {each.result()["data"]["code"] for each in hanging} == {"handler_timeout"}


def test_a_handler_that_fails_all_the_time_costs_no_memory(site: Site) -> None:
    """Each of sixteen hundred events gets its answer, the log is short; the second half takes no more memory."""
    site.mod("work", "@mod_event_handler('work.fail.do')\nasync def fail(self, event):\n    raise ValueError('no')")
    with serving(site) as live, ThreadPoolExecutor(4) as pool:
        wires = [(live.join(f"a{number}"), live.wire()) for number in range(4)]

        def fail(agent: Agent, wire: Wire) -> set[str]:
            return {over(wire, live, agent, "work.fail.do")["data"]["code"] for _ in range(200)}

        assert [pool.submit(fail, *each).result() for each in wires] == [{"mod_error"}] * 4
        before = live.resident()
        assert [pool.submit(fail, *each).result() for each in wires] == [{"mod_error"}] * 4
        assert live.resident() - before < 4 << 20
        assert len(live.log()) < 64 * 1024


def over(wire: Wire, live: Live, agent: Agent, event_name: str) -> Json:
    """Send an event over a connection that is kept; its answer."""
    body = json.dumps({"event_name": event_name, "source_id": agent.agent_id, "secret": agent.secret, "payload": {}})
    head = f"POST /api/send_event HTTP/1.1\r\nHost: 127.0.0.1:{live.port}\r\nContent-Type: application/json\r\n"
    wire.send(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
    answer = dict(wire.answer().json)
    assert "data" in answer, answer
    return answer


SERVED = """
    @mod_event_handler("work.version.get")
    async def version(self, event):
        return EventResponse(True, data={{"version": {version}}})
"""


def stale(answer: Json) -> tuple[str, int]:
    """The code of a refusal, and the generation that it says is running."""
    assert answer["success"] is False
    return answer["code"], answer["generation"]


def test_who_asks_with_what_another_has_changed_since_is_refused_and_nothing_is_done(site: Site) -> None:
    """The generation that was seen travels with every request: 409 and the one that runs, or the event's code."""
    site.mod("work", SERVED.format(version=1))
    site.dev = {"grants": {"tester": ["mods:write"]}}
    with serving(site, "--no-watch") as live:
        tester, bearer = live.join("tester", trusted=True), {"Authorization": f"Bearer {live.token}"}
        seen = live.running()["work"]
        site.mod("work", SERVED.format(version=2))
        assert live.control("reload", mods=["work"], generation=seen)["success"] is True
        site.mod("work", SERVED.format(version=3))
        by_path = {"reload": {"mods": ["work"]}, "undo": {"mods": ["mods.work"]}, "unload": {"mod_path": "work"}}
        for path, values in (by_path | {"load": {"mod_path": "mods.work"}}).items():
            answer = live.request("POST", f"/_dev/{path}", {**values, "generation": seen}, bearer)
            assert (answer.status, *stale(answer.json)) == (409, "stale_generation", seen + 1)
        for command in ("reload", "unload", "load"):
            answer = tester.send(f"system.mod.{command}", {"mod_path": "mods.work", "generation": seen})
            assert (answer["success"], stale({"success": False, **answer["data"]})[1]) == (False, seen + 1)
        assert live.running() == {"work": seen + 1}
        assert tester.send("work.version.get")["data"] == {"version": 2}
        assert live.control("unload", mod_path="work", generation=seen + 1)["success"] is True
        assert stale(live.control("unload", mod_path="mods.work", generation=seen + 1)) == ("stale_generation", 0)
        assert live.control("load", mod_path="mods.work", generation=0)["success"] is True
        assert live.running() == {"work": seen + 2}


def test_of_two_who_saw_the_same_generation_one_is_heard(site: Site) -> None:
    """They ask at the same moment; what one has done the other has not seen."""
    site.mod("work", SERVED.format(version=1))
    with serving(site, "--no-watch") as live:
        for _ in range(20):
            seen = live.running()["work"]
            with ThreadPoolExecutor(2) as both:
                asked = [both.submit(live.control, "reload", mods=["work"], generation=seen) for _ in range(2)]
            answers = sorted((each.result() for each in asked), key=lambda answer: answer["success"])
            assert [each["success"] for each in answers] == [False, True]
            assert stale(answers[0]) == ("stale_generation", seen + 1)
            assert live.running() == {"work": seen + 1}
