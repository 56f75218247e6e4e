"""Whether replaced code is gone, and what holds it, in words."""

from __future__ import annotations

import asyncio
import sys
import typing
from types import ModuleType
from typing import Any

import pytest

from devserver.loader import census
from devserver.loader.census import Remains
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


@pytest.mark.parametrize("what", ["Tool", "tool", "instance", "module"])
async def test_the_name_in_a_module_that_holds_code_is_found(workshop: Workshop, what: str) -> None:
    """A class, a function, an instance in a list, or the module itself: the module and the name are told."""
    library = ModuleType("truth_registry")
    sys.modules["truth_registry"] = library

    def use(module: ModuleType) -> None:
        held = {"instance": module.Tool(), "module": module}
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


async def test_a_class_that_was_written_into_a_hint_is_not_kept_by_that(workshop: Workshop) -> None:
    """Python remembers the last hints that were written; that is no use of the class."""
    remains = replaced(workshop, lambda module: typing.List[module.Tool])  # type: ignore[name-defined]  # noqa: UP006
    census.collect()
    assert remains.alive() == []
