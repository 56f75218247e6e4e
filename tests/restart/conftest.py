"""Real servers that restart in place, with the workspaces and agents of the end-to-end tests."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

E2E = str(Path(__file__).resolve().parents[1] / "e2e")
if E2E not in sys.path:
    # `rig` lies beside the tests that it was made for.
    sys.path.append(E2E)

from rig.running import Running, serving  # noqa: E402
from rig.workspace import Workspace  # noqa: E402


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A copy of the sample network."""
    return Workspace(tmp_path / "network")


@pytest.fixture
async def server(workspace: Workspace) -> AsyncIterator[Running]:
    """A running server. What a test adds to `workspace` before it asks for this is there from the start."""
    async with serving(workspace) as running:
        yield running
