"""What is recorded of events: rows with ways, parents, gates and deliveries, in a ring that is bounded."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from note_mods import ANSWERS, NOTES, note
from workspaces import Workspace, until

from devserver import Event, EventResponse
from devserver.model import trace
from devserver.model.event import new_event_id
from devserver.model.facts import Notice
from devserver.model.principal import LOCAL
from devserver.model.trace import MOST_SAID, ROW, VISIT, Said
from devserver.network.accounts import RECORDED, Account, Bound
from devserver.network.recorder import MOST_ROWS, Recorder, rest_of

Row = dict[str, Any]


def rows(recorder: Recorder, after: int = 0, most: int = 1000, size: int = 1 << 20) -> list[Row]:
    """The rows after a cursor, each by the names of its columns."""
    return [named(each) for each in recorder.after(after, most, size).rows]


def named(row: bytes) -> Row:
    found = dict(zip((name for name, _ in ROW), orjson.loads(row), strict=True))
    found["way"] = [dict(zip((name for name, _ in VISIT), each, strict=True)) for each in found["way"]]
    return found


def way(row: Row) -> list[tuple[str, int, int]]:
    """Which generations it came to, and what they said."""
    return [(each["mod_id"], each["generation"], each["said"]) for each in row["way"]]


def a_recorder(most: int = RECORDED.most, tell: Callable[[str], None] = lambda words: None) -> Recorder:
    bound = Bound("recorder", "", each=most, most=most, fair=0, beyond="")
    return Recorder(Account(bound), tell)


def pass_through(recorder: Recorder, payload: dict[str, Any] | None = None, **fields: Any) -> Event:
    """One event from its beginning to its end."""
    event = Event(event_name=fields.pop("event_name", "note.take"), source_id="ana", payload=payload or {}, **fields)
    recorder.begin(event, 0).end(event, EventResponse(True, "good"))
    return event


async def test_a_row_says_who_sent_what_to_whom_and_what_came_of_it(work: Workspace, at: str) -> None:
    """The way has every mod that was asked, in order, with its generation; the payload is as it came."""
    work.mod("a", NOTES)
    work.mod("b", ANSWERS)
    await work.start("mods.a", "mods.b", home=at)
    recorder = work.net.record()
    event = note(payload={"text": "hello"}, destination_id="agent:bob")
    await work.net.process_event(event)
    await work.save_mod("b", ANSWERS + "    # edited\n")
    await work.net.process_event(note(payload={"text": "again"}))
    first, second = rows(recorder)
    assert first | {"at_us": 0, "took_us": 0, "way": []} == {
        "number": 1,
        "parent": 0,
        "at_us": 0,
        "took_us": 0,
        "event_name": "note.take",
        "source": "ana",
        "destination": "agent:bob",
        "event_id": event.event_id,
        "ok": True,
        "said": "answered",
        "way": [],
        "to": [],
        "full": [],
        "payload": {"text": "hello"},
    }
    assert way(first) == [("a", 1, Said.PASSED), ("b", 1, Said.ANSWERED)]
    assert way(second) == [("a", 1, Said.PASSED), ("b", 2, Said.ANSWERED)]
    assert first["took_us"] >= sum(each["took_us"] for each in first["way"])
    assert first["at_us"] <= first["way"][0]["at_us"] <= first["way"][1]["at_us"] <= second["at_us"]


def test_the_columns_stand_where_their_numbers_say() -> None:
    """Programs and the page find a column by its place."""
    places = {name.upper().removesuffix("_US"): place for place, (name, _) in enumerate(ROW)}
    assert {name: getattr(trace, name) for name in places} == places


async def test_what_a_handler_sends_has_the_event_that_it_handles_as_its_parent(work: Workspace, at: str) -> None:
    """Also two levels down; what a task of the mod sends afterwards has none."""
    body = """
        @mod_event_handler("ask.outer")
        async def outer(self, event):
            await self.send_event(Event(event_name="ask.inner"))
            self.create_task(self.later())
            return True

        @mod_event_handler("ask.never")
        async def never(self, event):
            return True

        async def later(self):
            await asyncio.sleep(0.01)
            await self.send_event(Event(event_name="note.later"))
    """
    inner = """
        @mod_event_handler("ask.inner")
        async def inner(self, event):
            return await self.send_event(Event(event_name="note.take"))
    """
    work.mod("a", body)
    work.mod("b", inner)
    work.mod("c", ANSWERS)
    await work.start("mods.a", "mods.b", "mods.c", home=at)
    recorder = work.net.record()
    assert (await work.ask("ask.outer")).success
    await until(lambda: recorder.number == 4)
    assert [(each["event_name"], each["number"], each["parent"]) for each in rows(recorder)] == [
        ("note.take", 3, 2),
        ("ask.inner", 2, 1),
        ("ask.outer", 1, 0),
        ("note.later", 4, 0),
    ]
    assert [named(each)["number"] for each in recorder.children(1)] == [2]


async def test_a_row_says_what_raised_was_given_up_and_was_refused(work: Workspace, at: str) -> None:
    """The rest of a failed event has the error with its place; one that was given up ends when its sender is told."""
    body = """
        @mod_event_handler("note.take")
        def note(self, event):
            raise KeyError("column")

        @mod_event_handler("wait.here")
        async def wait(self, event):
            await asyncio.Event().wait()
    """
    work.mod("a", body)
    await work.start("mods.a", home=at, dev={"limits": {"handler": 0.1}})
    recorder = work.net.record()
    await work.net.process_event(note())
    await work.ask("wait.here")
    failed, ended = rows(recorder)
    assert (failed["ok"], way(failed)) == (False, [("a", 1, Said.RAISED)])
    assert (ended["ok"], way(ended)) == (False, [("a", 1, Said.GIVEN_UP)])
    assert ended["said"] == "a v1: the handler did not answer within 0.1 s"
    entry = recorder.find(1)
    assert entry is not None
    (error,) = rest_of(entry)["errors"]
    assert (error["mod_id"], error["kind"], error["file"]) == ("a", "KeyError", "mods/a.py")
    assert any("raise KeyError" in text for _, text in error["excerpt"])


async def test_a_row_ends_where_its_event_was_given_up(work: Workspace) -> None:
    """What its handler still does is no part of it."""
    body = """
        @mod_event_handler("wait.here")
        async def wait(self, event):
            self.end = asyncio.Event()
            await self.end.wait()
    """
    work.mod("a", body)
    await work.start("mods.a")
    recorder, slot = work.net.record(), work.net.engine.registry.find("a")
    assert slot is not None and slot.live is not None
    asked = asyncio.create_task(work.net.process_event(Event(event_name="wait.here", source_id="ana")))
    await until(lambda: bool(slot.live.calls))
    (call,) = slot.live.calls
    work.net._dispatcher.give_up(lambda task, given: True, call)
    slot.live.instance.end.set()
    await asked
    (row,) = rows(recorder)
    assert (row["ok"], way(row)) == (False, [("a", 1, Said.GIVEN_UP)])


async def test_the_time_that_an_event_waits_at_a_gate_is_in_its_way(work: Workspace, at: str) -> None:
    """Of the mod that held it; one whose mod is gone when the gate opens says so."""
    work.mod("a", ANSWERS)
    await work.start("mods.a", home=at)
    recorder = work.net.record()
    slot = work.net.engine.registry.find("a")
    assert slot is not None
    slot.gate.close()
    held = asyncio.create_task(work.net.process_event(note()))
    await until(lambda: slot.gate.waiting == 1)
    slot.gate.open()
    assert (await held).success
    (row,) = rows(recorder)
    assert row["way"][0]["held_us"] > 0
    assert row["took_us"] >= row["way"][0]["held_us"]
    slot.gate.close()
    held = asyncio.create_task(work.net.process_event(note()))
    await until(lambda: slot.gate.waiting == 1)
    slot.live = None
    slot.gate.open()
    await held
    assert way(rows(recorder)[1]) == [("a", 0, Said.GONE)]


async def test_an_event_that_finds_the_gate_full_is_refused_in_its_row(work: Workspace) -> None:
    """It came to no generation."""
    work.mod("a", ANSWERS)
    await work.start("mods.a")
    recorder = work.net.record()
    slot = work.net.engine.registry.find("a")
    assert slot is not None
    slot.gate.limit = 0
    slot.gate.close()
    assert not (await work.net.process_event(note())).success
    slot.gate.open()
    (row,) = rows(recorder)
    assert (row["ok"], way(row)) == (False, [("a", 0, Said.REFUSED)])


async def test_a_row_names_the_first_agents_that_got_it_and_how_many_more(work: Workspace, at: str) -> None:
    """And those whose outbox was full."""
    await work.start(home=at, dev={"limits": {"outbox_events": 1}})
    for n in range(25):
        await work.net.register_agent(f"agent_{n:02}")
    recorder = work.net.record()
    await work.net.ingest(note(destination_id="agent:agent_07"), LOCAL)
    await work.net.ingest(note(destination_id="agent:broadcast"), LOCAL)
    one, all_of_them = rows(recorder)
    assert (one["to"], one["full"]) == (["agent_07"], [])
    names = [f"agent_{n:02}" for n in range(25) if n != 7]
    assert (all_of_them["to"], all_of_them["full"]) == ([*names[:20], 4], ["agent_07"])


async def test_events_of_the_system_are_recorded_without_what_may_be_secret(work: Workspace, at: str) -> None:
    """What an agent asks of the network, and what mods are told of agents: no payload, and no data of an answer."""
    body = """
        async def on_agent_joined(self, agent_id, metadata):
            raise ValueError("no")

        @mod_event_handler("system.notification.register_agent")
        async def came(self, event):
            raise ValueError("no")
    """
    work.mod("a", body)
    await work.start("mods.a", home=at)
    recorder = work.net.record()
    await work.net.register_agent("bob", {"key": "hush"})
    await work.net.process_event(Event(event_name="system.health_check", source_id="bob", payload={"key": "hush"}))
    found = rows(recorder)
    assert [(each["event_name"], each["ok"], each["payload"]) for each in found] == [
        ("system.notification.register_agent", False, None),
        ("system.health_check", True, None),
    ]
    assert way(found[0])[0] == ("a", 1, Said.RAISED)
    assert not any(b"hush" in each or b'"answer"' in each for each in recorder.newest())


async def test_a_repeat_is_no_event(work: Workspace, at: str) -> None:
    """It gets the first answer, and met no mod."""
    work.mod("a", ANSWERS)
    await work.start("mods.a", home=at)
    recorder = work.net.record()
    for _ in range(3):
        await work.net.process_event(note(event_id="e1"))
    assert recorder.number == work.net.get_network_stats()["events"] == 1


async def test_an_embedded_network_records_nothing_unless_it_is_asked(work: Workspace) -> None:
    """Its events carry no number, and no memory is opened for them."""
    work.mod("a", ANSWERS)
    await work.start("mods.a")
    await work.net.process_event(note())
    assert not any(each["name"] == RECORDED.name for each in work.net.directory.accounts.rows())
    assert work.net.record() is work.net.record()
    assert [each["name"] for each in work.net.directory.accounts.rows()].count(RECORDED.name) == 1


def test_a_payload_is_as_it_came_and_its_size_where_it_is_long() -> None:
    """Up to 64 KiB it is kept beside the row; beyond that its size alone."""
    recorder = a_recorder()
    for size in (10, 20_000, 100_000):
        pass_through(recorder, {"text": "x" * size})
    short, long, longest = recorder.newest()[::-1]
    assert named(short.splitlines()[0])["payload"] == {"text": "x" * 10}
    assert named(long.splitlines()[0])["payload"] == "20,011 bytes"
    assert rest_of(long)["payload"] == {"text": "x" * 20_000}
    assert (named(longest.splitlines()[0])["payload"], rest_of(longest)) == ("100,011 bytes", {})


class Odd:
    def __str__(self) -> str:
        raise RuntimeError("never")


@pytest.mark.parametrize(
    "payload",
    [{"a": {1, 2}}, {"a": Odd()}, {"a": 1 << 80}, {"a": "\ud800"}, {1: "a"}, {"a": float("nan")}],
    ids=["set", "class", "integer", "surrogate", "key", "nan"],
)
def test_a_payload_that_is_no_json_is_told_as_well_as_it_can_be(payload: dict[Any, Any]) -> None:
    """Nothing that a mod puts into an event ends the recording."""
    recorder = a_recorder()
    event = Event(event_name="note.take", source_id="ana\ud800", payload=payload)
    recorder.begin(event, 0).end(event, EventResponse("yes", Odd(), Odd()))  # type: ignore[arg-type]
    pass_through(recorder)
    assert (recorder.number, recorder.has_stopped) == (2, False)


def test_the_ring_keeps_so_many_events_and_counts_what_is_missed() -> None:
    """A cursor counts ends; rows that are gone, or too many for one answer, are said."""
    recorder = a_recorder()
    for _ in range(MOST_ROWS + 5):
        pass_through(recorder)
    assert (recorder.kept, recorder.number) == (MOST_ROWS, MOST_ROWS + 5)
    found = recorder.after(MOST_ROWS - 95, 60, 1 << 20)
    assert (found.next, found.skipped, len(found.rows)) == (MOST_ROWS + 5, 40, 60)
    assert named(found.rows[-1])["number"] == MOST_ROWS + 5
    assert recorder.after(found.next, 60, 1 << 20).rows == ()
    assert (recorder.find(5), recorder.find(6) is not None) == (None, True)
    small = recorder.after(0, 100, 1000)
    assert 1 <= len(small.rows) <= 12 and sum(map(len, small.rows)) <= 1000


def test_a_cursor_of_an_earlier_run_sees_what_there_is() -> None:
    """It lies beyond all there is."""
    recorder = a_recorder()
    pass_through(recorder)
    assert len(recorder.after(5000, 10, 1 << 20).rows) == 1


def test_the_ring_keeps_so_many_bytes_and_its_account_says_how_many() -> None:
    """Large events leave room for fewer; what is counted is what is kept."""
    bound = Bound("recorder", "", each=1 << 20, most=1 << 20, fair=0, beyond="")
    account = Account(bound)
    recorder = Recorder(account)
    for _ in range(200):
        pass_through(recorder, {"text": "x" * 30_000})
        assert len(recorder.newest()) and account.used <= bound.most
    assert 30 <= recorder.kept < 40
    sums = sum(len(each) + 41 for each in recorder.seconds(0))
    assert abs(account.used - sum(len(each) + 41 for each in recorder.newest()) - sums) <= 100


def test_the_garbage_collector_has_nothing_to_look_at() -> None:
    """However many events are kept: they are bytes."""
    recorder = a_recorder()
    pass_through(recorder)
    recorder.newest()
    gc.collect()
    before = len(gc.get_objects())
    for n in range(2000):
        pass_through(recorder, {"n": n})
    recorder.newest()
    gc.collect()
    assert len(gc.get_objects()) - before < 50


def test_sums_say_for_each_second_how_many_came_and_how_long_they_took() -> None:
    """For each mod, and for all under the empty name."""
    recorder = a_recorder()

    class Generation:
        mod_id, number = "wiki", 3

    for said in (Said.PASSED, Said.RAISED, Said.ANSWERED):
        event = note()
        through = recorder.begin(event, 0)
        through.visited(Generation, recorder.zero, 0.0, said)  # type: ignore[arg-type]
        through.end(event, EventResponse(True))
    recorder.newest()
    recorder.zero_at += 1.0
    ((second, sums),) = [orjson.loads(each) for each in recorder.seconds(0)]
    assert abs(second - recorder.zero_at) < 60
    assert [each[:2] for each in (sums["wiki"], sums[""])] == [[3, 1], [3, 1]]
    assert sums["wiki"][2] <= sums["wiki"][3]
    assert recorder.seconds(second) == []


def test_several_threads_record_at_once_and_none_is_lost() -> None:
    """Every event has its row and a number of its own, also while others read."""
    recorder = a_recorder()
    threads = [threading.Thread(target=lambda: [pass_through(recorder) for _ in range(500)]) for _ in range(4)]
    for each in threads:
        each.start()
    while any(each.is_alive() for each in threads):
        recorder.after(0, 10, 10_000)
        recorder.seconds(0)
    assert sorted(each["number"] for each in rows(recorder, most=5000)) == list(range(1, 2001))
    assert recorder.number == 2000


def test_who_waits_is_woken_once_by_the_next_event() -> None:
    """And not again until it asks again."""
    recorder, woken = a_recorder(), []
    recorder.arm(lambda: woken.append(1))
    other = lambda: woken.append(2)  # noqa: E731 - it is named to be disarmed
    recorder.arm(other)
    recorder.disarm(other)
    for _ in range(3):
        pass_through(recorder)
    assert woken == [1]


def test_a_recorder_that_raises_says_so_once_and_records_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Events go on."""
    told: list[str] = []
    recorder = a_recorder(tell=told.append)
    monkeypatch.setattr("devserver.network.way.dumps", lambda value: 1 / 0)
    for _ in range(3):
        pass_through(recorder, {"n": 1})
    assert len(told) == 1 and "ZeroDivisionError" in told[0]
    assert recorder.number == 0


async def test_events_are_answered_although_the_recorder_raises(
    work: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And a person is told."""
    work.mod("a", ANSWERS)
    await work.start("mods.a")
    monkeypatch.setattr(work.net.record(), "fresh", None)
    assert [(await work.net.process_event(note())).success for _ in range(3)] == [True] * 3
    assert ["events are not recorded" in each.message for each in work.told(Notice)] == [True]


def test_the_next_image_of_the_process_goes_on_counting() -> None:
    """Its rows, numbers, cursor and sums are those of before."""
    one, two = a_recorder(), a_recorder()
    for _ in range(3):
        pass_through(one, {"id": new_event_id()})
    one.newest()
    one.zero_at += 1.0
    two.unpack(one.pack())
    pass_through(two)
    assert two.newest()[1:] == one.newest()
    assert two.number == 4
    assert named(two.after(3, 9, 9999).rows[0])["at_us"] >= named(one.after(2, 9, 9999).rows[0])["at_us"]
    assert two.seconds(0)[:1] == one.seconds(0)[:1]


def test_a_long_message_is_cut_in_the_row_and_whole_beside_it() -> None:
    """So that a list of rows stays small."""
    recorder, event = a_recorder(), note()
    recorder.begin(event, 0).end(event, EventResponse(False, "x" * 1000))
    (entry,) = recorder.newest()
    assert len(named(entry.splitlines()[0])["said"]) == MOST_SAID
    assert rest_of(entry)["answer"][1] == "x" * 1000


async def test_what_is_shown_of_the_memory_is_exact(work: Workspace) -> None:
    """Also of events that have ended a moment ago."""
    work.mod("a", ANSWERS)
    await work.start("mods.a")
    recorder = work.net.record()
    await work.net.process_event(note(payload={"text": "x" * 500}))
    (row,) = [each for each in work.net.directory.accounts.rows() if each["name"] == RECORDED.name]
    assert row["bytes"] == sum(len(each) + 41 for each in recorder.newest()) > 500
