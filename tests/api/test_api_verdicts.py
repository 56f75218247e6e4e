"""The gate's verdicts that are remembered: only whom it admitted, and only for the very same head."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from devserver.model.principal import ADMIN, Scope
from devserver.transports.http import verdicts
from devserver.transports.http.answers import told
from devserver.transports.http.gate import Gate, RequestFacts, Verdict, own_hosts
from devserver.transports.http.routes import Asked, Route, RouteTable
from devserver.transports.http.verdicts import MOST_HEADER_BYTES_KNOWN, MOST_KNOWN, Head, Verdicts

TOKEN = "the-token-of-this-run"
HOST = (b"host", b"localhost:8700")


async def _answer(asked: Asked):
    return told({})


GATE = Gate(
    RouteTable((Route("GET", "/open", Scope.OPEN, _answer), Route("GET", "/read", Scope.READ, _answer))),
    own_hosts(8700),
    TOKEN,
)


@pytest.fixture
def judged(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[RequestFacts]]:
    """What the gate itself was asked about."""
    asked: list[RequestFacts] = []
    real = verdicts.judge

    def judge(facts: RequestFacts, gate: Gate) -> Verdict:
        asked.append(facts)
        return real(facts, gate)

    monkeypatch.setattr(verdicts, "judge", judge)
    return asked


def head(
    target: bytes = b"/open", *more: tuple[bytes, bytes], host: tuple[bytes, bytes] = HOST, near: bool = True
) -> Head:
    return Head("GET", target, (host, *more), "http", near)


def test_whom_the_gate_admitted_it_is_not_asked_about_again(judged):
    """The same head has the same verdict."""
    known = Verdicts(lambda: GATE)
    assert known.on(head()) == known.on(head())
    assert known.on(head()).admitted
    assert len(judged) == 1


@pytest.mark.parametrize(
    "other",
    [
        head(host=(b"host", b"evil.example:8700")),
        head(b"/open", (b"origin", b"http://evil.example")),
        head(b"/read"),
        head(b"/elsewhere"),
        head()._replace(method="POST"),
    ],
)
def test_one_admission_admits_nothing_else(judged, other):
    """Whatever differs is judged, and refused again each time."""
    known = Verdicts(lambda: GATE)
    assert known.on(head()).admitted
    assert [known.on(other).admitted for _ in range(2)] == [False, False]
    assert len(judged) == 3


def test_who_is_far_is_not_taken_for_who_is_near(judged):
    """The same bytes from another machine are another head."""
    known = Verdicts(lambda: GATE)
    near, far = known.on(head()), known.on(head(near=False))
    assert near.principal != far.principal


def test_what_comes_with_a_credential_is_judged_each_time(judged):
    """A token is compared as the gate compares it, and never kept."""
    known = Verdicts(lambda: GATE)
    with_token = head(b"/read", (b"authorization", b"Bearer " + TOKEN.encode()))
    assert [known.on(with_token).principal for _ in range(3)] == [ADMIN] * 3
    assert len(judged) == 3
    assert not known.on(head(b"/read", (b"authorization", b"Bearer " + TOKEN.encode() + b"x"))).admitted


def test_what_is_remembered_is_bounded(judged):
    """In number, and long heads are not kept at all."""
    known = Verdicts(lambda: GATE)
    for number in range(MOST_KNOWN + 1):
        known.on(head(b"/open", (b"user-agent", b"%d" % number)))
    known.on(head(b"/open", (b"user-agent", b"0")))
    assert len(judged) == MOST_KNOWN + 2
    long = head(b"/open", (b"user-agent", b"x" * MOST_HEADER_BYTES_KNOWN))
    assert known.on(long).admitted and known.on(long).admitted
    assert len(judged) == MOST_KNOWN + 4
