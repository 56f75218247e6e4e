"""A server of a small workspace, for the commands that ask one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from processes import Running, write


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Running]:
    """A server that is ready."""
    running = Running(write(tmp_path))
    try:
        running.until(type="ready")
        yield running
    finally:
        running.end()
