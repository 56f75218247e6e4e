"""What `BaseMod` does for its author: repeated calls, questions to other mods; and what is told of a slow handler."""

from __future__ import annotations

import pytest
from workspaces import Workspace, until

from devserver.model.facts import ModError

REPEATS = """
    def initialize(self):
        self.every(0.001, self.sweep)

    def sweep(self):
        self.state["n"] = self.state.get("n", 0) + 1
        self.state["version"] = 1
"""


async def test_every_calls_a_function_again_and_again(work: Workspace, at: str) -> None:
    """Until the generation ends; the next one goes on with its own."""
    work.mod("clock", REPEATS)
    await work.start("mods.clock", home=at)
    state = work.instance("clock").state
    await until(lambda: state.get("n", 0) > 2)
    await work.save_mod("clock", REPEATS.replace('["version"] = 1', '["version"] = 2'))
    await until(lambda: work.instance("clock").state.get("version") == 2)


async def test_a_call_that_raises_is_told_and_the_next_one_comes(work: Workspace, at: str) -> None:
    """As an error of the mod, with its place; async functions too."""
    body = """
    def initialize(self):
        self.every(0.001, self.sweep)

    async def sweep(self):
        self.state["n"] = self.state.get("n", 0) + 1
        if self.state["n"] == 1:
            raise KeyError("x")
    """
    work.mod("clock", body)
    await work.start("mods.clock", home=at)
    await until(lambda: work.instance("clock").state.get("n", 0) > 2)
    await until(lambda: bool(work.told(ModError)))
    (told,) = work.told(ModError)
    assert (told.mod_id, told.error.kind) == ("clock", "KeyError")


async def test_an_instance_that_stays_repeats_the_method_of_its_new_class(work: Workspace) -> None:
    """After a rebind the task goes on, with the new code."""
    body = f"    reload_mode = 'rebind'\n{REPEATS}"
    work.mod("clock", body)
    await work.start("mods.clock")
    await until(lambda: work.instance("clock").state.get("n", 0) > 1)
    await work.save_mod("clock", body.replace('["version"] = 1', '["version"] = 2'))
    await until(lambda: work.instance("clock").state.get("version") == 2)


@pytest.mark.parametrize("seconds", [0, -1, float("nan")])
async def test_every_needs_a_time_above_0(work: Workspace, seconds: float) -> None:
    """Anything else is refused where it is written."""
    work.mod("clock", f'    def initialize(self):\n        self.every(float("{seconds}"), print)')
    await work.start("mods.clock")
    error = work.outcomes()[-1].error
    assert error is not None
    assert "every() takes a number of seconds above 0" in error.message


async def test_a_mod_asks_another_one(work: Workspace, at: str) -> None:
    """By its address, with a payload; the answer is that mod's."""
    asks = """
    @mod_event_handler("ask.it")
    async def ask_it(self, event):
        answer = await self.network.ask("mod:wiki", "wiki.page.get", {"path": "a"})
        missing = await self.network.ask("mod:nobody", "wiki.page.get")
        return {"got": answer.data, "missing": missing.message}
    """
    answers = """
    @mod_event_handler("wiki.page.get")
    def get(self, event):
        return {**event.payload, "by": event.source_id}
    """
    work.mod("asks", asks)
    work.mod("wiki", answers)
    await work.start("mods.asks", "mods.wiki", home=at)
    assert (await work.ask("ask.it")).data == {
        "got": {"path": "a", "by": "mod:mods.asks"},
        "missing": "Target mod nobody not found",
    }


async def test_a_handler_that_runs_into_its_limit_is_told(work: Workspace, at: str) -> None:
    """Once, with the line where it waited and the setting to change."""
    work.mod("slow", '@mod_event_handler("slow.one")\nasync def one(self, event):\n    await asyncio.sleep(60)')
    await work.start("mods.slow", home=at, dev={"limits": {"handler": 0.05}})
    assert (await work.ask("slow.one")).data == {"code": "handler_timeout"}
    (told,) = work.told(ModError)
    assert (told.event_name, told.error.kind) == ("slow.one", "HandlerTimeout")
    assert "dev.limits.handler" in told.error.message
    assert told.error.where is not None
    assert told.error.where.file == "mods/slow.py"
