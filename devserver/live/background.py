"""Tasks and callbacks that mods' code starts beside its handlers: owners and exceptions.

asyncio would only log an exception. Here it is told, with the generation whose code raised it;
other exceptions go to the handler that the loop had before. Ends nothing, and does not know how
mods are loaded.
"""

from __future__ import annotations

import asyncio
import contextvars
import weakref
from collections.abc import Callable, Iterable
from contextvars import Context
from dataclasses import dataclass
from typing import Any

from devserver.live.generation import Generation, running

UNHEEDED = 0.5
"""Seconds after which the exception of a task that is still held somewhere counts as unheeded."""

OnError = Callable[[Generation, str, BaseException], object]
"""Told of an exception, its generation, and its task or callback. From any thread."""


@dataclass(frozen=True, slots=True, eq=False)
class _Failed:
    """The owner of a task or callback that raised. A held task keeps its generation, not this."""

    owner: weakref.ref[Generation]
    what: str
    task: weakref.ref[asyncio.Task[Any]] | None = None


class Background:
    """Follows the tasks and callbacks of one loop. `live` gives the generations that serve."""

    def __init__(self, on_error: OnError, live: Callable[[], Iterable[Generation]]) -> None:
        self._on_error = on_error
        self._live = live
        self._failed: dict[int, _Failed] = {}

    def follow(self, loop: asyncio.AbstractEventLoop) -> Callable[[], None]:
        """Let tasks that a generation's code starts on `loop` belong to it, and report exceptions.

        Returns the function that ends this.
        """
        factory_before, handler_before = loop.get_task_factory(), loop.get_exception_handler()

        def factory(loop: asyncio.AbstractEventLoop, work: Any, **options: Any) -> Any:
            if factory_before is None:
                task: Any = asyncio.Task(work, loop=loop, **options)
            else:
                task = factory_before(loop, work, **options)
            call = running.get()
            if call is not None and isinstance(task, asyncio.Task):
                self._follow_task(task, call.generation)
            return task

        def handler(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
            if self._tell(context):
                return
            if handler_before is not None:
                handler_before(loop, context)
            else:
                loop.default_exception_handler(context)

        def leave() -> None:
            # If others have set a factory after us, ours stays below theirs and does nothing more.
            if loop.get_task_factory() is factory:
                loop.set_task_factory(factory_before)
            if loop.get_exception_handler() is handler:
                loop.set_exception_handler(handler_before)
            for key, failed in list(self._failed.items()):
                self._look(key, failed)

        loop.set_task_factory(factory)
        loop.set_exception_handler(handler)
        return leave

    def _follow_task(self, task: asyncio.Task[Any], generation: Generation) -> None:
        generation.tasks.add(task)

        def ended(task: asyncio.Task[Any]) -> None:
            # Not `exception()`: that would count as looking at it.
            if task._log_traceback:
                # Wait before telling: a task without a holder ends now and the loop's handler is
                # told; a held one may be awaited yet.
                failed = _Failed(weakref.ref(generation), f"task {_name(task.get_coro())}", weakref.ref(task))
                self._failed[id(task)] = failed
                task.get_loop().call_later(UNHEEDED, self._look, id(task), failed, context=Context())

        task.add_done_callback(ended, context=Context())

    def _look(self, key: int, failed: _Failed) -> None:
        """Tell of a task that is still held and whose exception was not looked at."""
        if self._failed.get(key) is not failed:
            return
        del self._failed[key]
        task = failed.task() if failed.task is not None else None
        error = task.exception() if task is not None and task._log_traceback else None
        if error is not None:
            self._report(failed, error)

    def _tell(self, context: dict[str, Any]) -> bool:
        """Tell of an exception that the loop would log; False if no mod's code raised it."""
        error = context.get("exception")
        if not isinstance(error, BaseException):
            return False
        found = self._whose(context, error)
        return found is not None and self._report(found, error)

    def _whose(self, context: dict[str, Any], error: BaseException) -> _Failed | None:
        future, handle = context.get("future", context.get("task")), context.get("handle")
        if future is not None:
            coroutine = future.get_coro() if isinstance(future, asyncio.Task) else None
            return self._failed.pop(id(future), None) or self._by_trace(f"task {_name(coroutine)}", error)
        what = f"callback {_name(getattr(handle, '_callback', None))}"
        # A handle keeps the context that its callback runs in; `get_context()` is new in Python 3.12.
        inside = getattr(handle, "_context", None)
        call = inside.get(running) if isinstance(inside, contextvars.Context) else None
        return _Failed(weakref.ref(call.generation), what) if call is not None else self._by_trace(what, error)

    def _by_trace(self, what: str, error: BaseException) -> _Failed | None:
        """Return the generation whose code raised an exception outside of any known call."""
        names = _modules(error)
        for generation in self._live():
            package = generation.entry.removesuffix(".mod")
            if any(name == package or name.startswith(f"{package}.") for name in names):
                return _Failed(weakref.ref(generation), what)
        return None

    def _report(self, failed: _Failed, error: BaseException) -> bool:
        generation = failed.owner()
        if generation is None:
            return False
        generation.failed += 1
        self._on_error(generation, failed.what, error)
        return True


def _modules(error: BaseException) -> set[str]:
    """Return the names of the modules whose code an exception has come through."""
    found, step = set(), error.__traceback__
    while step is not None:
        found.add(str(step.tb_frame.f_globals.get("__name__", "")))
        step = step.tb_next
    return found


def _name(work: object) -> str:
    """Return the author's name for the work of a task or a callback."""
    inner = getattr(work, "func", work)
    return str(getattr(inner, "__qualname__", None) or type(inner).__name__)
