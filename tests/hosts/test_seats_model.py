"""Any sequence of pauses, cut and slow links: two hosts never answer for one mod at once, and in the end one does.

Hypothesis moves a small world: hosts with their own clocks, which only run, links that hold or lose what is sent, and
an engine that keeps the seat. What hosts decide by is the real code.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from devserver.hosts.seats import DEAD, FENCE, Lease, Seat, Silence

NAMES = ("ann", "ben", "cat")
HOST = st.sampled_from(NAMES)
BEAT = 0.5


@dataclass
class Host:
    """One host: its link, what is on its way there and back, and what it believes."""

    name: str
    lease: Lease
    silence: Silence
    knows: tuple[Seat, int]
    up: list[tuple[str, float]] = field(default_factory=list)
    down: list[tuple[str, float]] = field(default_factory=list)
    link: str = "whole"
    paused: bool = False
    slow: bool = False
    beat_at: float = 0.0
    heard_own: float = 0.0
    wants: tuple[Seat, int] | None = None
    """What it is about to write, over the revision that it has read."""


class World(RuleBasedStateMachine):
    """Three hosts, one seat."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.row = (Seat("wiki", "ann"), 1)
        self.hosts = {name: Host(name, Lease(0.0), Silence(), self.row) for name in NAMES}
        for host in self.hosts.values():
            for other in {*NAMES} - {host.name}:
                host.silence.heard(other, 0.0)
            host.silence.connected(0.0)

    # What happens

    @rule(seconds=st.sampled_from([1.2, 3.0]))
    def much_time_goes_on(self, seconds: float) -> None:
        """Long enough for a fence, or for more."""
        self.time_goes_on(seconds)

    @rule(seconds=st.sampled_from([0.1, 0.3, 0.6]))
    def time_goes_on(self, seconds: float) -> None:
        """In steps, so that who can speak does."""
        for _ in range(max(1, round(seconds / 0.1))):
            self.now += 0.1
            for host in self.hosts.values():
                self._live(host)
            for name in NAMES:
                self.write(name)
                self.decide(name)
            self.one_answers()

    @rule(name=HOST, what=st.sampled_from(["held", "held", "cut", "paused", "slow"]))
    def trouble(self, name: str, what: str) -> None:
        """A link holds what is sent, or loses it; a host stops as by SIGSTOP, or is slow to write what it wants."""
        host = self.hosts[name]
        if what in ("held", "cut"):
            self._set_link(host, what)
        host.paused, host.slow = host.paused or what == "paused", host.slow or what == "slow"

    @rule(name=HOST)
    def mends(self, name: str) -> None:
        """All is well with a host again."""
        host = self.hosts[name]
        self._set_link(host, "whole")
        host.paused = host.slow = False

    def _set_link(self, host: Host, link: str) -> None:
        if link == "cut":
            host.up.clear()
            host.down.clear()
        elif host.link == "cut":
            host.silence.connected(self.now)
        host.link = link

    def decide(self, name: str) -> None:
        """A host reads, and decides what to write; the write comes later, if at all."""
        host = self.hosts[name]
        if host.paused or host.link != "whole" or host.wants is not None:
            return
        self._read(host)
        seat, revision = host.knows
        if seat.host == name:
            if host.lease.ended and self.now - host.heard_own < FENCE:
                host.wants = (seat.given_to(name), revision)
            return
        if host.lease.holds(self.now) and seat.host in host.silence.dead():
            host.wants = (seat.given_to(name), revision)

    def write(self, name: str) -> None:
        """The engine takes a write over the revision that stands there, and no other."""
        host = self.hosts[name]
        if host.paused or host.slow or host.link != "whole" or host.wants is None:
            return
        (seat, revision), host.wants = host.wants, None
        if revision != self.row[1]:
            self._read(host)
            return
        self.row = host.knows = (seat, revision + 1)
        if host.lease.ended:
            host.lease.begin(host.heard_own)

    # How hosts live

    def _live(self, host: Host) -> None:
        if host.paused:
            return
        if self.now >= host.beat_at:
            host.beat_at = self.now + BEAT
            if host.link != "cut":
                host.up.append((host.name, self.now))
        self._carry(host)
        if host.link == "whole":
            self._hear(host)

    def _carry(self, host: Host) -> None:
        if host.link != "whole":
            return
        for beat in host.up:
            for each in self.hosts.values():
                if each.link != "cut":
                    each.down.append(beat)
        host.up.clear()

    def _hear(self, host: Host) -> None:
        for name, sent in host.down:
            if name == host.name:
                host.heard_own = sent
                host.lease.heard_own(sent, self.now)
                host.silence.heard_own(sent)
            else:
                host.silence.heard(name, self.now)
        host.down.clear()

    def _read(self, host: Host) -> None:
        if self.row[1] != host.knows[1]:
            host.knows = self.row
            if host.knows[0].host != host.name:
                host.silence.heard(host.knows[0].host, self.now)

    # What holds

    def _answering(self) -> list[str]:
        awake = [each for each in self.hosts.values() if not each.paused]
        return [each.name for each in awake if each.knows[0].host == each.name and each.lease.holds(self.now)]

    @invariant()
    def one_answers(self) -> None:
        """Two seats never answer at once."""
        assert len(self._answering()) <= 1, self._answering()

    def teardown(self) -> None:
        """When all links are whole again, one host answers."""
        for name in NAMES:
            self.mends(name)
        for _ in range(8):
            self.time_goes_on(DEAD / 4)
        assert len(self._answering()) == 1


TestSeats = World.TestCase
TestSeats.settings = settings(
    max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)


def test_a_fenced_host_answers_only_after_it_has_written() -> None:
    """A lease that has ended stays ended, whatever is heard, until the seat was written again."""
    lease = Lease(0.0)
    assert lease.holds(FENCE - 0.1)
    assert not lease.holds(FENCE)
    lease.heard_own(FENCE + 1, FENCE + 1)
    assert not lease.holds(FENCE + 1)
    lease.begin(FENCE + 1)
    assert lease.holds(FENCE + 1.1)


def test_an_old_epoch_is_refused() -> None:
    """An ask that was sent to the seat before is refused, at both hosts."""
    seat = Seat("wiki", "gpu-1", 3).given_to("laptop")
    assert seat.problem("gpu-1", 3) == seat.problem("laptop", 3) == "stale_seat"
    assert seat.problem("laptop", 4) == ""


def test_silence_counts_only_while_the_own_link_is_whole() -> None:
    """A host that does not hear itself declares nothing dead, and one that has connected again
    begins to count again."""
    silence = Silence()
    silence.connected(0.0)
    silence.heard("gpu-1", 0.0)
    assert silence.dead() == ()
    silence.heard_own(DEAD - 0.1)
    assert silence.dead() == ()
    silence.connected(10.0)
    silence.heard_own(10.1)
    assert silence.dead() == ()
    silence.heard_own(10.0 + DEAD)
    assert silence.dead() == ("gpu-1",)
