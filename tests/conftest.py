"""What the tests of the embedded network share: a workspace of real files, in which one network at a time runs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from workspaces import Workspace, without_mods


@pytest.fixture
async def work(tmp_path: Path) -> AsyncIterator[Workspace]:
    """An empty workspace. Its network is shut down after the test, and must leave no module and no task behind."""
    with without_mods():
        workspace = Workspace(tmp_path)
        yield workspace
        await workspace.end()
        assert workspace.modules() == []
