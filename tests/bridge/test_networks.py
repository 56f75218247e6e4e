"""The networks that the package openagents brings run unchanged, and their files stay as they are."""

from __future__ import annotations

import asyncio
import filecmp
import os
import shutil
import sys
from pathlib import Path

import pytest

pytest.importorskip("openagents")

import openagents
from served_process import serving
from workspaces import Workspace

from devserver.config.network_yaml import read_network
from devserver.model.facts import Status

TEMPLATES = sorted((Path(openagents.__file__).parent / "templates").glob("*/network.yaml"))
each_template = pytest.mark.parametrize("file", TEMPLATES, ids=[each.parent.name for each in TEMPLATES])


def test_there_are_five() -> None:
    """What is run here is every template of the package."""
    assert len(TEMPLATES) == 5


@each_template
async def test_a_template_runs_with_all_its_mods(file: Path, work: Workspace) -> None:
    """Every mod that it enables is loaded, and the file is not touched."""
    shutil.copytree(file.parent, work.folder, dirs_exist_ok=True)
    await work.run()
    wanted = read_network(file)
    assert [each["name"] for each in work.net.mods()] == [each.path for each in wanted.enabled_mods]
    assert {each.status for each in work.outcomes()} == {Status.APPLIED}
    await work.end()
    assert filecmp.cmp(work.folder / "network.yaml", file, shallow=False)


@each_template
def test_what_a_template_asks_for_and_is_not_served_is_listed(file: Path) -> None:
    """gRPC is in all of them; nothing that is not used here is passed over in silence."""
    unused = read_network(file).unused
    assert any("transports" in each for each in unused)


async def test_a_workspace_made_by_openagents_network_init_runs(tmp_path: Path) -> None:
    """`openagents network init`, then `oa-dev run`, and nothing in between."""
    folder = tmp_path / "made"
    program = Path(sys.executable).with_name("openagents")
    process = await asyncio.create_subprocess_exec(
        *(program, "network", "init", str(folder)),
        env={**os.environ, "HOME": str(tmp_path)},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
    )
    assert await process.wait() == 0
    before = (folder / "network.yaml").read_bytes()
    async with serving(folder) as server:
        ready = next(line for line in server.lines if line["type"] == "ready")
        wanted = [each.path for each in read_network(folder / "network.yaml").enabled_mods]
        assert [each["mod_path"] for each in ready["mods"]] == wanted
    assert (folder / "network.yaml").read_bytes() == before
