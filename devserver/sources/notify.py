"""Tells of events in a set of directories, and finds the directories of sources.

A notification is a hint: it says that it is worth looking, not what has changed. On Linux it comes
from `inotify`, elsewhere from watchfiles; if the system cannot notify (limits, WSL) watchfiles
polls, and that is told once. Owns watchfiles; must not read the content of a file.
"""

from __future__ import annotations

import asyncio
import errno
import os
import platform
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from devserver.sources.ignore import Rules, is_text, walk_directories
from devserver.sources.inotify import Identity, Inotify

if TYPE_CHECKING:
    from watchfiles._rust_notify import RustNotify

STEP_MS = 2
"""The interval of watchfiles' looks for notifications: each takes one to two steps."""

# Notifications that come without a pause are passed on after this time, too.
_DEBOUNCE_MS = 100
# One look goes through all folders: the more there are, the less often they are looked at.
_POLL_MS = 150
_POLL_MS_PER_DIRECTORY = 2
_POLL_MS_AT_MOST = 1500
# A watcher that breaks at once would otherwise take all processor time.
_AGAIN_SECONDS = 0.05
_LINGER_SECONDS = 0.2
_STORM_SECONDS = 60.0
"""Seconds without an overflow after which the next one is told again."""


@dataclass(slots=True, eq=False)
class _Listener:
    """One set of watches, served by a thread of its own until `stop` is set."""

    directories: frozenset[Identity]
    is_polling: bool
    loop: asyncio.AbstractEventLoop
    stop: threading.Event = field(default_factory=threading.Event)
    ended: threading.Event = field(default_factory=threading.Event)

    def open(self) -> RustNotify:
        """Place the watches. Raises OSError, or an error of watchfiles, if it cannot be done."""
        # Here and not above: not needed where inotify notifies.
        from watchfiles._rust_notify import RustNotify

        paths = sorted(path for path, _, _ in self.directories)
        delay = min(max(_POLL_MS, _POLL_MS_PER_DIRECTORY * len(paths)), _POLL_MS_AT_MOST)
        # With its `ignore_permission_denied` watchfiles would ignore every error, an exhausted
        # limit too.
        return RustNotify(paths, False, self.is_polling, delay, False, False)

    def call(self, function: Callable[..., None], *arguments: object) -> None:
        try:
            self.loop.call_soon_threadsafe(function, *arguments)
        except RuntimeError:
            # The loop has been closed: no listener is left.
            self.stop.set()


class Notifier:
    """Tells of events in directories, in the loop that `watch` is called in.

    Arguments: `woken`, called with the paths that something happened to; `placed`, called when
    watches have been placed, or could not be because a directory was gone: earlier events may have
    been missed; `notice`, told in words when polling replaces notifications, and when the system
    has dropped some; `is_source`, whether a file is told at once when it is whole.
    """

    def __init__(
        self,
        woken: Callable[[set[str]], None],
        placed: Callable[[], None],
        notice: Callable[[str], None],
        is_source: Callable[[str], bool] = lambda path: False,
    ) -> None:
        self._woken = woken
        self._placed = placed
        self._notice = notice
        self._is_source = is_source
        self._is_polling = _has_to_poll()
        self._inotify: Inotify | None = None
        self._current: _Listener | None = None
        self._coming: _Listener | None = None
        self._all: list[_Listener] = []
        self._wanted: frozenset[Identity] = frozenset()
        self._refused: frozenset[Identity] = frozenset()
        self._overflowed_at: float | None = None

    @property
    def kind(self) -> str:
        """The way in which it watches, for people."""
        return "polling" if self._is_polling else "notifications"

    def watch(self, directories: Iterable[str]) -> None:
        """Watch these directories (not those below them) instead of the ones before.

        Directories that do not exist, may not be read, or have a name that is not text are left
        out. The old watches stay until the new ones are placed, so that nothing is missed in
        between.
        """
        wanted = frozenset(each for path in directories if (each := _identity(path)) is not None)
        if wanted != self._wanted or (self._inotify is not None and self._inotify.lost):
            self._wanted = wanted
            if self._is_polling or not self._place():
                self._begin()

    def stop(self) -> None:
        for listener in self._all:
            listener.stop.set()
        self._current = self._coming = None
        self._wanted = frozenset()
        self._leave_inotify()

    # With inotify

    def _place(self) -> bool:
        """Watch with inotify; False if another way is needed."""
        try:
            if self._inotify is None:
                told, missed = lambda paths: self._woken(paths), lambda: self._placed()
                self._inotify = Inotify(told, missed, self._overflowed, self._is_source)
            if self._inotify.watch(self._wanted) != self._wanted:
                self._is_first_refusal()
        except OSError as error:
            self._leave_inotify()
            if error.errno != errno.ENOSYS:
                self._poll(error)
            return False
        asyncio.get_running_loop().call_soon(self._placed)
        return True

    def _overflowed(self) -> None:
        # A storm of changes drops some again and again: it is told once.
        now, before = time.monotonic(), self._overflowed_at
        self._overflowed_at = now
        if before is None or now - before > _STORM_SECONDS:
            self._notice(
                "too much changed at once, and the system has dropped notifications (fs.inotify.max_queued_events); "
                "every source is looked at instead"
            )

    def _leave_inotify(self) -> None:
        if self._inotify is not None:
            self._inotify.close()
            self._inotify = None

    def _poll(self, error: Exception) -> None:
        self._is_polling = True
        self._notice(_why_polling(error))

    # With watchfiles

    def _begin(self, after: Collection[_Listener] = ()) -> None:
        if self._coming is not None:
            self._coming.stop.set()
        self._coming = _Listener(self._wanted, self._is_polling, asyncio.get_running_loop())
        self._all = [*(each for each in self._all if not each.ended.is_set()), self._coming]
        threading.Thread(target=self._listen, args=(self._coming, after), name="oa-dev watch", daemon=True).start()

    def _is_placed(self, listener: _Listener) -> None:
        if listener.stop.is_set():
            return
        if listener is self._coming:
            before, self._current, self._coming = self._current, listener, None
            if before is not None:
                # It has yet to tell of the latest events.
                listener.loop.call_later(_LINGER_SECONDS, before.stop.set)
        self._placed()

    def _failed(self, listener: _Listener, error: Exception) -> None:
        if listener.stop.is_set():
            return
        self._coming = None
        others = [each for each in self._all if each is not listener and not each.ended.is_set()]
        if isinstance(error, FileNotFoundError | NotADirectoryError | PermissionError) and self._is_first_refusal():
            self._placed()
        elif others:
            # Their watches and the new ones together may be more than the limit allows.
            for each in others:
                each.stop.set()
            self._current = None
            self._begin(after=others)
        elif not self._is_polling:
            self._poll(error)
            self._begin()
        else:
            self._notice(f"changes are seen a little later, because the system can neither notify nor poll: {error}")

    def _is_first_refusal(self) -> bool:
        """Return whether another attempt with the existing directories is worth it."""
        refused, self._refused = self._refused, self._wanted
        if refused == self._wanted:
            return False
        self._wanted = frozenset()
        return True

    # On the thread of a listener

    def _listen(self, listener: _Listener, after: Iterable[_Listener]) -> None:
        for each in after:
            each.ended.wait()
        try:
            while not listener.stop.is_set():
                with listener.open() as watcher:
                    listener.call(self._is_placed, listener)
                    self._pass_on(watcher, listener)
        except Exception as error:
            # watchfiles has no public type for some of them.
            listener.call(self._failed, listener, error)
        finally:
            listener.ended.set()

    def _pass_on(self, watcher: RustNotify, listener: _Listener) -> None:
        """Tell of notifications until the end, or until a name that is not text breaks it."""
        try:
            while isinstance(changes := watcher.watch(_DEBOUNCE_MS, STEP_MS, 0, listener.stop), set):
                listener.call(self._woken, {path for _, path in changes})
        except RuntimeError:
            # It stays broken and its events are lost: make another, and let its owner look.
            listener.stop.wait(_AGAIN_SECONDS)


def _identity(path: str) -> Identity | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return (path, found.st_dev, found.st_ino) if is_text(path) and os.access(path, os.R_OK) else None


def _has_to_poll() -> bool:
    """Return watchfiles' rule for polling: on demand, and on WSL: Windows does not notify it."""
    asked = os.environ.get("WATCHFILES_FORCE_POLLING")
    if asked:
        return asked.lower() not in ("false", "disable", "disabled")
    return "microsoft-standard" in platform.release().lower()


def _why_polling(error: Exception) -> str:
    setting = _LIMITS.get(getattr(error, "errno", None) or 0)
    if setting is not None:
        return f"watching by polling, because {setting} is reached; raise it with sysctl to be notified at once"
    return f"watching by polling, because the system cannot notify: {error}"


_LIMITS = {
    errno.ENOSPC: "the limit fs.inotify.max_user_watches",
    errno.EMFILE: "the limit fs.inotify.max_user_instances",
}


# Where to watch


@dataclass(frozen=True, slots=True)
class Ground:
    """The directories to watch, by their real names: of several names one is notified.

    `aliases` leads from the real names of files to the sources that have another name, through a
    link. `truncated` are the folders that hold more directories than are watched, `unreadable` the
    directories that may not be read.
    """

    directories: frozenset[str] = frozenset()
    aliases: Mapping[str, tuple[Path, ...]] = field(default_factory=dict)
    truncated: tuple[Path, ...] = ()
    unreadable: tuple[Path, ...] = ()


def survey(sources: Iterable[Path], folders: Iterable[Path], rules: Rules) -> Ground:
    """Find the directories where sources are or may appear: below `folders`, of `sources`.

    A source in a missing directory may appear with it: then the nearest existing one above counts.
    """
    names = _Names()
    directories: set[str] = set()
    aliases: dict[str, tuple[Path, ...]] = {}
    for path in sources:
        folder, name = os.path.split(path)
        directories.add(names.nearest(folder))
        for other in {os.path.join(names.real(folder), name), *_target(path)} - {str(path)}:
            aliases[other] = (*aliases.get(other, ()), path)
            directories.add(names.nearest(os.path.dirname(other)))
    walks = [walk_directories(Path(names.real(str(each))), rules) for each in folders]
    directories.update(str(directory) for walk in walks for directory in walk.directories)
    truncated = tuple(each.directories[0] for each in walks if each.truncated)
    return Ground(frozenset(directories), aliases, truncated, tuple(path for each in walks for path in each.unreadable))


def _target(path: Path) -> tuple[str, ...]:
    """Return the target of a link; nothing for other paths."""
    return (os.path.realpath(path),) if os.path.islink(path) else ()


class _Names:
    """The real names of directories, found once: sources share theirs, and these those above."""

    def __init__(self) -> None:
        self._real: dict[str, str] = {}
        self._nearest: dict[str, str] = {}

    def real(self, directory: str) -> str:
        """Return `os.path.realpath`."""
        known = self._real.get(directory)
        if known is None:
            known = self._real[directory] = self._find_real(directory)
        return known

    def _find_real(self, directory: str) -> str:
        above, name = os.path.split(directory)
        if not name:
            return os.path.realpath(directory)
        path = os.path.join(self.real(above), name)
        return os.path.realpath(path) if os.path.islink(path) else path

    def nearest(self, directory: str) -> str:
        """Return the real name of a directory, or of the nearest existing one above."""
        known = self._nearest.get(directory)
        if known is None:
            is_there = os.path.isdir(directory)
            known = self.real(directory) if is_there else self.nearest(os.path.dirname(directory))
            self._nearest[directory] = known
        return known


Stamp = tuple[int, int, int]
"""A directory's device and inode, and the time in nanoseconds when an entry last came or went."""


def stamps(directories: Iterable[str]) -> dict[str, Stamp | None]:
    """Return the stamps of directories; None for one that does not exist."""
    return {each: _stamp(each) for each in directories}


def _stamp(directory: str) -> Stamp | None:
    try:
        found = os.stat(directory)
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_mtime_ns
