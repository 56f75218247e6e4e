"""R1 to R10: the reliability defects of openagents 0.8.6 do not exist here, in a real server."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from live import Json, Live, Site, serving

VERSION = """
    @mod_event_handler("work.version.get")
    async def version(self, event):
        self.state["asked"] = self.state.get("asked", 0) + 1
        return EventResponse(True, data={{"version": {0}, "asked": self.state["asked"]}})
"""


def version(live: Live, number: int) -> dict[str, object]:
    """What an event to the mod brings."""
    return live.join(f"asker-{number}").send("work.version.get")


def test_r1_a_mod_unloaded_by_its_short_id_is_gone(site: Site) -> None:
    """No event reaches it any more, no list names it, and a load brings one that works."""
    site.mod("work", VERSION.format(1))
    with serving(site) as live:
        ana = live.join("ana")
        assert live.control("unload", mod_path="work")["success"] is True
        assert live.running() == {}
        assert ana.send("work.version.get")["data"] == {"delivered": 0}
        assert ana.send("system.list_mods")["data"]["mods"] == []
        assert live.control("load", mod_path="mods.work")["success"] is True
        assert ana.send("work.version.get")["data"] == {"version": 1, "asked": 1}


def test_r2_edit_unload_load_serves_the_edit(site: Site) -> None:
    """Also for an edit that is as long as the old text and came within the same second."""
    site.mod("work", VERSION.format(0))
    with serving(site, "--no-watch") as live:
        ana = live.join("ana")
        for number in range(1, 10):
            live.control("unload", mod_path="mods.work")
            site.mod("work", VERSION.format(number))
            live.control("load", mod_path="mods.work")
            assert ana.send("work.version.get")["data"]["version"] == number


def test_r3_reloads_of_a_mod_in_use_fail_no_event(site: Site) -> None:
    """Four senders ask all the time while it is reloaded forty times; every answer is there and none is an error."""
    site.mod("work", VERSION.format(1))
    with serving(site) as live, ThreadPoolExecutor(4) as pool:
        over = threading.Event()
        answers: list[Json] = []

        def ask(name: str) -> None:
            agent = live.join(name)
            while not over.wait(0.002):  # without a pause they would take what the server needs
                answers.append(agent.send("work.version.get"))

        asking = [pool.submit(ask, f"a{number}") for number in range(4)]
        done = [live.control("reload", mods=["work"]) for _ in range(40)]
        over.set()
        for each in asking:
            each.result()
    assert [each["outcomes"][0]["generation"] for each in done] == list(range(2, 42))
    assert [each for each in answers if not each["success"]] == []
    # The state went along each time: nothing was counted twice or forgotten.
    assert sorted(each["data"]["asked"] for each in answers) == list(range(1, len(answers) + 1))


def test_r4_a_failed_start_leaves_nothing_behind(site: Site) -> None:
    """Each of ten that fail after they have started a thread is shut down, once."""
    site.mod(
        "work",
        """
        def initialize(self):
            self.over = threading.Event()
            self.thread = threading.Thread(target=self.over.wait, daemon=True)
            self.thread.start()
            raise RuntimeError("no")

        def shutdown(self):
            self.over.set()
            self.thread.join()
            with open(os.path.join(self.config["folder"], "ended"), "a") as log:
                log.write("ended\\n")
        """,
        head="import threading",
    )
    site.mods = [{"name": "mods.work", "config": {"folder": str(site.folder)}}]
    with serving(site) as live:
        before = live.threads()
        for _ in range(9):
            assert live.control("load", mod_path="mods.work", config={"folder": str(site.folder)})["success"] is False
        assert (site.folder / "ended").read_text() == "ended\n" * 10
        # The server's own pool may have grown by a few; a leak would be one for each attempt.
        assert live.threads() < before + 9


STARTS = {
    "False": ("def initialize(self): return False", False),
    "None": ("def initialize(self): return None", True),
    "1": ("def initialize(self): return 1", True),
    "a coroutine": ("async def initialize(self): self.ready = True", True),
    "a coroutine that says False": ("async def initialize(self): return False", False),
}


@pytest.mark.parametrize("case", STARTS)
def test_r5_what_initialize_returns_counts(site: Site, case: str) -> None:
    """False refuses the load, a coroutine is awaited, anything else is a start."""
    body, starts = STARTS[case]
    site.mod("work", body, VERSION.format('getattr(self, "ready", None)'))
    with serving(site) as live:
        assert list(live.running()) == (["work"] if starts else [])
        wanted = {"version": case == "a coroutine" or None, "asked": 1} if starts else {"delivered": 0}
        assert version(live, 1)["data"] == wanted


def while_waiting(live: Live, work: Callable[[], object], started: str) -> tuple[object, int]:
    """Run what takes long; from when the file `started` says that it is on, count what health answers meanwhile."""
    with ThreadPoolExecutor(1) as pool:
        doing: Future[object] = pool.submit(work)
        live.until(lambda: (live.site.folder / started).exists() or doing.done())
        answered = 0
        while not doing.done():
            answered += live.healthy()
        return doing.result(), answered


def test_r6_a_start_that_blocks_stops_nobody_else(site: Site) -> None:
    """Health answers all the time, many times a second."""
    site.mod(
        "work",
        "def initialize(self):\n    open('started', 'w').close()\n    time.sleep(1.5)\n    return True",
        listed=False,
    )
    site.mod("other", "pass")
    with serving(site) as live:
        loaded, answered = while_waiting(live, lambda: live.control("load", mod_path="mods.work"), "started")
        assert isinstance(loaded, dict) and loaded["success"] is True
        assert answered > 10


def test_r7_a_handler_that_blocks_stops_nobody_else(site: Site) -> None:
    """Health answers all the time; the mod is named."""
    site.mod(
        "work",
        """
        @mod_event_handler("work.sleep.do")
        async def block(self, event):
            open("started", "w").close()
            time.sleep(2.5)
            return True
        """,
    )
    with serving(site) as live:
        ana = live.join("ana")
        answer, answered = while_waiting(live, lambda: ana.send("work.sleep.do"), "started")
        assert isinstance(answer, dict) and answer["success"] is True
        assert answered > 10
        assert "work" in live.line("notice")["message"]


@pytest.mark.parametrize("end", ["raise SystemExit(3)", "exit(3)", "raise KeyboardInterrupt"])
def test_r8_a_mod_cannot_ask_the_server_to_end(site: Site, end: str) -> None:
    """Its sender is told, everything else goes on, the mod too."""
    site.mod(
        "work",
        f"""
        @mod_event_handler("work.end.do")
        async def end(self, event):
            {end}
    """,
        VERSION.format(1),
    )
    with serving(site) as live:
        ana = live.join("ana")
        answer = ana.send("work.end.do")
        assert (answer["success"], answer["data"]["code"]) == (False, "mod_error")
        assert ana.send("work.version.get")["data"]["version"] == 1


def test_r9_an_unload_while_a_handler_hangs_leaves_nobody_waiting(site: Site) -> None:
    """The unload is answered, and the sender of the hanging event is told why it gets no answer."""
    site.dev = {"limits": {"linger": 0.2, "shutdown": 1}}
    site.mod(
        "work",
        """
        @mod_event_handler("work.hang.do")
        async def hang(self, event):
            open("started", "w").close()
            await asyncio.Event().wait()
        """,
    )
    with serving(site) as live, ThreadPoolExecutor(1) as pool:
        ana = live.join("ana")
        asked = pool.submit(ana.send, "work.hang.do")
        live.until(lambda: (site.folder / "started").exists())
        assert live.control("unload", mod_path="mods.work")["success"] is True
        assert live.running() == {}
        assert asked.result(30)["data"]["code"] == "handler_timeout"


def test_r10_a_full_queue_says_so_and_keeps_what_it_has(site: Site) -> None:
    """The first events stay, in order; senders of later ones are told, and later still there is room again."""
    site.dev = {"limits": {"outbox_events": 20}}
    site.mod("other", "pass")
    with serving(site) as live:
        ana, bea = live.join("ana"), live.join("bea")
        answers = [ana.send("note.for.bea", {"n": number}, to="bea") for number in range(30)]
        assert [each["success"] for each in answers] == [True] * 20 + [False] * 10
        assert answers[-1]["data"] == {"delivered": 0, "full": ["bea"]}
        assert [each["payload"]["n"] for each in bea.poll()] == list(range(20))
        assert ana.send("note.for.bea", {"n": 99}, to="bea")["success"] is True
        assert [each["payload"]["n"] for each in bea.poll()] == [99]
