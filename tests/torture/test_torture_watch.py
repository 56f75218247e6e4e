"""The same through the real watch, and through a real process in a poor locale."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from torture_world import MakeWorld, World, assert_sound, probe

from devserver.model.change import FilesChanged, Sources
from devserver.sources.watch import Watch

pytestmark = pytest.mark.filterwarnings("error")


@asynccontextmanager
async def watched(here: World) -> AsyncIterator[None]:
    """Let a real watch see what is saved."""
    engine = here.network.engine

    async def changed(sources: Sources, texts: Mapping[Path, bytes]) -> None:
        await here.network.submit(FilesChanged(sources))

    async def config() -> None:
        raise AssertionError("network.yaml is untouched")

    watch = Watch(
        engine.roots,
        engine.knowledge.sources,
        here.folder / "network.yaml",
        on_change=changed,
        on_config=config,
        ignored=lambda fact: None,
        notice=lambda words: None,
    )
    running = asyncio.create_task(watch.run())
    try:
        yield
    finally:
        running.cancel()
        await asyncio.wait([running])


async def until(fact: Callable[[], bool]) -> None:
    """Wait for a fact, and fail where it does not come."""
    end = time.monotonic() + 20
    while not fact():
        assert time.monotonic() < end
        await asyncio.sleep(0.01)


async def test_saves_are_seen_and_needless_ones_are_not(world: MakeWorld) -> None:
    """An edit, a touch, a broken edit, a new file and its edit: a generation for each content, and no other."""
    here = world()
    here.write({"mods/probe.py": probe(), "m.py": "def f(): return 1\n"})
    await here.start()
    async with watched(here):
        here.write({"m.py": "def f(): return 2\n"})
        await until(lambda: here.generation().number == 2)
        path = here.folder / "m.py"
        os.utime(path)
        path.write_bytes(path.read_bytes())
        here.write({"m.py": "def f(: return 3\n"})
        await until(lambda: len(here.outcomes()) == 3)
        assert await here.ask("m.f()") == 2
        here.write({"helper.py": "def g(): return 4\n", "m.py": "from helper import g as f\n"})
        await until(lambda: here.generation().number == 3)
        here.write({"helper.py": "def g(): return 5\n"})
        await until(lambda: here.generation().number == 4)
        assert await here.ask("m.f()") == 5
    await here.quiet()
    assert_sound(here)


async def test_a_file_that_is_gone_for_good_is_told_of(world: MakeWorld) -> None:
    """file_deleted: the old code serves, someone says so, and what is written again is served."""
    here = world()
    here.write({"mods/probe.py": probe(), "m.py": "def f(): return 1\n"})
    await here.start()
    async with watched(here):
        (here.folder / "m.py").unlink()
        await until(lambda: len(here.outcomes()) == 2)
        assert here.outcomes()[-1].error is not None
        assert await here.ask("m.f()") == 1
        here.write({"m.py": "def f(): return 2\n"})
        await until(lambda: here.generation().number == 2)
        assert await here.ask("m.f()") == 2
    await here.quiet()
    assert_sound(here)


POOR = """
import asyncio, pathlib, sys
from torture_world import World, probe

async def main():
    here = World(pathlib.Path(sys.argv[1]))
    here.write({"mods/probe.py": probe(), "m.py": "# ü\\ndef f(): return 'é'\\n"})
    await here.start()
    first = await here.ask("m.f()")
    await here.change({"m.py": "# ü\\ndef f(): return 'ß€'\\n"})
    second = await here.ask("m.f()")
    await here.stop()
    print(ascii((first, second)))

asyncio.run(main())
"""


def test_sources_are_utf8_whatever_the_locale(tmp_path: Path) -> None:
    """utf8_locale_c: a process without UTF-8 reads them as Python does."""
    here = Path(__file__).parent
    path = os.pathsep.join(map(str, (here, here.parents[1])))
    poor = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONPATH": path}
    kept = {name: value for name, value in os.environ.items() if name not in ("LANG", "PYTHONDONTWRITEBYTECODE")}
    script = tmp_path / "poor.py"
    script.write_text(POOR, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path / "w")], env={**kept, **poor}, capture_output=True, timeout=60
    )
    assert (done.stdout.decode().strip(), done.stderr.decode()) == (ascii(("é", "ß€")), "")
