"""What code leaves in the process: threads, tasks, handlers. A reload ends it with the generation that began it."""

from __future__ import annotations

import asyncio
import builtins
import gc
import json
import logging
import os
import signal
import sys
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path

import pytest
from torture_world import Files, MakeWorld, World, assert_sound, atexit_callbacks, probe

from devserver.loader.changes import _owners
from devserver.model.facts import Status
from devserver.reload.history import MOST_KEPT

pytestmark = pytest.mark.filterwarnings("error")


async def started(world: MakeWorld, files: Files, imports: str = "import m", initialize: str = "return True") -> World:
    """A world with the probe and these files, running."""
    here = world()
    here.write({"mods/probe.py": probe(imports, initialize), **files})
    await here.start()
    return here


async def until(fact: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait for a fact, and fail where it does not come."""
    end = time.monotonic() + seconds
    while not fact():
        assert time.monotonic() < end
        await asyncio.sleep(0.005)


def named(name: str) -> list[threading.Thread]:
    """The threads of that name."""
    return [each for each in threading.enumerate() if each.name == name]


# Threads

THREAD = """
import threading, time
RAN = []
def work():
    while True:
        RAN.append({n})
        time.sleep(0.001)
def begin():
    threading.Thread(target=work, name="torture", daemon=True).start()
    return True
{top}
def f(): return {n}
"""


@pytest.mark.parametrize("where", ["import", "initialize", "handler"])
async def test_a_thread_ends_with_the_generation_that_started_it(world: MakeWorld, where: str) -> None:
    """bg_thread: after three reloads one thread runs, of the newest version; nothing has to be named."""
    top = "begin()" if where == "import" else ""
    initialize = "return m.begin()" if where == "initialize" else "return True"
    here = await started(world, {"m.py": THREAD.format(n=1, top=top)}, initialize=initialize)
    await here.run("m.begin()" if where == "handler" else "pass")
    for n in (2, 3, 4):
        await here.change({"m.py": THREAD.format(n=n, top=top)})
        await here.run("m.begin()" if where == "handler" else "pass")
        assert await here.ask("m.f()") == n
    await here.quiet()
    await until(lambda: len(named("torture")) == 1)
    await here.run("m.RAN.clear()")
    module = weakref.ref(sys.modules["m"])
    await until(lambda: len(module().RAN) > 3)  # type: ignore[union-attr]
    assert set(await here.ask("m.RAN")) == {4}
    assert here.left_behind() == []
    assert_sound(here)


async def test_a_thread_that_cannot_be_ended_is_named(world: MakeWorld) -> None:
    """No daemon, or one that goes on after it was told: by name, with the line that started it."""
    source = """
    import threading
    DONE = threading.Event()
    def wait():
        DONE.wait()
    threading.Thread(target=wait, name="stubborn", daemon=False).start()
    X = {n}
    """
    here = await started(world, {"m.py": source.format(n=1)})
    await here.hold({"done": "m.DONE"})
    old = here.generation()
    await here.change({"m.py": source.format(n=2)})
    await here.quiet()
    (words,) = old.left_behind
    await here.run("held['done'].set(); m.DONE.set()")
    for each in named("stubborn"):
        each.join()
    assert words == "thread 'stubborn' started at m.py:5"


# Tasks

TASKS = """
import asyncio
RAN = []
async def work():
    try:
        while True:
            RAN.append({n})
            await asyncio.sleep(0)
    finally:
        ENDED.append({n})
ENDED = []
def begin():
    asyncio.get_running_loop().create_task(work(), name="torture")
    return True
def f(): return {n}
"""


@pytest.mark.parametrize("prefix", ["", "# a line more\n"], ids=["bg_asyncio_task", "bg_asyncio_task_line_changed"])
async def test_a_task_ends_with_the_generation_that_started_it(world: MakeWorld, prefix: str) -> None:
    """After three reloads one task runs, of the newest version, and no one has complained."""
    here = await started(world, {"m.py": TASKS.format(n=1)}, initialize="return m.begin()")
    for n in (2, 3, 4):
        await here.change({"m.py": prefix * n + TASKS.format(n=n)})
        assert await here.ask("m.f()") == n
        await here.quiet()
    tasks = [each for each in asyncio.all_tasks() if each.get_name() == "torture"]
    assert len(tasks) == 1
    del tasks
    await here.run("m.RAN.clear()")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert set(await here.ask("m.RAN")) == {4}
    assert_sound(here)


async def test_a_task_of_a_module_whose_lines_moved_runs_once(world: MakeWorld) -> None:
    """A comment changes no code; the new generation's task takes the old one's place."""
    here = await started(world, {"m.py": TASKS.format(n=1)}, initialize="return m.begin()")
    for n in (2, 3, 4):
        await here.change({"m.py": "# more\n" * n + TASKS.format(n=1)})
        await here.quiet()
    assert len([each for each in asyncio.all_tasks() if each.get_name() == "torture"]) == 1


# What is installed

INSTALLING = {
    "atexit_handlers": ("import atexit\ndef bye(): pass\natexit.register(bye)\nX = {n}\n", "atexit"),
    "logging_handlers": (
        "import logging\nlogging.getLogger('torture').addHandler(logging.NullHandler())\nX = {n}\n",
        "handlers",
    ),
    "environment": ("import os\nos.environ['TORTURE_{n}'] = '1'\n", "environ"),
    "path": ("import sys\nsys.path.append('/nowhere/{n}')\n", "path"),
    "meta_path": (
        "import sys\nclass Finder:\n    def find_spec(*a): return None\nsys.meta_path.append(Finder())\nX = {n}\n",
        "meta_path",
    ),
    "builtins": ("import builtins\nbuiltins.torture_{n} = 1\n", "builtins"),
    "cwd": ("import os, tempfile\nos.chdir(tempfile.gettempdir() if {n} % 2 else '/')\n", "cwd"),
    "umask": ("import os\nos.umask(0o0{n}7)\n", "umask"),
    "warnings": ("import warnings\nwarnings.filterwarnings('ignore', 'torture {n}')\n", "warnings"),
    "patch": ("import json\ndef dumps(*a): return {n}\njson.dumps = dumps\n", "patch"),
}


@pytest.mark.parametrize("kind", INSTALLING)
@pytest.mark.parametrize("where", ["import", "initialize"])
async def test_what_is_installed_goes_with_the_code_that_installed_it(
    world: MakeWorld, state_of: Callable[[str], object], kind: str, where: str
) -> None:
    """Three reloads leave as much in the process as one start, and the end of the network leaves nothing."""
    source, place = INSTALLING[kind]
    if where == "initialize":
        source = "def begin():\n" + "".join(f"    {line}\n" for line in source.splitlines() if line[:3] != "X =")
        source += "    return True\nX = {n}\n"
    initialize = "return m.begin()" if where == "initialize" else "return True"
    before = state_of(place)
    here = await started(world, {"m.py": source.format(n=1)}, initialize=initialize)
    sizes = [_size(state_of(place))]
    for n in (2, 3, 4):
        (outcome,) = await here.change({"m.py": source.format(n=n)})
        assert outcome.status is Status.APPLIED
        await here.quiet()
        sizes.append(_size(state_of(place)))
    assert sizes == sizes[:1] * 4
    assert state_of(place) != before
    assert here.left_behind() == []
    await here.stop()
    assert state_of(place) == before


def _size(state: object) -> int:
    return len(state) if isinstance(state, list | dict) else state if isinstance(state, int) and state < 100 else 0


@pytest.fixture
def state_of(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], object]:
    """How one place of the process is now. What a failing test leaves there is taken back."""
    monkeypatch.setattr(json, "dumps", json.dumps)
    loggers = logging.root.manager.loggerDict
    places: dict[str, Callable[[], object]] = {
        "atexit": lambda: len(atexit_callbacks()),
        "handlers": lambda: len(getattr(loggers.get("torture"), "handlers", ())),
        "environ": lambda: dict(os.environ),
        "path": lambda: list(sys.path),
        "meta_path": lambda: list(sys.meta_path),
        "builtins": lambda: dict(vars(builtins)),
        "cwd": os.getcwd,
        "umask": _umask,
        "warnings": lambda: list(sys.modules["warnings"].filters),
        "patch": lambda: json.dumps,
    }
    return lambda place: places[place]()


def _umask() -> str:
    line = next(each for each in Path("/proc/self/status").read_text().splitlines() if each.startswith("Umask"))
    return f"mask {line}"


SIGNAL = """
import signal
SEEN = []
def handler(number, frame): SEEN.append({n})
signal.signal(signal.SIGUSR1, handler)
def f(): return {n}
"""


async def test_a_signal_handler_of_the_newest_code_runs(world: MakeWorld) -> None:
    """signal_handler: set at import, off the main thread; in the end what was there before is there again."""
    before = signal.getsignal(signal.SIGUSR1)
    here = await started(world, {"m.py": SIGNAL.format(n=1)})
    for n in (2, 3):
        await here.change({"m.py": SIGNAL.format(n=n)})
    await here.quiet()
    assert await here.ask("m.f()") == 3
    os.kill(os.getpid(), signal.SIGUSR1)
    assert await here.ask("m.SEEN") == [3]
    assert_sound(here)
    await here.stop()
    assert signal.getsignal(signal.SIGUSR1) is before


async def test_what_a_failed_edit_installed_is_taken_back_at_once(world: MakeWorld) -> None:
    """The handler of the running generation stays the one that is called."""
    here = await started(world, {"m.py": SIGNAL.format(n=1)})
    serving = signal.getsignal(signal.SIGUSR1)
    installed = atexit_callbacks()
    failing = SIGNAL.format(n=2) + "import atexit, os\natexit.register(print)\nos.environ['TORTURE'] = '1'\n1 / 0\n"
    (outcome,) = await here.change({"m.py": failing})
    assert outcome.status is Status.ROLLED_BACK
    assert signal.getsignal(signal.SIGUSR1) is serving
    assert atexit_callbacks() == installed
    assert "TORTURE" not in os.environ


async def test_what_another_mod_has_put_over_it_stays(world: MakeWorld) -> None:
    """Unloading takes back what is still as the mod left it, and nothing that came later."""
    here = world(mods=("mods.probe", "mods.other"))
    here.write(
        {
            "mods/probe.py": probe("import os\nos.environ['TORTURE'] = 'probe'"),
            "mods/other.py": probe("import os\nos.environ['TORTURE'] = 'other'").replace("ProbeMod", "OtherMod"),
        }
    )
    await here.start()
    await here.network.unload_mod("mods.probe")
    await here.quiet()
    assert os.environ["TORTURE"] == "other"
    await here.network.unload_mod("mods.other")
    await here.quiet()
    assert "TORTURE" not in os.environ


async def test_a_process_that_is_left_behind_is_named(world: MakeWorld) -> None:
    """By its number and program; ending it is the mod's own affair."""
    source = "import subprocess\nP = subprocess.Popen(['sleep', '60'])\nX = {n}\n"
    here = await started(world, {"m.py": source.format(n=1)})
    process, old = await here.ask("m.P"), here.generation()
    await here.change({"m.py": "X = 2\n"})
    await here.quiet()
    assert old.left_behind == (f"process {process.pid} (sleep)",)
    process.kill()
    process.wait()


# Memory


async def _reload_often(here: World, times: int) -> None:
    source = "class C:\n    def f(self): return {n}\nTABLE = [C() for _ in range(50)]\ndef f(): return {n}\n"
    for n in range(times):
        await here.change({"m.py": source.format(n=n)})
        assert await here.ask("m.f()") == n
        await here.quiet()


async def _grow(here: World, times: int) -> tuple[int, float]:
    """How many objects, and how many KiB of memory, `times` reloads leave, each."""
    await _reload_often(here, 20)
    gc.collect()
    objects, memory = len(gc.get_objects()), _resident()
    here.facts.clear()
    here.ghosts.clear()
    await _reload_often(here, times)
    here.facts.clear()
    here.ghosts.clear()
    gc.collect()
    return (len(gc.get_objects()) - objects) // times, (_resident() - memory) / times


def _resident() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1024


async def test_a_hundred_reloads_leave_nothing(world: MakeWorld) -> None:
    """Objects do not add up: of the class there are those that the state held in the reloads that can be undone."""
    here = await started(world, {"m.py": "def f(): return 0\n"})
    await here.hold({"f": "m.f"})
    before = len(_owners)  # other networks of this process may have left some to the collector
    assert (await _grow(here, 100))[0] <= 0
    kept = len([each for each in gc.get_objects() if isinstance(each, type) and each.__module__ == "m"])
    assert kept <= MOST_KEPT
    assert len(_owners) < before + 20 + MOST_KEPT


@pytest.mark.slow
async def test_a_thousand_reloads_leave_nothing(world: MakeWorld) -> None:
    """memory_1000_reloads: neither objects nor memory."""
    here = await started(world, {"m.py": "def f(): return 0\n"})
    objects, kib = await _grow(here, 1000)
    assert objects <= 0
    assert kib < 5
    assert len([each for each in gc.get_objects() if isinstance(each, type) and each.__module__ == "m"]) <= MOST_KEPT
