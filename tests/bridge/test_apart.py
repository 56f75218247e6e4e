"""The bridge stays out of the way: a network of our mods knows nothing of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

RUN = """
import asyncio, sys
from devserver import AgentNetwork

async def main():
    network = AgentNetwork.load("network.yaml")
    await network.initialize()
    assert list(network.running_mods()) == ["ours"], network.running_mods()
    answer = await network.load_mod("mods.none")
    assert "defines no mod" in answer.message, answer
    await network.shutdown()
    print([name for name in sys.modules if "openagents" in name or "devserver.bridge" in name])

asyncio.run(main())
"""


def test_a_network_of_our_mods_imports_neither_the_package_nor_the_bridge(tmp_path: Path) -> None:
    """Not even where a module turns out to hold no mod at all."""
    (tmp_path / "mods").mkdir()
    (tmp_path / "mods" / "ours.py").write_text("from devserver import BaseMod\n\n\nclass OursMod(BaseMod):\n    pass\n")
    (tmp_path / "mods" / "none.py").write_text("x = 1\n")
    (tmp_path / "network.yaml").write_text("network:\n  name: Ours\n  mods:\n    - name: mods.ours\n")
    ran = subprocess.run(
        [sys.executable, "-c", RUN], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert (ran.stdout.strip(), ran.returncode) == ("[]", 0), ran.stderr
