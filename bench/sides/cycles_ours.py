"""Loads and unloads a mod in our network again and again: `python cycles_ours.py CYCLES`; prints JSON, see `cycles`."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

WARM = 100
MOD = """\
from {package} import BaseMod, mod_event_handler


class CycledMod(BaseMod):
    def __init__(self, mod_name="cycled"):
        super().__init__(mod_name)

    @mod_event_handler("bench.cycled.get")
    async def get(self, event):
        return None
"""


def write(folder: Path, package: str) -> None:
    """The mod `cycled.mod`, in a folder that is put on sys.path."""
    (folder / "cycled").mkdir()
    (folder / "cycled" / "__init__.py").write_text("")
    (folder / "cycled" / "mod.py").write_text(MOD.format(package=package))
    sys.path.insert(0, str(folder))


def resident_kib() -> float:
    """The resident memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1024


async def cycles(
    count: int, load: Callable[[str], Awaitable[Any]], unload: Callable[[str], Awaitable[Any]]
) -> dict[str, float]:
    """Milliseconds of a load and unload, and how many KiB the process has grown by since the first hundred."""
    warm, tasks = 0.0, len(asyncio.all_tasks())
    began = time.perf_counter()
    for number in range(count):
        if number == min(WARM, count // 2):
            warm = resident_kib()
        for act in (load, unload):
            answer = await act("cycled")
            assert answer.success, answer.message
    took = time.perf_counter() - began
    return {"ms": took / count * 1000, "growth": resident_kib() - warm, "tasks": len(asyncio.all_tasks()) - tasks}


async def main(count: int) -> None:
    """Cycle, and tell."""
    from devserver import AgentNetwork

    with tempfile.TemporaryDirectory() as name:
        write(Path(name), "devserver")
        (Path(name) / "network.yaml").write_text("network:\n  name: bench\n  mods: []\n")
        network = AgentNetwork.load(name)
        await network.initialize()
        print(json.dumps(await cycles(count, network.load_mod, network.unload_mod)), flush=True)
        await network.shutdown()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
