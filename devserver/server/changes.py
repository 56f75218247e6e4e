"""The code of changes: kept as it was before and after, and compared on demand.

The loader holds the same bytes, so keeping them costs nothing until the mods let go of them. The
result of a plan is on the tape of reloads; a change here has the same number.
"""

from __future__ import annotations

import difflib
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from devserver.model.facts import CodeChange

MOST_CHANGES = 200
MOST_BYTES = 8 * 1024 * 1024
MOST_LINES = 5_000
"""The most lines of one file, before and after: comparing takes their square in time."""
MOST_DIFF = 200 * 1024


@dataclass(frozen=True, slots=True)
class FileDiff:
    """The changes of one file. `text` is a unified diff; empty if the file is too large for one."""

    path: str
    added: int
    removed: int
    text: str


class Changes:
    """The code of the latest changes by number, the oldest forgotten first. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[int, Sequence[CodeChange]] = OrderedDict()
        self._size = 0

    def keep(self, number: int, code: Sequence[CodeChange]) -> None:
        if not code:
            return
        with self._lock:
            self._kept[number] = code
            self._size += _size(code)
            # The latest change stays, however large it is.
            while len(self._kept) > MOST_CHANGES or (self._size > MOST_BYTES and len(self._kept) > 1):
                _, gone = self._kept.popitem(last=False)
                self._size -= _size(gone)

    def of(self, number: int) -> Sequence[CodeChange]:
        """Return the code of a change; nothing if it is not kept."""
        with self._lock:
            return self._kept.get(number, ())

    def pack(self) -> dict[int, list[tuple[str, bytes | None, bytes | None]]]:
        """Return all of it as plain values, for the next image of this process."""
        with self._lock:
            kept = list(self._kept.items())
        return {number: [(each.path, each.before, each.after) for each in code] for number, code in kept}

    def unpack(self, packed: Mapping[int, list[tuple[str, bytes | None, bytes | None]]]) -> None:
        """Continue after an earlier image of this process."""
        for number, code in packed.items():
            self.keep(number, [CodeChange(*each) for each in code])


def diffs_of(code: Sequence[CodeChange]) -> list[FileDiff]:
    """Return the changes of each file. Slow: call it on a thread of its own."""
    room, found = MOST_DIFF, []
    for each in code:
        diff = _diff(each)
        room -= len(diff.text)
        found.append(diff if room >= 0 else FileDiff(diff.path, diff.added, diff.removed, ""))
    return found


def _diff(change: CodeChange) -> FileDiff:
    before, after = _lines(change.before), _lines(change.after)
    if len(before) + len(after) > MOST_LINES:
        return FileDiff(change.path, len(after), len(before), "")
    lines = list(
        difflib.unified_diff(
            before,
            after,
            "/dev/null" if change.before is None else change.path,
            "/dev/null" if change.after is None else change.path,
            lineterm="",
        )
    )
    changed = lines[2:]
    added, removed = (sum(each.startswith(sign) for each in changed) for sign in "+-")
    return FileDiff(change.path, added, removed, "\n".join(lines))


def _lines(data: bytes | None) -> list[str]:
    return [] if data is None else data.decode("utf-8", "replace").splitlines()


def _size(code: Sequence[CodeChange]) -> int:
    return sum(len(each.before or b"") + len(each.after or b"") for each in code)
