"""A workspace for a server of its own in each test of a fault."""

from __future__ import annotations

from pathlib import Path

import pytest
from invariants import quiet_log
from live import Site

__all__ = ["quiet_log"]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """An empty workspace."""
    return Site(tmp_path / "network")
