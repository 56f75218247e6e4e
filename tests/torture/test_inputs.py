"""What a mod is made from though no code of it opens it."""

from __future__ import annotations

import pytest
from torture_world import MakeWorld, probe

pytestmark = pytest.mark.filterwarnings("error")

PLACES = {
    "beside": ("'menu.txt'", "mods/menu.txt"),
    "in_a_folder": ("'data', 'menu.txt'", "mods/data/menu.txt"),
    "in_the_workspace": ("os.pardir, 'data', 'menu.txt'", "data/menu.txt"),
}


@pytest.mark.parametrize("kind", PLACES)
async def test_a_file_of_which_only_the_size_is_asked_is_a_source(world: MakeWorld, kind: str) -> None:
    """Its name stands in the source, whole or in parts: Python tells nobody of a stat."""
    parts, path = PLACES[kind]
    size = f"self.size = os.stat(os.path.join(os.path.dirname(__file__), {parts})).st_size"
    here = world()
    here.write({"mods/probe.py": probe("import os", size), path: "soup"})
    await here.start()
    assert await here.ask("self.size") == 4
    # What nobody waits for is done before the next trigger.
    await here.network.engine.rest()
    here.network.engine.go_on()
    assert [each.reason for each in await here.change({path: "two soups"})] == [f"{path} changed"]
    assert await here.ask("self.size") == 9
