"""Which host runs a mod, and whether it may answer: seats with epochs, leases, and what a host may take over. Pure.

All times are seconds of one host's own monotonic clock; what is compared is how long something took, on one host.

Why two hosts never answer for one mod at once, where seats are taken over: a host hears its own heartbeats through the
engine, on the same subscription as those of the others, so that hearing its own means that it has heard all that came
before. A host that has not heard its own for `FENCE` stops (`Lease`). Another one takes over where it has heard nothing
for `DEAD`, while it heard its own all the time (`Silence`). Taking over, and going on after a fence, both write the
seat with the revision that was read before: of two that write, one is refused.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

FENCE = 1.5
"""Seconds without an answer of the engine after which a host stops answering for its mods."""

DEAD = 2.5
"""Seconds after which a host that was not heard counts as dead."""

DECIDES_AFTER = 2.0
"""Seconds that a host which has voted waits for the decision, before it asks for an abort itself."""


@dataclass(frozen=True, slots=True)
class Seat:
    """The one host that runs a mod. `epoch` grows with each host that gets it."""

    mod_id: str
    host: str
    epoch: int = 1

    def given_to(self, host: str) -> Seat:
        """Return the seat with another host, or with the same one after a fence."""
        return replace(self, host=host, epoch=self.epoch + 1)

    def problem(self, host: str, epoch: int) -> str:
        """Return why `host` cannot answer an ask to the seat of that epoch: a code, or ""."""
        return "" if self.host == host and self.epoch == epoch else "stale_seat"


class Lease:
    """A host's right to answer for its mods: it lasts `FENCE` seconds from when it sent the last heartbeat it heard.

    Once it has ended it stays so, whatever is heard, until the host has written its seats again (`begin`).
    """

    def __init__(self, now: float) -> None:
        self._from = now
        self.ended = False

    def heard_own(self, sent: float, now: float) -> None:
        """The host has heard the heartbeat that it sent then. What was paused may hear it before it has looked."""
        if self.holds(now):
            self._from = max(self._from, sent)

    def holds(self, now: float) -> bool:
        """Return whether the host may answer."""
        self.ended = self.ended or now - self._from >= FENCE
        return not self.ended

    def begin(self, sent: float) -> None:
        """The host has written its seats again, after it sent a heartbeat that it has heard."""
        self._from, self.ended = sent, False


@dataclass(slots=True)
class Silence:
    """How long this host has not heard each other one, as far as it would have heard them."""

    _heard: dict[str, float] = field(default_factory=dict)
    _whole_until: float = 0.0
    _is_deaf: bool = False

    def disconnected(self) -> None:
        """Hear no other host until `connected`, and take none for dead."""
        self._is_deaf = True

    def connected(self, now: float) -> None:
        """Hear others from now on, on a new connection: nothing that was sent before comes any more."""
        self._heard = dict.fromkeys(self._heard, now)
        self._whole_until, self._is_deaf = now, False

    def heard(self, host: str, now: float) -> None:
        """Note that another host was heard."""
        self._heard[host] = now

    def heard_own(self, sent: float) -> None:
        """The heartbeat that this host sent then is back: what others sent before it has been heard."""
        self._whole_until = max(self._whole_until, sent)

    def dead(self) -> tuple[str, ...]:
        """Return the hosts that count as dead."""
        if self._is_deaf:
            return ()
        return tuple(host for host, heard in self._heard.items() if self._whole_until - heard >= DEAD)
