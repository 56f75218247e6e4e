"""Handlers that outlive their generation: they finish on its code, and may send until then and no longer."""

from __future__ import annotations

import asyncio
import gc
import sys
import weakref

import pytest
from doors import HEAD, Doors, slow
from workspaces import Workspace, served, until

from devserver.model.facts import Status


async def test_a_handler_in_flight_finishes_on_its_own_code(work: Workspace, doors: Doors, at: str) -> None:
    """New events go to the new generation at once; what the old handler imports later is what it was loaded with."""
    work.write("mods/helper.py", "VERSION = 1\n")
    work.mod("echo", slow("echo", 1), HEAD + "import mods.helper\n")
    await work.start("mods.echo", home=at)
    waiting = asyncio.create_task(work.ask("echo.slow.get"))
    await doors.reached("echo")
    helper = work.write("mods/helper.py", "VERSION = 2\n")
    done = await work.saved(work.mod("echo", slow("echo", 2), HEAD + "import mods.helper\n"), helper)
    assert [each.status for each in done.outcomes] == [Status.APPLIED]
    assert await work.version("echo") == 2
    assert not waiting.done()
    doors.opened.add("echo")
    assert (await waiting).data == {"version": 1, "helper": 1}
    assert (await work.ask("echo.slow.get")).data == {"version": 2, "helper": 2}


async def test_a_handler_that_lingers_too_long_is_ended_and_its_sender_told(
    work: Workspace, doors: Doors, at: str
) -> None:
    """The limit is that of network.yaml; then the old generation is shut down, once."""
    shut = "def shutdown(self):\n    doors.standing.append('down')\n"
    work.mod("echo", slow("echo", 1) + shut, HEAD)
    await work.start("mods.echo", home=at, dev={"limits": {"linger": 0.1}})
    waiting = asyncio.create_task(work.ask("echo.slow.get"))
    await doors.reached("echo")
    await work.save_mod("echo", slow("echo", 2), HEAD)
    answer = await waiting
    assert (answer.success, answer.data) == (False, {"code": "handler_timeout"})
    assert answer.message == "echo v1 was replaced 0.1 s ago and its handler was still running"
    await doors.reached("down")
    assert await work.version("echo") == 2
    assert doors.standing.count("down") == 1


async def test_a_generation_is_shut_down_when_its_last_handler_has_ended(
    work: Workspace, doors: Doors, at: str
) -> None:
    """Not before, so that a handler never runs in a mod that was shut down."""
    shut = "def shutdown(self):\n    doors.standing.append('down')\n"
    work.mod("echo", slow("echo", 1) + shut, HEAD)
    work.write("mods/helper.py", "VERSION = 1\n")
    await work.start("mods.echo", home=at)
    waiting = [asyncio.create_task(work.ask("echo.slow.get")) for _ in range(3)]
    await doors.reached("echo", 3)
    await work.save_mod("echo", slow("echo", 2), HEAD)
    assert await work.version("echo") == 2
    assert "down" not in doors.standing
    doors.opened.add("echo")
    assert [(await each).data for each in waiting] == [{"version": 1, "helper": 1}] * 3
    await doors.reached("down")


async def test_a_generation_that_was_replaced_is_given_back(work: Workspace, doors: Doors) -> None:
    """After its last handler nothing keeps its instance, class or module."""
    work.mod("echo", slow("echo", 1), HEAD)
    work.write("mods/helper.py", "VERSION = 1\n")
    await work.start("mods.echo")
    held = [
        weakref.ref(each) for each in (work.instance("echo"), type(work.instance("echo")), sys.modules["mods.echo"])
    ]
    waiting = asyncio.create_task(work.ask("echo.slow.get"))
    await doors.reached("echo")
    await work.save_mod("echo", slow("echo", 2), HEAD)
    doors.opened.add("echo")
    await waiting
    del waiting

    def gone() -> bool:
        gc.collect()
        return all(each() is None for each in held)

    work.facts.clear()
    await until(gone)


SENDS = """
    def initialize(self):
        if not self.state:
            self.state["started"] = self.create_task(self.beside()).get_name()

    @mod_event_handler("send.slow")
    async def slow(self, event):
        await doors.stand("handler")
        return {"sent": (await self.send_event(Event(event_name="echo.version.get"))).data["version"]}

    async def beside(self):
        await doors.stand("task")
        answers = [await self.send_event(Event(event_name="echo.version.get")), await self.network.unload_mod("echo")]
        doors.standing += [each.data["code"] for each in answers]
"""


@pytest.mark.parametrize("how", ["unload", "reload"])
async def test_a_generation_that_lingers_acts_for_its_handler_alone(
    work: Workspace, doors: Doors, at: str, how: str
) -> None:
    """From the swap on its other tasks can neither send nor change mods; its handler still can send."""
    work.mod("send", SENDS, HEAD)
    work.mod("echo", served("echo", 1))
    await work.start("mods.send", "mods.echo", home=at)
    waiting = asyncio.create_task(work.ask("send.slow"))
    await doors.reached("handler")
    await doors.reached("task")
    assert (await getattr(work.net, f"{how}_mod")("send")).success
    doors.opened.add("task")
    await doors.reached("retired_generation", 2)
    doors.opened.add("handler")
    assert (await waiting).data == {"sent": 1}


HOLDS_A_CHANNEL = """
    def initialize(self):
        self.network.create_channel("news")

    def shutdown(self):
        self.network.remove_channel("news")
        doors.standing.append("down")
"""


async def test_a_successor_keeps_the_channels_that_its_predecessor_takes_back(
    work: Workspace, doors: Doors, at: str
) -> None:
    """A mod that makes a channel when it starts and removes it when it ends loses no member by a reload."""
    work.mod("echo", HOLDS_A_CHANNEL, HEAD)
    await work.start("mods.echo", home=at)
    await work.net.register_agent("ana")
    work.net.directory.add_channel_member("news", "ana")
    await work.save_mod("echo", f"{HOLDS_A_CHANNEL}\n    EDITED = True\n", HEAD)
    await doors.reached("down")
    assert work.running() == {"echo": 2}
    assert tuple(work.net.directory.channel_members("news")) == ("ana",)
    await work.net.unload_mod("echo")
    await doors.reached("down", 2)
    await until(lambda: "news" not in work.net.directory.channels())
