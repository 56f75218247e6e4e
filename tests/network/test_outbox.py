"""The queue of one agent."""

import asyncio
import threading
from dataclasses import replace

import pytest

from devserver.model.event import Event
from devserver.network.accounts import OUTBOXES, Account
from devserver.network.letter import OVERHEAD, Letter
from devserver.network.outbox import Outbox


def event(number: int = 0) -> Letter:
    return Letter.of(Event(event_name="test.event", source_id="a", event_id=str(number)))


def ids(letters: list[Letter]) -> list[str]:
    return [each.event.event_id for each in letters]


async def taking_from(outbox: Outbox) -> asyncio.Task:
    """A taker that waits already."""
    task = asyncio.create_task(outbox.take(60))
    while not outbox.awaited:  # noqa: ASYNC110 - nothing tells when a taker begins to wait
        await asyncio.sleep(0)
    return task


async def test_events_leave_in_the_order_they_came():
    """First in, first out."""
    outbox = Outbox()
    for number in range(5):
        assert outbox.put(event(number))
    assert ids(await outbox.take(0)) == ["0", "1", "2", "3", "4"]
    assert len(outbox) == 0


async def test_a_full_outbox_refuses_the_newest_and_counts_it():
    """The sender is told; what waits is kept."""
    outbox = Outbox(limit=2)
    assert [outbox.put(event(number)) for number in range(4)] == [True, True, False, False]
    assert outbox.dropped == 2
    assert ids(outbox.take_nowait()) == ["0", "1"]


async def test_a_put_from_another_thread_wakes_the_taker():
    """The mods' thread puts, the control loop takes."""
    outbox = Outbox()
    taking = await taking_from(outbox)
    threading.Thread(target=outbox.put, args=(event(7),)).start()
    assert ids(await taking) == ["7"]


async def test_a_put_on_the_same_loop_wakes_the_taker():
    """Embedded, everything runs in one loop."""
    outbox = Outbox()
    taking = await taking_from(outbox)
    outbox.put(event(7))
    assert ids(await taking) == ["7"]


async def test_a_newer_take_supersedes_an_older_one():
    """The older returns at once with nothing; the event goes to the newer."""
    outbox = Outbox()
    older = await taking_from(outbox)
    newer = asyncio.create_task(outbox.take(60))
    assert await older == []
    outbox.put(event(1))
    assert ids(await newer) == ["1"]


async def test_a_superseded_taker_that_was_woken_takes_nothing():
    """Woken and superseded in one step, the older one leaves the event to the newer."""
    outbox = Outbox()
    older = await taking_from(outbox)
    outbox.put(event(1))
    newest = outbox.attach()
    assert await older == []
    assert outbox.is_current(newest)
    assert ids(outbox.take_nowait()) == ["1"]


async def test_a_cancelled_taker_takes_nothing_with_it():
    """An HTTP client that goes away loses no event, even when one came in the same moment."""
    outbox = Outbox()
    taking = await taking_from(outbox)
    outbox.put(event(1))
    taking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await taking
    assert ids(outbox.take_nowait()) == ["1"]


async def test_time_running_out_is_an_empty_answer():
    """A held poll that saw nothing returns no events."""
    assert await Outbox().take(0.001) == []


async def test_closing_lets_the_taker_go_and_refuses_what_comes():
    """An agent that has left gets no more."""
    outbox = Outbox()
    taking = await taking_from(outbox)
    outbox.close()
    assert await taking == []
    assert not outbox.put(event())


async def test_an_event_stays_until_it_was_handed_over():
    """A push that fails between looking and sending loses nothing."""
    outbox = Outbox()
    first, second = event(1), event(2)
    outbox.put(first)
    outbox.put(second)
    assert outbox.peek() is first
    outbox.handed_over(second)
    assert outbox.peek() is first
    outbox.handed_over(first)
    assert outbox.peek() is second


async def test_a_put_after_the_takers_loop_has_ended_keeps_the_event():
    """A loop that was closed while its consumer waited cannot be woken, and that is no error."""
    outbox = Outbox()

    def wait_and_vanish() -> None:
        loop = asyncio.new_event_loop()
        task = loop.create_task(outbox.ready(outbox.attach()))
        loop.call_soon(loop.stop)
        loop.run_forever()
        loop.close()
        task._log_destroy_pending = False

    await asyncio.to_thread(wait_and_vanish)
    assert outbox.put(event(3))
    assert ids(outbox.take_nowait()) == ["3"]


async def test_many_threads_lose_and_double_nothing():
    """Four threads put, one loop takes: each event arrives once, and each thread's in order."""
    outbox = Outbox(limit=100_000)

    def put_many(name: str) -> None:
        for number in range(500):
            outbox.put(Letter.of(Event(event_name="test.event", source_id=name, event_id=f"{name}{number}")))

    threads = [threading.Thread(target=put_many, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    taken: list[Letter] = []
    while len(taken) < 2000:
        taken += await outbox.take(60)
    for name in "abcd":
        assert ids([each for each in taken if each.event.source_id == name]) == [
            f"{name}{number}" for number in range(500)
        ]


@pytest.mark.parametrize(
    "fields",
    [
        {"payload": {"x": "y" * 100_000}},
        {"metadata": {"x": "y" * 100_000}},
        {"text_representation": "y" * 100_000},
        {"payload": {"x": [0] * 50_000}},
        {"metadata": {f"k{n}": {} for n in range(10_000)}},
        {"allowed_agents": ["y" * 60] * 1000},
    ],
    ids=lambda fields: str(fields)[:24],
)
def test_the_bound_counts_the_whole_event(fields):
    """Whatever part of it is large: what is kept are its bytes, and no more of them than the bound."""
    account = Account(replace(OUTBOXES, each=1_000_000))
    outbox = Outbox(account=account)
    while outbox.put(Letter.of(Event(event_name="test.event", source_id="a", **fields))):
        assert account.used == outbox.size <= 1_000_000
    assert account.used > 800_000
    kept = outbox.take_nowait()
    assert sum(len(each.raw) + OVERHEAD for each in kept) > 800_000
    assert account.used == outbox.size == 0


def test_an_event_for_many_is_counted_once_over_all_and_in_full_for_each():
    """A notice to a thousand agents takes its bytes once."""
    account = Account(OUTBOXES)
    boxes = [Outbox(account=account) for _ in range(1000)]
    letter = event()
    assert all(each.put(letter) for each in boxes)
    assert {each.size for each in boxes} == {letter.size} == {account.used}
    for each in boxes[:500]:
        each.take_nowait()
    assert account.used == letter.size
    for each in boxes[500:]:
        each.handed_over(letter)
    assert account.used == 0


def test_a_hoarder_keeps_nobody_else_out():
    """When all outboxes together are full, an agent with little still gets what is for it."""
    small = event().size
    account = Account(replace(OUTBOXES, most=3 * small, each=10 * small, fair=2 * small))
    hoarder, other = Outbox(account=account), Outbox(account=account)
    assert [hoarder.put(event(n)) for n in range(4)] == [True, True, True, False]
    assert [other.put(event(n)) for n in range(3)] == [True, True, False]
    assert account.refused == 2


def test_what_comes_too_early_counts_for_the_bounds_and_comes_after_what_is_expected():
    """The letters of the host before are first, however late they are, and have the room that they had there."""
    account = Account(replace(OUTBOXES, each=2 * event().size, most=10**6, fair=0))
    outbox = Outbox(3, account)
    outbox.expect()
    assert [outbox.put(event(number)) for number in (3, 4)] == [True, True]
    assert outbox.put(event(1), kept=True, first=True)
    assert not outbox.put(event(5))
    assert outbox.put(event(2), kept=True, first=True)
    assert not outbox.put(event(6), kept=True, first=True)
    assert (outbox.size, account.used) == (4 * event().size, 4 * event().size)
    assert ids(outbox.pack()) == ["1", "2", "3", "4"]
    assert ids(outbox.take_nowait()) == ["1", "2"]
    assert (outbox.size, account.used) == (2 * event().size, 2 * event().size)
    outbox.arrived()
    assert ids(outbox.take_nowait()) == ["3", "4"]
    assert (outbox.size, account.used) == (0, 0)


def test_what_came_too_early_goes_with_its_agent():
    """Its bytes counted without end."""
    account = Account(OUTBOXES)
    outbox = Outbox(3, account)
    outbox.expect()
    assert outbox.put(event(1))
    outbox.close()
    assert ids(outbox.take_nowait()) == ["1"]
    assert account.used == 0
