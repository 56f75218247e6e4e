"""Mods that misbehave while they are loaded, started and ended: what runs goes on, and it says why."""

from __future__ import annotations

import asyncio
import builtins
import dataclasses
import json
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from torture_world import MakeWorld, World, assert_sound, probe

from devserver.loader.build import Build
from devserver.loader.finder import Abandoned, WatchedFinder
from devserver.loader.modules import LoadedModules
from devserver.model.facts import Outcome, Status
from devserver.sources.roots import Roots

pytestmark = pytest.mark.filterwarnings("error")

GOOD = "X = 1\n"


async def started(world: MakeWorld, initialize: str = "return True", **files: str) -> World:
    """A world with the probe, `m`, and these modules."""
    here = world()
    here.write({"mods/probe.py": probe(initialize=initialize), "m.py": GOOD})
    here.write({f"{name}.py": text for name, text in files.items()})
    await here.start()
    return here


def limit(here: World, **limits: float) -> None:
    """Set limits that a test need not wait for."""
    engine = here.network.engine
    config = engine.knowledge.config
    engine.knowledge.config = dataclasses.replace(config, limits=dataclasses.replace(config.limits, **limits))


# Groups


async def test_a_helper_of_three_mods_reloads_all_or_none(world: MakeWorld) -> None:
    """F20: one generation each when all can, and none when one cannot."""
    here = world(mods=("mods.one", "mods.two", "mods.three"))
    shared = {f"mods/{each}.py": probe().replace("ProbeMod", f"{each.title()}Mod") for each in ("one", "two", "three")}
    here.write({**shared, "m.py": GOOD})
    await here.start()
    outcomes = await here.change({"m.py": "X = 2\n"})
    assert [(each.status, each.generation) for each in outcomes] == [(Status.APPLIED, 2)] * 3
    for mod in ("mods.one", "mods.two", "mods.three"):
        assert await here.ask("m.X", mod) == 2

    failing = shared["mods/three.py"].replace("return True", "assert m.X != 3")
    outcomes = await here.change({"m.py": "X = 3\n", "mods/three.py": failing})
    assert [(each.status, each.generation) for each in outcomes] == [(Status.ROLLED_BACK, 2)] * 3
    for mod in ("mods.one", "mods.two", "mods.three"):
        assert await here.ask("m.X", mod) == 2
    assert_sound(here)


async def test_no_stale_submodule_is_served(world: MakeWorld) -> None:
    """F21: a broken __init__, a renamed submodule, a deleted one."""
    here = world()
    imports = "import m\ndef k():\n    import pkg.core\n    return pkg.core.K\nK = k()"
    here.write({"mods/probe.py": probe(imports), "m.py": GOOD, "pkg/__init__.py": "", "pkg/core.py": "K = 1\n"})
    await here.start()
    (broken,) = await here.change({"pkg/__init__.py": "1 / 0\n", "pkg/core.py": "K = 2\n"})
    assert broken.status is Status.ROLLED_BACK
    assert await here.ask("k(), K") == (1, 1)
    assert_sound(here)

    (deleted,) = await here.change({"pkg/__init__.py": "", "pkg/core.py": None})
    assert deleted.status is Status.ROLLED_BACK
    assert await here.ask("k(), K") == (1, 1)

    other = imports.replace("core", "kernel")
    await here.change({"mods/probe.py": probe(other), "pkg/kernel.py": "K = 3\n"})
    assert await here.ask("k(), K") == (3, 3)
    assert "pkg.core" not in sys.modules
    assert not hasattr(sys.modules["pkg"], "core")
    await here.quiet()
    assert_sound(here)


# Hooks

FAILING = {
    "raises": ("1 / 0", "ZeroDivisionError"),
    "false": ("return False", "initialize() returned False"),
    "exits": ("raise SystemExit(3)", "asked the process to end"),
    "cancelled": ("import asyncio; raise asyncio.CancelledError", "awaited something that was cancelled"),
    "own_timeout": ("raise TimeoutError('theirs')", "theirs"),
}


@pytest.mark.parametrize("kind", FAILING)
@pytest.mark.parametrize("form", ["sync", "async"])
async def test_a_start_that_fails_is_ended_once(world: MakeWorld, tmp_path: Path, kind: str, form: str) -> None:
    """F27, F32: the old instance serves, the half-started one is shut down once, and the next edit is taken."""
    code, message = FAILING[kind]
    here = await started(world)
    serving = id(here.generation().instance)
    # On disk: what a refused version changes in the process is taken back.
    ends = tmp_path / "ends"
    ending = f"\n    def shutdown(self):\n        with open({str(ends)!r}, 'a') as ends: ends.write('once ')\n"
    source = probe(initialize=code) + ending
    source = source.replace("    def initialize", "    async def initialize") if form == "async" else source
    (outcome,) = await here.change({"mods/probe.py": source})
    assert (outcome.status, outcome.generation) == (Status.ROLLED_BACK, 1)
    assert message in str(outcome.error)
    assert ends.read_text() == "once "
    assert id(here.generation().instance) == serving
    await here.quiet()
    assert_sound(here)
    (outcome,) = await here.change({"mods/probe.py": probe(), "m.py": "X = 2\n"})
    assert outcome.status is Status.APPLIED


@pytest.mark.parametrize("answer", ["None", "True", "1"])
async def test_what_is_not_false_is_a_start(world: MakeWorld, answer: str) -> None:
    """F32: None, True and 1 go; a coroutine is awaited."""
    here = await started(world)
    source = probe(initialize=f"self.state['ran'] = True; return {answer}").replace(
        "    def initialize", "    async def initialize"
    )
    (outcome,) = await here.change({"mods/probe.py": source})
    assert outcome.status is Status.APPLIED
    assert await here.ask("held['ran']")


SWALLOWS = """
        import asyncio
        while not self.state.get("go"):
            try: await asyncio.sleep(3600)
            except asyncio.CancelledError: pass
"""


@pytest.mark.parametrize("code", ["import asyncio; await asyncio.Event().wait()", SWALLOWS.strip()])
async def test_a_start_that_never_comes_back_is_given_up(world: MakeWorld, code: str) -> None:
    """F31: also one that swallows its cancellation."""
    here = await started(world)
    limit(here, initialize=0.05, shutdown=0.05)
    source = probe(initialize=code).replace("    def initialize", "    async def initialize")
    (outcome,) = await here.change({"mods/probe.py": source})
    assert outcome.status is Status.ROLLED_BACK
    assert "did not come back within 0.05 s" in str(outcome.error)
    assert await here.ask("m.X") == 1
    await here.run("held['go'] = True")
    for task in [each for each in asyncio.all_tasks() if each is not asyncio.current_task()]:
        if "_contained" in repr(task):
            task.cancel()
            await asyncio.wait([task])


ENDINGS = {
    "raises": "def shutdown(self): raise KeyError('no')",
    "exits": "def shutdown(self): raise SystemExit(3)",
    "hangs": "async def shutdown(self):\n        import asyncio; await asyncio.Event().wait()",
}


@pytest.mark.parametrize("kind", ENDINGS)
async def test_an_end_that_fails_never_sticks(world: MakeWorld, kind: str) -> None:
    """F33: the new generation serves at once, the failure is told, and the next edit is taken."""
    here = await started(world)
    limit(here, shutdown=0.05)
    source = probe() + f"\n    {ENDINGS[kind]}\n"
    await here.change({"mods/probe.py": source})
    for n in (2, 3):
        (outcome,) = await here.change({"m.py": f"X = {n}\n"})
        assert outcome.status is Status.APPLIED
        assert await here.ask("m.X") == n
    await here.quiet()
    assert len(here.mod_errors()) == 2
    assert_sound(here)


async def test_what_a_retired_generation_sends_is_refused(world: MakeWorld) -> None:
    """F45: from `__del__`, and from any holder of its instance."""
    here = await started(world)
    old = here.generation().instance
    await here.change({"m.py": "X = 2\n"})
    await here.quiet()
    from devserver import Event

    answer = await old.send_event(Event(event_name="probe.ask", payload={"question": "1"}))
    assert not answer.success
    assert answer.data == {"code": "retired_generation"}


STATES = {
    "capture_raises": "def capture_state(self): raise KeyError('no')\n    def restore_state(self, state): pass",
    "restore_raises": "def capture_state(self): return 1\n    def restore_state(self, state): raise KeyError('no')",
    "restore_refuses": "def capture_state(self): return 1\n    def restore_state(self, state): return False",
}


@pytest.mark.parametrize("kind", STATES)
async def test_a_hand_over_that_fails_leaves_the_state_where_it_was(world: MakeWorld, kind: str) -> None:
    """F50: the old instance keeps it and serves on."""
    here = world()
    source = probe() + f"\n    {STATES[kind]}\n"
    here.write({"mods/probe.py": source, "m.py": GOOD})
    await here.start()
    await here.hold({"n": "7"})
    (outcome,) = await here.change({"m.py": "X = 2\n"})
    assert (outcome.status, outcome.generation) == (Status.ROLLED_BACK, 1)
    assert await here.ask("held['n'], m.X") == (7, 1)
    assert_sound(here)


async def test_broken_builtins_hurt_nobody_else_and_go_with_their_mod(world: MakeWorld) -> None:
    """F43: print, open and json.dumps, replaced at import, serve as before once the mod is gone."""
    patches = """
    import builtins, json
    def broken(*a, **k): raise RuntimeError("broken")
    builtins.print = json.dumps = broken
    X = 1
    """
    before = (builtins.print, json.dumps)
    here = await started(world)
    (outcome,) = await here.change({"m.py": patches})
    assert outcome.status is Status.APPLIED
    assert await here.ask("m.X") == 1
    await here.network.unload_mod("mods.probe")
    assert (builtins.print, json.dumps) == before


# Imports that hang


@pytest.fixture
def workshop(tmp_path: Path) -> Iterator[tuple[Path, WatchedFinder]]:
    """A folder whose modules can be built, without a network."""
    roots = Roots(tmp_path)
    finder = WatchedFinder(roots, LoadedModules())
    finder.install()
    yield tmp_path, finder
    finder.modules.forget(list(finder.modules.current))
    finder.remove()


def built(finder: WatchedFinder, affected: tuple[str, ...], entry: str) -> Build:
    """A build that was executed and kept."""
    build = Build(finder, affected, [entry])
    build.compile()
    build.execute()
    build.keep()
    return build


HANGS = """
import builtins
builtins.torture_began.set()
builtins.torture_go.wait()
import d
X = 2
"""


async def test_an_abandoned_import_can_do_no_more(workshop: tuple[Path, WatchedFinder]) -> None:
    """F31: the old modules stand, the next build need not wait, and the thread touches nothing when it wakes."""
    folder, finder = workshop
    (folder / "a.py").write_text("import b\n")
    (folder / "b.py").write_text("X = 1\n")
    (folder / "d.py").write_text("import builtins\nbuiltins.torture_d = True\n")
    built(finder, (), "a")
    old = {name: sys.modules[name] for name in ("a", "b")}

    began, go, ended = threading.Event(), threading.Event(), []
    builtins.torture_began, builtins.torture_go = began, go  # type: ignore[attr-defined]
    (folder / "b.py").write_text(HANGS)
    hanging = Build(finder, ("b", "a"), ["a"])
    hanging.compile()
    thread = threading.Thread(target=_run, args=(hanging, ended), daemon=True)
    thread.start()
    assert began.wait(10)
    hanging.abandon()
    hanging.undo()
    assert {name: sys.modules[name] for name in old} == old

    (folder / "b.py").write_text("X = 3\n")
    built(finder, ("b", "a"), "a")
    assert sys.modules["a"].b.X == 3
    new = {name: sys.modules[name] for name in ("a", "b")}

    go.set()
    thread.join(10)
    assert [type(each) for each in ended] == [Abandoned]
    assert {name: sys.modules[name] for name in new} == new
    assert "d" not in sys.modules
    assert not hasattr(builtins, "torture_d")
    assert {name: each.module for name, each in finder.modules.current.items()} == new
    del builtins.torture_began, builtins.torture_go  # type: ignore[attr-defined]


def _run(build: Build, ended: list[BaseException]) -> None:
    try:
        build.execute()
    except BaseException as error:
        ended.append(error)


async def test_an_import_that_loops_is_interrupted(workshop: tuple[Path, WatchedFinder]) -> None:
    """Python code cannot run on in an abandoned import."""
    folder, finder = workshop
    (folder / "a.py").write_text("import builtins\nbuiltins.torture_began.set()\nwhile True: pass\n")
    began = builtins.torture_began = threading.Event()  # type: ignore[attr-defined]
    build, ended = Build(finder, (), ["a"]), []
    build.compile()
    thread = threading.Thread(target=_run, args=(build, ended), daemon=True)
    thread.start()
    assert began.wait(10)
    build.abandon()
    build.undo()
    thread.join(10)
    assert not thread.is_alive()
    assert [type(each) for each in ended] == [Abandoned]
    assert "a" not in sys.modules
    del builtins.torture_began  # type: ignore[attr-defined]


async def test_events_are_answered_while_a_module_is_imported(world: MakeWorld) -> None:
    """The old generation serves until the new one is whole: a lazy import of it finds its own modules."""
    here = world()
    lazy = "import m\ndef lazy():\n    import helper\n    return helper.X"
    here.write({"mods/probe.py": probe(lazy), "m.py": GOOD, "helper.py": "X = 1\n"})
    await here.start()
    assert await here.ask("lazy()") == 1
    began, go = threading.Event(), threading.Event()
    builtins.torture_began, builtins.torture_go = began, go  # type: ignore[attr-defined]
    slow = "import builtins, helper\nbuiltins.torture_began.set()\nbuiltins.torture_go.wait()\nX = 2\n"
    change: asyncio.Task[list[Outcome]] = asyncio.ensure_future(here.change({"m.py": slow, "helper.py": "X = 2\n"}))
    end = time.monotonic() + 10
    while not began.is_set():
        assert time.monotonic() < end
        await asyncio.sleep(0.001)
    assert await here.ask("lazy(), m.X") == (1, 1)
    go.set()
    assert [each.status for each in await change] == [Status.APPLIED]
    assert await here.ask("lazy(), m.X") == (2, 2)
    del builtins.torture_began, builtins.torture_go  # type: ignore[attr-defined]
    await here.quiet()
