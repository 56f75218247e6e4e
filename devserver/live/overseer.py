"""Ends handlers that run too long, so that no sender waits for ever; gives up those that go on.

Looks four times a second. Decides which calls to end; others decide what their senders are told.
"""

from __future__ import annotations

import asyncio
import contextvars
import time
import weakref
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, Protocol

from devserver.live.generation import Call
from devserver.live.registry import Registry
from devserver.model.facts import ErrorFacts, Frame, ModError, Notice
from devserver.model.lifecycle import Limits, ModState

GRACE = 0.5
"""Seconds that a handler gets to end after it was cancelled."""

_INTERVAL = 0.25


class Surroundings(Protocol):
    """What the overseer needs of the network."""

    registry: Registry

    @property
    def limits(self) -> Limits: ...
    def is_own(self, file: str) -> bool: ...
    def shown(self, file: str) -> str: ...


class Overseer:
    """Watches the handlers of live generations, and those that were told to end.

    Arguments: `give_up` is told of a call that continues after its cancellation, and returns
    whether it still runs then; `tell` is told where.
    """

    def __init__(
        self, around: Surroundings, give_up: Callable[[Call], bool], tell: Callable[[Notice | ModError], None]
    ) -> None:
        self._around = around
        self._registry = around.registry
        self._give_up = give_up
        self._tell = tell
        self._named: weakref.WeakSet[asyncio.Task[Any]] = weakref.WeakSet()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Watch from now on, in the running loop, the mods' one."""
        # Empty context: what it ends and tells is no part of the call that started the network.
        self._task = asyncio.get_running_loop().create_task(self._watch(), context=contextvars.Context())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None
        self._look_at_overdue(time.monotonic() + GRACE)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(_INTERVAL)
            self.look(time.monotonic())

    def look(self, now: float) -> None:
        """End calls that run too long at `now` (monotonic); lingering ones have another limit."""
        limit = self._around.limits.handler
        for generation in self._registry.live:
            if generation.calls and generation.state is ModState.LIVE:
                for call in generation.handler_calls():
                    if now - call.started > limit:
                        reason = f"{generation.name}: the handler did not answer within {limit:g} s"
                        where = self._place(call)
                        if self._registry.expire(call, reason):
                            self._tell_of_limit(call, limit, where)
        self._look_at_overdue(now)

    def _look_at_overdue(self, now: float) -> None:
        # The innermost first: the others of its task wait for it.
        for call in sorted(self._registry.overdue, key=lambda each: -each.depth):
            is_late = now - call.expired_at >= GRACE
            if is_late or not call.active:
                self._registry.overdue.remove(call)
            if is_late and call.active:
                call.detached = True
                if self._give_up(call):
                    self._name(call)
                call.generation.end(call)

    def _place(self, call: Call) -> Frame | None:
        """Return the line of mods' code where a call waits."""
        frames = [] if call.task is None else list(frames_of(call.task))
        own = [each for each in frames if self._around.is_own(each.f_code.co_filename)]
        return Frame(self._around.shown(own[-1].f_code.co_filename), own[-1].f_lineno) if own else None

    def _tell_of_limit(self, call: Call, limit: float, where: Frame | None) -> None:
        """Tell that a handler ran into its limit: its sender knows, its author may not."""
        generation, event = call.generation, call.event
        message = f"the handler did not answer within {limit:g} s and was ended (dev.limits.handler)"
        name = event.event_name if event is not None else ""
        error = ErrorFacts("HandlerTimeout", message, where)
        self._tell(ModError(generation.mod_id, name, generation.number, error))

    def _name(self, call: Call) -> None:
        if call.task is None or call.event is None or call.task in self._named:
            return
        self._named.add(call.task)
        where = self._place(call)
        place = f" at {where.file}:{where.line}" if where is not None else ""
        what = f"its handler of {call.event.event_name} was ended and still runs"
        self._tell(Notice(f"still running: {call.generation.name}{place}; {what}"))


def frames_of(task: asyncio.Task[Any]) -> Iterator[FrameType]:
    """Yield the frames where a task waits, outermost first: `Task.get_stack()` shows one."""
    yield from frames_in(task.get_coro())


def frames_in(work: object) -> Iterator[FrameType]:
    """Yield the frames where a coroutine waits, outermost first."""
    while work is not None:
        frame = getattr(work, "cr_frame", None) or getattr(work, "gi_frame", None) or getattr(work, "ag_frame", None)
        if isinstance(frame, FrameType):
            yield frame
        work = getattr(work, "cr_await", None) or getattr(work, "gi_yieldfrom", None) or getattr(work, "ag_await", None)


class Ended(BaseException):
    """Ends a handler that ignores its cancellation and runs in a task of its sender."""


def end_by_force(task: asyncio.Task[Any]) -> None:
    """Raise Ended where a task waits: `except CancelledError` or `Exception` let it through."""
    loop = task.get_loop()
    # Private names. Others may wait for the same future, and must not see the exception.
    waited: Any = task._fut_waiter  # type: ignore[attr-defined]
    for wake, context in (waited._callbacks or ()) if waited is not None else ():
        if getattr(wake, "__self__", None) is task:
            waited.remove_done_callback(wake)
            failed: asyncio.Future[None] = loop.create_future()
            failed.set_exception(Ended())
            failed.exception()
            loop.call_soon(wake, failed, context=context)
            return
    if not task.done():
        # It runs just now, or is about to.
        loop.call_later(_INTERVAL, end_by_force, task, context=contextvars.Context())
