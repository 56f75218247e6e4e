"""Mods that load, unload and reload mods, themselves among them, while they handle an event."""

from __future__ import annotations

import asyncio

import pytest
from doors import HEAD, Doors
from workspaces import PATIENCE, Workspace, served, until

from devserver.model.facts import Status

CHANGES = """
    @mod_event_handler("change.mods")
    async def change(self, event):
        how, mod = event.payload["how"], event.payload["mod"]
        if event.payload.get("by_event"):
            name = f"system.mod.{{how}}"
            answer = await self.send_event(Event(event_name=name, payload={{"mod_path": mod}}))
        else:
            answer = await getattr(self.network, f"{{how}}_mod")(mod)
        after = await self.send_event(Event(event_name="echo.version.get"))
        return {{"changed": answer.success, "message": answer.message, "version": {version}, "sent": after.success}}
"""


@pytest.mark.parametrize("by_event", [False, True], ids=["call", "event"])
async def test_a_handler_may_reload_its_own_mod(work: Workspace, at: str, by_event: bool) -> None:
    """Twenty times: the reload comes while its handler waits for it, and the handler finishes on its own code."""
    work.mod("change", CHANGES.format(version=0))
    work.mod("echo", served("echo", 1))
    await work.start("mods.change", "mods.echo", home=at, dev={"limits": {"drain": 0.001}})
    for version in range(1, 21):
        work.mod("change", CHANGES.format(version=version))
        async with asyncio.timeout(PATIENCE):
            answer = await work.ask("change.mods", how="reload", mod="mods.change", by_event=by_event)
        assert answer.data == {
            "changed": True,
            "message": "Successfully reloaded mod: change",
            "version": version - 1,
            "sent": True,
        }
        assert work.running() == {"change": version + 1, "echo": 1}


@pytest.mark.parametrize("by_event", [False, True], ids=["call", "event"])
async def test_a_handler_may_load_and_unload_others_and_its_own_mod(work: Workspace, at: str, by_event: bool) -> None:
    """Twenty times load and unload of another; then its own unload, after which the handler still answers."""
    work.mod("change", CHANGES.format(version=0))
    work.mod("other", served("other", 1))
    work.mod("echo", served("echo", 1))
    await work.start("mods.change", "mods.echo", home=at)
    for _ in range(20):
        for how, running in (("load", ["change", "echo", "other"]), ("unload", ["change", "echo"])):
            async with asyncio.timeout(PATIENCE):
                answer = await work.ask("change.mods", how=how, mod="mods.other", by_event=by_event)
            assert answer.data is not None
            assert answer.data["changed"], answer.data
            assert list(work.running()) == running
    answer = await work.ask("change.mods", how="unload", mod="mods.change", by_event=by_event)
    assert (answer.data or {})["changed"]
    assert list(work.running()) == ["echo"]
    assert "no mod handles it" in (await work.ask("change.mods")).message


async def test_a_handler_may_ask_a_mod_that_is_reloaded_with_its_own(work: Workspace, doors: Doors, at: str) -> None:
    """Two mods of one group of which one waits for the other: the event waits for the swap, and is answered by it."""
    body = """
        @mod_event_handler("outer.ask")
        async def ask(self, event):
            await doors.stand("outer")
            return (await self.send_event(Event(event_name="inner.version.get"))).data
    """
    head = HEAD + "from mods.helper import VERSION\n"
    inner = served("inner", "?").replace("'?'", "VERSION")
    work.write("mods/helper.py", "VERSION = 1\n")
    work.mod("outer", body, head)
    work.mod("inner", inner, head)
    await work.start("mods.outer", "mods.inner", home=at)
    waiting = asyncio.create_task(work.ask("outer.ask"))
    await doors.reached("outer")
    saving = asyncio.create_task(work.save("mods/helper.py", "VERSION = 2\n"))
    await until(lambda: work.net.engine.registry.find("inner").gate.shut or saving.done())
    doors.opened.add("outer")
    async with asyncio.timeout(PATIENCE):
        assert [each.status for each in (await saving).outcomes] == [Status.APPLIED] * 2
        assert ((await waiting).data or {})["version"] in (1, 2)
    assert await work.version("inner") == 2
