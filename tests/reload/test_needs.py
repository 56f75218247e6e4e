"""Mods that need others (`requires`): they wait, they are named, and they come when the others do."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from workspaces import Workspace, served

from devserver.model.change import FilesChanged
from devserver.model.facts import Status
from devserver.reload.why import Why
from devserver.sources import large
from devserver.sources.files import sources_now
from devserver.sources.imports import parsed, read_elsewhere


def needing(name: str, *requires: str, version: str = "1") -> str:
    return served(name, 1, f"requires = {list(requires)!r}\nversion = {version!r}\n")


def last(work: Workspace, mod: str):
    return [each for each in work.outcomes() if each.mod_id == mod][-1]


async def test_a_mod_that_was_skipped_because_another_failed_comes_when_that_one_loads(work: Workspace) -> None:
    """At the start the wiki fails; its own save brings it, and with it what needs it, and what needs that."""
    work.mod("wiki", served("wiki", 1), "raise ValueError('not yet')\n")
    work.mod("search", needing("search", "mods.wiki"))
    work.mod("index", needing("index", "mods.search"))
    await work.start("mods.index", "mods.search", "mods.wiki")
    assert work.running() == {}
    assert [last(work, mod).status for mod in ("wiki", "search", "index")] == [
        Status.FAILED,
        Status.SKIPPED,
        Status.SKIPPED,
    ]
    assert last(work, "search").reason == "it needs mods.wiki, which did not load"
    done = await work.save_mod("wiki", served("wiki", 1))
    assert work.running() == {"index": 1, "search": 1, "wiki": 1}
    assert [step.mod_id for step in done.plan.steps] == ["wiki", "search", "index"]
    assert last(work, "search").reason == "mods.wiki, which it needs, is loaded"


async def test_a_mod_that_was_held_comes_with_the_one_that_is_loaded_by_hand(work: Workspace) -> None:
    """Whatever brings the other mod."""
    work.mod("wiki", served("wiki", 1))
    work.mod("search", needing("search", "mods.wiki"))
    await work.start("mods.search", {"name": "mods.wiki", "enabled": False})
    assert last(work, "search").reason == "it needs mods.wiki (mods/search.py:11), which network.yaml:5 disables"
    await work.net.load_mod("mods.wiki")
    assert set(work.running()) == {"wiki", "search"}


async def test_a_mod_waits_for_the_version_that_it_needs(work: Workspace) -> None:
    """The reload that brings it is also its load."""
    work.mod("wiki", served("wiki", 1, "version = '1'\n"))
    work.mod("search", needing("search", "mods.wiki>=2"))
    await work.start("mods.wiki", "mods.search")
    assert last(work, "search").reason == "it needs mods.wiki>=2 (mods/search.py:11), and wiki is 1 (mods/wiki.py:11)"
    await work.save_mod("wiki", served("wiki", 2, "version = '2'\n"))
    assert work.running() == {"wiki": 2, "search": 1}


async def test_a_saved_mod_that_needs_what_is_not_there_is_held_and_comes_when_it_is(work: Workspace) -> None:
    """Requirements count on a reload too; what ran keeps running until then."""
    work.mod("search", served("search", 1))
    await work.start("mods.search")
    await work.save_mod("search", needing("search", "mods.wiki"))
    held = last(work, "search")
    assert (held.status, held.generation) == (Status.SKIPPED, 1)
    assert held.reason == (
        "it needs mods.wiki (mods/search.py:11), which is nowhere: looked for mods/wiki/mod.py, "
        "mods/wiki/__init__.py and mods/wiki.py; search v1 keeps running"
    )
    work.mod("wiki", served("wiki", 1))
    await work.net.load_mod("mods.wiki")
    assert work.running() == {"search": 2, "wiki": 1}
    await work.save_mod("search", needing("search", "wiki_extras"))
    # What may come from elsewhere is named as the command takes it.
    assert (
        "; if it is locked, oa-dev sync brings it, else oa-dev add wiki-extras; search v2"
        in last(work, "search").reason
    )


async def test_a_version_that_another_mod_refuses_is_held(work: Workspace) -> None:
    """As an unload of what is needed is."""
    work.mod("wiki", served("wiki", 1, "version = '2'\n"))
    work.mod("search", needing("search", "mods.wiki>=2"))
    await work.start("mods.wiki", "mods.search")
    await work.save_mod("wiki", served("wiki", 2, "version = '1'\n"))
    assert last(work, "wiki").reason == (
        "wiki 1 (mods/wiki.py:11) does not suit search, which needs mods.wiki>=2 (mods/search.py:11); "
        "wiki v1 keeps running · save both together or pause"
    )
    assert work.running() == {"wiki": 1, "search": 1}


async def test_the_loop_goes_on_while_a_large_source_is_parsed(
    work: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For a plan that is asked for, a save, and `why`: a source that declares needs is parsed before its plan."""
    loop, went_on, apart = asyncio.get_running_loop(), [], large._apart

    def once_the_loop_answers(path: str, function: Any, *asked: Any, **named: Any) -> Any:
        answers = threading.Event()
        loop.call_soon_threadsafe(answers.set)
        went_on.append((function.__name__, answers.wait(30)))
        return apart(path, function, *asked, **named)

    monkeypatch.setattr(large, "_apart", once_the_loop_answers)
    work.mod("wiki", served("wiki", 1))
    work.mod("search", served("search", 1))
    await work.start("mods.wiki", "mods.search")
    trees = parsed.cache_info().misses
    # Statements, not a literal.
    file = work.mod("search", needing("search", "mods.wiki"), "def f(a):\n    return a\n\n" * 8_000)
    plan = await work.net.foresee(FilesChanged(sources_now([file])))
    await work.saved(file)
    row = await read_elsewhere(Why(work.net.engine.knowledge, work.net.engine.modules).of, "search")
    assert ([step.mod_id for step in plan.steps], work.running()) == (["search"], {"wiki": 1, "search": 2})
    assert len(row["needs"]) == 1
    assert {"read_declarations", "_written_code"} <= {name for name, _ in went_on} and all(did for _, did in went_on)
    assert parsed.cache_info().misses == trees
