"""What a fresh process is asked when a reload has failed."""

from __future__ import annotations

from collections.abc import Mapping

from workspaces import Workspace

from devserver.config.network_yaml import read_network
from devserver.model.change import ConfigChanged
from devserver.model.lifecycle import Phase
from devserver.reload.restarting import Arrival

BOOK = """
from pydantic import BaseModel

from devserver import BaseMod


class Config(BaseModel):
    pages: int = 5


class BookMod(BaseMod):
    Config = Config
"""


async def test_a_fresh_process_is_asked_with_the_configuration_that_failed(work: Workspace) -> None:
    """With the one that runs it would load, and a restart would be asked for that cannot help."""
    asked: list[object] = []

    async def rehearse(mods: Mapping[str, Arrival], failed_in: Phase) -> bool:
        asked.extend(dict(each.config) for each in mods.values())
        return False

    work.write("mods/book.py", BOOK)
    await work.start({"name": "mods.book", "config": {"pages": 5}})
    work.net.engine.restarts.rehearse = rehearse
    config = read_network(work.yaml({"name": "mods.book", "config": {"pages": "many"}}))
    done = await work.net.submit(ConfigChanged(config))
    assert [each.status.value for each in done.outcomes] == ["rolled_back"]
    assert asked == [{"pages": "many"}]
