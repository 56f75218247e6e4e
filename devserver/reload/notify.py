"""Wakes somebody when something happens in a set of directories. Owns watchfiles, and nothing else does.

A notification is a hint: it says that it is worth looking, not what has changed. Where the system cannot notify
(limits, network mounts) it polls, and says so once.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

import watchfiles

STEP_MS = 5
"""How often watchfiles looks for notifications: each costs one to two steps. 5 ms needs about 1 % of a core."""

_DEBOUNCE_MS = 100
_POLL_DELAY_MS = 150

Woken = Callable[[set[str]], None]


class Notifier:
    """Calls `woken` in the loop with the paths that something happened to.

    `notice` is told in words when notification is not possible and polling takes its place.
    """

    def __init__(self, woken: Woken, notice: Callable[[str], None]) -> None:
        # watchfiles logs each wake-up at DEBUG level, also where nothing is left of it.
        logging.getLogger("watchfiles").setLevel(logging.WARNING)
        self._woken = woken
        self._notice = notice
        self._directories: frozenset[str] = frozenset()
        self._stop = threading.Event()
        self._polling = False

    @property
    def kind(self) -> str:
        """How it watches, for people."""
        return "polling" if self._polling else "notifications"

    def watch(self, directories: Iterable[Path]) -> bool:
        """Watch these directories (not what is below them) instead of the ones before; False when they are the same."""
        wanted = frozenset(str(each) for each in directories)
        if wanted == self._directories:
            return False
        self.stop()
        self._directories = wanted
        self._stop = threading.Event()
        if wanted:
            work = (asyncio.get_running_loop(), sorted(wanted), self._stop)
            threading.Thread(target=self._listen, args=work, name="oa-dev watch", daemon=True).start()
        return True

    def stop(self) -> None:
        """Watch no more."""
        self._stop.set()
        self._directories = frozenset()

    def _listen(self, loop: asyncio.AbstractEventLoop, directories: list[str], stop: threading.Event) -> None:
        try:
            self._pass_on(loop, directories, stop, polling=self._polling)
        except Exception as error:
            # watchfiles reports an exhausted limit as an error of its own, of no public type.
            if stop.is_set() or self._polling:
                return
            self._polling = True
            _call(loop, self._notice, _why_polling(error))
            self._pass_on(loop, directories, stop, polling=True)

    def _pass_on(
        self, loop: asyncio.AbstractEventLoop, directories: list[str], stop: threading.Event, *, polling: bool
    ) -> None:
        for changes in watchfiles.watch(
            *directories,
            watch_filter=None,
            debounce=_DEBOUNCE_MS,
            step=STEP_MS,
            stop_event=stop,
            raise_interrupt=False,
            force_polling=polling or None,
            poll_delay_ms=_POLL_DELAY_MS,
            recursive=False,
            ignore_permission_denied=True,
        ):
            _call(loop, self._woken, {path for _, path in changes})


def _call(loop: asyncio.AbstractEventLoop, function: Callable[..., None], argument: object) -> None:
    try:
        loop.call_soon_threadsafe(function, argument)
    except RuntimeError:
        # The loop has been closed: nobody listens any more.
        return


def _why_polling(error: Exception) -> str:
    text = str(error)
    advice = ""
    if "limit" in text or "max_user" in text or "No space left" in text:
        advice = "; raise fs.inotify.max_user_watches or fs.inotify.max_user_instances with sysctl to be notified"
    return f"watching by polling, because the system cannot notify: {text}{advice}"
