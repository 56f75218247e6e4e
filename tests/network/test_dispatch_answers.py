"""What a sender is told: the answers of mods, their faults, and to how many agents an event went."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from doors import HEAD, Doors
from note_mods import ANSWERS, note
from workspaces import Workspace

from devserver.model.event import Event
from devserver.model.facts import ModError
from devserver.model.principal import agent_principal

FAILS = """
    @mod_event_handler("note.*")
    {call} note(self, event):
        event.payload.setdefault("seen", []).append(self.mod_name)
        {fault}
"""
CANCELLED = "gone = asyncio.ensure_future(asyncio.sleep(60)); gone.cancel(); await gone"
FAULTS = {
    "error": ("def", "raise KeyError('column')", "KeyError: 'column'"),
    "async error": ("async def", "await asyncio.sleep(0); raise KeyError('column')", "KeyError: 'column'"),
    "exit": ("def", "raise SystemExit(3)", "SystemExit: 3"),
    "async exit": ("async def", "await asyncio.sleep(0); raise SystemExit(3)", "SystemExit: 3"),
    "own task cancelled": ("async def", CANCELLED, "CancelledError: "),
    "raised cancellation": ("async def", "raise asyncio.CancelledError", "CancelledError: "),
    "base exception": ("def", "raise BaseException('odd')", "BaseException: odd"),
    "unprintable": (
        "def",
        "raise type('E', (Exception,), {'__str__': lambda self: 1 / 0})",
        "its text cannot be shown",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_mod_that_fails_does_not_keep_others_from_being_asked(work: Workspace, at: str, fault: str) -> None:
    """The next mod answers; the fault is told with mod, event and place."""
    call, code, said = FAULTS[fault]
    work.mod("a", FAILS.format(call=call, fault=code))
    work.mod("b", ANSWERS)
    await work.start("mods.a", "mods.b", home=at)
    event = note()
    answer = await work.net.process_event(event)
    assert answer.data == {"by": "mods.b"}
    assert event.payload["seen"] == ["mods.a", "mods.b"]
    (error,) = work.told(ModError)
    assert (error.mod_id, error.event_name, error.generation) == ("a", "note.take", 1)
    assert said in str(error.error)
    assert error.error.where.file == "mods/a.py"


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("to", [None, "mod:a"])
async def test_a_sender_is_told_of_the_fault_where_nobody_answered(
    work: Workspace, at: str, fault: str, to: str | None
) -> None:
    """The answer is a failure that names the mod and the fault, and what sent it goes on."""
    call, code, said = FAULTS[fault]
    work.mod("a", FAILS.format(call=call, fault=code))
    await work.start("mods.a", home=at)
    for _ in range(2):
        answer = await work.net.process_event(note(destination_id=to))
        assert not answer.success
        assert answer.message.startswith("Error in mod a: ")
        assert said in answer.message
        assert answer.data == {"code": "mod_error", "mod_id": "a"}
    assert work.exit_requests == []


async def test_ctrl_c_in_a_mods_thread_is_the_mods_own_doing(work: Workspace) -> None:
    """Signals reach the main thread alone: a KeyboardInterrupt on another one is a mod's fault."""
    work.mod("a", FAILS.format(call="def", fault="raise KeyboardInterrupt"))
    await work.start("mods.a", home="thread")
    answer = await work.net.process_event(note())
    assert answer.message.startswith("Error in mod a: KeyboardInterrupt")


async def test_a_fault_beside_a_delivery_is_in_the_answer(work: Workspace, at: str) -> None:
    """An event that reached its agent succeeded, and says which mod failed on the way."""
    work.mod("a", FAILS.format(call="def", fault="raise KeyError('column')"))
    await work.start("mods.a", home=at)
    await work.net.register_agent("bob")
    answer = await work.net.process_event(note(destination_id="agent:bob"))
    assert answer.success
    assert answer.data == {"delivered": 1, "errors": {"a": "KeyError: 'column'"}}


# Answers

RETURNS = """
    @mod_event_handler("note.take")
    {call} note(self, event):
        return {value}
"""
ODD: dict[str, tuple[bool, Any]] = {
    "EventResponse(False, 'no', {'n': 1})": (False, {"n": 1}),
    "{}": (True, {}),
    "{'n': 1}": (True, {"n": 1}),
    "True": (True, None),
    "False": (False, None),
    "0": (True, {"result": 0}),
    "''": (True, {"result": ""}),
    "'text'": (True, {"result": "text"}),
    "[1, 2]": (True, {"result": [1, 2]}),
}


@pytest.mark.parametrize("call", ["def", "async def"])
@pytest.mark.parametrize("value", ODD)
async def test_whatever_is_not_none_is_an_answer(work: Workspace, at: str, call: str, value: str) -> None:
    """Its kind decides what arrives; sync and async handlers are alike."""
    work.mod("a", RETURNS.format(call=call, value=value))
    await work.start("mods.a", home=at)
    answer = await work.net.process_event(note())
    assert (answer.success, answer.data) == ODD[value]


async def test_a_sync_handler_may_return_what_has_to_be_awaited(work: Workspace, at: str) -> None:
    """A task or a coroutine is awaited, and what comes of it is the answer."""
    body = """
        @mod_event_handler("note.take")
        def note(self, event):
            return self.create_task(self.later()) if event.payload else self.later()

        async def later(self):
            return EventResponse(True, "later")
    """
    work.mod("a", body)
    await work.start("mods.a", home=at)
    for payload in ({}, {"task": 1}):
        assert (await work.net.process_event(note(payload=payload))).message == "later"


async def test_several_handlers_of_one_mod_are_asked_until_one_answers(work: Workspace, at: str) -> None:
    """In the order in which the class defines them."""
    body = """
        @mod_event_handler("*")
        def first(self, event):
            event.payload.setdefault("seen", []).append("first")

        @mod_event_handler("note.take")
        def second(self, event):
            event.payload["seen"].append("second")
            return True

        @mod_event_handler("note.*")
        def third(self, event):
            event.payload["seen"].append("third")
    """
    work.mod("a", body)
    await work.start("mods.a", home=at)
    event = note()
    assert (await work.net.process_event(event)).success
    assert event.payload["seen"] == ["first", "second"]


# Delivery


@pytest.mark.parametrize(
    ("to", "success", "delivered", "said"),
    [
        ("agent:bob", True, 1, "Event note.take delivered to 1 agent"),
        ("bob", True, 1, "delivered to 1 agent"),
        ("agent:broadcast", True, 2, "delivered to 2 agents"),
        ("channel:news", True, 1, "delivered to 1 agent"),
        (None, True, 0, "delivered to 0 agents; no mod handles it"),
        ("agent:eve", False, 0, "no agent"),
        ("channel:nothing", False, 0, "no channel"),
    ],
)
async def test_the_answer_says_to_how_many_agents_an_event_went(
    work: Workspace, at: str, to: str | None, success: bool, delivered: int, said: str
) -> None:
    """No one is told of a delivery that was none."""
    await work.start(home=at)
    for agent in ("ana", "bob", "dan"):
        await work.net.register_agent(agent)
    work.net.directory.create_channel("news")
    work.net.directory.add_channel_member("news", "bob")
    answer = await work.net.process_event(note(destination_id=to))
    assert (answer.success, (answer.data or {}).get("delivered")) == (success, delivered)
    assert said in answer.message


HEARS = """
    @mod_event_handler("note.take")
    async def hear(self, event):
        await doors.stand("heard")
"""


async def test_a_repeat_waits_for_the_first_answer_also_where_the_mod_that_makes_it_has_gone(
    work: Workspace, at: str, doors: Doors
) -> None:
    """Its agent got the event twice."""
    work.mod("a", HEARS, HEAD)
    await work.start("mods.a", home=at)
    ben = (await work.net.register_agent("ben")).agent
    ana = agent_principal("ana", ())

    def sent() -> asyncio.Task[Any]:
        event = Event(event_name="note.take", source_id="ana", destination_id="agent:ben", event_id="one")
        return asyncio.create_task(work.net.ingest(event, ana))

    first = sent()
    await doors.reached("heard")
    assert (await work.net.unload_mod("a", force=True)).success
    ben.outbox.take_nowait()
    again = sent()
    await asyncio.sleep(0)
    assert not len(ben.outbox)
    doors.opened.add("heard")
    assert await first == await again
    assert len(ben.outbox) == 1
