"""A workspace of its own for each end-to-end test, the server in it, and three agents that are connected."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from rig.agents import Crowd, crowd
from rig.running import Running, serving
from rig.workspace import Workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A copy of the sample network."""
    return Workspace(tmp_path / "network")


@pytest.fixture
async def server(workspace: Workspace) -> AsyncIterator[Running]:
    """A running server. What a test adds to `workspace` before it asks for this is there from the start."""
    async with serving(workspace) as running:
        yield running


@pytest.fixture
async def agents(server: Running) -> AsyncIterator[Crowd]:
    """Three agents of the running server."""
    async with crowd(server.port) as made:
        yield made
