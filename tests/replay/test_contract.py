"""What a change of mods means for those who use them: events without a handler, values of another shape."""

from __future__ import annotations

from typing import Any

import pytest
from workspaces import Workspace, until

from devserver.live.registry import Gate, Slot, Swap
from devserver.model.facts import ContractChanged, LostEvent, ShapeChange
from devserver.replay.contract import ENOUGH, FIRST, Observed, Shape, Shapes, lost_events, narrower, newly_needed
from devserver.server.contracts import Contracts


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ([{"a": 1}], [{"a": 2, "new": 1}], []),
        ([{"a": 1}], [{"a": "1"}], [("a", "int", "str")]),
        ([{"a": 1}], [{}], [("a", "int", "nothing")]),
        ([{"a": 1}, {}], [{}], []),
        ([{"a": 1}], [{"a": 1}, {}], [("a", "always there", "sometimes there")]),
        ([{"a": 1}], [{"a": None}], [("a", "int", "null")]),
        ([{"a": None}, {"a": 1}], [{"a": 1}], []),
        ([{"a": 1.5}], [{"a": 1}], []),
        ([{"a": True}], [{"a": 1}], [("a", "bool", "int")]),
        ([{"a": [{"b": 1}]}], [{"a": [{"b": "1"}]}], [("a[].b", "int", "str")]),
        ([{"a": {"b": {"c": 1}}}], [{"a": {"b": {"c": []}}}], [("a.b.c", "int", "list")]),
        ([{"a": 1}], [None], [("", "object", "null")]),
        ([{"a": {"b": {"c": {"d": {"e": 1}}}}}], [{"a": {"b": {"c": {"d": {"e": ""}}}}}], []),
    ],
)
def test_what_may_break_a_reader_is_told_and_nothing_else(
    before: list[Any], after: list[Any], told: list[tuple[str, str, str]]
) -> None:
    """Additions hurt nothing; types, missing keys and keys that are not always there do."""
    one, two = Shape(), Shape()
    for each in before:
        one.add(each)
    for each in after:
        two.add(each)
    assert list(narrower(one, two)) == told


def test_generations_are_compared_once_enough_was_seen_of_both() -> None:
    """The first answers count, then every hundredth; of old generations nothing is kept."""
    shapes, wiki = Shapes(), Observed("wiki", "answer", "wiki.page.edit")
    for _ in range(ENOUGH):
        shapes.add(wiki, 4, {"version": 8})
    for n in range(ENOUGH):
        assert shapes.changed() == []
        shapes.add(wiki, 5, {"version": str(n)})
    assert shapes.changed() == [ShapeChange("wiki.page.edit", "answer", "version", "int", "str")]
    for _ in range(FIRST):
        shapes.add(wiki, 6, {"version": "8"})
    assert shapes.changed() == []
    shapes.add(wiki, 6, {})
    assert shapes.changed() == []


def test_an_event_is_lost_where_no_pattern_covers_it_any_more() -> None:
    """An exact name, or one that was sent and that a prefix covered; those that another mod hears are not."""
    seen = {"wiki.page.delete": ["agent:ana", "critic", "ana"], "notes.take": ["bob"], "other.thing": ["bob"]}
    before = ["wiki.page.delete", "wiki.page.get", "notes.*", "kanban.move"]
    assert lost_events(before, ["wiki.page.get", "kanban.*"], seen) == [
        LostEvent("wiki.page.delete", 3, ("ana", "critic")),
        LostEvent("notes.take", 1, ("bob",)),
    ]
    assert lost_events(before, ["*"], seen) == []


def test_a_key_that_is_needed_now_is_told() -> None:
    """Of payloads that are declared."""
    before, after = {"a.b": frozenset({"x"})}, {"a.b": frozenset({"x", "y"}), "c.d": frozenset({"z"})}
    assert list(newly_needed(before, after)) == [ShapeChange("a.b", "takes", "y", "optional", "required")]


WIKI = """
    @mod_event_handler("wiki.page.edit")
    async def edit(self, event):
        told = {"page": "home", "reason": "r"}
        await self.send_event(Event(event_name="page.notification", destination_id="agent:charlie", payload=told))
        return {"version": 8}

    @mod_event_handler("wiki.page.delete")
    def delete(self, event):
        return True

    @mod_event_handler("wiki.page.find")
    def find(self, event, payload: Find):
        return True
"""
FIND = """
from pydantic import BaseModel

class Find(BaseModel):
    words: str
    limit: int = 5
"""


async def test_a_save_tells_what_it_means_for_agents(work: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """At once what is lost; answers and what is sent once the new generation has given some; and again when asked."""
    monkeypatch.setattr("devserver.server.contracts.LOOKS", (0.01,) * 200)
    work.mod("wiki", WIKI, FIND)
    work.mod("ear", '@mod_event_handler("*")\ndef hear(self, event):\n    return None')
    network = await work.start("mods.wiki", "mods.ear")
    tasks: list[Any] = []
    import asyncio

    contracts = Contracts(
        network,
        network.record(),
        tell=work.facts.append,
        begin=lambda work_to_do: tasks.append(asyncio.ensure_future(work_to_do)),
    )
    assert await contracts.current() == {"lost": [], "changed": []}
    network.directory.register("charlie", {})
    for _ in range(ENOUGH):
        await work.ask("wiki.page.edit")
    await work.ask("wiki.page.delete")
    await work.ask("wiki.page.find", words="home")
    changed = WIKI.replace('"version": 8', '"version": "8"').replace(', "reason": "r"', "")
    changed = changed.replace("wiki.page.delete", "wiki.page.remove")
    contracts.note(await work.save_mod("wiki", changed, FIND.replace("limit: int = 5", "limit: int")))
    await until(lambda: bool(work.told(ContractChanged)))
    needed = ShapeChange("wiki.page.find", "takes", "limit", "optional", "required", ("ana",))
    assert work.told(ContractChanged) == [ContractChanged((LostEvent("wiki.page.delete", 1, ("ana",)),), (needed,))]
    for _ in range(ENOUGH):
        await work.ask("wiki.page.edit")
    await until(lambda: len(work.told(ContractChanged)) > 1)
    told = await contracts.current()
    assert [each["event_name"] for each in told["lost"]] == ["wiki.page.delete"]
    assert {(each["event_name"], each["part"], *each["agents"]) for each in told["changed"]} == {
        ("wiki.page.edit", "answer", "ana"),
        ("wiki.page.find", "takes", "ana"),
        ("page.notification", "sends", "charlie"),
    }
    contracts.end()
    await asyncio.gather(*tasks)


async def test_a_mod_that_moves_to_another_host_loses_no_event(work: Workspace) -> None:
    """Neither in the moment before its new host tells of it, nor afterwards."""
    work.mod("wiki", WIKI, FIND)
    work.mod("ear", '@mod_event_handler("ear.ask")\ndef hear(self, event):\n    return None')
    network = await work.start("mods.wiki", "mods.ear")
    begun: list[Any] = []
    contracts = Contracts(network, network.record(), tell=work.facts.append, begin=begun.append)
    await contracts.current()
    await work.ask("wiki.page.delete")
    registry = network.engine.registry
    leaving = registry.find("wiki")
    assert leaving is not None
    leaving.host = "gpu-1"
    registry.commit(Swap(removed=[leaving]))
    contracts.note(await work.save_mod("ear", '@mod_event_handler("ear.ask")\ndef hear(self, event):\n    pass'))
    there = Slot(
        "wiki", "mods.wiki", Gate(10), host="gpu-1", listens=("wiki.page.edit", "wiki.page.delete", "wiki.page.find")
    )
    registry.set_away([there], ["wiki", "ear"])
    contracts.note(await work.save_mod("ear", '@mod_event_handler("ear.ask")\ndef hear(self, event):\n    return 1'))
    for each in begun:
        await each
    assert work.told(ContractChanged) == []
    contracts.end()
