"""The end of the process: in time, whatever mods' threads and processes do, naming those left.

At its end Python waits for every thread that is not a daemon, for the workers of pools and for exit
callbacks, without limit. Here a person waits for at most `LEAVE_SECONDS` from the request on.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

from devserver.server.watchdog import frames_of_thread

LEAVE_SECONDS = 2.6
"""Seconds after which the process ends, whatever still runs."""

_LAST_SECONDS = 0.5
"""Seconds for the rest once all is told: idle workers of pools and their processes end in them."""

_ENDING = 0.1
"""Seconds that threads have to end by themselves before they count as left behind."""

_CALLBACKS = 0.2
"""Seconds for exit callbacks, if threads had to be left."""


class Leaving:
    """The end of this process. `last_words` is called before it is cut short; `code` is its exit code."""

    def __init__(self, last_words: Callable[[], None], code: int = 0) -> None:
        self._last_words = last_words
        self._code = code
        self._latest = time.monotonic() + LEAVE_SECONDS
        self._sooner = threading.Event()
        self._callbacks_due = threading.Event()

    def begin(self) -> None:
        """Limit the time of the process from now on."""
        # From Python 3.12 on no thread can be started once the interpreter waits for those of mods.
        callbacks = threading.Thread(target=self._call_back, name="oa-dev exit callbacks", daemon=True)
        callbacks.start()
        threading.Thread(target=self._cut_short, args=(callbacks,), name="oa-dev end", daemon=True).start()

    def all_told(self) -> None:
        """Note that all our work is done: the rest gets only the time to end by itself."""
        self._latest = min(self._latest, time.monotonic() + _LAST_SECONDS)
        self._sooner.set()

    def _cut_short(self, callbacks: threading.Thread) -> None:
        self._sooner.wait(self._latest - time.monotonic())
        time.sleep(max(0.0, self._latest - time.monotonic()))
        self._last_words()
        _end_workers()
        # Exit callbacks run on another thread, which may hang.
        self._callbacks_due.set()
        callbacks.join(_CALLBACKS)
        os._exit(self._code)

    def _call_back(self) -> None:
        self._callbacks_due.wait()
        atexit._run_exitfuncs()


def _end_workers() -> None:
    """End the processes of pools: nothing would tell them that this one has gone."""
    from multiprocessing import active_children  # imported here: no start should wait for it

    workers = active_children()
    for each in workers:
        each.terminate()
    latest = time.monotonic() + _CALLBACKS
    for each in workers:
        each.join(max(0.0, latest - time.monotonic()))
        # A fork of this process handles a SIGTERM as this process does.
        each.kill()


def left_running(shown: Callable[[str], str], is_own: Callable[[str], bool]) -> list[str]:
    """Return the threads and processes that the end of this process does not end, each in words.
    `is_own` tells files of mods, `shown` makes a path one that people read."""
    return [*_threads(shown, is_own), *_processes()]


def _threads(shown: Callable[[str], str], is_own: Callable[[str], bool]) -> Iterator[str]:
    latest = time.monotonic() + _ENDING
    for thread in threading.enumerate():
        if thread.daemon or thread is threading.main_thread() or _is_idle(_frames(thread)):
            continue
        # Threads that were just told to end, as the workers of the mods' loop, are on their way.
        thread.join(max(0.0, latest - time.monotonic()))
        frames = _frames(thread)
        if not frames or _is_idle(frames):
            continue
        own = next((each for each in frames if is_own(each.f_code.co_filename)), None)
        place = f" at {shown(own.f_code.co_filename)}:{own.f_lineno}" if own is not None else ""
        yield f"thread {thread.name!r}{place}"


def _frames(thread: threading.Thread) -> list[FrameType]:
    """Return the frames of a thread, innermost first; none when it has ended."""
    return frames_of_thread(thread.ident) if thread.is_alive() else []


def _is_idle(frames: list[FrameType]) -> bool:
    """Return whether a thread is an idle worker of a pool; it ends when it is told to."""
    here = (frames[0].f_code.co_name, frames[0].f_globals.get("__name__")) if frames else ()
    return here == ("_worker", "concurrent.futures.thread")


def _processes() -> Iterator[str]:
    """Return the processes that this one started, if the system tells; without pools'."""
    for listed in Path("/proc/self/task").glob("*/children"):
        try:
            found = listed.read_text().split()
        except OSError:  # a thread that has just ended
            continue
        for pid in found:
            words = _command(pid)
            # A process that has ended and was not waited for has no command any more.
            if words and not any("multiprocessing" in each for each in words) and words != _command("self"):
                yield f"process {pid} ({' '.join(words):.60})"


def _command(pid: str) -> list[str]:
    try:
        return [each for each in Path(f"/proc/{pid}/cmdline").read_text(errors="replace").split("\0") if each]
    except OSError:  # a process that has just ended
        return []
