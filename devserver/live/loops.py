"""Where mods' code runs: the caller's own loop (embedded), or a loop on a thread of its own (the server).

What answers agents never shares a thread with mods, so that a handler that blocks stalls events for mods and nothing
else. Knows threads and loops; knows nothing of mods.
"""

from __future__ import annotations

import asyncio
import contextvars
import queue
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any, Protocol, TypeVar
from weakref import WeakKeyDictionary

T = TypeVar("T")
Work = Coroutine[Any, Any, T]
"""What a call of an async function gives."""

_CLEANING_UP = 1.0
"""Seconds that tasks have to clean up in when their loop ends."""


class Home(Protocol):
    """A place where mods' code runs."""

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop that it runs in."""

    def run(self, function: Callable[..., Work[T]], *arguments: Any) -> Awaitable[T]:
        """Run an async function there; what it returns is there for who awaits this.

        Functions start in the order of the calls. Cancelling the caller does not cancel what runs there.
        """

    def answer(self, task: asyncio.Task[Any], result: object) -> bool:
        """Let whoever waits for a task that `run` has made go on with `result`, though the task does not end.

        False where nobody else waits for it: it is the caller's own task.
        """


class SameLoop:
    """Mods run in the loop of whoever calls: a network embedded in another program."""

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop of the caller."""
        return asyncio.get_running_loop()

    def run(self, function: Callable[..., Work[T]], *arguments: Any) -> Awaitable[T]:
        """Run it here."""
        return function(*arguments)

    def answer(self, task: asyncio.Task[Any], result: object) -> bool:
        """Whoever calls is the one that runs it."""
        return False


class Crossing:
    """The way for calls from other threads into a loop: in order, and with one wake-up for all that come before it.

    To wake a loop costs a system call and a change of threads, which is more than most calls themselves.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._calls: deque[Callable[[], object]] = deque()
        self._is_woken = False

    def call(self, function: Callable[..., object], *arguments: Any) -> None:
        """Have the loop call a function. Raises RuntimeError where the loop is closed.

        To be called in a loop: it is woken at the end of that one's turn, so that all calls of a turn cross together.
        """
        if self._loop.is_closed():
            raise RuntimeError("the loop is closed")
        self._calls.append(partial(function, *arguments))
        if not self._is_woken:
            self._is_woken = True
            asyncio.get_running_loop().call_soon(self.wake)

    def wake(self) -> None:
        """Have the loop make what calls wait, now."""
        try:
            self._loop.call_soon_threadsafe(self._make)
        except RuntimeError:
            # It was closed meanwhile, at the end of the server: nobody waits there any more.
            self._is_woken = False

    def _make(self) -> None:
        # Before the calls: who adds one from now on either sees it made here, or wakes the loop again.
        self._is_woken = False
        try:
            while self._calls:
                self._calls.popleft()()
        finally:
            # An exception that was sent to this thread has struck here.
            if self._calls:
                self._loop.call_soon(self._make)


class LoopThread:
    """Mods run on a loop of their own, on a daemon thread of their own.

    `on_exit_request` is told of a SystemExit or KeyboardInterrupt that reaches the loop out of a mod's task: it ends
    that task and nothing more.
    """

    def __init__(self, name: str, on_exit_request: Callable[[BaseException], None]) -> None:
        self._on_exit_request = on_exit_request
        self._stopping = False
        # A loop holds its tasks weakly: one that waits for something nobody else holds would be collected, and its
        # caller would wait for ever.
        self._running: dict[asyncio.Task[Any], tuple[Crossing, asyncio.Future[Any]]] = {}
        self.loop = asyncio.new_event_loop()
        self._here = Crossing(self.loop)
        self._back: WeakKeyDictionary[asyncio.AbstractEventLoop, Crossing] = WeakKeyDictionary()
        self.thread = threading.Thread(target=self._serve, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self.thread.start()

    def stop(self, timeout: float) -> bool:
        """End the loop; False when it did not end within `timeout` seconds, because something blocks it."""
        self._stopping = True
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(timeout)
        return not self.thread.is_alive()

    async def run(self, function: Callable[..., Work[T]], *arguments: Any) -> T:
        """Run it on the mods' loop, from any loop."""
        caller = asyncio.get_running_loop()
        if caller is self.loop:
            return await function(*arguments)
        if self._stopping:
            raise RuntimeError("the mods' loop has ended")
        done: asyncio.Future[T] = caller.create_future()
        back = self._back.get(caller) or self._back.setdefault(caller, Crossing(caller))
        # In the caller's context: what runs there belongs to the call that asks for it.
        self._here.call(contextvars.copy_context().run, self._begin, back, done, function, arguments)
        return await done

    def _begin(
        self, back: Crossing, done: asyncio.Future[T], function: Callable[..., Work[T]], arguments: tuple[Any, ...]
    ) -> None:
        task = self.loop.create_task(function(*arguments))
        self._running[task] = (back, done)
        task.add_done_callback(partial(self._hand_back, back, done))

    def _hand_back(self, back: Crossing, done: asyncio.Future[T], ended: asyncio.Task[T]) -> None:
        self._running.pop(ended, None)
        # Looked at here, so that a caller that is gone leaves no "never retrieved" behind.
        error = None if ended.cancelled() else ended.exception()
        _tell(back.call, _settle, done, ended, error)

    def answer(self, task: asyncio.Task[Any], result: object) -> bool:
        """To be called where mods run."""
        waiting = self._running.get(task)
        if waiting is None:
            return False
        back, done = waiting
        _tell(back.call, _succeed, done, result)
        return True

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
        """Cancel what still runs, and let it clean up for a moment."""
        left = asyncio.all_tasks(self.loop)
        for task in left:
            task.cancel()
        latest = self.loop.time() + _CLEANING_UP
        while left and self.loop.time() < latest:
            self.loop.call_later(_CLEANING_UP / 100, self.loop.stop)
            self._run()
            left = {task for task in left if not task.done()}
        # What was answered in the last turn crosses, too.
        for each in self._back.values():
            each.wake()


def _settle(done: asyncio.Future[T], ended: asyncio.Task[T], error: BaseException | None) -> None:
    if done.done():
        return
    if ended.cancelled():
        # The caller itself was not cancelled, and goes on.
        _fail(done, RuntimeError("it was cancelled where mods run"))
    elif error is not None:
        _fail(done, error)
    else:
        done.set_result(ended.result())


class Worker:
    """A daemon thread that does one thing after the other: starting a thread for each costs more than most of them.

    One that is kept by a function which does not come back is replaced by another, and ends when it can.
    """

    def __init__(self, name: str) -> None:
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._serve, name=name, daemon=True)
        self._thread.start()

    async def run(self, function: Callable[..., T], *arguments: Any) -> T:
        """Run a blocking function there, after those asked for before, and return what it returns."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()
        self._jobs.put(partial(_do, loop, done, function, arguments))
        return await done

    def stop(self, wait: float = 0.0) -> None:
        """End the thread when it has done what it was asked for; be there for that for up to `wait` seconds."""
        self._jobs.put(None)
        self._thread.join(wait)

    def _serve(self) -> None:
        while True:
            job = self._jobs.get()
            if job is None:
                return
            # A context of its own: what one function leaves in it is not there for the next.
            contextvars.Context().run(job)
            # Not kept until the next one comes: it may hold a whole generation.
            del job


async def run_in_thread(function: Callable[..., T], *arguments: Any) -> T:
    """Run a blocking function on a daemon thread of its own, and return what it returns.

    A thread that never ends keeps nobody from exiting, unlike one of an executor's.
    """
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
        # The loop has been closed meanwhile: nobody waits any more.
        return


def _succeed(done: asyncio.Future[T], result: T) -> None:
    if not done.done():
        done.set_result(result)


def _fail(done: asyncio.Future[Any], error: BaseException) -> None:
    if not done.done():
        done.set_exception(error if isinstance(error, Exception) else RuntimeError(f"the thread ended: {error!r}"))
