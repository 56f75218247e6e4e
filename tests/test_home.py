"""Where mods run: a loop on a thread of its own, which no task of a mod can end, and which leaves no caller waiting."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import weakref
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

import pytest
from workspaces import PATIENCE, until

from devserver.live.loops import Crossing, LoopThread, SameLoop, run_in_thread

WHO: ContextVar[str] = ContextVar("who")


class House:
    """A thread for mods, and what was told of it."""

    def __init__(self) -> None:
        self.requests: list[BaseException] = []
        self.home = LoopThread("mods of a test", self.requests.append)
        self.home.start()


@pytest.fixture
def house() -> Iterator[House]:
    """A running thread, which must end."""
    made = House()
    yield made
    assert made.home.stop(PATIENCE)


async def where() -> str:
    return threading.current_thread().name


async def test_the_same_loop_is_the_callers() -> None:
    """Embedded, what is run runs here and now."""
    assert await SameLoop().run(where) == threading.current_thread().name


async def test_what_is_run_runs_on_the_thread_of_the_mods(house: House) -> None:
    """Its answer comes back to the loop that asked."""
    assert await house.home.run(where) == "mods of a test"


async def test_what_runs_there_may_run_more_there(house: House) -> None:
    """From its own loop nothing has to wait for a thread."""

    async def nested() -> str:
        return await house.home.run(where)

    assert await house.home.run(nested) == "mods of a test"


async def test_functions_start_in_the_order_of_the_calls(house: House) -> None:
    """Also a thousand of them."""
    seen: list[int] = []

    async def note(n: int) -> None:
        seen.append(n)

    await asyncio.gather(*(house.home.run(note, n) for n in range(1000)))
    assert seen == list(range(1000))


async def test_the_context_of_the_caller_goes_along(house: House) -> None:
    """What is running on whose behalf stays known across the threads."""

    async def who() -> str:
        return WHO.get()

    WHO.set("ana")
    assert await house.home.run(who) == "ana"


async def test_an_exception_comes_back_to_the_caller(house: House) -> None:
    """As itself."""

    async def fail() -> None:
        raise KeyError("column")

    with pytest.raises(KeyError, match="column"):
        await house.home.run(fail)


@pytest.mark.parametrize("request_", [SystemExit(3), KeyboardInterrupt()], ids=["exit", "interrupt"])
async def test_who_asks_the_process_to_end_ends_alone(house: House, request_: BaseException) -> None:
    """The caller gets an error, the request is told, and the loop runs on."""

    async def end() -> None:
        raise request_

    with pytest.raises(RuntimeError, match=type(request_).__name__):
        await house.home.run(end)
    await until(lambda: house.requests == [request_])
    assert await house.home.run(where) == "mods of a test"


async def fails() -> None:
    raise KeyError("column")


@pytest.mark.parametrize("is_here", [True, False], ids=["the same loop", "a thread"])
async def test_who_waits_in_no_task_is_told_in_its_own_loop(house: House, is_here: bool) -> None:
    """Of a result, and of an exception."""
    home = SameLoop() if is_here else house.home
    told: list[tuple[Any, BaseException | None, str]] = []

    def done(result: Any, error: BaseException | None) -> None:
        told.append((result, error, threading.current_thread().name))

    home.begin(done, asyncio.sleep, 0, "slept")
    home.begin(done, fails)
    await until(lambda: len(told) == 2)
    here = threading.current_thread().name
    assert ("slept", None, here) in told
    assert [(type(error), thread) for _, error, thread in told if error] == [(KeyError, here)]


async def test_who_was_answered_before_the_end_is_not_told_of_the_end(house: House) -> None:
    """A caller that has gone on to its next question would take it for the answer to that."""
    told: list[Any] = []
    began, go = threading.Event(), threading.Event()

    async def work() -> str:
        task = asyncio.current_task()
        assert task is not None
        assert house.home.answer(task, "given up")
        began.set()
        while not go.is_set():  # noqa: ASYNC110 - the test runs on another thread
            await asyncio.sleep(0.001)
        return "late"

    house.home.begin(lambda result, error: told.append(result), work)
    await until(lambda: told == ["given up"])
    go.set()
    # What is asked after it has ended crosses after it.
    await until(lambda: not house.home._running)
    await house.home.run(where)
    assert told == ["given up"]


async def test_a_caller_that_is_cancelled_does_not_cancel_what_runs_there(house: House) -> None:
    """It ends its way; its answer is no one's, and nothing is logged of that."""
    began, go, ended = threading.Event(), threading.Event(), threading.Event()

    async def work() -> None:
        began.set()
        while not go.is_set():  # noqa: ASYNC110 - the test runs on another thread
            await asyncio.sleep(0.001)
        ended.set()
        raise KeyError("nobody listens")

    calling = asyncio.create_task(house.home.run(work))
    await until(began.is_set)
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling
    go.set()
    await until(ended.is_set)


async def test_what_runs_there_is_not_collected(house: House) -> None:
    """Also what waits for something that no one else holds goes on waiting."""
    collected, began = threading.Event(), threading.Event()

    async def wait() -> None:
        weakref.finalize(asyncio.current_task(), collected.set)
        began.set()
        await asyncio.Event().wait()

    calling = asyncio.create_task(house.home.run(wait))
    await until(began.is_set)
    await house.home.run(where)
    gc.collect()
    assert not collected.is_set()
    calling.cancel()


async def test_what_is_cancelled_there_does_not_cancel_its_caller(house: House) -> None:
    """Who asked was not cancelled, and gets an error like any other."""

    async def give_up() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(0)

    with pytest.raises(RuntimeError, match="cancelled on the mods' loop"):
        await house.home.run(give_up)


async def test_what_is_cancelled_before_it_has_begun_is_told_to_its_caller(house: House) -> None:
    """A task that never takes a step has an end, too."""
    entered, go = threading.Event(), threading.Event()

    async def block() -> None:
        entered.set()
        go.wait()

    async def cancel_others() -> None:
        for task in house.home._running:
            if task is not asyncio.current_task():
                task.cancel()

    blocked = asyncio.create_task(house.home.run(block))
    await until(entered.is_set)
    first, second = house.home.call(cancel_others), house.home.call(where)
    go.set()
    await asyncio.gather(blocked, first)
    with pytest.raises(RuntimeError, match="cancelled on the mods' loop"):
        await second


async def test_a_blocked_thread_does_not_block_its_callers_loop(house: House) -> None:
    """Others run while one waits for it."""
    entered, go = threading.Event(), threading.Event()

    async def block() -> None:
        entered.set()
        go.wait()

    blocked = asyncio.create_task(house.home.run(block))
    await until(entered.is_set)
    assert not blocked.done()
    go.set()
    await blocked


async def test_a_blocked_thread_is_left_behind_after_its_time() -> None:
    """A stop says that it did not succeed, and the thread keeps no one from exiting."""
    house, go, entered = House(), threading.Event(), threading.Event()

    async def block() -> None:
        entered.set()
        go.wait()

    blocked = asyncio.create_task(house.home.run(block))
    await until(entered.is_set)
    assert not house.home.stop(0.01)
    assert house.home.thread.daemon
    go.set()
    await asyncio.to_thread(house.home.thread.join, PATIENCE)
    assert not house.home.thread.is_alive()
    blocked.cancel()


async def test_a_stop_ends_what_still_runs_there() -> None:
    """Tasks are cancelled, and may clean up."""
    house, cleaned, began = House(), threading.Event(), threading.Event()

    async def linger() -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            cleaned.set()

    calling = asyncio.create_task(house.home.run(linger))
    await until(began.is_set)
    assert await asyncio.to_thread(house.home.stop, PATIENCE)
    assert cleaned.is_set()
    with pytest.raises(RuntimeError, match="cancelled on the mods' loop"):
        await calling


async def test_a_stopped_thread_takes_nothing_more() -> None:
    """Who comes too late is told, and does not wait for ever."""
    house = House()
    assert house.home.stop(PATIENCE)
    with pytest.raises(RuntimeError, match="the mods' loop has ended"):
        await house.home.run(where)


async def test_a_call_that_has_not_crossed_when_the_thread_stops_is_told_so() -> None:
    """Its caller would wait for ever."""
    house = House()
    # As after several calls of one turn: the next ones cross at the end of theirs.
    house.home._here._is_single = False
    calling = house.home.call(where)
    assert house.home.stop(PATIENCE)
    with pytest.raises(RuntimeError, match="cancelled on the mods' loop"):
        await calling


async def test_a_stopped_thread_leaves_nothing_in_its_callers_loop() -> None:
    """Who starts and stops many has as many descriptors as before."""
    house = House()
    await house.home.run(where)
    back = weakref.ref(house.home._latest_back)
    assert house.home.stop(PATIENCE)
    del house
    # The loop lets go of it once it has heard of the end.
    await until(lambda: gc.collect() >= 0 and back() is None)


async def test_a_stop_survives_a_task_that_asks_the_process_to_end() -> None:
    """Also what is raised while everything ends ends nothing else."""
    house, began = House(), threading.Event()

    async def stubborn() -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            raise SystemExit(3)

    calling = asyncio.create_task(house.home.run(stubborn))
    await until(began.is_set)
    assert await asyncio.to_thread(house.home.stop, PATIENCE)
    assert house.home.loop.is_closed()
    with pytest.raises(RuntimeError, match="SystemExit"):
        await calling


async def test_blocking_work_runs_on_a_thread_of_its_own() -> None:
    """Its result and its exceptions come back."""
    assert await run_in_thread(lambda: threading.current_thread() is not threading.main_thread())

    def fail() -> None:
        raise OSError("no")

    with pytest.raises(OSError, match="no"):
        await run_in_thread(fail)


async def test_blocking_work_that_asks_the_process_to_end_is_an_error() -> None:
    """A SystemExit of an import ends no loop."""

    def end() -> None:
        raise SystemExit(3)

    with pytest.raises(RuntimeError, match=r"the thread ended: SystemExit\(3\)"):
        await run_in_thread(end)


class Counted(Crossing):
    """A crossing, and how often it woke its loop."""

    wakes = 0

    def wake(self) -> None:
        self.wakes += 1
        super().wake()


async def test_calls_that_come_before_a_loop_has_woken_wake_it_once() -> None:
    """Each wake-up is a system call and a change of threads."""
    made: list[int] = []
    crossing = Counted(asyncio.get_running_loop())
    for number in range(100):
        crossing.call(made.append, number)
    await until(lambda: len(made) == 100)
    assert (made, crossing.wakes) == (list(range(100)), 1)
    crossing.call(made.append, 100)
    await until(lambda: len(made) == 101)
    assert crossing.wakes == 2


async def test_calls_into_a_loop_see_nothing_of_the_task_that_first_called() -> None:
    """Its context would be that of all calls, as long as the loop lives."""
    variable = ContextVar("variable", default=0)
    seen: list[int] = []

    async def first() -> Crossing:
        variable.set(1)
        return Crossing(asyncio.get_running_loop())

    crossing = await asyncio.create_task(first())
    crossing.call(lambda: seen.append(variable.get()))
    await until(lambda: seen == [0])


async def test_a_call_that_is_struck_by_an_exception_keeps_no_other_from_being_made() -> None:
    """A thread is interrupted by an exception that is sent to it, which may strike anywhere."""
    loop, made = asyncio.get_running_loop(), []
    told: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda loop, context: told.append(context))
    crossing = Crossing(loop)

    def struck() -> None:
        raise KeyError("sent from elsewhere")

    crossing.call(struck)
    crossing.call(made.append, 1)
    await until(lambda: made == [1])
    loop.set_exception_handler(None)
    assert [type(each["exception"]) for each in told] == [KeyError]


def test_a_closed_loop_says_so_each_time() -> None:
    """Nothing is left waiting for a wake-up that never comes."""
    loop = asyncio.new_event_loop()
    crossing = Crossing(loop)
    loop.close()
    for _ in range(2):
        with pytest.raises(RuntimeError, match="closed"):
            crossing.call(print)


def test_what_wakes_a_loop_is_given_back_when_it_is_closed() -> None:
    """A process that makes many loops has as many descriptors as before."""
    loop = asyncio.new_event_loop()
    crossing = weakref.ref(Crossing(loop))
    made = crossing()
    assert made is not None
    descriptors = (made._ear, made._bell)
    del made
    gc.collect()
    assert crossing() is not None
    loop.close()
    gc.collect()
    for each in descriptors:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(each)
