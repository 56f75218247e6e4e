"""Upgrades of a mod that came from elsewhere while eight tasks ask it: `python upgrades.py ours|purge`.

`ours` is a lock that changes below a running network. `purge` is what integrations of other programs do to spare a
restart: the new files over the old ones, the names taken out of `sys.modules`, and an import. Prints "ready"; for each
line on stdin it makes that many upgrades and prints a JSON object: events, those that failed, answers of two versions
at once, and the milliseconds of each upgrade, of each swap in it, and of each event.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from devserver import AgentNetwork, Event
from devserver.market import sync
from devserver.market.wants import Listed, Wants
from devserver.market.wheel import build_wheel
from devserver.model.change import LockChanged

PROJECT = """\
[build-system]
requires = ["uv_build>=0.11,<0.14"]
build-backend = "uv_build"
[project]
name = "bench-extra"
version = "{version}"
requires-python = ">=3.11"
[project.entry-points."openagents.mods"]
bench_extra = "bench_extra"
"""
MOD = """\
from devserver import BaseMod, EventResponse, mod_event_handler

from . import words

VERSION = "{version}"


async def versions():
    from . import later

    return [VERSION, words.VERSION, later.VERSION]


class Extra(BaseMod):
    version = VERSION

    @mod_event_handler("extra.ask")
    async def ask(self, event):
        return EventResponse(True, "", {{"versions": await versions()}})
"""
VERSIONS = ("1.0", "1.1")
Ask = Callable[[], Awaitable[list[str] | None]]
Upgrade = Callable[[int], Awaitable[float]]
"""Brings the version of a turn; the seconds of its swap, once the files are there."""


def write(folder: Path, version: str) -> Path:
    """The sources of a version."""
    package = folder / version / "src" / "bench_extra"
    package.mkdir(parents=True)
    (folder / version / "pyproject.toml").write_text(PROJECT.format(version=version))
    (package / "__init__.py").write_text("")
    (package / "mod.py").write_text(MOD.format(version=version))
    for name in ("words", "later"):
        (package / f"{name}.py").write_text(f'VERSION = "{version}"\n')
    return folder / version


async def ours(folder: Path) -> tuple[Ask, Upgrade]:
    """A network that runs the mod of a lock."""
    for version in VERSIONS:
        build_wheel(write(folder / "sources", version), folder / "index")
    (folder / "network.yaml").write_text("network:\n  name: Bench\n  mods:\n    - name: bench_extra\n")

    def lock(turn: int) -> None:
        wanted = Listed("bench_extra", "bench-extra", f"=={VERSIONS[turn % 2]}")
        wants = Wants(listed=(wanted,), indexes=("index",), packages="none")
        ready = sync.install(sync.resolve(folder, wants, everything=True, offline=True), taken={}, origins={})
        sync.write_lock(ready, sync.Files())

    lock(0)
    network = AgentNetwork.load(folder / "network.yaml")
    await network.initialize()

    async def ask() -> list[str] | None:
        answer = await network.process_event(Event(event_name="extra.ask", source_id="agent:bench"))
        return answer.data["versions"] if answer is not None and answer.success and answer.data else None

    async def upgrade(turn: int) -> float:
        await asyncio.to_thread(lock, turn)
        began = time.perf_counter()
        await network.submit(LockChanged())
        return time.perf_counter() - began

    return ask, upgrade


async def purge(folder: Path) -> tuple[Ask, Upgrade]:
    """A package on the import path that is written over."""
    sources = [write(folder / "sources", version) / "src" / "bench_extra" for version in VERSIONS]
    target = folder / "custom" / "bench_extra"
    shutil.copytree(sources[0], target)
    sys.path.insert(0, str(target.parent))
    sys.dont_write_bytecode = True
    current: list[Any] = [importlib.import_module("bench_extra.mod")]

    async def ask() -> list[str] | None:
        try:
            found: list[str] = await current[0].versions()
        except Exception:
            return None
        return found

    def bring(turn: int) -> float:
        shutil.copytree(sources[turn % 2], target, dirs_exist_ok=True)
        began = time.perf_counter()
        for name in [each for each in sys.modules if each.partition(".")[0] == "bench_extra"]:
            del sys.modules[name]
        importlib.invalidate_caches()
        current[0] = importlib.import_module("bench_extra.mod")
        return time.perf_counter() - began

    async def upgrade(turn: int) -> float:
        return await asyncio.to_thread(bring, turn)

    return ask, upgrade


async def main(kind: str) -> None:
    """Upgrade as asked, while others ask."""
    with tempfile.TemporaryDirectory() as name:
        ask, upgrade = await {"ours": ours, "purge": purge}[kind](Path(name))
        print("ready", flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            print(json.dumps(await measured(ask, upgrade, int(float(line)))), flush=True)


async def measured(ask: Ask, upgrade: Upgrade, turns: int) -> dict[str, Any]:
    """What the askers met."""
    answers: list[list[str] | None] = []
    took: list[float] = []
    swaps: list[float] = []
    waited: list[float] = []
    running = True

    async def asks() -> None:
        while running:
            began = time.perf_counter()
            answers.append(await ask())
            waited.append((time.perf_counter() - began) * 1000)
            # A pause lets the thread in that brings the next version.
            await asyncio.sleep(0.001)

    askers = [asyncio.create_task(asks()) for _ in range(8)]
    for turn in range(1, turns + 1):
        began = time.perf_counter()
        swaps.append(await upgrade(turn) * 1000)
        took.append((time.perf_counter() - began) * 1000)
        wanted = len(answers) + 100
        # The askers go on by themselves; nothing else tells how far they are.
        while len(answers) < wanted:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
    running = False
    await asyncio.gather(*askers)
    good = [each for each in answers if each is not None]
    return {
        "events": len(answers),
        "failed": len(answers) - len(good),
        "mixed": sum(len(set(each)) > 1 for each in good),
        "ms": took,
        "swap_ms": swaps,
        "event_ms": waited,
    }


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
