"""A mod that cannot be loaded leaves nothing behind, and says what is wrong; corrected, it loads."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from workspaces import Workspace, mod_text, served, until

from devserver import AgentNetwork, Event, EventResponse
from devserver.model.facts import Status
from devserver.model.principal import LOCAL, agent_principal
from devserver.server.ending import summary_of

HEAD = "import sys\nDOWN = sys.modules.setdefault('down', [])\n"

TRACES = """

def bind_network(self, network):
    super().bind_network(network)
    network.create_channel("bad")

async def loop(self):
    await asyncio.Event().wait()

def shutdown(self):
    DOWN.append(self.mod_name)
    self.network.remove_channel("bad")
"""
"""What a half-started mod leaves: a channel, a task, and a note that its `shutdown()` was called."""


@dataclass(frozen=True)
class Bad:
    """A mod that cannot be loaded: its source, what is said, and how often its `shutdown()` is called."""

    source: str
    said: str
    downs: int = 0


def bad(said: str, body: str, head: str = "") -> Bad:
    """A mod that fails before it is started."""
    return Bad(mod_text("Bad", body, head), said)


def half_started(said: str, *lines: str, call: str = "def") -> Bad:
    """A mod that fails in `initialize()`, after it has started things."""
    body = "\n    ".join((f"{call} initialize(self):", "self.create_task(self.loop())", *lines))
    return Bad(mod_text("Bad", body + TRACES, HEAD), said, 1)


BAD = {
    "no mod class": Bad("x = 1\n", "defines no mod: it needs a class that extends BaseMod, such as BadMod"),
    "several classes": Bad(
        mod_text("One", "pass") + "\n\nclass TwoMod(BaseMod):\n    pass\n", "defines several mods (OneMod, TwoMod)"
    ),
    "initialize returns False": half_started("initialize() returned False", "return False"),
    "initialize returns False later": half_started(
        "initialize() returned False", "await asyncio.sleep(0)", "return False", call="async def"
    ),
    "initialize raises": half_started("RuntimeError: no store at mods/bad.py:", "raise RuntimeError('no store')"),
    "initialize asks the process to end": half_started(
        "initialize() asked the process to end (SystemExit(3)) at mods/bad.py:", "raise SystemExit(3)"
    ),
    "handler that cannot be called": half_started("cannot be called: 5", "self.register_event_handler(5, 'bad.thing')"),
    "constructor raises": bad(
        "ValueError: no name at mods/bad.py:", "def __init__(self):\n    raise ValueError('no name')"
    ),
    "constructor asks the process to end": bad(
        "asked the process to end (SystemExit(3)) at mods/bad.py:", "def __init__(self):\n    raise SystemExit(3)"
    ),
    "bind_network raises": bad(
        "ValueError: unbound at mods/bad.py:", "def bind_network(self, network):\n    raise ValueError('unbound')"
    ),
    "syntax": bad("SyntaxError: ", "def initialize(self:\n    pass"),
    "missing module": bad("No module named 'mods.nothing'", "pass", "from mods.nothing import x\n"),
    "missing package": bad("No module named 'nowhere'", "pass", "import nowhere\n"),
    "name error": bad("NameError: name 'undefined' is not defined at mods/bad.py:", "x = undefined"),
    "import asks the process to end": bad("asked the process to end while imported", "pass", "raise SystemExit(3)\n"),
    "unknown reload mode": bad(
        "reload_mode is 'warm'; it is one of fresh, exclusive, restart, rebind", "reload_mode = 'warm'"
    ),
    **{
        f"handler that takes {takes}": bad(
            "thing(), the handler for bad.thing, must take one argument: def thing(self, event)",
            f"@mod_event_handler('bad.thing')\nasync def thing({takes}): pass",
        )
        for takes in ("self", "self, event, more", "self, event, *, more")
    },
    "handler that cannot be called, with its line": bad(
        "mods/bad.py:7", "@mod_event_handler('bad.thing')\nasync def thing(self): pass"
    ),
    "pattern with capitals": bad(
        "the pattern 'Bad.Thing' matches no event", "@mod_event_handler('Bad.Thing')\ndef f(self, event): pass"
    ),
    "pattern that matches nothing": bad(
        "the * may only stand at the end", "@mod_event_handler('a.*.b')\ndef f(self, event): pass"
    ),
}


@pytest.fixture
def down() -> Iterator[list[str]]:
    """The mods whose `shutdown()` was called, as they note it themselves."""
    noted: list[str] = []
    sys.modules["down"] = noted  # type: ignore[assignment]
    yield noted
    del sys.modules["down"]


def assert_failed(answer: EventResponse, said: str) -> None:
    assert not answer.success
    assert said in answer.message


def tasks_of(name: str) -> list[Any]:
    """The tasks that run code of a module."""
    return [each for each in asyncio.all_tasks() if f"{name}." in repr(each.get_coro())]


@pytest.mark.parametrize("fault", BAD)
async def test_a_mod_that_cannot_be_loaded_leaves_nothing_and_loads_when_corrected(
    work: Workspace, down: list[str], fault: str
) -> None:
    """A failed load is an answer that says why; there is no mod, no task and no module of it; corrected, it loads."""
    wrong = BAD[fault]
    work.mod("echo", served("echo", 1))
    await work.start("mods.echo")
    before = work.modules()
    work.write("mods/bad.py", wrong.source)

    answer = await work.net.load_mod("mods.bad")

    assert_failed(answer, wrong.said)
    assert answer.message.startswith("Failed to load mod bad (")
    assert answer.data is not None
    assert (answer.data["mod_id"], answer.data["generation"]) == ("bad", 0)
    assert work.running() == {"echo": 1}
    assert work.net.engine.registry.find("bad") is None
    assert work.modules() == before
    assert tasks_of("BadMod") == []
    assert len(down) == wrong.downs
    assert await work.version("echo") == 1

    work.mod("bad", served("bad", 2))
    assert (await work.net.load_mod("mods.bad")).success
    assert work.running() == {"echo": 1, "bad": 1}
    assert await work.version("bad") == 2


@pytest.mark.parametrize("fault", BAD)
async def test_a_listed_mod_that_cannot_be_loaded_loads_when_it_is_saved_corrected(work: Workspace, fault: str) -> None:
    """At the start the others load; a save that mends the mod brings it, at its place."""
    work.mod("echo", served("echo", 1))
    work.write("mods/bad.py", BAD[fault].source.replace("DOWN.append", "str"))
    await work.start("mods.bad", "mods.echo")
    assert work.running() == {"echo": 1}
    done = await work.save_mod("bad", served("bad", 2))
    assert [each.status for each in done.outcomes] == [Status.APPLIED]
    assert work.running() == {"bad": 1, "echo": 1}


@pytest.mark.parametrize("fault", BAD)
async def test_a_reload_that_fails_leaves_the_very_same_object_serving(work: Workspace, fault: str) -> None:
    """The generation that ran runs on, with its state, its modules and an open gate; corrected, the next one comes."""
    work.mod("bad", served("bad", 1))
    await work.start("mods.bad")
    instance, module = work.instance("bad"), sys.modules["mods.bad"]
    assert await work.version("bad") == 1
    file = work.write("mods/bad.py", BAD[fault].source.replace("DOWN.append", "str"))

    (outcome,) = (await work.saved(file)).outcomes

    assert (outcome.status, outcome.generation) == (Status.ROLLED_BACK, 1)
    assert BAD[fault].said in str(outcome.error)
    assert work.running() == {"bad": 1}
    assert work.instance("bad") is instance
    assert sys.modules["mods.bad"] is module
    assert sys.modules["mods"].bad is module  # type: ignore[attr-defined]
    work.assert_open()
    answer = await work.ask("bad.version.get")
    assert answer.data == {"version": 1, "asked": 2}
    assert tasks_of("BadMod") == []

    (outcome,) = (await work.save_mod("bad", served("bad", 2))).outcomes
    assert (outcome.status, outcome.generation) == (Status.APPLIED, 2)
    assert (await work.ask("bad.version.get")).data == {"version": 2, "asked": 3}


REFUSED = {
    "": "cannot name a mod",
    "..other": "cannot name a mod",
    "a..b": "cannot name a mod",
    "/etc/passwd": "cannot name a mod",
    "mods.other\0": "cannot name a mod",
    "ｏｓ": "cannot name a mod",
    "x" * 10_000: "it is longer than 200 characters",
    "mods.class": "class is not allowed",
    "mods.__main__": "__main__ is not allowed",
    "os": "belongs to Python's standard library",
    "json.tool": "belongs to Python's standard library",
    "mods.ecco": "no mod mods.ecco: looked for mods/ecco/mod.py, mods/ecco/__init__.py and mods/ecco.py."
    " Did you mean 'mods.echo'?",
    "nowhere.other": "no mod nowhere.other: there is no package nowhere",
}


@pytest.mark.parametrize("name", REFUSED, ids=[name[:12].encode("unicode_escape").decode() for name in REFUSED])
async def test_a_name_that_is_no_mods_is_refused_and_nothing_is_imported(work: Workspace, name: str) -> None:
    """The answer says what is wrong with the name; nothing runs that did not run before."""
    work.mod("echo", served("echo", 1))
    await work.start("mods.echo")
    before = set(sys.modules)
    assert_failed(await work.net.load_mod(name), REFUSED[name])
    assert work.running() == {"echo": 1}
    assert [each for each in set(sys.modules) - before if not each.startswith("encodings")] == []


async def test_a_mod_that_runs_is_not_loaded_again(work: Workspace) -> None:
    """A second load says so and which generation runs; there is one instance."""
    work.mod("echo", served("echo", 1))
    await work.start("mods.echo")
    instance = work.instance("echo")
    for path in ("mods.echo", "./echo"):
        assert_failed(await work.net.load_mod(path), "echo is already loaded; v1 keeps running")
    assert work.instance("echo") is instance


async def test_two_mods_with_one_last_segment_do_not_mix(work: Workspace) -> None:
    """The second is refused before any of its code runs; the first goes by its own path alone."""
    work.mod("wiki", served("wiki", 1))
    work.write("notes/wiki.py", mod_text("Wiki", served("wiki", 2)))
    await work.start("mods.wiki")
    assert_failed(await work.net.load_mod("notes.wiki"), "the id wiki belongs to mods.wiki, which keeps running")
    assert "notes.wiki" not in sys.modules
    assert_failed(await work.net.unload_mod("notes.wiki"), "mod 'notes.wiki' is not loaded")
    assert await work.version("wiki") == 1
    assert (await work.net.unload_mod("mods.wiki")).success
    assert (await work.net.load_mod("notes.wiki")).success
    assert await work.version("wiki") == 2


@pytest.mark.parametrize("verb", ["unload", "reload"])
async def test_an_unknown_id_is_answered_with_the_nearest(work: Workspace, verb: str) -> None:
    """Unload and reload of what does not run fail, name the likely mod, and change nothing."""
    work.mod("echo", served("echo", 1))
    await work.start("mods.echo")
    answer = await getattr(work.net, f"{verb}_mod")("ecco")
    assert_failed(answer, f"Failed to {verb} mod ecco: mod 'ecco' is not loaded. Did you mean 'echo'?")
    assert work.running() == {"echo": 1}


async def test_an_unloaded_mod_gives_back_everything(work: Workspace) -> None:
    """Its instance, class and modules are collected; another load executes its source again."""
    work.mod("echo", served("echo", 1))
    await work.start("mods.echo")
    assert await work.version("echo") == 1
    work.mod("echo", served("echo", 2))
    assert (await work.net.unload_mod("mods.echo")).success
    assert work.modules() == []
    assert await work.version("echo") is None
    assert (await work.net.load_mod("mods.echo")).success
    assert (await work.ask("echo.version.get")).data == {"version": 2, "asked": 1}
    assert work.running() == {"echo": 2}
    gc.collect()
    assert [each for each in gc.get_objects() if type(each).__name__ == "EchoMod"] == [work.instance("echo")]


@pytest.mark.parametrize("home", ["same", "thread"])
async def test_an_event_that_comes_during_the_start_waits_for_the_mods(work: Workspace, home: str) -> None:
    """Agents are there before the mods are loaded; what they send then is answered by its mod, and not by no one."""
    work.write("went", "no")
    body = f"""
    async def initialize(self):
        while Path({str(work.folder / "went")!r}).read_text() != "yes":
            await asyncio.sleep(0)
    """
    work.mod("slow", body, "import asyncio\nfrom pathlib import Path\n")
    work.mod("echo", served("echo", 1))
    starting = asyncio.create_task(work.start("mods.slow", "mods.echo", home=home))
    await until(lambda: work.network is not None and work.net.get_network_stats()["is_running"])
    asked = Event(event_name="echo.version.get", source_id="ana")
    asking = asyncio.create_task(work.net.ingest(asked, agent_principal("ana")))
    await until(lambda: (work.folder / "went").read_text() == "no" and not starting.done())
    assert not asking.done()
    work.write("went", "yes")
    await starting
    answer = await asking
    assert (answer.success, answer.data) == (True, {"version": 1, "asked": 1})


ORDERED = """
async def initialize(self):
    import asyncio

    for _ in range(50):
        await asyncio.sleep(0)


@mod_event_handler("ordered.number.take")
def take(self, event):
    self.state.setdefault("taken", []).append(event.payload["n"])
    return EventResponse(True)
"""


async def test_events_that_waited_for_the_start_go_before_later_ones(work: Workspace) -> None:
    """One comes in each turn of the loop, also in the one in which the start ends."""
    work.mod("ordered", ORDERED)
    network = AgentNetwork.load(work.yaml("mods.ordered"))

    def numbered(number: int) -> Event:
        return Event(event_name="ordered.number.take", source_id="ana", payload={"n": number})

    starting = asyncio.create_task(network.initialize())
    await until(lambda: network.is_running)
    sent: list[asyncio.Task[EventResponse]] = []
    while not starting.done():
        sent.append(asyncio.create_task(network.ingest(numbered(len(sent)), LOCAL)))
        await asyncio.sleep(0)
    await asyncio.gather(*sent)
    assert network.mods["mods.ordered"].state["taken"] == list(range(len(sent)))
    await network.shutdown()


async def test_a_run_that_ends_counts_the_agents_that_hear_of_it(work: Workspace) -> None:
    """Not those that it merely knows."""
    net = await work.start()
    await net.register_agent("ana")
    agent = net.directory.agent("ana")
    assert agent is not None
    assert summary_of(net).agents == 1
    agent.ended = True
    assert summary_of(net).agents == 0
