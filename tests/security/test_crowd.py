"""A server that may open few files: who is too many is told so at once, and those who go make room."""

from __future__ import annotations

import contextlib
import resource
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from live import Live, Site, serving

FILES = 64


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Live]:
    """A server with a limit of 64 files."""
    site = Site(tmp_path / "network")
    site.mod("echo", "pass")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.ExitStack() as stack:
        live = stack.enter_context(serving(site))
        resource.prlimit(live.process.pid, resource.RLIMIT_NOFILE, (FILES, hard))
        yield live
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (soft, hard)


def test_without_a_descriptor_left_clients_are_refused_at_once(small: Live) -> None:
    """And served again when others have gone; the server says so in its log, once a second, and goes on."""
    with contextlib.ExitStack() as stack:
        lines = [stack.enter_context(socket.create_connection(("127.0.0.1", small.port))) for _ in range(FILES * 2)]
        for line in lines:
            line.settimeout(20)
        assert lines[-1].recv(12) == b"HTTP/1.1 503"
        assert min(_seconds_of_health(small) for _ in range(3)) < 2  # each once waited for 2.5 s
    small.until(lambda: small.request("GET", "/healthz").status == 200)
    small.until(lambda: "no file descriptor is left" in small.log())


def _seconds_of_health(live: Live) -> float:
    """How long an answer takes; on a busy machine one alone may come late."""
    began = time.monotonic()
    assert live.request("GET", "/healthz").status in (200, 503)
    return time.monotonic() - began
