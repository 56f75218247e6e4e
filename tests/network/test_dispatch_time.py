"""Handlers that do not come back, senders that give up, and mods that block or end what they run in."""

from __future__ import annotations

import asyncio
import sys

import pytest
from note_mods import ANSWERS, note
from workspaces import Workspace, until

from devserver import Event
from devserver.model.facts import ModError, Notice
from devserver.model.principal import LOCAL

WAITS = """
    @mod_event_handler("wait.here")
    async def wait(self, event):
        try:
            await asyncio.Event().wait()
        finally:
            self.state["ended"] = True

    @mod_event_handler("wait.ended")
    def ended(self, event):
        return {"ended": self.state.get("ended", False)}
"""


async def test_a_handler_that_does_not_come_back_is_ended_and_its_sender_told(work: Workspace, at: str) -> None:
    """The limit is that of network.yaml; others are answered meanwhile and afterwards."""
    work.mod("a", WAITS)
    work.mod("b", ANSWERS)
    await work.start("mods.a", "mods.b", home=at, dev={"limits": {"handler": 0.1}})
    waiting = [asyncio.create_task(work.ask("wait.here")) for _ in range(5)]
    assert (await work.net.process_event(note())).success
    async with asyncio.timeout(60):
        answers = await asyncio.gather(*waiting)
    assert {(each.success, each.message) for each in answers} == {
        (False, "a v1: the handler did not answer within 0.1 s")
    }
    assert answers[0].data == {"code": "handler_timeout"}
    assert (await work.ask("wait.ended")).data == {"ended": True}
    assert (await work.net.process_event(note())).success


async def test_the_sender_of_an_ended_handler_goes_on_unharmed(work: Workspace) -> None:
    """In the caller's own loop the caller's task is neither cancelled nor left half cancelled."""
    work.mod("a", WAITS)
    await work.start("mods.a", dev={"limits": {"handler": 0.1}})
    task = asyncio.current_task()
    assert task is not None
    answer = await work.ask("wait.here")
    assert answer.data == {"code": "handler_timeout"}
    assert task.cancelling() == 0
    async with asyncio.timeout(60):
        await asyncio.sleep(0)


async def test_a_handler_that_answers_although_it_was_ended_leaves_its_sender_unharmed(work: Workspace) -> None:
    """What a handler makes of its cancellation is its own affair."""
    body = """
        @mod_event_handler("wait.here")
        async def wait(self, event):
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                return {"late": True}
    """
    work.mod("a", body)
    await work.start("mods.a", dev={"limits": {"handler": 0.1}})
    task = asyncio.current_task()
    assert task is not None
    assert (await work.ask("wait.here")).data == {"late": True}
    assert task.cancelling() == 0


GOES_ON = """
    @mod_event_handler("wait.here")
    async def wait(self, event):
        while "go" not in self.state:
            try:
                await asyncio.Event().wait() if "ended" not in self.state else await asyncio.sleep(0.001)
            except asyncio.CancelledError:
                self.state["ended"] = True
        sent = [await self.send_event(Event(event_name="note.take")) for _ in range(3)]
        self.state["sent"] = [each.data for each in sent]

    @mod_event_handler("wait.go")
    def go(self, event):
        self.state["go"] = True
"""


async def goes_on(work: Workspace, **limits: float) -> None:
    """A mod whose handler swallows its cancellation, on a thread of its own."""
    work.mod("a", GOES_ON)
    work.mod("b", ANSWERS)
    await work.start("mods.a", "mods.b", home="thread", dev={"limits": limits})


def still_running(work: Workspace) -> list[str]:
    """What was said of handlers that go on."""
    return [each.message for each in work.told(Notice) if "still running" in each.message]


async def test_a_handler_that_goes_on_although_it_was_ended_keeps_no_sender(
    work: Workspace, caplog: pytest.LogCaptureFixture
) -> None:
    """Its sender is told all the same, also one that repeats the event; it is named, and what it sends is refused."""
    await goes_on(work, handler=0.1)
    async with asyncio.timeout(60):
        event = Event(event_name="wait.here", source_id="ana")
        answers = [await work.net.process_event(event) for _ in range(2)]
    assert {(each.success, each.message) for each in answers} == {
        (False, "a v1: the handler did not answer within 0.1 s")
    }
    assert answers[0].data == {"code": "handler_timeout"}
    await until(lambda: bool(still_running(work)))
    line = 1 + (work.folder / "mods/a.py").read_text().splitlines().index(
        '                await asyncio.Event().wait() if "ended" not in self.state else await asyncio.sleep(0.001)'
    )
    assert still_running(work) == [
        f"still running: a v1 at mods/a.py:{line}; its handler of wait.here was ended and still runs"
    ]
    assert work.net.running_mods()["a"]["in_flight"] == 0
    assert (await work.net.process_event(note())).success
    await work.ask("wait.go")
    await until(lambda: "sent" in work.instance("a").state)
    assert work.instance("a").state["sent"] == [{"code": "retired_generation"}] * 3
    assert [each.getMessage() for each in caplog.records if each.name == "devserver.network.handle"] == [
        "a v1 was ended on wait.here and still runs: it may neither send events nor change anything"
    ]


async def test_a_sender_that_runs_a_handler_itself_is_told_too_when_that_goes_on(work: Workspace) -> None:
    """In the caller's own loop the handler is ended by force: the caller's task goes on, neither cancelled nor hurt."""
    work.mod("a", GOES_ON)
    work.mod("b", ANSWERS)
    await work.start("mods.a", "mods.b", dev={"limits": {"handler": 0.1}})
    async with asyncio.timeout(60):
        answers = [await work.ask("wait.here") for _ in range(2)]
        await asyncio.sleep(0)
    assert {(each.message, each.data["code"]) for each in answers if each.data} == {
        ("a v1: the handler did not answer within 0.1 s", "handler_timeout")
    }
    task = asyncio.current_task()
    assert task is not None and task.cancelling() == 0
    assert (await work.net.process_event(note())).success
    assert work.net.running_mods()["a"]["in_flight"] == 0


async def test_a_mod_that_waits_for_a_handler_that_goes_on_is_told_too(work: Workspace) -> None:
    """A task of a mod is its own sender: what it has asked for ends."""
    body = """
        @mod_event_handler("ask.beside")
        def beside(self, event):
            self.create_task(self.ask())

        async def ask(self):
            self.state["answer"] = (await self.send_event(Event(event_name="wait.here"))).data
    """
    work.mod("c", body)
    work.mod("a", GOES_ON)
    await work.start("mods.c", "mods.a", home="thread", dev={"limits": {"handler": 0.1}})
    await work.ask("ask.beside")
    await until(lambda: "answer" in work.instance("c").state)
    assert work.instance("c").state["answer"] == {"code": "handler_timeout"}
    assert [each.error.kind for each in work.told(ModError)] == ["HandlerTimeout"]


async def test_a_handler_of_a_replaced_generation_that_goes_on_keeps_no_sender(work: Workspace) -> None:
    """When it has lingered for its time and the grace is over; the generation it belongs to is named."""
    await goes_on(work, linger=0.1)
    sending = asyncio.create_task(work.ask("wait.here"))
    await until(lambda: work.net.running_mods()["a"]["in_flight"] == 1)
    await work.save_mod("a", GOES_ON + "    # edited\n")
    async with asyncio.timeout(60):
        answer = await sending
    assert (answer.success, answer.data) == (False, {"code": "handler_timeout"})
    await until(lambda: bool(still_running(work)))
    assert "still running: a v1 at mods/a.py:" in still_running(work)[0]
    work.instance("a").state["go"] = True
    await until(lambda: "sent" in work.instance("a").state)


async def test_whoever_waits_for_a_handler_that_goes_on_is_told_at_its_own_limit(work: Workspace) -> None:
    """The mod in between is not the one that is named."""
    body = """
        @mod_event_handler("wait.outer")
        async def outer(self, event):
            return await self.send_event(Event(event_name="wait.here"))
    """
    work.mod("c", body)
    work.mod("a", GOES_ON)
    await work.start("mods.c", "mods.a", home="thread", dev={"limits": {"handler": 0.1}})
    async with asyncio.timeout(60):
        answer = await work.ask("wait.outer")
    assert (answer.message, answer.data) == (
        "c v1: the handler did not answer within 0.1 s",
        {"code": "handler_timeout"},
    )
    await until(lambda: bool(still_running(work)))
    assert [each.partition(" at ")[0] for each in still_running(work)] == ["still running: a v1"]
    await work.ask("wait.go")
    await until(lambda: "sent" in work.instance("a").state)


async def test_a_handler_that_waits_for_another_is_ended_with_it(work: Workspace, at: str) -> None:
    """Of two handlers that wait for each other the outer one's sender is told, and no task is left."""
    body = """
        @mod_event_handler("wait.outer")
        async def outer(self, event):
            return await self.send_event(Event(event_name="wait.here"))
    """
    work.mod("a", body)
    work.mod("b", WAITS)
    await work.start("mods.a", "mods.b", home=at, dev={"limits": {"handler": 0.1}})
    async with asyncio.timeout(60):
        answer = await work.ask("wait.outer")
    assert not answer.success
    assert answer.data == {"code": "handler_timeout"}
    assert (await work.ask("wait.ended")).data == {"ended": True}


async def test_a_sender_that_gives_up_ends_the_handler_in_its_own_loop(work: Workspace) -> None:
    """Embedded, cancelling a send cancels what it runs; the mod and everyone else go on."""
    work.mod("a", WAITS)
    await work.start("mods.a")
    sending = asyncio.create_task(work.ask("wait.here"))
    await until(lambda: work.net.running_mods()["a"]["in_flight"] == 1)
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    assert (await work.ask("wait.ended")).data == {"ended": True}
    assert work.net.running_mods()["a"]["in_flight"] == 0
    assert work.told(ModError) == []


async def test_a_sender_that_gives_up_does_not_end_a_handler_on_another_thread(work: Workspace) -> None:
    """A client that hangs up does not undo what it asked for: its event ends its way."""
    body = """
        @mod_event_handler("work.do")
        async def do(self, event):
            self.state["began"] = True
            await self.later
            self.state["done"] = True

        def initialize(self):
            self.later = asyncio.get_running_loop().create_future()

        @mod_event_handler("work.finish")
        def finish(self, event):
            self.later.set_result(None)

        @mod_event_handler("work.state")
        def tell(self, event):
            return dict(self.state)
    """
    work.mod("a", body)
    await work.start("mods.a", home="thread")
    sending = asyncio.create_task(work.ask("work.do"))
    await until(lambda: work.instance("a").state.get("began"))
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    await work.ask("work.finish")
    assert (await work.ask("work.state")).data == {"began": True, "done": True}


# A thread of its own


async def test_a_task_of_a_mod_that_asks_the_process_to_end_ends_alone(work: Workspace) -> None:
    """Its loop goes on, the request is told, and events are answered."""
    body = """
        @mod_event_handler("task.start")
        def start(self, event):
            self.create_task(self.end(event.payload["how"]))
            return True

        async def end(self, how):
            raise {"exit": SystemExit, "interrupt": KeyboardInterrupt}[how]("from a task")
    """
    work.mod("a", body)
    await work.start("mods.a", home="thread")
    for count, how in enumerate(("exit", "interrupt", "exit"), 1):
        assert (await work.ask("task.start", how=how)).success
        await until(lambda count=count: len(work.exit_requests) == count)
    assert [type(each) for each in work.exit_requests] == [SystemExit, KeyboardInterrupt, SystemExit]
    assert (await work.ask("task.start", how="exit")).success
    await until(lambda: len(work.exit_requests) == 4)


async def test_cancelling_every_task_of_the_mods_loop_harms_no_sender(work: Workspace) -> None:
    """A mod that cancels all it finds has its senders answered or told, not cancelled."""
    body = """
        @mod_event_handler("cancel.all")
        async def all(self, event):
            for each in asyncio.all_tasks() - {asyncio.current_task()}:
                if each.get_coro().__qualname__ == "Passage._bring":
                    each.cancel()
            return True

        @mod_event_handler("wait.here")
        async def wait(self, event):
            await asyncio.Event().wait()
    """
    work.mod("a", body)
    await work.start("mods.a", home="thread")
    waiting = asyncio.create_task(work.ask("wait.here"))
    await until(lambda: work.net.running_mods()["a"]["in_flight"] == 1)
    await work.ask("cancel.all")
    with pytest.raises(RuntimeError, match="cancelled on the mods' loop"):
        await waiting
    assert (await work.ask("cancel.all")).success


def notes_for(work: Workspace, agent_id: str) -> list[str]:
    """The ids of the notes in an agent's outbox."""
    agent = work.net.directory.agent(agent_id)
    assert agent is not None
    return [each.event.event_id for each in agent.outbox.take_nowait() if each.event.event_name == "note.take"]


BLOCKS = """
    @mod_event_handler("block.thread")
    def block(self, event):
        GO.wait()
        return True
"""


async def test_a_blocked_mods_loop_stalls_events_for_mods_and_nothing_else(work: Workspace) -> None:
    """Agents join, leave, reach each other and ask the network while a handler sleeps with its thread."""
    work.mod("a", BLOCKS, "import threading\nGO = threading.Event()\n")
    await work.start("mods.a", home="thread")
    await work.net.register_agent("bob")
    blocked = asyncio.create_task(work.net.ingest(Event(event_name="block.thread", source_id="ana"), LOCAL))
    await until(lambda: work.net.running_mods()["a"]["in_flight"] == 1)
    async with asyncio.timeout(60):
        await work.net.register_agent("eve")
        for n in range(3):
            said = note(destination_id="agent:bob", event_id="same" if n else "first")
            assert (await work.net.ingest(said, LOCAL)).data == {"delivered": 1}
        assert (await work.ask("system.health_check")).success
        assert await work.net.unregister_agent("eve")
    assert not blocked.done()
    assert notes_for(work, "bob") == ["first", "same"]
    sys.modules["mods.a"].GO.set()
    assert (await blocked).success
    assert work.net.get_network_stats()["events"] == 3


async def test_a_repeat_is_known_whether_a_mod_hears_it_by_then_or_not(work: Workspace, at: str) -> None:
    """An event that was delivered past the mods, or answered by one, is not handled again after a load or unload."""
    work.mod("a", ANSWERS)
    await work.start(home=at)
    await work.net.register_agent("bob")
    passed = await work.net.ingest(note(destination_id="agent:bob", event_id="e1"), LOCAL)
    await work.net.load_mod("mods.a")
    assert await work.net.ingest(note(destination_id="agent:bob", event_id="e1"), LOCAL) == passed
    answered = await work.net.ingest(note(destination_id="agent:bob", event_id="e2"), LOCAL)
    assert answered.data == {"by": "mods.a"}
    await work.net.unload_mod("a")
    assert await work.net.ingest(note(destination_id="agent:bob", event_id="e2"), LOCAL) == answered
    assert notes_for(work, "bob") == ["e1"]
