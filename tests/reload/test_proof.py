"""After a swap: replaced code is proven to be gone, or what holds it is said."""

from __future__ import annotations

import asyncio
import ctypes
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from devserver import AgentNetwork
from devserver.loader import census
from devserver.loader.finder import Execution
from devserver.model.change import FilesChanged
from devserver.model.facts import Fact, PlanMade
from devserver.sources.files import sources_now

MOD = """
from devserver import BaseMod, EventResponse, mod_event_handler
{top}
V = {n}
class TruthMod(BaseMod):
    {body}
    @mod_event_handler("truth.ask")
    async def ask(self, event):
        {ask}
        return EventResponse(True, "", {{"v": V}})
"""
YAML = "network:\n  name: truth\n  mods:\n    - name: mods.truth\n"


class Here:
    """A network with one mod, whose saves are applied at once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.facts: list[Fact] = []
        self.restarts: list[tuple[str, ...]] = []

    def write(self, n: int, top: str = "", body: str = "pass", ask: str = "pass") -> Path:
        file = self.folder / "mods" / "truth.py"
        file.parent.mkdir(exist_ok=True)
        file.write_text(MOD.format(n=n, top=top, body=body, ask=ask))
        return file

    async def start(self, hub: str = "") -> None:
        (self.folder / "mods").mkdir(exist_ok=True)
        (self.folder / "mods" / "hub.py").write_text(hub)
        (self.folder / "network.yaml").write_text(YAML)
        self.network = AgentNetwork.load(self.folder, tell=self.facts.append)
        self.network.engine.restart = self.restarts.append  # type: ignore[method-assign]
        await self.network.initialize()

    async def save(self, file: Path) -> None:
        await self.network.submit(FilesChanged(sources_now([file])))

    async def ask(self) -> None:
        from devserver import Event

        await self.network.process_external_event(Event(event_name="truth.ask", source_id="probe", payload={}))


async def until(fact: Callable[[], object]) -> None:
    """Wait for a fact, and fail where it does not come."""
    end = time.monotonic() + 60
    while not fact():
        assert time.monotonic() < end
        await asyncio.sleep(0.01)


@pytest.fixture
async def here(tmp_path: Path) -> Here:  # type: ignore[misc]
    """A network that is ended after the test."""
    found = Here(tmp_path)
    yield found  # type: ignore[misc]
    await found.network.shutdown()


async def test_code_that_is_gone_is_proven_to_be(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a collection takes long it says until then that it is not proven; nothing is told, no restart asked for."""
    monkeypatch.setattr("devserver.live.garbage.BOUNDED", 0.0)
    here.write(1)
    await here.start()
    await here.save(here.write(2))
    assert not here.network.engine.proof.is_proven("truth")
    await until(lambda: here.network.engine.proof.is_proven("truth"))
    assert here.restarts == []
    assert here.network.engine.proof.held == {}


async def test_a_list_that_holds_old_code_is_named_and_a_restart_asked_for(here: Here) -> None:
    """A handler has put a bound method into a list of a helper: the module and name of that list are the reason."""
    subscribes = {"top": "from mods.hub import HEARD", "ask": "HEARD.append(self.ask)"}
    here.write(1, **subscribes)
    await here.start(hub="HEARD = []\n")
    await here.ask()
    await here.save(here.write(2, **subscribes))
    await until(lambda: here.restarts)
    assert here.restarts == [("old code of mods.truth v1 is held by mods.hub.HEARD",)]
    (holder,) = here.network.engine.proof.held["truth"]
    assert (holder.module, holder.generation, holder.what) == ("mods.truth", 1, "mods.hub.HEARD")


async def test_code_is_not_proven_gone_while_its_holder_is_looked_for(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until the holder has a name, a status that said "proven" would be false."""
    monkeypatch.setattr("devserver.live.garbage.BOUNDED", 0.0)
    proven: list[bool] = []
    search = census.holder_of

    def looked_for(*args: Any) -> str | None:
        proven.append(here.network.engine.proof.is_proven("truth"))
        return search(*args)

    monkeypatch.setattr(census, "holder_of", looked_for)
    subscribes = {"top": "from mods.hub import HEARD", "ask": "HEARD.append(self.ask)"}
    here.write(1, **subscribes)
    await here.start(hub="HEARD = []\n")
    await here.ask()
    await here.save(here.write(2, **subscribes))
    await until(lambda: here.restarts)
    assert proven
    assert not any(proven)
    assert here.network.engine.proof.is_proven("truth")


async def test_the_line_of_the_reload_says_what_holds_its_old_code(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a collection is short; a key of the state is named by the hand-over alone."""
    monkeypatch.setattr("devserver.live.garbage.BOUNDED", 10.0)
    subscribes = {"top": "from mods.hub import HEARD", "ask": "HEARD.append(self.ask)"}
    here.write(1, **subscribes)
    await here.start(hub="HEARD = []\n")
    await here.ask()
    await here.save(here.write(2, **subscribes))
    outcome = [each for fact in here.facts for each in getattr(fact, "outcomes", ())][-1]
    assert outcome.note == "no state; old code of mods.truth v1 is held by mods.hub.HEARD"
    assert [each.what for each in outcome.holders] == ["mods.hub.HEARD"]
    assert here.restarts == [("old code of mods.truth v1 is held by mods.hub.HEARD",)]


async def test_code_that_is_gone_at_once_is_proven_when_the_reload_is_told(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing waits for a later census then: what is remembered of live mods keeps no replaced one."""
    monkeypatch.setattr("devserver.live.garbage.BOUNDED", 10.0)
    here.write(1)
    await here.start()
    assert here.network.engine.knowledge.sources()
    await here.save(here.write(2))
    assert here.network.engine.proof.is_proven("truth")
    assert [each.holders for fact in here.facts for each in getattr(fact, "outcomes", ())] == [(), ()]


async def test_embedded_says_what_it_would_have_done(here: Here) -> None:
    """A network in another program never restarts that; it tells."""
    subscribes = {"top": "from mods.hub import HEARD", "ask": "HEARD.append(self.ask)"}
    here.write(1, **subscribes)
    await here.start(hub="HEARD = []\n")
    del here.network.engine.restart
    await here.ask()
    await here.save(here.write(2, **subscribes))
    await until(lambda: any(isinstance(each, PlanMade) and "mods.hub.HEARD" in str(each.plan) for each in here.facts))


async def test_a_generation_that_lingers_is_waited_for(here: Here) -> None:
    """What a handler that still runs holds is no stale code; once it has ended, all is gone."""
    waits = {"top": "import asyncio\nGO = asyncio.Event()", "ask": "await GO.wait()"}
    here.write(1, **waits)
    await here.start()
    asked = asyncio.create_task(here.ask())
    await until(lambda: here.network.running_mods()["truth"]["in_flight"])
    go = here.network.engine.modules.current["mods.truth"].module.GO
    await here.save(here.write(2, **waits))
    assert not here.network.engine.proof.is_proven("truth")
    go.set()
    await asked
    await until(lambda: here.network.engine.proof.is_proven("truth"))
    assert here.restarts == []


async def test_a_task_in_the_state_belongs_to_the_state(here: Here) -> None:
    """It goes on with its old code, and the key is what is named; that is no reason to restart."""
    polls = {
        "top": "import asyncio\nasync def poll():\n    await asyncio.Event().wait()",
        "ask": "self.state['poller'] = [asyncio.get_running_loop().create_task(poll(), name='poll')]",
    }
    here.write(1, **polls)
    await here.start()
    await here.ask()
    await here.save(here.write(2, **polls))
    await until(lambda: here.network.engine.proof.held)
    assert [each.what for each in here.network.engine.proof.held["truth"]] == ['state key "poller"']
    assert here.restarts == []


HUB_OF_CLASSES = """
class Base:
    pass


def versions():
    return sorted(each.version for each in Base.__subclasses__())
"""

SLOTTED = """
import enum

from mods import hub


class Mode(enum.Enum):
    ON = 1


class Part:
    __slots__ = ("x",)

    def read(self):
        return self.x


class Known(hub.Base):
    version = {n}
"""


@pytest.mark.parametrize(
    "fill", ["self.state[V] = Part()", "self.state[V] = frozenset({Mode.ON})", "self.state[V] = Part"]
)
async def test_what_can_be_undone_keeps_no_replaced_code(here: Here, fill: str) -> None:
    """The contents of earlier states are kept, not the classes that their objects had; nor members of enums."""
    here.write(1)
    await here.start(hub=HUB_OF_CLASSES)
    await here.save(here.write(2, top=SLOTTED.format(n=2), ask=fill))
    for n in (3, 4, 5):
        await here.ask()
        await here.save(here.write(n, top=SLOTTED.format(n=n), ask=fill))
    await until(lambda: here.network.engine.proof.is_proven("truth"))
    assert sys.modules["mods.hub"].versions() == [5]
    assert here.restarts == []


async def test_what_holds_old_code_unseen_is_told_too(here: Here) -> None:
    """Code in C may hold what no search shows: the code is there all the same, and a restart brings the save.

    Until then it does not count as gone.
    """
    here.write(1)
    await here.start()
    held = sys.modules["mods.truth"].TruthMod
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(held))
    del held
    await here.save(here.write(2))
    await until(lambda: here.restarts or here.network.engine.proof.is_proven("truth"))
    assert here.restarts == [
        ("old code of mods.truth v1 is held by something that Python does not show, as code in C may",)
    ]


async def test_while_an_abandoned_import_still_runs_no_restart_is_asked_for(here: Here) -> None:
    """What hangs there holds what was loaded when it began; once it has ended, old code is looked for."""
    here.write(1)
    await here.start()
    proof = here.network.engine.proof
    held = [sys.modules["mods.truth"]]
    with here.network.engine._finder.executing(Execution(thread=-1, abandoned=True)):
        await here.save(here.write(2))
        assert (proof.waits, proof.held, here.restarts) == (True, {}, [])
        held.clear()
    await until(lambda: not proof.waits)
    assert (proof.held, here.restarts) == ({}, [])
