"""The guide for authors of mods is true: its mod runs, its test passes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from workspaces import without_mods

from devserver.testing import network

GUIDE = (Path(__file__).parents[2] / "docs" / "guides" / "mods.md").read_text(encoding="utf-8")
MOD, TEST = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)


@pytest.fixture(autouse=True)
def _no_mods() -> Iterator[None]:
    with without_mods():
        yield


async def test_the_test_of_the_guide_passes_for_the_mod_of_the_guide() -> None:
    """As it is written there."""
    names: dict = {}
    exec(TEST, names)
    await names["test_a_card_is_added"](partial(network, files={"mods/kanban.py": MOD}))


async def test_the_refusal_of_the_guide_is_what_is_answered() -> None:
    """Word for word."""
    async with network(["mods.kanban"], files={"mods/kanban.py": MOD}) as net:
        answer = await net.send("kanban.card.add", {"tags": [5]})
    assert answer.message == 'kanban.card.add: "title" is missing; "tags[0]" must be a text, not 5'
    assert answer.message.replace('"', '\\"') in GUIDE
