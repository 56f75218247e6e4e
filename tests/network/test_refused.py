"""A handler raises `Refused` to answer that something cannot be done."""

from __future__ import annotations

from workspaces import Workspace

import devserver
from devserver.model.facts import ModError

REFUSES = """
    @mod_event_handler("page.get")
    async def get(self, event):
        raise Refused("there is no such page", page="a")
"""


async def test_a_refusal_is_an_answer_and_no_error_of_the_mod(work: Workspace, at: str) -> None:
    """Its sentence is the message, its facts are the data; nothing is told as an error."""
    work.mod("page", REFUSES, "from devserver import Refused")
    await work.start("mods.page", home=at)
    answer = await work.ask("page.get")
    assert (answer.success, answer.message, answer.event_name) == (False, "there is no such page", "page.get")
    assert answer.data == {"error": "there is no such page", "page": "a"}
    mod = work.net.running_mods()["page"]
    assert (mod["handled"], mod["errors"], work.told(ModError)) == (1, 0, [])


def test_the_package_shows_its_public_names() -> None:
    """`dir()` names them before they are first used."""
    assert set(devserver.__all__) <= set(dir(devserver))
