"""Answers: any values as JSON bytes, as HTTP responses with every protecting header.

One bad value of a mod must not lose a batch of events. Writes and checks nothing else; others
decide on the contents.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import Any

from devserver.model.encoding import to_json
from devserver.network.letter import Letter

JSON = b"application/json"
ENDING = frozenset({408, 413, 431, 503})
"""Statuses after which the connection ends: the rest of the client's bytes is not worth reading."""

PROTECTING_HEADERS: tuple[tuple[bytes, bytes], ...] = (
    (b"x-content-type-options", b"nosniff"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
    (b"x-frame-options", b"DENY"),
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'",
    ),
)
_PROTECTING = b"".join(b"%s: %s\r\n" % each for each in PROTECTING_HEADERS)
_POLICY = dict(PROTECTING_HEADERS)[b"content-security-policy"]


@dataclass(slots=True)
class Answer:
    """An answer over HTTP: bytes, a status, and further headers beside those of every answer. Not to
    be changed, and not frozen: making a frozen one takes three times as long."""

    body: bytes
    status: int = 200
    headers: tuple[tuple[bytes, bytes], ...] = ()
    content_type: bytes = JSON
    policy: bytes | None = None
    """Its Content-Security-Policy, if it differs from that of all others."""


def told(values: Mapping[str, Any], status: int = 200, headers: tuple[tuple[bytes, bytes], ...] = ()) -> Answer:
    """Return an answer that is a JSON object."""
    return Answer(to_json(values), status, headers)


def refused(code: str, sentence: str, status: int, headers: tuple[tuple[bytes, bytes], ...] = ()) -> Answer:
    """Return an error in the form of OpenAgents (`error_message`), with a code for programs."""
    values = {"success": False, "code": code, "message": sentence, "error_message": sentence}
    return told(values, status, headers)


def as_http(given: Answer, *, last: bool = False, bodiless: bool = False) -> bytes:
    """Return an answer as an HTTP/1.1 response. `last`: the connection ends after it. `bodiless`:
    leave the body out, as the answer to a HEAD must."""
    own = b"".join(b"%s: %s\r\n" % each for each in given.headers) if given.headers else b""
    return b"%s%d\r\n%s%s\r\n%s" % (
        _first_lines(given.status, int(time.time()), given.content_type, given.policy or _POLICY),
        len(given.body),
        own,
        b"connection: close\r\n" if last else b"",
        b"" if bodiless else given.body,
    )


@lru_cache(maxsize=100)
def _first_lines(status: int, second: int, content_type: bytes, policy: bytes) -> bytes:
    # The date changes once a second; writing these for each answer would cost more than all else.
    date = formatdate(second, usegmt=True)
    return b"HTTP/1.1 %d %s\r\ndate: %s\r\n%scontent-type: %s\r\ncontent-length: " % (
        status,
        HTTPStatus(status).phrase.encode(),
        date.encode(),
        _PROTECTING.replace(_POLICY, policy),
        content_type,
    )


def events_to_json(letters: Iterable[Letter]) -> bytes:
    """Write a JSON list of events as receivers get them."""
    return b"[" + b",".join(each.raw for each in letters) + b"]"
