"""What a mod is made from though nothing shows it when it runs: stat-ed files, modules imported by name."""

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
    """Its name stands in the source, whole or in parts: Python tells no one of a stat."""
    parts, path = PLACES[kind]
    size = f"self.size = os.stat(os.path.join(os.path.dirname(__file__), {parts})).st_size"
    here = world()
    here.write({"mods/probe.py": probe("import os", size), path: "soup"})
    await here.start()
    assert await here.ask("self.size") == 4
    # What no one waits for is done before the next trigger.
    await here.network.engine.rest()
    here.network.engine.go_on()
    assert [each.reason for each in await here.change({path: "two soups"})] == [f"{path} changed"]
    assert await here.ask("self.size") == 9


PLUGINS = """
import importlib, pkgutil
import plugins
names = [each.name for each in pkgutil.iter_modules(plugins.__path__)]
FOUND = {{each: importlib.import_module(f"plugins.{{each}}").N for each in names}}
N = {n}
"""


async def test_a_plugin_is_a_source_of_what_loads_it_also_after_that_was_reloaded(world: MakeWorld) -> None:
    """The second import finds it in Python's table, where nothing shows who asks for it."""
    here = world()
    plugins = {"plugins/__init__.py": "", "plugins/one.py": "N = 1\n"}
    here.write({"mods/probe.py": probe(), "m.py": PLUGINS.format(n=1), **plugins})
    await here.start()
    await here.change({"m.py": PLUGINS.format(n=2)})
    await here.change({"plugins/one.py": "N = 2\n"})
    assert await here.ask("m.FOUND") == {"one": 2}
    await here.change({"plugins/two.py": "N = 3\n"})
    await here.change({"plugins/one.py": "N = 4\n"})
    assert await here.ask("m.FOUND") == {"one": 4, "two": 3}
