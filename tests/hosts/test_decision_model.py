"""Any sequence of crashes and cut links while hosts agree on a plan: one decision, never the old after the new.

Hypothesis moves one plan over an author and two hosts, with events that go from host to host meanwhile. What each does
is the real table; the engine is one write that the first wins.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from devserver.hosts.decision import At, Came, Do, Round, Word, step

NAMES = ("author", "ben", "cat")
HOST = st.sampled_from(NAMES)
SHUT = (At.PREPARING, At.VOTED)
OVER = (At.COMMITTED, At.ABORTED)


@dataclass
class Host:
    """One host on its way: what came and was not looked at yet, and whether its new generation serves."""

    at: At = At.BUILDING
    inbox: list[Came] = field(default_factory=list)
    whole: bool = True
    new: bool = False
    follows: bool = False
    """Whether it has to carry out what was decided without it, before it answers others."""


class Plan(RuleBasedStateMachine):
    """One group of one plan."""

    def __init__(self) -> None:
        super().__init__()
        self._begin()

    def _begin(self) -> None:
        self.hosts = {name: Host() for name in NAMES}
        self.round: Round | None = Round(NAMES)
        self.written: Word | None = None

    # What happens

    @rule()
    def all_goes_well(self) -> None:
        """No host is slow."""
        self.all_but_one("")

    @rule(idle=HOST)
    def all_but_one(self, idle: str) -> None:
        """Each host works, the author asks or writes, and what is sent arrives; but for one that is slow.

        When all have ended and hear each other, the next plan begins.
        """
        if all(each.at in OVER and each.whole for each in self.hosts.values()):
            self._begin()
        for name in NAMES:
            if name != idle:
                self.works(name)
        if idle != "author":
            self.author_goes_on()
        for name in NAMES:
            if name != idle:
                self.hears(name)

    def works(self, name: str) -> None:
        """What it builds or prepares becomes ready."""
        if self.hosts[name].at in (At.BUILDING, At.PREPARING):
            self._comes(name, Came.DONE)

    def fails(self, name: str) -> None:
        """What it builds or prepares fails."""
        if self.hosts[name].at in (At.BUILDING, At.PREPARING):
            self._comes(name, Came.FAILED)

    def hears(self, name: str) -> None:
        """What was sent arrives."""
        host = self.hosts[name]
        if host.whole and host.inbox:
            self._comes(name, host.inbox.pop(0))

    @rule(name=HOST, what=st.sampled_from(["fails", "crashes", "is_cut_or_heals"]))
    def trouble(self, name: str, what: str) -> None:
        """A host fails, ends, or loses its link; or has it again."""
        getattr(self, what)(name)

    @rule(name=HOST)
    def waits_long(self, name: str) -> None:
        """Two seconds pass without a word for one of them."""
        self._comes(name, Came.WAITED)

    def author_goes_on(self) -> None:
        """The author looks at the votes, and writes or asks; a slow author does so late."""
        author = self.hosts["author"]
        if self.round is None or not author.whole:
            return
        word = self.round.word
        if word is not None:
            self._write(word)
        elif not self.round.refused and self.round.built == self.round.hosts:
            for host in self.hosts.values():
                if host.at in (At.BUILDING, At.BUILT) and Came.PREPARE not in host.inbox:
                    host.inbox.append(Came.PREPARE)

    def crashes(self, name: str) -> None:
        """A process ends, and comes back with nothing but what stands on the engine."""
        host = self.hosts[name]
        if name == "author":
            self.round = None
        elif self.round is not None and host.at not in OVER:
            self.round.voted(name, Do.UNDO, "it went away")
        host.at, host.inbox, host.new, host.follows = At.ADRIFT, [], False, True

    def is_cut_or_heals(self, name: str) -> None:
        """The link to the engine goes, or comes back: then a host reads what was decided meanwhile."""
        host = self.hosts[name]
        host.whole = not host.whole
        if not host.whole:
            host.inbox = [each for each in host.inbox if each is not Came.PREPARE]
            self._comes(name, Came.CUT)
        elif self.written is not None:
            host.inbox.append(Came(self.written.value))

    @rule(first=HOST, second=HOST)
    def event(self, first: str, second: str) -> None:
        """An event meets a mod on one host, then one on another, as far as gates let it in."""
        start, then = self.hosts[first], self.hosts[second]
        if first == second or not (start.whole and then.whole):
            return
        if start.at in SHUT or start.follows or then.follows:
            return
        met = start.new
        # `met`: a host that has not opened what the event has met holds it, whatever its gate says.
        if then.at in SHUT or (met and not then.new):
            assert not met or then.at in SHUT or then.at is At.ADRIFT, "the event waits for what never comes"
            return
        assert then.new or not met

    # How hosts live

    def _comes(self, name: str, came: Came) -> None:
        host = self.hosts[name]
        host.at, do = step(host.at, came)
        if (
            do in (Do.VOTE_BUILT, Do.VOTE_READY, Do.UNDO)
            and self.round is not None
            and (host.whole or name == "author")
        ):
            self.round.voted(name, do, "it failed")
        elif do is Do.ASK_ABORT and host.whole:
            self._write(Word.ABORT)
        elif do is Do.OPEN_OLD:
            host.follows = True
        elif do in (Do.OPEN_NEW, Do.FOLLOW):
            host.new, host.follows = True, False
        if host.at in OVER:
            host.follows = False

    def _write(self, word: Word) -> None:
        self.written = self.written or word
        for host in self.hosts.values():
            if host.whole:
                host.inbox.append(Came(self.written.value))

    # What holds

    @invariant()
    def one_word(self) -> None:
        """A plan is decided once: a host that has ended has ended as it stands written, and commits only then."""
        for name, host in self.hosts.items():
            if host.new:
                assert self.written is Word.COMMIT, name
            if host.at is At.ABORTED:
                assert self.written is not Word.COMMIT, name

    def teardown(self) -> None:
        """When all links are whole again each host comes to its end."""
        for name, host in self.hosts.items():
            if not host.whole:
                self.is_cut_or_heals(name)
        for _ in range(12):
            for name in NAMES:
                self.works(name)
                for _ in range(4):
                    self.hears(name)
                self.waits_long(name)
            self.author_goes_on()
        stands = {name: host.at for name, host in self.hosts.items()}
        assert set(stands.values()) <= set(OVER), stands
        assert not any(host.follows for host in self.hosts.values())


TestPlan = Plan.TestCase
TestPlan.settings = settings(
    max_examples=120, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)


def test_a_vote_of_a_stranger_counts_for_nothing() -> None:
    """Only the votes of the hosts that are asked count, each once."""
    votes = Round(["laptop", "gpu-1"])
    for host in ("laptop", "laptop", "else"):
        votes.voted(host, Do.VOTE_READY)
    assert votes.word is None
    votes.voted("gpu-1", Do.VOTE_READY)
    assert votes.word is Word.COMMIT


def test_a_host_that_has_voted_ends_only_as_it_was_decided() -> None:
    """Whatever else comes after a vote, a host stays able to go either way."""
    for came in set(Came) - {Came.COMMIT, Came.ABORT}:
        for at in (At.VOTED, At.ADRIFT):
            assert step(at, came)[0] in (At.VOTED, At.ADRIFT), (at, came)
