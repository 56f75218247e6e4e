"""A workspace of real files, a network that runs on it, and the one helper that asserts what must always be so.

A mod called `probe` answers questions: Python expressions that it evaluates among its own imports, with `held` for its
state. What it holds is made in the same way. So a case is data: files before, files after, what is asked.
"""

from __future__ import annotations

import asyncio
import atexit
import gc
import logging
import os
import signal
import sys
import textwrap
import threading
import weakref
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from devserver import AgentNetwork, Event
from devserver.live.generation import Generation
from devserver.live.loops import Home
from devserver.mod import BaseMod
from devserver.model.change import FilesChanged, ReloadAsked
from devserver.model.facts import Fact, LeftBehind, ModError, Outcome, PlanDone, Status
from devserver.sources.files import sources_now

Files = Mapping[str, str | bytes | None]

PROBE = """
from devserver import BaseMod, EventResponse, mod_event_handler
{imports}

class ProbeMod(BaseMod):
    def initialize(self):
        {initialize}

    @mod_event_handler("probe.ask")
    def ask(self, event):
        names = {{**globals(), "held": self.state, "self": self}}
        return EventResponse(True, "", {{"answer": eval(event.payload["question"], names)}})

    @mod_event_handler("probe.hold")
    def hold(self, event):
        names = {{**globals(), "held": self.state, "self": self}}
        for key, expression in event.payload.items():
            self.state[key] = eval(expression, names)
        return EventResponse(True, "", {{}})

    @mod_event_handler("probe.run")
    def run(self, event):
        exec(event.payload["code"], {{**globals(), "held": self.state, "self": self}})
        return EventResponse(True, "", {{}})
"""

YAML = """
network:
  name: torture
  node_id: torture
  mods:
{mods}
"""


def probe(imports: str = "import m", initialize: str = "return True") -> str:
    """The source of a mod that answers questions about what it imports."""
    return PROBE.format(imports=imports, initialize=initialize)


def source(text: str | bytes) -> bytes:
    """A source as it goes to disk; text may be indented."""
    return text if isinstance(text, bytes) else textwrap.dedent(text).lstrip("\n").encode()


class World:
    """One workspace with its network."""

    def __init__(self, folder: Path, mods: Iterable[str] = ("mods.probe",), home: Home | None = None) -> None:
        self.folder = folder
        self.facts: list[Fact] = []
        self.ghosts: list[tuple[str, weakref.ref[Any]]] = []
        self._home = home
        self.write({"network.yaml": YAML.format(mods="\n".join(f"    - name: {each}" for each in mods))})

    def write(self, files: Files) -> None:
        """Write, or (None) delete, files."""
        for name, text in files.items():
            path = self.folder / name
            if text is None:
                path.unlink()
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(source(text))

    async def start(self) -> None:
        """Bring a network to life on what is on disk now."""
        self.network = AgentNetwork.load(self.folder, tell=self.facts.append, home=self._home)
        await self.network.initialize()
        failed = [each for each in self.outcomes() if each.status is not Status.APPLIED]
        assert failed == []

    async def stop(self) -> None:
        """End the network."""
        await self.network.shutdown()

    def outcomes(self) -> list[Outcome]:
        """All outcomes so far."""
        return [each for fact in self.facts if isinstance(fact, PlanDone) for each in fact.outcomes]

    def left_behind(self) -> list[str]:
        """All that generations have left behind."""
        return [thing for fact in self.facts if isinstance(fact, LeftBehind) for thing in fact.things]

    def mod_errors(self) -> list[str]:
        """All errors of mods outside plans."""
        return [str(fact.error) for fact in self.facts if isinstance(fact, ModError)]

    # Asking

    async def ask(self, question: str, mod: str = "mods.probe") -> Any:
        """What a mod answers to an expression."""
        answer = await self.send("probe.ask", {"question": question}, mod)
        assert answer.success, (question, answer.message)
        assert answer.data is not None
        return answer.data["answer"]

    async def send(self, name: str, payload: dict[str, Any], mod: str = "mods.probe") -> Any:
        """The answer of a mod to an event."""
        event = Event(event_name=name, source_id="agent:tester", destination_id=f"mod:{mod}", payload=payload)
        return await self.network.process_event(event)

    async def hold(self, expressions: Mapping[str, str], mod: str = "mods.probe") -> None:
        """Let a mod keep values in its state."""
        answer = await self.send("probe.hold", dict(expressions), mod)
        assert answer.success, answer.message

    async def run(self, code: str, mod: str = "mods.probe") -> None:
        """Let a handler of a mod execute statements."""
        answer = await self.send("probe.run", {"code": textwrap.dedent(code)}, mod)
        assert answer.success, answer.message

    # Changing

    async def change(self, files: Files) -> list[Outcome]:
        """Write files and let the network see what differs; what came of it."""
        self.write(files)
        return await self.look()

    async def look(self) -> list[Outcome]:
        """Let the network see which sources differ from those it was made from; what came of it."""
        engine = self.network.engine
        known = engine.knowledge.sources()
        changed = {path: digest for path, digest in sources_now(known).items() if known[path] != digest}
        if not changed:
            return []
        self.note_ghosts()
        return self._sound_outcomes(list((await self.network.submit(FilesChanged(changed))).outcomes))

    async def reload(self, mod: str = "mods.probe") -> list[Outcome]:
        """Ask for a reload by hand; what came of it."""
        self.note_ghosts()
        done = await self.network.submit(ReloadAsked((mod,)))
        return self._sound_outcomes(list(done.outcomes))

    def _sound_outcomes(self, outcomes: list[Outcome]) -> list[Outcome]:
        """Generations count accepted changes and nothing else."""
        for each in outcomes:
            live = self.network.engine.registry.find(each.mod_path)
            number = live.live.number if live is not None and live.live is not None else 0
            assert each.generation == number
        return outcomes

    def generation(self, mod: str = "mods.probe") -> Generation:
        """The live generation of a mod."""
        slot = self.network.engine.registry.find(mod)
        assert slot is not None and slot.live is not None
        return slot.live

    def note_ghosts(self) -> None:
        """Remember what runs now by weak references: once it is replaced it has to be gone."""
        for each in self.network.engine.registry.live:
            things = (each, each.instance, type(each.instance), sys.modules[each.entry])
            self.ghosts += [(f"{each.name}: {thing!r:.60}", weakref.ref(thing)) for thing in things]

    async def quiet(self) -> None:
        """Wait until no old generation lingers."""
        while lingering := list(self.network.engine._retirement._lingering):
            await asyncio.wait(lingering)
        # A finished task is let go of by callbacks, which run in the next rounds.
        for _ in range(5):
            await asyncio.sleep(0)
        for thread in threading.enumerate():
            if thread.name.startswith("Build."):
                thread.join()


MakeWorld = Callable[..., World]
"""What the fixture `world` is: makes a world in an empty folder, which is ended after the test."""


def assert_sound(world: World, *, pinned: bool = False) -> None:
    """What must be so after every change, once old generations have ended.

    One instance per mod; Python's table is what is loaded; a package has its modules as attributes; nothing of an old
    generation is alive, unless `pinned` (the state holds something that the outcome named).
    """
    # Twice: what the first round ends (a coroutine, a generator) may only then let go of the rest.
    gc.collect()
    gc.collect()
    live = world.network.engine.registry.live
    assert [each.mod_id for each in live] == list(world.network.running_mods())
    _assert_table(world)
    if pinned:
        return
    here = {id(thing) for each in live for thing in (each, each.instance, type(each.instance), sys.modules[each.entry])}
    haunting = [name for name, ghost in world.ghosts if (thing := ghost()) is not None and id(thing) not in here]
    assert haunting == []
    mods = {each.entry for each in live}
    instances = [o for o in gc.get_objects() if isinstance(o, BaseMod) and type(o).__module__ in mods]
    assert len(instances) == len(live)


def _assert_table(world: World) -> None:
    loaded = world.network.engine.modules
    for name, each in loaded.current.items():
        module = each.exported
        assert sys.modules.get(name) is module, name
        parent, _, child = name.rpartition(".")
        assert not parent or getattr(sys.modules[parent], child) is module, name
    inside = {
        name
        for name, module in list(sys.modules.items())
        if str(getattr(module, "__file__", None) or "").startswith(f"{world.folder}{os.sep}")
    }
    assert inside == set(loaded.current)


class _Spy:
    """Equal to nothing; `atexit.unregister` compares each callback with it, which tells them."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def __eq__(self, other: object) -> bool:
        self.seen.append(other)
        return False

    __hash__ = None  # type: ignore[assignment]


def atexit_callbacks() -> list[Any]:
    """The functions that Python would call at its end."""
    spy = _Spy()
    atexit.unregister(spy)  # type: ignore[arg-type]
    return spy.seen


def process_state() -> dict[str, Any]:
    """What code may leave in the process, outside of modules and instances."""
    loggers = [logging.getLogger(), *(each for each in logging.root.manager.loggerDict.values())]
    return {
        "threads": sorted(each.name for each in threading.enumerate()),
        "handlers": sorted(str(h) for each in loggers if isinstance(each, logging.Logger) for h in each.handlers),
        "signals": {n: signal.getsignal(n) for n in signal.valid_signals() if n != signal.SIGINT},
        "atexit": len(atexit_callbacks()),
        "path": list(sys.path),
        "meta_path": list(sys.meta_path),
        "environ": {k: v for k, v in os.environ.items() if k != "PYTEST_CURRENT_TEST"},
        "cwd": os.getcwd(),
        "builtins": dict(vars(__import__("builtins"))),
    }
