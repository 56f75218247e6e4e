"""Whether replaced code is gone, and what holds it, in words."""

from __future__ import annotations

import asyncio
import sys
import threading
import typing
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

from devserver.loader import census
from devserver.loader.census import Remains
from devserver.loader.referrers import Ours, holders_of
from tests.loader.conftest import Workshop

SOURCE = "class Tool:\n    version = {n}\ndef tool():\n    return {n}\n"


def replaced(workshop: Workshop, use: Any = None) -> Remains:
    """What is to be asked for after `entry` was replaced once; `use` is given the old module."""
    workshop.write("entry", SOURCE.format(n=1))
    workshop.build(entry="entry").keep()
    if use is not None:
        use(sys.modules["entry"])
    workshop.write("entry", SOURCE.format(n=2))
    build = workshop.build("entry", entry="entry")
    build.keep()
    return build.remains[0]


async def test_code_that_nothing_holds_is_gone_after_one_collection(workshop: Workshop) -> None:
    """Classes hold themselves; no collection that someone has to wait for is needed."""
    remains = replaced(workshop)
    census.collect()
    assert remains.alive() == []


@pytest.mark.parametrize("what", ["Tool", "tool", "instance", "module", "pair"])
async def test_the_name_in_a_module_that_holds_code_is_found(workshop: Workshop, what: str) -> None:
    """A class, a function, an instance in a list, or the module itself: the module and the name are told."""
    library = ModuleType("truth_registry")
    sys.modules["truth_registry"] = library

    def use(module: ModuleType) -> None:
        held = {"instance": module.Tool(), "module": module, "pair": (("first", module.Tool()),)}
        library.REGISTRY = [held.get(what) or getattr(module, what)]  # type: ignore[attr-defined]

    remains = replaced(workshop, use)
    census.collect()
    assert census.holder_of(remains) == "truth_registry.REGISTRY"
    del sys.modules["truth_registry"]


async def test_the_task_that_runs_old_code_is_found(workshop: Workshop) -> None:
    """By the name that it has in asyncio."""
    tasks = []

    def use(module: ModuleType) -> None:
        async def work(tool: Any) -> None:
            await asyncio.Event().wait()

        tasks.append(asyncio.get_running_loop().create_task(work(module.Tool()), name="poll"))

    remains = replaced(workshop, use)
    await asyncio.sleep(0)
    census.collect()
    assert census.holder_of(remains) == 'the task "poll"'
    tasks.pop().cancel()


def test_a_tuple_that_another_thread_is_making_is_not_held() -> None:
    """Python fails a `tuple(...)` of a generator that anything else holds before it is complete."""
    begun, searched = threading.Event(), threading.Event()
    made: list[tuple[Any, ...]] = []
    tools = [[n] for n in range(20)]
    whole = {"tools": ("some", (tools[0],))}

    def pause() -> Iterator[Any]:
        yield from tools
        begun.set()
        assert searched.wait(60)
        yield from tools

    thread = threading.Thread(target=lambda: made.append(tuple(pause())))
    thread.start()
    assert begun.wait(60)
    found, held = holders_of(Ours(tools))
    searched.set()
    thread.join()
    assert made == [(*tools, *tools)]
    assert any(each is whole for each in found[2])
    assert {id(whole["tools"]), id(whole["tools"][1])} <= held


async def test_a_class_that_was_written_into_a_hint_is_not_kept_by_that(workshop: Workshop) -> None:
    """Python remembers the last hints that were written; that is no use of the class."""
    remains = replaced(workshop, lambda module: typing.List[module.Tool])  # type: ignore[name-defined]  # noqa: UP006
    census.collect()
    assert remains.alive() == []
