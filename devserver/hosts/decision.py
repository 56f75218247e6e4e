"""How several hosts agree on one group of a plan: what the author does, and what each host does. Pure tables.

One write decides: `create(revision, commit)` or `create(revision, abort)`, of which the engine takes the first. The
author writes commit when each host has voted yes; a host that has voted and waits too long writes abort; a host
that is refused reads what stands there. A host that has not voted yes undoes whenever it likes.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum


class Word(StrEnum):
    """What was decided."""

    COMMIT = "commit"
    ABORT = "abort"


class At(StrEnum):
    """Where a host stands with a group."""

    BUILDING = "building"
    BUILT = "built"
    """Traffic is not touched yet."""
    PREPARING = "preparing"
    VOTED = "voted"
    """Its gates are shut; it can go either way, and does what is decided."""
    ADRIFT = "adrift"
    """It has voted and cannot reach the engine: the old generation serves what is local, and no asks are answered."""
    COMMITTED = "committed"
    ABORTED = "aborted"


class Came(StrEnum):
    """What happens to a host on its way."""

    DONE = "done"
    """What it was building or preparing is ready."""
    FAILED = "failed"
    PREPARE = "prepare"
    """The author asks it to prepare."""
    WAITED = "waited"
    """Nothing was heard for `seats.DECIDES_AFTER`."""
    CUT = "cut"
    """The engine cannot be reached."""
    COMMIT = "commit"
    ABORT = "abort"


class Do(StrEnum):
    """What a host does about it."""

    NOTHING = ""
    PREPARE = "prepare"
    VOTE_BUILT = "vote built"
    VOTE_READY = "vote ready"
    UNDO = "undo"
    """Undo, and vote no."""
    ASK_ABORT = "ask for abort"
    OPEN_OLD = "open the old"
    OPEN_NEW = "open the new"
    FOLLOW = "follow"
    """Carry the group out again, as it was decided."""


HOST: dict[tuple[At, Came], tuple[At, Do]] = {
    (At.BUILDING, Came.DONE): (At.BUILT, Do.VOTE_BUILT),
    (At.BUILDING, Came.FAILED): (At.ABORTED, Do.UNDO),
    (At.BUILDING, Came.ABORT): (At.ABORTED, Do.UNDO),
    (At.BUILT, Came.PREPARE): (At.PREPARING, Do.PREPARE),
    (At.BUILT, Came.ABORT): (At.ABORTED, Do.UNDO),
    (At.BUILT, Came.CUT): (At.ABORTED, Do.UNDO),
    # It has not promised anything yet, and the author may be gone.
    (At.BUILT, Came.WAITED): (At.BUILT, Do.ASK_ABORT),
    (At.PREPARING, Came.DONE): (At.VOTED, Do.VOTE_READY),
    (At.PREPARING, Came.FAILED): (At.ABORTED, Do.UNDO),
    (At.PREPARING, Came.ABORT): (At.ABORTED, Do.UNDO),
    (At.PREPARING, Came.CUT): (At.ABORTED, Do.UNDO),
    (At.VOTED, Came.COMMIT): (At.COMMITTED, Do.OPEN_NEW),
    (At.VOTED, Came.ABORT): (At.ABORTED, Do.UNDO),
    (At.VOTED, Came.WAITED): (At.VOTED, Do.ASK_ABORT),
    (At.VOTED, Came.CUT): (At.ADRIFT, Do.OPEN_OLD),
    (At.ADRIFT, Came.WAITED): (At.ADRIFT, Do.ASK_ABORT),
    (At.ADRIFT, Came.COMMIT): (At.COMMITTED, Do.FOLLOW),
    (At.ADRIFT, Came.ABORT): (At.ABORTED, Do.NOTHING),
}
"""What each host does. What is not here changes nothing."""


def step(at: At, came: Came) -> tuple[At, Do]:
    """Return where a host stands afterwards, and what it does."""
    return HOST.get((at, came), (at, Do.NOTHING))


class Round:
    """What the author knows of the votes on one group."""

    def __init__(self, hosts: Iterable[str]) -> None:
        self.hosts = frozenset(hosts)
        self.built: set[str] = set()
        self.ready: set[str] = set()
        self.refused: dict[str, str] = {}
        """The hosts that have voted no, each with why."""

    @property
    def word(self) -> Word | None:
        """What the author writes now, if anything."""
        if self.refused:
            return Word.ABORT
        return Word.COMMIT if self.ready == self.hosts else None

    def voted(self, host: str, do: Do, why: str = "") -> None:
        """Note a vote; one that comes twice, or of a host that is not asked, changes nothing."""
        if host not in self.hosts:
            return
        if do is Do.VOTE_BUILT:
            self.built.add(host)
        elif do is Do.VOTE_READY:
            self.ready.add(host)
        else:
            self.refused.setdefault(host, why)
