"""What a mod runs beside its handlers: an exception that no one looks at is told as one of that
mod, and told once."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from invariants import record_faults
from workspaces import Workspace, served, until

from devserver.live import background
from devserver.model.facts import ModError

FAILS = """
    @mod_event_handler("fail.now")
    def fail(self, event):
        getattr(self, event.payload["how"])()
        return True

    async def tick(self):
        raise ValueError("tick")

    def call(self):
        raise ValueError("call")

    def own_task(self):
        self.create_task(self.tick())

    def plain_task(self):
        asyncio.create_task(self.tick())

    def held_task(self):
        self.held = asyncio.create_task(self.tick())

    def call_soon(self):
        asyncio.get_running_loop().call_soon(self.call)

    def call_later(self):
        asyncio.get_running_loop().call_later(0.001, self.call)

    def done_callback(self):
        self.create_task(asyncio.sleep(0)).add_done_callback(lambda task: self.call())

    def thread(self):
        asyncio.get_running_loop().run_in_executor(None, self.call)

    def handled(self):
        self.create_task(self.handle())

    async def handle(self):
        task = asyncio.create_task(self.tick())
        try:
            await task
        except ValueError:
            self.state["handled"] = True
"""

WAYS = {
    "own_task": "task FailsMod.tick",
    "plain_task": "task FailsMod.tick",
    "held_task": "task FailsMod.tick",
    "call_soon": "callback FailsMod.call",
    "call_later": "callback FailsMod.call",
    "done_callback": "callback FailsMod.done_callback.<locals>.<lambda>",
}


@pytest.fixture
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Nothing may be left for asyncio's own log."""
    yield
    records = caplog.get_records("call")
    assert [each for each in records if each.name == "asyncio" and each.levelno >= logging.ERROR] == []
    assert record_faults(records) == []


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("how", WAYS)
async def test_what_a_mod_runs_beside_its_handlers_is_told_when_it_fails(work: Workspace, at: str, how: str) -> None:
    """With the generation and the author's own line; once, whatever becomes of the task afterwards."""
    file = work.mod("fails", FAILS)
    await work.start("mods.fails", home=at)
    assert (await work.ask("fail.now", how=how)).success
    await until(lambda: bool(work.told(ModError)))
    work.instance("fails").held = None
    gc.collect()
    await asyncio.sleep(0)
    (told,) = work.told(ModError)
    assert (told.mod_id, told.generation, told.event_name) == ("fails", 1, WAYS[how])
    word = "call" if "callback" in WAYS[how] else "tick"
    line = 1 + file.read_text().splitlines().index(f'        raise ValueError("{word}")')
    assert told.error.where is not None
    assert (told.error.kind, told.error.message) == ("ValueError", word)
    assert (told.error.where.file, told.error.where.line) == ("mods/fails.py", line)
    assert work.net.running_mods()["fails"]["errors"] == 1


@pytest.mark.usefixtures("quiet")
async def test_what_fails_on_another_thread_is_told_by_the_code_it_came_through(work: Workspace, at: str) -> None:
    """The future of an executor knows of no mod; the trace does."""
    work.mod("fails", FAILS)
    await work.start("mods.fails", home=at)
    await work.ask("fail.now", how="thread")

    def told() -> list[ModError]:
        gc.collect()
        return work.told(ModError)

    await until(lambda: bool(told()))
    assert [(each.mod_id, each.error.message) for each in told()] == [("fails", "call")]


@pytest.mark.usefixtures("quiet")
async def test_an_exception_that_a_mod_handles_is_not_told(
    work: Workspace, at: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The code that awaits the task has seen its exception."""
    monkeypatch.setattr(background, "UNHEEDED", 0.01)
    work.mod("fails", FAILS)
    await work.start("mods.fails", home=at)
    await work.ask("fail.now", how="handled")
    await until(lambda: work.instance("fails").state.get("handled"))
    await work.ask("fail.now", how="held_task")
    await until(lambda: bool(work.told(ModError)))
    assert len(work.told(ModError)) == 1


@pytest.mark.usefixtures("quiet")
async def test_a_task_of_a_replaced_generation_is_told_as_its_own(work: Workspace, at: str) -> None:
    """A task fails because its generation ends: the number is the old one's."""
    body = """
        def initialize(self):
            self.create_task(self.watch())

        async def watch(self):
            try:
                await asyncio.Event().wait()
            finally:
                raise OSError("cannot be closed")
    """
    work.mod("echo", served("echo", 1, body))
    await work.start("mods.echo", home=at)
    await work.save_mod("echo", served("echo", 2))
    await until(lambda: bool(work.told(ModError)))
    (told,) = work.told(ModError)
    assert (told.mod_id, told.generation, told.event_name) == ("echo", 1, "task EchoMod.watch")


async def test_the_hosts_own_handler_hears_of_what_is_no_mods(work: Workspace) -> None:
    """Embedded, the loop is the host's: what it handled it handles on, and all of it again when the network is gone."""
    heard: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()

    def handler(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        heard.append(context)

    loop.set_exception_handler(handler)
    factory = loop.get_task_factory()
    work.mod("fails", FAILS)
    await work.start("mods.fails")

    async def own() -> None:
        raise KeyError("the host's")

    asyncio.create_task(own())  # noqa: RUF006 - nothing shall hold it
    loop.call_soon(lambda: 1 / 0)
    await work.ask("fail.now", how="own_task")
    await until(lambda: bool(work.told(ModError)))
    assert sorted(type(each["exception"]).__name__ for each in heard) == ["KeyError", "ZeroDivisionError"]
    await work.end()
    assert (loop.get_exception_handler(), loop.get_task_factory()) == (handler, factory)


@pytest.mark.usefixtures("quiet")
async def test_what_nobody_has_looked_at_is_told_at_the_latest_when_the_network_ends(work: Workspace, at: str) -> None:
    """A mod that holds its task keeps the exception to itself no longer than that."""
    work.mod("fails", FAILS)
    await work.start("mods.fails", home=at)
    await work.ask("fail.now", how="held_task")
    held = work.instance("fails").held
    await until(held.done)
    await asyncio.sleep(0)
    await work.end()
    assert [each.event_name for each in work.told(ModError)] == ["task FailsMod.tick"]
