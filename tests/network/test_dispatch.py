"""An event meets mods: whom it is offered to, in which order, and what ends its way."""

from __future__ import annotations

import asyncio

import pytest
from note_mods import ANSWERS, NOTES, note
from workspaces import PATIENCE, Workspace


async def test_mods_are_asked_in_the_order_of_network_yaml_until_one_answers(work: Workspace, at: str) -> None:
    """The first answer that is not None ends the way: later mods and agents see nothing of the event."""
    for name in "abcd":
        work.mod(name, ANSWERS if name == "c" else NOTES)
    await work.start("mods.b", "mods.a", "mods.c", "mods.d", home=at)
    await work.net.register_agent("bob")
    event = note(destination_id="agent:bob")
    answer = await work.net.process_event(event)
    assert (answer.success, answer.data) == (True, {"by": "mods.c"})
    assert event.payload["seen"] == ["mods.b", "mods.a", "mods.c"]
    assert len(work.net.directory.agent("bob").outbox.take_nowait()) == 0


async def test_an_event_is_offered_to_those_alone_who_listen_to_its_name(work: Workspace, at: str) -> None:
    """Exact names and prefixes count, other names do not."""
    work.mod("exact", NOTES.replace("note.*", "note.take"))
    work.mod("prefix", NOTES)
    work.mod("other", NOTES.replace("note.*", "notes.*"))
    work.mod("all", NOTES.replace("note.*", "*"))
    await work.start("mods.exact", "mods.prefix", "mods.other", "mods.all", home=at)
    event = note()
    await work.net.process_event(event)
    assert event.payload["seen"] == ["mods.exact", "mods.prefix", "mods.all"]


@pytest.mark.parametrize("sender", ["mod:mods.a", "mod:a", "mod:./a"])
async def test_a_mod_is_not_offered_its_own_events(work: Workspace, at: str, sender: str) -> None:
    """Whichever of its names it sends under."""
    for name in "ab":
        work.mod(name, NOTES)
    await work.start("mods.a", "mods.b", home=at)
    event = note(by=sender)
    await work.net.process_event(event)
    assert event.payload["seen"] == ["mods.b"]


async def test_an_agent_may_have_the_name_of_a_mod(work: Workspace) -> None:
    """Only a sender with the role of a mod is one."""
    work.mod("a", NOTES)
    await work.start("mods.a")
    event = note(by="a")
    await work.net.process_event(event)
    assert event.payload["seen"] == ["mods.a"]


# One mod


@pytest.mark.parametrize("name", ["a", "mods.a", "./a"])
async def test_an_event_to_a_mod_goes_to_it_alone(work: Workspace, at: str, name: str) -> None:
    """By id, by path, or by local path."""
    for each in "ab":
        work.mod(each, ANSWERS)
    await work.start("mods.b", "mods.a", home=at)
    answer = await work.net.process_event(note(destination_id=f"mod:{name}"))
    assert answer.data == {"by": "mods.a"}


async def test_an_event_to_no_mod_says_so(work: Workspace, at: str) -> None:
    """The answer names the mod that is not there."""
    await work.start(home=at)
    answer = await work.net.process_event(note(destination_id="mod:wiki"))
    assert (answer.success, answer.message) == (False, "Target mod wiki not found")


async def test_an_event_that_its_mod_does_not_answer_says_so(work: Workspace, at: str) -> None:
    """None from the one mod that was asked is no success."""
    work.mod("a", NOTES)
    await work.start("mods.a", home=at)
    answer = await work.net.process_event(note(destination_id="mod:a"))
    assert (answer.success, answer.message) == (False, "Event not processed by mod a, mod returns None")


# Repeats

COUNTS = """
    @mod_event_handler("note.take")
    async def note(self, event):
        self.state["n"] = self.state.get("n", 0) + 1
        if event.payload.get("slow"):
            await asyncio.sleep(0.01)
        return {"n": self.state["n"]}
"""


async def test_an_event_that_is_sent_twice_is_handled_once(work: Workspace, at: str) -> None:
    """The repeat gets the first answer; another sender's event of the same id is another event."""
    work.mod("a", COUNTS)
    await work.start("mods.a", home=at)
    answers = [await work.net.process_event(note(event_id="e1")) for _ in range(3)]
    assert [each.data for each in answers] == [{"n": 1}] * 3
    assert (await work.net.process_event(note(event_id="e1", by="bob"))).data == {"n": 2}


async def test_repeats_that_come_while_the_event_is_on_its_way_wait_for_its_answer(work: Workspace, at: str) -> None:
    """Twenty at once are one."""
    work.mod("a", COUNTS)
    await work.start("mods.a", home=at)
    events = [note(event_id="e1", payload={"slow": True}) for _ in range(20)]
    answers = await asyncio.gather(*map(work.net.process_event, events))
    assert [each.data for each in answers] == [{"n": 1}] * 20


async def test_a_mod_may_pass_the_very_event_on(work: Workspace, at: str) -> None:
    """What a handler sends is no repeat of what it handles, and does not wait for its own answer."""
    body = """
        @mod_event_handler("note.take")
        async def note(self, event):
            if event.destination_id is None:
                event.destination_id = "mod:b"
                return await self.send_event(event)
    """
    work.mod("a", body)
    work.mod("b", ANSWERS)
    await work.start("mods.a", "mods.b", home=at)
    async with asyncio.timeout(60):
        assert (await work.net.process_event(note(event_id="e1"))).data == {"by": "mods.b"}


# Mods that send

PING = """
    @mod_event_handler("ring.{name}")
    async def ring(self, event):
        return await self.send_event(Event(event_name="ring.{next}", payload={{"n": event.payload["n"] + 1}}))
"""


async def test_an_event_that_runs_in_a_circle_ends_and_names_the_mods(work: Workspace, at: str) -> None:
    """After 32 mods that wait for each other the way ends with an answer; the network goes on."""
    work.mod("a", PING.format(name="aa", next="bb"))
    work.mod("b", PING.format(name="bb", next="aa"))
    await work.start("mods.a", "mods.b", home=at)
    for _ in range(2):
        answer = await work.ask("ring.aa", n=0)
        assert not answer.success
        assert answer.data == {"code": "too_many_hops"}
        assert "32 mods wait for each other (a → b)" in answer.message


async def test_a_chain_shorter_than_the_limit_is_no_circle(work: Workspace, at: str) -> None:
    """A mod may call itself through others as long as it comes to an end."""
    body = """
        @mod_event_handler("count.down")
        async def down(self, event):
            n = event.payload["n"]
            if n == 0:
                return {"depth": 0}
            answer = await self.send_event(Event(event_name="count.down", source_id="agent:a", payload={"n": n - 1}))
            return {"depth": answer.data["depth"] + 1}
    """
    work.mod("a", body)
    await work.start("mods.a", home=at)
    assert (await work.ask("count.down", n=31)).data == {"depth": 31}
    assert (await work.ask("count.down", n=33)).success is False


async def test_what_a_mod_sends_goes_out_in_its_name(work: Workspace, at: str) -> None:
    """Without a source an event of a mod is its own, and is not offered to itself."""
    body = """
        @mod_event_handler("note.*", "say.it")
        async def any(self, event):
            if event.event_name == "say.it":
                sent = Event(event_name="note.take")
                return {"source": (await self.send_event(sent)) and sent.source_id, "seen": sent.payload.get("seen")}
    """
    work.mod("a", body)
    work.mod("b", NOTES)
    await work.start("mods.a", "mods.b", home=at)
    assert (await work.ask("say.it")).data == {"source": "mod:mods.a", "seen": ["mods.b"]}


SENDER = """
    async def initialize(self):
        self.create_task(self.tell_all())

    async def tell_all(self):
        event = Event(event_name="news.flash", payload={})
        for agent in ("ana", "bob"):
            event.destination_id = agent
            await self.network.process_event(event)
"""


async def test_a_mod_may_send_one_event_object_again_and_again(work: Workspace, at: str) -> None:
    """Only what comes from outside is taken for a repeat."""
    work.mod("idle", NOTES)
    await work.start("mods.idle", home=at)
    boxes = [(await work.net.register_agent(each)).agent.outbox for each in ("ana", "bob")]
    work.mod("sender", SENDER)
    await work.net.load_mod("mods.sender")
    received = [await box.take(PATIENCE) for box in boxes]
    assert [each.event.event_name for events in received for each in events].count("news.flash") == 2


async def test_a_start_that_fails_leaves_no_channel_behind(work: Workspace, at: str) -> None:
    """Channels that were there before stay."""
    work.mod("idle", NOTES)
    await work.start("mods.idle", home=at)
    work.net.directory.create_channel("old")
    work.mod(
        "half",
        """
    def initialize(self):
        self.network.create_channel("old")
        self.network.create_channel("new")
        return False
""",
    )
    assert not (await work.net.load_mod("mods.half")).success
    assert work.net.directory.channels() == ("old",)
