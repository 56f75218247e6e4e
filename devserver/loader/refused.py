"""What an attempt changes in objects of other modules of mods, until it is kept; a refused one takes it back.

A version that is kept takes its registrations with it, and leaves what is data. A refused one leaves
nothing: the running version works with these objects. What other code has changed since stays.
"""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field

from devserver.loader.places import Place, Table, fill
from devserver.loader.tables import differences, merged

_turns = itertools.count()


@dataclass(slots=True)
class Attempt:
    """The tables that code has changed while it was executed or initialised, in turns."""

    turns: list[tuple[int, Place, Table, Table]] = field(default_factory=list)
    _latest: dict[int, int] = field(default_factory=dict)
    """Where in `turns` a place has its last one."""

    def note(self, place: Place, before: Table, after: Table) -> None:
        """Note a change of a table. Tables that are the process's or a library's have other ways back."""
        if not place.is_of_mods:
            return
        at = self._latest.get(id(place))
        if at is not None and self.turns[at][3] is before:
            # No other code came between. An `initialize()` of thousands of steps would keep a copy of each.
            number, _, first, _ = self.turns[at]
            self.turns[at] = (number, place, first, after)
            return
        self._latest[id(place)] = len(self.turns)
        self.turns.append((next(_turns), place, before, after))


def take_back(attempts: Iterable[Attempt]) -> list[str]:
    """Take back what these attempts have changed, last first. Returns what did not go back, in words."""
    failed = []
    turns = [each for attempt in attempts for each in attempt.turns]
    for _, place, before, after in sorted(turns, key=lambda each: -each[0]):
        try:
            _take_back(place, before, after)
        except Exception as error:
            failed.append(f"change by a refused version: {error}")
    return failed


def _take_back(place: Place, before: Table, after: Table) -> None:
    now = place.read()
    wanted = merged(before, after, now)
    if place.list_of is not None:
        fill(place.list_of(None), list(wanted.values()))
        return
    for key, value, earlier in differences(now, wanted):
        place.put(key, value, earlier)


class Others:
    """Whether other threads ran code of mods since the last question: what happened meanwhile may be theirs.

    Linux counts the time of each thread. Elsewhere, or with many threads, the answer is always yes. The
    main thread serves agents, and ours but one have names; where a network is embedded, mods run on the
    main thread too, and their calls are counted (`Activity`).
    """

    def __init__(self) -> None:
        here = (threading.get_ident(), threading.main_thread().ident)
        self._known = set(threading.enumerate())
        others = [each for each in self._known if each.ident not in here and not _is_ours(each)]
        self._counts: dict[int, bytes] | None = None
        if len(others) <= _FEW:
            counts: dict[int, bytes] = {}
            try:
                for each in others:
                    counts[os.open(f"/proc/self/task/{each.native_id}/schedstat", os.O_RDONLY | os.O_CLOEXEC)] = b""
                self._counts = counts
            except OSError:
                _close(counts)
        self.have_run()
        if self._counts is not None and _NEVER in self._counts.values():
            # A kernel that does not count.
            self.close()

    def have_run(self) -> bool:
        """Return whether one of them has run since this was asked last."""
        if self._counts is None or any(
            each not in self._known and not _is_ours(each) for each in threading.enumerate()
        ):
            return True
        before = list(self._counts.values())
        for each in self._counts:
            try:
                self._counts[each] = os.pread(each, _MOST, 0)
            except OSError:
                # Its thread has ended.
                self._counts[each] = b"ended"
        return before != list(self._counts.values())

    def close(self) -> None:
        """Ask no more."""
        _close(self._counts or ())
        self._counts = None


_FEW = 8
"""More threads would take longer to ask than most modules to execute: they may have run."""

_NEVER = b"0 0 0\n"
"""What a thread has that never ran."""

_MOST = 64
"""The most bytes of three numbers."""


def _close(files: Iterable[int]) -> None:
    for each in files:
        # Code of mods may have closed all files.
        with suppress(OSError):
            os.close(each)


def _is_ours(thread: threading.Thread) -> bool:
    return thread.name.startswith("oa-dev ") and thread.name != "oa-dev mods"
