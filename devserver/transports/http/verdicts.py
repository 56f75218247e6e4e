"""Remembers whom the gate admitted: a client sends the same head with each of its requests.

A verdict follows from the head and the gate alone, so the same head has the same verdict. What was refused, and what
came with a credential, is judged anew each time. It decides nothing itself: `gate` does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from devserver.transports.http.gate import Gate, RequestFacts, Verdict, judge

MOST_KNOWN = 256
MOST_HEADER_BYTES_KNOWN = 2048


class Head(NamedTuple):
    """A request as it was sent, without its body; `method` WEBSOCKET for a handshake, `near` as in `RequestFacts`."""

    method: str
    target: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    scheme: str
    near: bool

    @property
    def path(self) -> str:
        """The target without its query, not decoded."""
        return self.target.partition(b"?")[0].decode("latin-1")


class Verdicts:
    """The verdicts of one gate, which is asked for with the first request: its port is known then."""

    def __init__(self, gate: Callable[[], Gate]) -> None:
        self._gate = gate
        self._admitted: dict[Head, Verdict] = {}

    def on(self, head: Head) -> Verdict:
        """The verdict on a request."""
        verdict = self._admitted.get(head)
        if verdict is None:
            facts = facts_of(head)
            verdict = judge(facts, self._gate())
            if verdict.admitted and not facts.all(b"authorization") and facts.header_bytes <= MOST_HEADER_BYTES_KNOWN:
                self._keep(head, verdict)
        return verdict

    def _keep(self, head: Head, verdict: Verdict) -> None:
        if len(self._admitted) >= MOST_KNOWN:
            self._admitted.clear()
        self._admitted[head] = verdict


def facts_of(head: Head) -> RequestFacts:
    """What the gate judges of a request."""
    headers: dict[bytes, tuple[bytes, ...]] = {}
    for name, value in head.headers:
        key = name.lower()
        headers[key] = (*headers.get(key, ()), value)
    return RequestFacts(head.method, head.target, headers, head.scheme, size_of(head.headers), head.near)


def size_of(headers: Sequence[tuple[bytes, bytes]]) -> int:
    """How many bytes headers have as they are sent, each with a colon, a space and the end of its line."""
    return sum(len(name) + len(value) + 4 for name, value in headers)
