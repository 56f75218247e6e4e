"""Every snippet of OpenAgents' announcement runs as it stands there, in one notebook that begins with our import line.

`announcement.txt` holds the snippets. The mods that they name lie in the package openagents where it is installed;
what was never shipped is a small mod beside them.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

NEVER_SHIPPED = ("analytics", "heavy_analytics", "messaging_v1", "messaging_v2")

MOD = """
from openagents.core.base_mod import BaseMod, mod_event_handler
from openagents.models.event_response import EventResponse


class {title}Mod(BaseMod):
    @mod_event_handler("{name}.version")
    async def answer_version(self, event):
        return EventResponse(success=True, message="{version}", data={{}})
"""

NOTEBOOK = """
import ast, asyncio, pathlib, sys
{first}
cells = {cells!r}
names = {{"__name__": "__main__"}}

async def main():
    for cell in cells:
        code = compile(cell, "cell", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        waiting = eval(code, names)
        if waiting is not None:
            await waiting

asyncio.run(main())
"""
"""Runs cells as a notebook does: each may await at its top, and they share their names."""

OPEN = """
from openagents.core.network import AgentNetwork
network = AgentNetwork.load("network.yaml")
await network.initialize()
"""
CLOSE = "await network.shutdown()"
ALL = "print([mod_id for mod_id in network.get_loaded_mods()])"


def snippets() -> dict[str, str]:
    """The snippets by their titles."""
    sections = (Path(__file__).with_name("announcement.txt")).read_text().split("## ")[1:]
    return {title: body for title, _, body in (each.partition("\n") for each in sections)}


def write_mod(folder: Path, name: str, version: str = "1") -> None:
    """A small mod of openagents."""
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("")
    title = name.title().replace("_", "")
    (folder / "mod.py").write_text(MOD.format(name=name, title=title, version=version))


def link(source: Path, target: Path, *apart: str) -> None:
    """Give a folder what another one holds; `apart` leads, name by name, to a folder that can be added to."""
    target.mkdir(parents=True)
    for each in source.iterdir():
        if each.name not in ("__pycache__", *apart[:1]):
            (target / each.name).symlink_to(each)
    if apart:
        link(source / apart[0], target / apart[0], *apart[1:])


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """A network, the author's mod, and a folder of packages in which openagents has the mods that are named."""
    work, packages = tmp_path / "work", tmp_path / "packages"
    work.mkdir()
    (work / "network.yaml").write_text("network:\n  name: announced\n  mods: []\n")
    write_mod(work / "my_project" / "mods" / "my_custom_mod", "my_custom_mod")
    mods = packages / "openagents" / "mods" / "workspace"
    shipped = importlib.util.find_spec("openagents")
    if shipped is None:
        for name in ("project", "wiki"):
            write_mod(mods / name, name)
    else:
        [real] = shipped.submodule_search_locations or ()
        link(Path(real), packages / "openagents", "mods", "workspace")
    for name in NEVER_SHIPPED:
        write_mod(mods / name, name)
    return work


def run(work: Path, cells: Sequence[str], by_exec: bool = False) -> list[str]:
    """The lines that a notebook of these cells prints."""
    first = "" if by_exec else "import devserver.openagents"
    (work / "notebook.py").write_text(NOTEBOOK.format(first=first, cells=list(cells)))
    command = [sys.executable, *(("-m", "devserver", "exec") if by_exec else ()), "notebook.py"]
    environment = {**os.environ, "PYTHONPATH": str(work.parent / "packages")}
    done = subprocess.run(command, cwd=work, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_load_and_unload(workspace: Path) -> None:
    """A mod is loaded by its path and unloaded by it; each says that it succeeded."""
    load, unload = snippets()["what's new"].split("# Unload when done")
    said = run(workspace, [OPEN, load, "print(response.success)", ALL, unload, "print(response.success)", ALL, CLOSE])
    assert said == ["True", "['project']", "True", "[]"]


def test_faster_development(workspace: Path) -> None:
    """Unloaded by its short id and loaded by its path, an edited mod serves its new code."""
    file = "my_project/mods/my_custom_mod/mod.py"
    load = 'await network.load_mod("my_project.mods.my_custom_mod")'
    ask = """
from openagents.models.event import Event
print((await network.process_event(Event(event_name="my_custom_mod.version", source_id="agent:admin"))).message)
"""
    edit = f"""
source = pathlib.Path({file!r})
source.write_text(source.read_text().replace('message="1"', 'message="the new code"'))
"""
    cells = [OPEN, "import pathlib", load, ask, edit, snippets()["faster development"], ask, CLOSE]
    assert run(workspace, cells) == ["1", "the new code"]


@pytest.mark.parametrize(("premium", "loaded"), [(True, "['analytics']"), (False, "[]")])
def test_feature_flags(workspace: Path, premium: bool, loaded: str) -> None:
    """A mod is loaded under a condition."""
    assert run(workspace, [OPEN, f"premium_user = {premium}", snippets()["feature flags"], ALL, CLOSE]) == [loaded]


def test_resource_management(workspace: Path) -> None:
    """A heavy mod is loaded by its path and unloaded by its short id."""
    load, unload = snippets()["resource management"].split("# Unload during")
    assert run(workspace, [OPEN, load, ALL, f"# {unload}", ALL, CLOSE]) == ["['heavy_analytics']", "[]"]


def test_a_b_testing(workspace: Path) -> None:
    """One implementation goes, another comes."""
    load = 'await network.load_mod("openagents.mods.workspace.messaging_v1")'
    said = run(workspace, [OPEN, load, ALL, snippets()["a/b testing"], ALL, CLOSE])
    assert said == ["['messaging_v1']", "['messaging_v2']"]


def test_monitoring(workspace: Path) -> None:
    """The statistics count what was loaded at run time, and `get_loaded_mods` knows since when."""
    load = snippets()["what's new"].split("# Unload when done")[0]
    cells = [OPEN, snippets()["monitoring"], load, snippets()["monitoring"], snippets()["monitoring, directly"], CLOSE]
    *counted, since = run(workspace, cells)
    assert counted == ["Dynamic mods: 0", "Dynamic mods: 1", "  - project"]
    name, _, seconds = since.partition(": loaded at ")
    assert (name, float(seconds) > 1e9) == ("project", True)


def test_event_based_loading(workspace: Path) -> None:
    """An event of openagents loads a mod."""
    assert run(workspace, [OPEN, snippets()["event-based loading"], ALL, CLOSE]) == ["['wiki']"]


@pytest.mark.parametrize("by_exec", [False, True], ids=["import", "exec"])
def test_quick_start(workspace: Path, by_exec: bool) -> None:
    """Its import line as it stands, after ours or by `oa-dev exec`: both mods come, and "wiki" goes."""
    config = "print(network.mods['openagents.mods.workspace.wiki'].config)"
    load, unload = snippets()["quick start"].split("# Remove when")
    printed, *said = run(workspace, [load, config, f"# {unload}", ALL, CLOSE], by_exec)
    assert all(each in printed for each in ("'project'", "'wiki'", "'loaded_at'"))
    assert said == ["{'public': True}", "['project']"]


def test_all_in_one_notebook(workspace: Path) -> None:
    """The snippets one after the other, in one process: none raises, and each leaves what it says."""
    cells = [OPEN, "premium_user = True", *(body for title, body in snippets().items() if title != "quick start")]
    said = run(workspace, [*cells, ALL, CLOSE])
    assert said[-1] == "['my_custom_mod', 'analytics', 'messaging_v2', 'wiki']"
    assert run(workspace, [snippets()["quick start"], ALL, CLOSE])[-1] == "['project']"
