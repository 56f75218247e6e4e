"""The memory that is kept on behalf of others: the bytes of each kind, their owners, and their
bounds.

Everything that grows with the actions of agents has an account: it keeps bytes, not objects, asks
the account before it keeps them, and drops them when their owner goes. One table has every bound.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from devserver.network.letter import Letter

KIB, MIB = 1024, 1024 * 1024


@dataclass(frozen=True, slots=True)
class Bound:
    """One row of the table: what is kept, up to how many bytes, and what happens at the bound.

    `fair`: bytes that one owner may keep however full the account is, so that no owner can use up
    the room of the others.
    """

    name: str
    keeps: str
    each: int
    most: int
    fair: int
    beyond: str
    """What is dropped first, and who is told."""


OUTBOXES = Bound(
    "outboxes",
    "events that wait for an agent",
    each=8 * MIB,
    most=64 * MIB,
    fair=64 * KIB,
    beyond="the newest event is refused and its sender is told; what waits is kept",
)
ANSWERS = Bound(
    "answers",
    "answers that a repeated event gets again",
    each=MIB,
    most=16 * MIB,
    fair=0,
    beyond="the oldest goes first; an answer that is too large is not kept, and its repeat is told so",
)
RECORDED = Bound(
    "recorder",
    "the latest events with their ways, for `oa-dev events` and the page",
    each=32 * MIB,
    most=32 * MIB,
    fair=0,
    beyond="the oldest goes first; a question about a dropped one is told so",
)


def _latest(name: str, keeps: str, most: int) -> Bound:
    """Return the bound of rows with numbers, which all have one owner."""
    return Bound(name, keeps, each=most, most=most, fair=0, beyond="the oldest goes first; its number is missing")


RELOADS = _latest("reloads", "the latest reloads, for `oa-dev wait` and the page", 4 * MIB)
FACTS = _latest("facts", "the latest facts, for the page", 2 * MIB)
LOGS = _latest("log lines", "the latest log lines of mods and libraries, for the page", 2 * MIB)
IDENTITIES = Bound(
    "identities",
    "ids and metadata of registered agents",
    each=65 * KIB,
    most=32 * MIB,
    fair=4 * KIB,
    beyond="a new agent is refused and told so; so is one beyond max_connections",
)
SUBSCRIPTIONS = Bound(
    "subscriptions",
    "patterns and channels that agents subscribed to",
    each=256 * KIB,
    most=16 * MIB,
    fair=16 * KIB,
    beyond="a new subscription is refused and its agent told so",
)
CONNECTIONS = Bound(
    "connections",
    "unanswered bytes of clients, and unread answers",
    each=64 * MIB,
    most=256 * MIB,
    fair=64 * KIB,
    beyond="the connection that needs more is ended, with a reason where its client reads; its agent's events are kept",
)


class Account:
    """The bytes of one kind. Safe to use from several threads.

    Arguments: `bound`, its row of the table; `owners`, asked for the bytes of each owner when they
    are shown; `drop`, which drops everything of an owner that has gone.
    """

    def __init__(
        self,
        bound: Bound,
        owners: Callable[[], Mapping[str, int]] = dict,
        drop: Callable[[str], None] = lambda owner: None,
    ) -> None:
        self.bound = bound
        self.owners = owners
        self.drop = drop
        self.refused = 0
        """How often there was no room."""
        self.used = 0
        """The bytes that are kept now. Changed with the lock held, or by its only keeper with its own."""
        self._lock = threading.Lock()

    def keep(self, size: int) -> None:
        """Count bytes that are kept from now on; a negative size for bytes that are freed."""
        with self._lock:
            self.used += size

    def ask(self, size: int, owned: int) -> bool:
        """Count `size` bytes for an owner that keeps `owned`; False if that does not fit."""
        with self._lock:
            return self._take(size, size, owned)

    def hold(self, letter: Letter, owned: int) -> bool:
        """Count a letter for one more owner that keeps `owned` bytes; False if that does not fit."""
        with self._lock:
            if not self._take(0 if letter.holders else letter.size, letter.size, owned):
                return False
            letter.holders += 1
            return True

    def hold_again(self, letter: Letter) -> None:
        """Count a letter that an earlier process had room for: no delivered event may get lost."""
        with self._lock:
            self.used += 0 if letter.holders else letter.size
            letter.holders += 1

    def fits(self, size: int, owned: int) -> bool:
        """Return whether `size` bytes more fit for an owner that keeps `owned`; they are counted where they are put."""
        with self._lock:
            return self._fits(size, size, owned)

    def _take(self, cost: int, size: int, owned: int) -> bool:
        fits = self._fits(cost, size, owned)
        self.used += cost if fits else 0
        return fits

    def _fits(self, cost: int, size: int, owned: int) -> bool:
        bound = self.bound
        fits = self.used + cost <= bound.most or owned + size <= bound.fair
        if fits and owned + size <= bound.each:
            return True
        self.refused += 1
        return False

    def let_go(self, letter: Letter) -> None:
        """Count a letter for one owner less."""
        with self._lock:
            letter.holders -= 1
            self.used -= letter.size if not letter.holders else 0

    def row(self) -> dict[str, Any]:
        """Return the account as plain values; `owners` has the bytes of the ten largest."""
        owners = sorted(self.owners().items(), key=lambda pair: -pair[1])
        return {
            "name": self.bound.name,
            "keeps": self.bound.keeps,
            "bytes": self.used,
            "most": self.bound.most,
            "each": self.bound.each,
            "refused": self.refused,
            "beyond": self.bound.beyond,
            "owners": [{"owner": owner, "bytes": size} for owner, size in owners[:10]],
        }


class Accounts:
    """Every account of a network."""

    def __init__(self) -> None:
        self._open: list[Account] = []

    def open(
        self,
        bound: Bound,
        owners: Callable[[], Mapping[str, int]] = dict,
        drop: Callable[[str], None] = lambda owner: None,
    ) -> Account:
        """Open an account; see `Account`."""
        account = Account(bound, owners, drop)
        self._open.append(account)
        return account

    def owner_gone(self, owner: str) -> None:
        """Drop everything that is kept for an owner."""
        for each in self._open:
            each.drop(owner)

    def rows(self) -> list[dict[str, Any]]:
        """Return every account as plain values."""
        return [each.row() for each in self._open]
