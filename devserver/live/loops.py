"""The loop of mods' code: the caller's own (embedded), or one on a thread of its own (the server).

Agents are never answered on a thread with mods, so a handler that blocks stalls events for mods and
nothing else. Knows threads and loops; knows nothing of mods.
"""

from __future__ import annotations

import asyncio
import contextvars
import os
import queue
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import partial
from typing import Any, Protocol, TypeVar
from weakref import WeakKeyDictionary, finalize

T = TypeVar("T")
Done = Callable[[Any, BaseException | None], None]
"""Told the result of an async function, or its exception."""
Work = Coroutine[Any, Any, T]
"""The result of an async function."""

_CLEANING_UP = 1.0
"""Seconds that tasks have to clean up when their loop ends."""


def current_task() -> asyncio.Task[Any] | None:
    """Return the task that runs; None without one, also where no loop runs."""
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None


class Home(Protocol):
    """A place where mods' code runs."""

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """Its loop."""

    def run(self, function: Callable[..., Work[T]], *arguments: Any) -> Awaitable[T]:
        """Run an async function there and return its result. Functions start in the order of the
        calls. Cancelling the caller does not cancel the function."""

    def bound(self, function: Callable[..., Work[T]]) -> Callable[..., Work[T]]:
        """Return the function that does what `run` does with this one."""

    def begin(self, done: Done, function: Callable[..., Work[Any]], *arguments: Any) -> None:
        """Run an async function there, and call `done` once, in the caller's loop, at its end."""

    def begin_all(self, function: Callable[[Any], Work[Any]], calls: Sequence[tuple[Done, Any]]) -> None:
        """Do the same for each of the arguments, in order."""

    def answer(self, task: asyncio.Task[Any], result: object) -> bool:
        """Let the callers that wait for a task of `run` go on with `result` before it ends.

        False if no other task waits for it: it is the caller's own.
        """


class SameLoop:
    """Mods run in the caller's loop: a network embedded in another program."""

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    def run(self, function: Callable[..., Work[T]], *arguments: Any) -> Awaitable[T]:
        return function(*arguments)

    def bound(self, function: Callable[..., Work[T]]) -> Callable[..., Work[T]]:
        return function

    def begin(self, done: Done, function: Callable[..., Work[Any]], *arguments: Any) -> None:
        """Run it in a task here."""
        task = asyncio.get_running_loop().create_task(function(*arguments))
        # It holds the task, too, which the loop does not.
        task.add_done_callback(lambda ended: done(*_outcome(ended)))

    def begin_all(self, function: Callable[[Any], Work[Any]], calls: Sequence[tuple[Done, Any]]) -> None:
        """Run each in a task here."""
        for done, argument in calls:
            self.begin(done, function, argument)

    def answer(self, task: asyncio.Task[Any], result: object) -> bool:
        """Return False: the caller itself runs the task."""
        return False


class Crossing:
    """Passes calls from other threads into a loop: in order, with one wake-up for all that wait.
    Waking a loop costs a system call and a change of threads, more than most calls themselves.

    Made in the thread of the loop, or before it runs."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        # A pipe costs half of asyncio's own wake-up over a socket.
        self._ear, self._bell = os.pipe()
        for each in (self._ear, self._bell):
            os.set_blocking(each, False)
            # The loop holds this object until it is closed. Not at the exit, when other threads may still call.
            finalize(self, os.close, each).atexit = False
        # In a context of its own: that of now would be the one of every call, and live as long as the loop.
        contextvars.Context().run(loop.add_reader, self._ear, self._heard)
        self._calls: deque[Callable[[], object]] = deque()
        self._is_woken = False
        self._is_single = True
        """Whether the latest call crossed alone."""

    def call(self, function: Callable[..., object], *arguments: Any) -> None:
        """Have the loop call a function. Raises RuntimeError if the loop is closed.

        Call it in a loop: the other loop is woken at the end of this one's turn, so that all calls
        of a turn cross together. To wake it at once costs a tenth more where 16 clients ask, and
        saves a turn where one does: the calls before tell.
        """
        if self.loop.is_closed():
            raise RuntimeError("the loop is closed")
        self._calls.append(partial(function, *arguments))
        if not self._is_woken:
            self._is_woken = True
            if self._is_single:
                self.wake()
            else:
                asyncio.get_running_loop().call_soon(self.wake)

    def wake(self) -> None:
        """Have the loop make the waiting calls, now."""
        os.write(self._bell, b"!")

    def end(self) -> None:
        """Have the loop make the waiting calls, and then let go of this. From any thread, after the last call."""
        self._calls.append(partial(self.loop.remove_reader, self._ear))
        self.wake()

    def _heard(self) -> None:
        try:
            os.read(self._ear, 64)
        finally:
            # Also if an exception that was sent to this thread arrives here.
            self._make()

    def _make(self) -> None:
        # Before the calls: a caller that adds one from now on either sees it made here, or wakes
        # the loop again.
        self._is_woken = False
        self._is_single = len(self._calls) == 1
        try:
            while self._calls:
                self._calls.popleft()()
        finally:
            # An exception that was sent to this thread has arrived here.
            if self._calls:
                self.loop.call_soon(self._make)


class Passage:
    """Runs async functions on a loop, for callers on others."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._stopping = False
        # A loop holds its tasks weakly: one that waits for an object without another holder would
        # be collected, and its caller would wait for ever.
        self._running: dict[asyncio.Task[Any], tuple[Crossing, Done]] = {}
        self._here = Crossing(loop)
        self._back: WeakKeyDictionary[asyncio.AbstractEventLoop, Crossing] = WeakKeyDictionary()
        # Nearly all calls come from one loop: a look into weak keys costs more than the rest of a call.
        self._latest_back = self._here

    async def run(self, function: Callable[..., Work[T]], *arguments: Any) -> T:
        """Run it on this loop, from any loop."""
        if asyncio.get_running_loop() is self.loop:
            return await function(*arguments)
        return await self.call(function, *arguments)

    def bound(self, function: Callable[..., Work[T]]) -> Callable[..., Work[T]]:
        return partial(self.run, function)

    def call(self, function: Callable[..., Work[T]], *arguments: Any) -> asyncio.Future[T]:
        """Run it on this loop, from another one; the future of its result."""
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self.begin(partial(_settle, done), function, *arguments)
        return done

    def begin(self, done: Done, function: Callable[..., Work[Any]], *arguments: Any) -> None:
        """Run it on this loop, from another one."""
        # In the caller's context: the call belongs to the call that asks for it.
        begin = contextvars.copy_context().run
        self._here.call(begin, self._begin, self._way_back(), done, function, arguments)

    def begin_all(self, function: Callable[[Any], Work[Any]], calls: Sequence[tuple[Done, Any]]) -> None:
        """Run each on this loop, from another one: they cross together."""
        begin = contextvars.copy_context().run
        self._here.call(begin, self._begin_all, self._way_back(), function, calls)

    def _way_back(self) -> Crossing:
        """Return what leads to the caller's loop. Raises RuntimeError where this one has ended."""
        if self._stopping:
            raise RuntimeError("the mods' loop has ended")
        caller, back = asyncio.get_running_loop(), self._latest_back
        if back.loop is not caller:
            back = self._back.get(caller) or self._back.setdefault(caller, Crossing(caller))
            self._latest_back = back
        return back

    def _begin_all(
        self, back: Crossing, function: Callable[[Any], Work[Any]], calls: Sequence[tuple[Done, Any]]
    ) -> None:
        for done, argument in calls:
            self._begin(back, done, function, (argument,))

    def _begin(
        self, back: Crossing, done: Done, function: Callable[..., Work[Any]], arguments: tuple[Any, ...]
    ) -> None:
        task = self.loop.create_task(self._bring(function, arguments))
        self._running[task] = (back, done)
        task.add_done_callback(self._hand_back)

    async def _bring(self, function: Callable[..., Work[Any]], arguments: tuple[Any, ...]) -> None:
        """Run a function, and hand its result back at once: a callback would wait for a further turn of the loop."""
        result = await function(*arguments)
        task = asyncio.current_task(self.loop)
        assert task is not None
        task.remove_done_callback(self._hand_back)
        back, done = self._running.pop(task)
        _tell(back.call, done, result, None)

    def _hand_back(self, ended: asyncio.Task[Any]) -> None:
        back, done = self._running.pop(ended)
        _tell(back.call, done, *_outcome(ended))

    def answer(self, task: asyncio.Task[Any], result: object) -> bool:
        """Call it where mods run."""
        waiting = self._running.get(task)
        if waiting is None:
            return False
        back, done = waiting
        self._running[task] = (back, _ignore)
        _tell(back.call, done, result, None)
        return True


class LoopThread(Passage):
    """Mods run on a loop of their own, on a daemon thread of their own. `on_exit_request` is told
    of a SystemExit or KeyboardInterrupt of a mod's task: it ends that task and nothing more."""

    def __init__(self, name: str, on_exit_request: Callable[[BaseException], None]) -> None:
        super().__init__(asyncio.new_event_loop())
        self._on_exit_request = on_exit_request
        self.thread = threading.Thread(target=self._serve, name=name, daemon=True)

    def start(self) -> None:
        self.thread.start()

    def stop(self, timeout: float) -> bool:
        """End the loop; False when it did not end within `timeout` seconds, because something blocks it."""
        self._stopping = True
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(timeout)
        return not self.thread.is_alive()

    def _serve(self) -> None:
        asyncio.set_event_loop(self.loop)
        while not self._stopping:
            self._run()
        self._end_tasks()
        self.loop.close()

    def _run(self) -> None:
        try:
            self.loop.run_forever()
        except (SystemExit, KeyboardInterrupt) as request:
            self._on_exit_request(request)

    def _end_tasks(self) -> None:
        """Cancel what still runs, or was about to, and let it clean up for a moment."""
        self._here._make()
        left = asyncio.all_tasks(self.loop)
        for task in left:
            task.cancel()
        latest = self.loop.time() + _CLEANING_UP
        while left and self.loop.time() < latest:
            self.loop.call_later(_CLEANING_UP / 100, self.loop.stop)
            self._run()
            left = {task for task in left if not task.done()}
        # One more turn: those that ended with the last one have callers to tell.
        self.loop.call_soon(self.loop.stop)
        self._run()
        # The answers of the last turn cross, too.
        for each in self._back.values():
            each.end()


def _outcome(ended: asyncio.Task[Any]) -> tuple[Any, BaseException | None]:
    """Return the result of a task, or its exception, retrieved: its caller may have gone."""
    if ended.cancelled():
        # The caller itself was not cancelled, and continues.
        return None, RuntimeError("it was cancelled on the mods' loop")
    error = ended.exception()
    return (ended.result(), None) if error is None else (None, error)


def _settle(done: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if error is None:
        _succeed(done, result)
    else:
        _fail(done, error)


def _ignore(result: Any, error: BaseException | None) -> None:
    """Do nothing: the caller was answered before."""


class Worker:
    """A daemon thread that runs functions in turn: starting a thread costs more than most of them.

    If a function never returns, the owner abandons this worker and starts another; the thread exits
    when it can.
    """

    def __init__(self, name: str) -> None:
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._serve, name=name, daemon=True)
        self._thread.start()

    def run(self, function: Callable[..., T], *arguments: Any) -> asyncio.Future[T]:
        """Run a blocking function there, after the earlier ones; the future of its result."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()
        self._jobs.put(partial(_do, loop, done, function, arguments))
        return done

    def stop(self, wait: float = 0.0) -> None:
        """End the thread after the functions that it was given; wait up to `wait` seconds."""
        self._jobs.put(None)
        self._thread.join(wait)

    def _serve(self) -> None:
        while True:
            job = self._jobs.get()
            if job is None:
                return
            # A context of its own: values that one function sets are not there for the next.
            contextvars.Context().run(job)
            # Not kept until the next one: it may hold a whole generation.
            del job


async def run_in_thread(function: Callable[..., T], *arguments: Any) -> T:
    """Run a blocking function on a daemon thread of its own, and return its result. A thread that
    never ends does not prevent the exit, unlike one of an executor."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    work = partial(_do, loop, done, function, arguments)
    threading.Thread(target=work, name=getattr(function, "__qualname__", "work"), daemon=True).start()
    return await done


def _do(
    loop: asyncio.AbstractEventLoop, done: asyncio.Future[T], function: Callable[..., T], arguments: tuple[Any, ...]
) -> None:
    try:
        result = function(*arguments)
    except BaseException as error:
        _tell(loop.call_soon_threadsafe, _fail, done, error)
    else:
        _tell(loop.call_soon_threadsafe, _succeed, done, result)


def _tell(call: Callable[..., object], function: Callable[..., None], *arguments: Any) -> None:
    try:
        call(function, *arguments)
    except RuntimeError:
        # The loop has been closed meanwhile: no caller waits any more.
        return


def _succeed(done: asyncio.Future[T], result: T) -> None:
    if not done.done():
        done.set_result(result)


def _fail(done: asyncio.Future[Any], error: BaseException) -> None:
    if isinstance(error, StopIteration):
        # No future takes one: the caller would wait without end.
        cause, error = error, RuntimeError("StopIteration was raised")
        error.__cause__, error.__traceback__ = cause, cause.__traceback__
    if not done.done():
        done.set_exception(error if isinstance(error, Exception) else RuntimeError(f"the thread ended: {error!r}"))
