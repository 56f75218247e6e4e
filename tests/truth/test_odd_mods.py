"""Mods and helpers of an unusual make: none of their code is run for bookkeeping, and a save counts all the same."""

from __future__ import annotations

import asyncio
import functools
import logging
import sys
from types import ModuleType
from typing import Any

import pytest
from workspaces import Workspace, until

from devserver.loader.contents import forget_computed
from devserver.loader.places import by_occurrence
from devserver.model.facts import Status
from devserver.reload.carry import pack_state

COUNTS = """
def initialize(self):
    self.state.setdefault("n", 0)

@mod_event_handler("odd.count")
async def count(self, event):
    self.state["n"] += 1
    return EventResponse(True, str(self.state["n"]))
"""
ODD = {
    "equal to all others, and without a hash": ("", "def __eq__(self, other): return True"),
    "every name is a call": (
        "import functools",
        "def __getattr__(self, name): return functools.partial(print, name)",
    ),
    "a name that is missing raises": ("", "known = {}\ndef __getattr__(self, name): return self.known[name]"),
    "a descriptor that needs an instance": (
        "class Cached:\n    def __get__(self, one, kind): return {}[one]",
        "cached = Cached()",
    ),
    "an object whose class is equal to all others, and has no hash": (
        "class Meta(type):\n    def __eq__(cls, other): return True\nclass Odd(metaclass=Meta): pass\nODD = Odd()",
        "",
    ),
    "a global without a name": ("globals()[3] = 1", ""),
}


@pytest.mark.parametrize("kind", ODD)
async def test_a_save_keeps_the_state_of_an_unusual_mod(work: Workspace, kind: str) -> None:
    """Its methods are not asked for what it has."""
    head, body = ODD[kind]
    work.mod("odd", f"{body}\n{COUNTS}", head)
    await work.start("mods.odd")
    assert (await work.ask("odd.count")).message == "1"
    done = await work.save_mod("odd", f"{body}\n{COUNTS}\nnew = 1", head)
    assert [each.status for each in done.outcomes] == [Status.APPLIED]
    assert (await work.ask("odd.count")).message == "2"


async def test_what_handlers_have_put_into_a_helper_stays_through_good_and_failing_saves(work: Workspace) -> None:
    """The rows of the helper, too; the row of the mod's top is there once."""
    work.write("mods/hub.py", "ROWS = [{'from': 'hub'}]\n")
    head = "from mods import hub\nhub.ROWS.append({{'from': 'top', 'n': {n}}})\n{more}"
    body = """
    @mod_event_handler("odd.add")
    async def add(self, event):
        hub.ROWS.append({"from": event.source_id})
        return EventResponse(True, " ".join(each["from"] for each in hub.ROWS))
    """
    work.mod("odd", body, head.format(n=1, more=""))
    await work.start("mods.odd")
    assert (await work.ask("odd.add", by="ana")).message == "hub top ana"
    await work.save_mod("odd", body, head.format(n=2, more=""))
    assert sorted((await work.ask("odd.add", by="ben")).message.split()) == ["ana", "ben", "hub", "top"]
    done = await work.save_mod("odd", body, head.format(n=3, more="1/0"))
    assert [each.status for each in done.outcomes] == [Status.ROLLED_BACK]
    assert sorted((await work.ask("odd.add", by="eve")).message.split()) == ["ana", "ben", "eve", "hub", "top"]


async def test_classes_of_a_helper_that_are_not_under_their_names_stay_until_it_is_saved(work: Workspace) -> None:
    """They have no successor then, and are told as old code; a save of the mod alone leaves them as they are."""
    hub = """
    import enum
    from collections import namedtuple
    POINT, MODE = namedtuple("P", "x y"), enum.Enum("M", "A B")
    def made():
        class Local: pass
        return {"point": POINT(1, 2), "mode": MODE.A, "local": Local()}
    """
    work.write("mods/hub.py", hub)
    body = COUNTS.replace(
        "    self.state.setdef", "    self.state or self.state.update(hub.made())\n    self.state.setdef"
    )
    work.mod("odd", body, "from mods import hub")
    await work.start("mods.odd")
    done = await work.save_mod("odd", f"{body}\nnew = 1", "from mods import hub")
    assert [each.stale_keys for each in done.outcomes] == [()]
    done = await work.save("mods/hub.py", f"{hub}\n    NEW = 1\n")
    assert [sorted(each.stale_keys) for each in done.outcomes] == [["local", "mode", "point"]]


STATES = {
    "an object": ("S()", "self.state.n"),
    "an object with slots": ("P()", "self.state.n"),
    "a list": ("[0]", "self.state[0]"),
}


@pytest.mark.parametrize("kind", STATES)
async def test_a_state_that_is_no_dict_moves_to_the_new_code(work: Workspace, kind: str) -> None:
    """Whole, as the object that it is; each save failed for one without a length."""
    made, count = STATES[kind]
    head = "class S: n = 0\nclass P:\n    __slots__ = ('n',)\n    def __init__(self): self.n = 0"
    body = f"""
    def initialize(self):
        if self.state == {{}}:
            self.state = {made}

    @mod_event_handler("odd.count")
    async def count(self, event):
        {count} += 1
        return EventResponse(True, str({count}), {{"new": isinstance(self.state, (S, P, list))}})
    """
    work.mod("odd", body, head)
    network = await work.start("mods.odd")
    await work.ask("odd.count")
    done = await work.save_mod("odd", f"{body}\n    new = 1", head)
    assert [each.status for each in done.outcomes] == [Status.APPLIED]
    answer = await work.ask("odd.count")
    assert (answer.message, answer.data) == ("2", {"new": True})
    packed = await pack_state(network.engine.registry.find("odd").live, 1.0)
    assert packed.lost == ("self.state, which is no dict",)


@pytest.fixture
def helper(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module with two functions that remember."""
    found: Any = ModuleType("odd_helper")
    found.dicts = functools.lru_cache(maxsize=2)(lambda n: {"n": n})
    found.bounded = functools.lru_cache(maxsize=2)(lambda n: f"{found.word} {n}")
    found.unbounded = functools.cache(lambda n: f"{found.word} {n}")
    monkeypatch.setitem(sys.modules, "odd_helper", found)
    return found


def test_a_dict_that_a_function_has_remembered_is_not_its_table(helper: Any) -> None:
    """It lost its entries where it had as many as the cache."""
    kept = helper.dicts(1)
    forget_computed("odd_helper")
    assert kept == {"n": 1}


def test_what_was_remembered_before_a_save_that_fails_is_back(helper: Any) -> None:
    """And nothing of meanwhile; a bounded cache that was filled again computes again."""
    helper.word = "old"
    functions = (helper.bounded, helper.unbounded)
    assert [each(n) for each in functions for n in (1, 2)] == ["old 1", "old 2"] * 2
    put_back = forget_computed("odd_helper")
    helper.word = "failed"
    assert [each(n) for each in functions for n in range(3, 9)] == [f"failed {n}" for n in range(3, 9)] * 2
    put_back()
    helper.word = "new"
    assert [helper.unbounded(n) for n in (1, 3)] == ["old 1", "new 3"]
    assert [helper.bounded(n) for n in (1, 3, 4, 5, 3)] == ["new 1", "new 3", "new 4", "new 5", "new 3"]


async def test_what_an_initialize_does_between_its_awaits_goes_with_its_version(work: Workspace) -> None:
    """As what it does before the first."""
    body = """
    async def initialize(self):
        logging.getLogger("odd.one").addHandler(logging.NullHandler())
        await asyncio.sleep(0)
        logging.getLogger("odd.two").addHandler(logging.NullHandler())
    """
    work.mod("odd", body, "import logging")
    await work.start("mods.odd")
    for number in range(2):
        await work.save_mod("odd", f"{body}\n    number = {number}", "import logging")
        assert [len(logging.getLogger(each).handlers) for each in ("odd.one", "odd.two")] == [1, 1]


async def test_flags_with_other_values_do_not_shut_their_mod(work: Workspace) -> None:
    """A handler of the old code still runs, which has a combination of them that the new class has no more."""
    head = "import enum\nclass Perm(enum.Flag):\n    READ = 1\n    WRITE = {n}\nDEFAULT = Perm.READ | Perm.WRITE"
    waits = """
@mod_event_handler("odd.wait")
async def wait(self, event):
    self.go = asyncio.Event()
    await self.go.wait()
    return EventResponse(True, "old")
"""
    kept = COUNTS.replace("    self.state.setdef", '    self.state["p"] = Perm.READ\n    self.state.setdef') + waits
    work.mod("odd", kept, head.format(n=2))
    network = await work.start("mods.odd")
    old = network.engine.registry.find("odd").live.instance
    waiting = asyncio.create_task(work.ask("odd.wait"))
    await until(lambda: hasattr(old, "go"))
    assert (await work.ask("odd.count")).message == "1"
    done = await work.save_mod("odd", kept, head.format(n=4))
    assert [each.status for each in done.outcomes] == [Status.APPLIED]
    assert (await work.ask("odd.count")).message == "2"
    old.go.set()
    assert (await waiting).message == "old"


async def test_what_a_mod_does_to_its_configuration_is_not_in_network_yaml(work: Workspace) -> None:
    """Each version gets what is written there; and 1 and true are two values."""
    body = """
    def initialize(self):
        self.config["channels"].append("general")

    @mod_event_handler("odd.config")
    async def told(self, event):
        return EventResponse(True, repr(self.config))
    """
    work.mod("odd", body)
    await work.start({"name": "mods.odd", "config": {"channels": [], "debug": 1}})
    await work.save_mod("odd", f"{body}\n    new = 1")
    assert (await work.ask("odd.config")).message == "{'channels': ['general'], 'debug': 1}"
    done = await work.save_yaml({"name": "mods.odd", "config": {"channels": [], "debug": True}})
    assert [each.status for each in done.outcomes] == [Status.APPLIED]
    assert (await work.ask("odd.config")).message == "{'channels': ['general'], 'debug': True}"


async def test_a_buffer_of_a_helper_that_a_mod_closes_fails_no_save(work: Workspace) -> None:
    """What is closed has no content that could go back."""
    work.write("mods/hub.py", "import io\nTEXT = io.StringIO()\n")
    work.mod("odd", COUNTS, "from mods import hub")
    await work.start("mods.odd")
    done = await work.save_mod("odd", COUNTS, "from mods import hub\nhub.TEXT.close()")
    assert [each.status for each in done.outcomes] == [Status.APPLIED]


def test_a_list_of_many_equal_entries_is_read_in_one_pass() -> None:
    """It took minutes: each entry was counted from the beginning."""
    assert len(by_occurrence([0] * 200_000)) == 200_000
