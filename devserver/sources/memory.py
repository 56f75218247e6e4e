"""Remembers the content of each source at the last look, and says what a new look means.

Reads no file and has no clock: times are in seconds, and given.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path

from devserver.model.change import Digest, Sources
from devserver.sources.settle import UNREADABLE, Reading, Signature

GONE_AFTER = 1.0
"""Seconds that a source has to miss to count as deleted: a branch switch brings it back sooner."""

_COARSE = 2.0
"""Seconds that the coarsest time stamps of file systems in use stay the same (FAT)."""

_OPEN_AGAIN = 1.0
"""Seconds between looks at a file that is kept open: a mapping may leave its stamp alone."""

_SAME_SAVE = 10_000_000
"""Nanoseconds in which an editor's changes to a file (permissions) belong to the save."""


class Verdict(Enum):
    """The result of a look at a source."""

    NEWS = auto()
    SAVED_THE_SAME = auto()
    NOTHING = auto()


@dataclass(slots=True)
class _Known:
    """One source: its digest when it was loaded, and at the last look.

    `missing_since` is set while it is gone and does not count as deleted yet; `look_again` is the
    time of the next look without any notification.
    """

    loaded: Digest | None
    seen: Digest | None
    signature: Signature | None = None
    is_looked_at: bool = False
    is_open: bool = False
    missing_since: float | None = None
    look_again: float | None = None


class Memory:
    """The content of each source at the last look. `unproven` are the sources that were loaded and
    not compared with the disk since."""

    def __init__(self) -> None:
        self._known: dict[Path, _Known] = {}
        self._due: set[Path] = set()
        self.unproven: set[Path] = set()

    def learn(self, loaded: Sources) -> bool:
        """Replace the set of known sources. Returns True if the set of files changed."""
        gone = self._known.keys() - loaded.keys()
        is_other = bool(gone) or len(self._known) != len(loaded)
        for path in gone:
            del self._known[path]
        self._due -= gone
        self.unproven -= gone
        for path, digest in loaded.items():
            self.expect(path, digest)
        return is_other

    def expect(self, path: Path, digest: Digest | None) -> None:
        """Note the digest that one source was loaded with, or last tried with. A new digest makes
        the source `unproven` until it has been compared with the disk."""
        known = self._known.get(path)
        if known is None:
            self._known[path] = _Known(digest, digest)
            self.unproven.add(path)
            return
        if known.loaded == digest:
            return
        known.loaded = digest
        # An attempt on a file that cannot be read leaves no digest behind.
        if known.seen != digest and not (digest is None and known.seen == UNREADABLE):
            known.seen = digest
            self.unproven.add(path)

    def seen(self, path: Path) -> tuple[Digest | None, bool]:
        """Return the digest of a source at the last look, and whether it was kept open then."""
        known = self._known.get(path)
        return (None, False) if known is None else (known.seen, known.is_open)

    def take(self, path: Path, reading: Reading, now: float) -> Verdict:
        """Note the content of a source; return what it means against the content before."""
        known = self._known.setdefault(path, _Known(None, None))
        was_proven = path not in self.unproven
        self.unproven.discard(path)
        if self._is_briefly_gone(path, known, reading.digest, now):
            return Verdict.NOTHING
        before, known.signature, known.is_looked_at = known.signature, reading.signature, True
        known.is_open = reading.is_open
        self._look_again(path, known, now + _OPEN_AGAIN if reading.is_open else None)
        if _is_nothing(reading.digest) and _is_nothing(known.seen):
            return Verdict.NOTHING
        if reading.digest == known.seen:
            is_saved = was_proven and _is_another_save(before, reading.signature)
            return Verdict.SAVED_THE_SAME if is_saved else Verdict.NOTHING
        known.seen = reading.digest
        # A second save within one tick of a coarse clock shows in the content alone.
        self._look_again(path, known, now + (_OPEN_AGAIN if reading.is_open else _COARSE))
        return Verdict.NEWS

    def _is_briefly_gone(self, path: Path, known: _Known, digest: Digest | None, now: float) -> bool:
        if digest is not None or _is_nothing(known.seen):
            known.missing_since = None
            return False
        if known.missing_since is None:
            known.missing_since = now
        is_brief = now - known.missing_since < GONE_AFTER
        if is_brief:
            self._look_again(path, known, known.missing_since + GONE_AFTER)
        else:
            known.missing_since = None
        return is_brief

    def _look_again(self, path: Path, known: _Known, at: float | None) -> None:
        known.look_again = at
        (self._due.discard if at is None else self._due.add)(path)

    def signatures(self, *, absent: bool = True) -> dict[Path, Signature | None]:
        """Return each looked-at source's signature; on demand without the `absent` ones."""
        return {
            path: each.signature
            for path, each in self._known.items()
            if each.is_looked_at and (absent or each.signature is not None)
        }

    def due(self) -> float:
        """Return the time of the next look at a source without any notification."""
        return min((self._again(path) for path in self._due), default=math.inf)

    def overdue(self, now: float) -> set[Path]:
        """Return the sources whose time for that look has come."""
        return {path for path in self._due if now >= self._again(path)}

    def _again(self, path: Path) -> float:
        again = self._known[path].look_again
        return math.inf if again is None else again


def _is_nothing(digest: Digest | None) -> bool:
    return digest is None or digest == UNREADABLE


def _is_another_save(before: Signature | None, now: Signature | None) -> bool:
    if before is None or now is None or before == now:
        return False
    return abs(now[1] - before[1]) > _SAME_SAVE


class Known(Mapping[Path, Digest | None]):
    """Sources without those that mods have written: these are their data. A view, not a copy."""

    def __init__(self, sources: Sources, written: Collection[str]) -> None:
        self._sources = sources
        self._written = written

    def __getitem__(self, path: Path) -> Digest | None:
        if path not in self:
            raise KeyError(path)
        return self._sources[path]

    def __contains__(self, path: object) -> bool:
        return path in self._sources and not self._is_data(path)

    def __iter__(self) -> Iterator[Path]:
        return (path for path in self._sources if not self._is_data(path))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _is_data(self, path: object) -> bool:
        return str(path) in self._written and not str(path).endswith(".py")
