"""A server that crashes is there again, on the same port, without the mod that ended it; one that ends has ended."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterable
from typing import Any

import pytest
from live import Live, Site, serving, start

CRASHES = {
    "os._exit": ("os._exit(7)", "exit 7", 7),
    "os.abort": ("os.abort()", "SIGABRT", 134),
    "a segmentation fault": ("import ctypes; ctypes.string_at(0)", "SIGSEGV", 139),
    "a signal to itself": ("os.kill(os.getpid(), 9)", "SIGKILL", 137),
    "in a task": ("asyncio.create_task(self.later()); await asyncio.sleep(60)", "exit 8", 8),
    "in a thread": ("threading.Thread(target=os._exit, args=(9,)).start(); await asyncio.sleep(60)", "exit 9", 9),
}


def bad(site: Site, statement: str) -> None:
    """Write a mod that ends the process on `bad.end.do`, and answers `bad.hello.get`."""
    site.mod(
        "bad",
        f"""
        async def later(self):
            os._exit(8)

        @mod_event_handler("bad.end.do")
        async def end(self, event):
            {statement}

        @mod_event_handler("bad.hello.get")
        async def hello(self, event):
            return True
        """,
        head="import threading",
    )


def known(site: Site, agent_id: str) -> bool:
    """Whether an agent is written down, which happens within a moment of its registration."""
    file = site.folder / ".oa-dev" / "identities.jsonl"
    return file.exists() and f'"{agent_id}"' in file.read_text()


def supervised(site: Site, **options: Any) -> Live:
    """A server under a supervisor that is ready."""
    site.yaml()
    live = start(site, "--supervise", **options)
    live.line("ready")
    return live


def pid(live: Live) -> int:
    """The server's own process."""
    return int(live.control("status")["pid"])


def crash(live: Live, agent_id: str) -> int:
    """Let the mod end the process; a mark from before."""
    mark, agent = live.mark(), live.join(agent_id)
    with pytest.raises(ConnectionError):
        agent.send("bad.end.do")
    return mark


def often(cases: Iterable[Any], *same: Any) -> list[Any]:
    """Cases of a test, of which `same` end a process as another one does: those are for `make test-all`."""
    return [pytest.param(each, marks=pytest.mark.slow) if each in same else each for each in cases]


@pytest.mark.parametrize("case", often(CRASHES, "os.abort", "a signal to itself"))
def test_a_crashed_server_is_back_without_the_guilty_mod(site: Site, case: str) -> None:
    """On its port; the other mods run, and the guilty one is back once it is changed."""
    statement, how, _ = CRASHES[case]
    site.mod("good", '@mod_event_handler("good.hello.get")\nasync def hello(self, event):\n    return True')
    bad(site, statement)
    live = supervised(site)
    try:
        before, port = pid(live), live.port
        mark = crash(live, "ana")
        live.line("ready", mark)
        assert (live.port, pid(live) != before) == (port, True)
        if case == "in a thread":
            # No line of a mod ran in that thread: no one can be blamed, and no one is.
            assert list(live.running()) == ["good", "bad"]
            return
        assert list(live.running()) == ["good"]
        error = live.line("outcome", mark, mod_id="bad", status="failed")["error"]
        assert error["kind"] == "EndedTheProcess"
        assert f"ended the whole process ({how})" in error["message"]
        assert live.join("bea").send("good.hello.get")["success"] is True
        assert live.control("load", mod_path="mods.bad")["success"] is False
        mark = live.mark()
        bad(site, "return True")
        assert live.line("outcome", mark, mod_id="bad", status="applied")["generation"] == 1
        assert live.join("cem").send("bad.end.do")["success"] is True
    finally:
        code = live.stop()
    assert code == 0
    assert f"the server crashed ({how})" in live.log()


def test_who_connects_meanwhile_waits_and_is_served(site: Site) -> None:
    """The port is never free for another and never refuses."""
    bad(site, "os._exit(7)")
    live = supervised(site)
    try:
        over, refused, answered = threading.Event(), [], []

        def connect() -> None:
            while not over.wait(0.002):
                try:
                    answered.append(live.healthy())
                except ConnectionRefusedError as error:
                    refused.append(error)
                except (ConnectionError, OSError):
                    continue  # it was connected to the server that crashed

        asking = threading.Thread(target=connect)
        asking.start()
        mark = crash(live, "ana")
        live.line("ready", mark)
        before = len(answered)
        live.until(lambda: len(answered) > before)
        over.set()
        asking.join()
        assert refused == []
    finally:
        live.stop()


def test_agents_go_on_with_the_same_identity(site: Site) -> None:
    """The secret that an agent was given before the crash is good after it."""
    bad(site, "os._exit(7)")
    live = supervised(site)
    try:
        ana = live.join("ana")
        live.until(lambda: known(site, "ana"))
        mark = crash(live, "bea")
        live.line("ready", mark)
        assert live.post("/api/register", agent_id="ana", secret=ana.secret)["secret"] == ana.secret
        assert ana.send("note.for.me", {"n": 1}, to="ana")["data"]["delivered"] == 1
    finally:
        live.stop()


def test_three_crashes_in_a_row_are_enough(site: Site) -> None:
    """It gives up with the code of the last one, and says so."""
    site.mod("other", "pass")
    live = supervised(site)
    for number in range(3):
        mark = live.mark()
        os.kill(pid(live), signal.SIGKILL)
        if number < 2:
            live.line("ready", mark)
            # A kill from outside is no one's fault.
            assert list(live.running()) == ["other"]
    assert live.process.wait(30) == 137
    assert live.log().count("the server crashed (SIGKILL)") == 3
    assert "giving up" in live.log()


def test_a_mod_that_crashes_while_it_is_imported_is_kept_out(site: Site) -> None:
    """At the start and on a save: what a module does there is its own code too."""
    site.mod("good", "pass")
    site.mod("bad", "pass")
    live = supervised(site)
    try:
        mark = live.mark()
        site.mod("bad", "pass", head="os._exit(5)")
        live.line("ready", mark)
        assert list(live.running()) == ["good"]
    finally:
        assert live.stop() == 0


@pytest.mark.parametrize("number", often((signal.SIGINT, signal.SIGTERM, signal.SIGHUP), signal.SIGHUP))
def test_a_signal_reaches_the_server_and_ends_both(site: Site, number: signal.Signals) -> None:
    """Cleanly: the code is that of the server, which has told that it stopped."""
    site.mod("other", "pass")
    live = supervised(site)
    server = pid(live)
    assert live.stop(number) == 0
    assert live.told("stopped")
    assert not os.path.exists(f"/proc/{server}")


@pytest.mark.parametrize("number", often((signal.SIGINT, signal.SIGTERM, signal.SIGHUP), signal.SIGHUP))
def test_a_signal_to_the_whole_group_is_no_insisting(site: Site, number: signal.Signals) -> None:
    """Service managers and shells signal every process of theirs: the server hears of it twice, and ends cleanly."""
    site.mod("other", "async def shutdown(self):\n    await asyncio.sleep(0.2)")
    live = supervised(site, start_new_session=True)
    os.killpg(live.process.pid, number)
    assert live.process.wait(30) == 0
    assert live.told("stopped")


def test_the_end_of_the_server_is_the_end_of_both(site: Site) -> None:
    """A server that is asked to end by someone else is not started again."""
    site.mod("other", "pass")
    live = supervised(site)
    os.kill(pid(live), signal.SIGTERM)
    assert live.process.wait(30) == 0
    assert "crashed" not in live.log()


def test_a_server_whose_supervisor_is_killed_ends_too(site: Site) -> None:
    """No one would hold its port any more, and no one would know of it."""
    site.mod("other", "pass")
    live = supervised(site)
    server = pid(live)
    live.process.kill()
    live.process.wait()
    live.until(lambda: not os.path.exists(f"/proc/{server}"))


def test_what_cannot_start_ends_with_its_own_code(site: Site) -> None:
    """A network.yaml that cannot be used is no crash."""
    site.write("network.yaml", "network: 5\n")
    live = start(site, "--supervise")
    assert live.process.wait(30) == 3
    assert "crashed" not in live.log()


def test_the_hand_over_is_in_no_environment_of_a_mod(site: Site) -> None:
    """Neither the variable nor the descriptors reach what a mod starts."""
    site.mod(
        "good",
        """
        @mod_event_handler("good.env.get")
        async def env(self, event):
            child = subprocess.run(["sh", "-c", "env; ls /proc/self/fd"], capture_output=True, close_fds=False)
            return {"text": child.stdout.decode()}
        """,
        head="import subprocess",
    )
    live = supervised(site)
    try:
        text = live.join("ana").send("good.env.get")["data"]["text"]
        assert "OA_DEV_SUPERVISED" not in text
        assert [line for line in text.splitlines() if line.isdecimal() and int(line) > 3] == []
    finally:
        live.stop()


def test_a_server_without_a_supervisor_crashes_as_ever(site: Site) -> None:
    """And its port is free at once for the next, which knows the agents of the first."""
    bad(site, "os._exit(7)")
    site.yaml()
    live = start(site)
    live.line("ready")
    port, ana = live.port, live.join("ana")
    live.until(lambda: known(site, "ana"))
    began = time.monotonic()
    crash(live, "bea")
    assert live.process.wait(30) == 7
    with serving(site, "--port", str(port), "--strict-port") as again:
        assert ana.agent_id == again.post("/api/register", agent_id="ana", secret=ana.secret).get("agent_id", "ana")
        assert time.monotonic() - began < 30
