"""Counts what one save enters of `devserver` on its way: from the notification to the commit, and to the end.

Run as `python -m bench.journey`. Functions are counted once each, calls as often as they are made. Needs no network.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import devserver
from devserver import AgentNetwork
from devserver.live.loops import LoopThread
from devserver.live.registry import Registry
from devserver.model.change import FilesChanged
from devserver.model.facts import PlanDone
from devserver.sources.watch import Watch

_TOP = str(Path(devserver.__file__).parent)
_MOD = """\
from devserver import BaseMod, EventResponse, mod_event_handler

VERSION = {version}

class WikiMod(BaseMod):
    def initialize(self):
        self.state.setdefault("pages", {{}})

    @mod_event_handler("wiki.page.get")
    def get(self, event):
        return EventResponse(True, data={{"version": VERSION}})
"""


@dataclass
class Counted:
    """The functions that were entered, and how often a call went from one file to another."""

    functions: set[CodeType] = field(default_factory=set)
    calls: int = 0
    file_changes: int = 0
    _last: dict[int, str] = field(default_factory=dict)

    @property
    def files(self) -> set[str]:
        """The files that these functions are in."""
        return {each.co_filename for each in self.functions}

    def enter(self, code: CodeType) -> None:
        """Count a call."""
        self.functions.add(code)
        self.calls += 1
        thread = threading.get_ident()
        self.file_changes += self._last.get(thread, code.co_filename) != code.co_filename
        self._last[thread] = code.co_filename

    def line(self, stretch: str) -> str:
        """The counts in a line of a table."""
        return f"| {stretch} | {len(self.functions)} | {len(self.files)} | {self.calls} | {self.file_changes} |"


class Counter:
    """Counts while `is_on`, up to the commit and in all. One for all threads."""

    def __init__(self) -> None:
        self.before, self.all = Counted(), Counted()
        self.is_on = self.is_committed = False

    def __call__(self, frame: FrameType, event: str, argument: object) -> None:
        """As `sys.setprofile` wants it. Comprehensions and generator expressions belong to their functions."""
        code = frame.f_code
        if not self.is_on or event != "call" or not code.co_filename.startswith(_TOP) or code.co_name[0] == "<":
            return
        self.all.enter(code)
        if not self.is_committed:
            self.before.enter(code)


async def _saved(counter: Counter, folder: Path) -> None:
    file = folder / "mods" / "wiki.py"
    told: list[Any] = []
    home = LoopThread("mods", lambda request: None)
    home.start()
    network = AgentNetwork.load(folder, home=home, tell=told.append)
    await network.initialize()
    engine = network.engine

    async def changed(sources: Any, texts: Any) -> None:
        await network.submit(FilesChanged(sources, texts=texts))

    async def nothing() -> None:
        raise AssertionError("network.yaml was not touched")

    def ignore(fact: object) -> None:
        raise AssertionError(fact)

    watch = Watch(
        engine.roots,
        engine.knowledge.sources,
        (folder / "network.yaml").resolve(),
        on_change=changed,
        on_config=nothing,
        ignored=ignore,
        notice=ignore,
        folders=lambda: engine.config.mod_paths,
        written=engine.knowledge.written,
    )
    running = asyncio.create_task(watch.run())
    for version in range(2, 6):
        # The first saves fill caches; the last one is counted.
        await asyncio.sleep(0.5)
        counter.is_on = version == 5
        plans = sum(isinstance(each, PlanDone) for each in told)
        file.write_text(_MOD.format(version=version))
        until = time.monotonic() + 10
        # What is told comes from other threads.
        while sum(isinstance(each, PlanDone) for each in told) == plans and time.monotonic() < until:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.2)
    counter.is_on = False
    running.cancel()
    await asyncio.wait([running])
    await network.shutdown()
    home.stop(2)


def main() -> None:
    """Print the counts of one save."""
    # The sample mods of this repository must not stand before those of the workspace.
    sys.path[:] = [each for each in sys.path if Path(each or ".").resolve() != Path(_TOP).parent]
    counter = Counter()
    commit: Callable[..., None] = Registry.commit

    def committed(registry: Registry, swap: Any) -> None:
        commit(registry, swap)
        counter.is_committed = counter.is_on

    Registry.commit = committed  # type: ignore[method-assign]
    threading.setprofile(counter)
    sys.setprofile(counter)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "mods").mkdir()
        (folder / "mods" / "wiki.py").write_text(_MOD.format(version=1))
        (folder / "network.yaml").write_text("network:\n  name: Journey\n  mods:\n    - name: mods.wiki\n")
        asyncio.run(_saved(counter, folder))
    sys.setprofile(None)
    print("| stretch | functions | files | calls | file changes |\n|---|---|---|---|---|")
    print(counter.before.line("save to commit"))
    print(counter.all.line("all"))
    if "-v" in sys.argv:
        for code in sorted(counter.before.functions, key=lambda each: (each.co_filename, each.co_firstlineno)):
            print(f"{code.co_filename.removeprefix(_TOP)}:{code.co_firstlineno} {code.co_qualname}")


if __name__ == "__main__":
    main()
