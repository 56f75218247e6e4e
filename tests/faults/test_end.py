"""The end of the process waits for no thread and no process of a mod; what goes on is named."""

from __future__ import annotations

import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from live import Live, Site, start

from devserver.server.leaving import LEAVE_SECONDS, left_running

STARTS = {
    "a job of the loop's pool": "await asyncio.get_running_loop().run_in_executor(None, time.sleep, 60)",
    "a job of a pool": "await asyncio.wrap_future(ThreadPoolExecutor(1).submit(time.sleep, 60))",
    "a thread": "threading.Thread(target=time.sleep, args=(60,), daemon=False).start(); await asyncio.sleep(60)",
    "a process of a pool": "await asyncio.wrap_future(ProcessPoolExecutor(1).submit(time.sleep, 60))",
    "a callback of the exit": "atexit.register(time.sleep, 60); await asyncio.sleep(60)",
}

HEAD = (
    "import asyncio, atexit, threading, time\nfrom concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor\n"
)


GENEROUS = 20
"""Seconds: what they start goes on for 60, and the end waits for nothing longer than its own limit."""


def started(site: Site, statement: str) -> Live:
    """A server whose mod executes a statement on an event, and says before that it will."""
    site.mod(
        "hang",
        f"""
        @mod_event_handler("hang.on.do")
        async def hang(self, event):
            open("started", "w").close()
            {statement}
        """,
        head=HEAD,
    )
    site.yaml()
    live = start(site)
    live.line("ready")
    return live


def test_the_end_waits_for_nothing_that_a_mod_has_started(site: Site) -> None:
    """All at once: long before any of it ends, with the code of a clean end, told as one."""
    assert LEAVE_SECONDS < 3  # as the documentation says
    ends_at_once(site, f"await asyncio.gather({', '.join(map(_called, STARTS.values()))})")


@pytest.mark.slow
@pytest.mark.parametrize("case", STARTS)
def test_the_end_waits_for_none_of_them(site: Site, case: str) -> None:
    """Each by itself."""
    ends_at_once(site, STARTS[case])


def _called(statements: str) -> str:
    """An expression that starts what the statements start, and waits as they do."""
    *starts, wait = statements.split("; ")
    return f"({', '.join([*starts, wait.removeprefix('await ')])},)[-1]"


def ends_at_once(site: Site, statement: str) -> None:
    """A server that is stopped while a handler waits for what it has started."""
    live = started(site, statement)
    ana = live.join("ana")
    with ThreadPoolExecutor(1) as pool:
        hanging = pool.submit(ana.try_send, "hang.on.do")
        live.until(lambda: (site.folder / "started").exists())
        began = time.monotonic()
        assert live.stop() == 0
        assert time.monotonic() - began < GENEROUS
        assert hanging.exception() is None or isinstance(hanging.exception(), ConnectionError)
    assert len(live.told("stopped")) == 1


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("threading.Thread(target=self.read, name='reader', daemon=False).start()", "thread 'reader' at mods/hang.py:"),
        # It holds nothing of the server's output, whose end the test waits for.
        ("(await asyncio.create_subprocess_exec('sleep', '60', stdout=-3, stderr=-3)).pid", "(sleep 60)"),
    ],
)
def test_what_goes_on_after_the_end_is_named(site: Site, statement: str, words: str) -> None:
    """A thread with the line of the mod where it is, a process with its command."""
    site.mod(
        "hang",
        f"""
        def read(self):
            while True:
                time.sleep(0.01)

        @mod_event_handler("hang.on.do")
        async def hang(self, event):
            {statement}
            return EventResponse(True, "")
        """,
        head=HEAD,
    )
    site.yaml()
    live = start(site)
    live.line("ready")
    live.join("ana").send("hang.on.do")
    mine = _children(live.process.pid)
    try:
        assert live.stop() == 0
        assert [each for each in live.told("notice") if "left behind" in each["message"] and words in each["message"]]
    finally:
        for each in mine:
            # The fork server ends by itself, after the server.
            with suppress(ProcessLookupError):
                os.kill(each, signal.SIGKILL)


@pytest.mark.parametrize("statement", ["await asyncio.sleep(60)", "time.sleep(4)"], ids=["async", "sync"])
def test_a_stop_is_answered_at_once_and_names_the_mod_that_is_waited_for(site: Site, statement: str) -> None:
    """With the line where its shutdown() is, while it is waited for and when it is not any more."""
    asynchronous = "async " if "await" in statement else ""
    site.mod("slow", f"{asynchronous}def shutdown(self):\n    {statement}", head=HEAD)
    site.yaml()
    live = start(site)
    live.line("ready")
    live.join("ana")
    live.line("agent", agent_id="ana", came=True)
    mark = live.mark()
    assert live.stop() == 0
    said = [each["message"] for each in live.told("notice", mark)]
    place = f"slow at mods/slow.py:{_line_of(site, statement)}"
    assert said[0] == "stopping; Ctrl-C again ends it at once"
    assert said[1] == f"waiting for {place} to shut down"
    assert said[2].startswith(f"{place} did not shut down within ")
    assert live.told("agent", mark) == []


def _line_of(site: Site, text: str) -> int:
    lines = (site.folder / "mods" / "slow.py").read_text().splitlines()
    return 1 + next(number for number, line in enumerate(lines) if text in line)


def _children(pid: int) -> list[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children")
    found = [each.read_text() for each in listed.parents[1].glob("*/children")]
    return [int(each) for each in " ".join(found).split()]


def test_an_exit_callback_of_a_mod_is_called_though_a_thread_goes_on(site: Site) -> None:
    """What a mod saves at the end of the process is saved."""
    saves = "atexit.register(lambda: open('saved', 'w').close())"
    sleeps = "threading.Thread(target=time.sleep, args=(60,), daemon=False).start()"
    live = started(site, f"{saves}; {sleeps}; return EventResponse(True, '')")
    live.join("ana").send("hang.on.do")
    assert live.stop() == 0
    assert (site.folder / "saved").exists()


def test_a_thread_that_is_about_to_end_is_not_left_behind() -> None:
    """The workers of a loop's pool have just been told to end when the last look is taken."""
    told = threading.Event()

    class Ending(threading.Thread):
        def join(self, timeout: float | None = None) -> None:
            told.set()
            super().join()

    ending, staying = Ending(target=told.wait), threading.Event()
    threads = [ending, threading.Thread(target=staying.wait, name="stays")]
    for each in threads:
        each.start()
    try:
        found = left_running(str, lambda path: False)
    finally:
        staying.set(), told.set()
    assert "thread 'stays'" in found
    assert f"thread {ending.name!r}" not in found
