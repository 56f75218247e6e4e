"""An embedded network whose files are really watched, wired as the server wires it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from watching import Watching
from workspaces import without_mods


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Watching]:
    """A workspace; what `start` runs in it is watched. Everything is ended after the test."""
    with without_mods():
        watching = Watching(tmp_path / "work")
        yield watching
        await watching.end()
        assert watching.modules() == []
