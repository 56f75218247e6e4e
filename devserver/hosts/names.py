"""What things are called on the engine: subjects, streams, buckets. Pure.

Ids become base32 tokens, so that no id can be a wildcard, or reach into the names of another.
"""

from __future__ import annotations

import re
from base64 import b32decode, b32encode
from dataclasses import dataclass
from functools import lru_cache

HOSTS, MODS, AGENTS, DECISIONS, CODE = BUCKETS = ("hosts", "mods", "agents", "decisions", "code")
"""The buckets of a network: who is there, who runs which mod, where agents are, what was decided, what is run."""

READ_ONLY = "OA.CODE"
"""Where hosts ask for what lies in the bucket of code: it is in an account that they cannot write to."""

_TOKEN = re.compile(r"[a-z2-7]{1,410}")


@lru_cache(maxsize=4096)
def token(text: str) -> str:
    """Return an id as one part of a subject: base32 in small letters, of at least one letter."""
    return b32encode(text.encode("utf-8", "surrogatepass")).decode("ascii").rstrip("=").lower() or "a"


def text_of(part: str) -> str:
    """Return the id that `token` wrote. Raises ValueError for what it never writes."""
    if _TOKEN.fullmatch(part) is None:
        raise ValueError(f"{part[:80]!r} is not a token")
    if part == "a":
        return ""
    text = b32decode(part.upper() + "=" * (-len(part) % 8)).decode("utf-8", "surrogatepass")
    if token(text) != part:
        raise ValueError(f"{part[:80]!r} is not a token")
    return text


def as_host_name(text: str) -> str:
    name = re.sub(r"[^a-z0-9_.-]", "-", text.lower())[:63].strip("_.-")
    return name or "host"


@dataclass(frozen=True, slots=True)
class Names:
    """The names of one network, by its id."""

    network: str

    @property
    def n(self) -> str:
        """The token of the network, which all its names hold."""
        return token(self.network)

    @property
    def heartbeat(self) -> str:
        """The subject where each host tells that it is there."""
        return f"oa.{self.n}.hb"

    def ask(self, host: str) -> str:
        """Return the subject of the asks that a host answers."""
        return f"oa.{self.n}.ask.{token(host)}"

    def request(self, host: str) -> str:
        """Return the subject where a host is asked what people want of it: commands, and its events."""
        return f"oa.{self.n}.request.{token(host)}"

    def plan(self, host: str) -> str:
        """Return the subject where a host is asked for its vote."""
        return f"oa.{self.n}.plan.{token(host)}"

    def out(self, host: str) -> str:
        """Return the subject of what is to be delivered to the agents of a host."""
        return f"oa.{self.n}.out.{token(host)}"

    @property
    def out_stream(self) -> str:
        """The stream that keeps deliveries until they are taken."""
        return f"OA_{self.n}_OUT"

    def consumer(self, host: str) -> str:
        """Return the consumer of a host's deliveries."""
        return f"out_{token(host)}"

    def bucket(self, kind: str) -> str:
        return f"OA_{self.n}_{kind}"

    def bucket_stream(self, kind: str) -> str:
        return f"KV_{self.bucket(kind)}"

    def key(self, kind: str, *ids: str) -> str:
        """Return the subject of a key in a bucket: each id is one token of it."""
        return ".".join(("$KV", self.bucket(kind), *map(token, ids)))

    def ids(self, kind: str, subject: str) -> tuple[str, ...]:
        """Return the ids in the subject of a key. Raises ValueError for another subject."""
        before = f"$KV.{self.bucket(kind)}."
        if not subject.startswith(before):
            raise ValueError(f"{subject[:80]!r} is not a key of {self.bucket(kind)}")
        return tuple(text_of(each) for each in subject.removeprefix(before).split("."))
