"""Where a port is taken, the process that has it is named."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from devserver.errors import PortInUse
from devserver.server.sockets import bind, port_holder

pytestmark = pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="only Linux shows which process listens")


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_taken_port_names_the_process_that_listens(host: str) -> None:
    """By its name and its id, in the refusal too; a free port has none."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as listening:
        listening.bind((host, 0))
        listening.listen()
        port = listening.getsockname()[1]
        assert port_holder(port).endswith(f"(process {os.getpid()})")
        with pytest.raises(PortInUse, match=rf"is in use by .* \(process {os.getpid()}\)"):
            bind(host, port, strict=True)
    assert port_holder(port) == ""


def test_where_nothing_is_shown_nothing_is_said(tmp_path: Path) -> None:
    """As on systems without /proc."""
    assert port_holder(8700, tmp_path) == ""
