"""One generation: a build of a mod's code with its instance, its handlers, its calls in flight and its tasks.

Says what a generation is and which one's code is running; it starts, swaps and ends nothing.
"""

from __future__ import annotations

import asyncio
import inspect
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

from devserver.mod import BaseMod, Handler, handler_patterns
from devserver.model.change import Sources
from devserver.model.event import Event, matches
from devserver.model.lifecycle import HandOver, ModState

_MEMORY = 1000


class HandlerTable:
    """The handlers of one instance, in the order that its classes define them, those registered by hand last."""

    def __init__(self, entries: Iterable[tuple[Sequence[str], Handler]]) -> None:
        self._entries: tuple[tuple[tuple[str, ...], Handler], ...] = tuple((tuple(p), h) for p, h in entries)
        self._memory: dict[str, tuple[Handler, ...]] = {}
        self.patterns = tuple(dict.fromkeys(pattern for patterns, _ in self._entries for pattern in patterns))
        """Every pattern that some handler listens to, each once."""

    def find(self, event_name: str) -> tuple[Handler, ...]:
        """The handlers for an event of this name, in order."""
        known = self._memory.get(event_name)
        if known is None:
            known = tuple(h for patterns, h in self._entries if any(matches(p, event_name) for p in patterns))
            if len(self._memory) >= _MEMORY:
                self._memory.clear()
            self._memory[event_name] = known
        return known


def collect_handlers(instance: BaseMod) -> HandlerTable:
    """The handlers of an instance: marked methods (each once, as the most derived class has them), notices, by hand.

    Raises TypeError, naming it, for a handler that cannot be called with an event.
    """
    attributes = dict.fromkeys(name for cls in reversed(type(instance).__mro__) for name in vars(cls))
    marked = [
        (patterns, getattr(instance, name))
        for name in attributes
        if (patterns := handler_patterns(getattr(type(instance), name, None)))
    ]
    entries: list[tuple[Sequence[str], Handler]] = [*_notices(instance), *marked, *instance._registered]
    for names, handler in entries:
        if not callable(handler):
            raise TypeError(f"the handler for {', '.join(names)} cannot be called: {handler!r}")
        if not _takes_an_event(handler):
            name = getattr(handler, "__name__", repr(handler))
            raise TypeError(f"the handler for {', '.join(names)} is called with the event alone: {name}(self, event)")
    return HandlerTable(entries)


def _takes_an_event(handler: Handler) -> bool:
    """Whether a method or function can be called with one argument. Any other callable is believed."""
    function = getattr(handler, "__func__", handler)
    code = getattr(function, "__code__", None)
    if code is None:
        return True
    most = code.co_argcount - (function is not handler)
    fewest = most - len(function.__defaults__ or ())
    named = code.co_kwonlyargcount - len(function.__kwdefaults__ or {})
    return fewest <= 1 and not named and (most >= 1 or bool(code.co_flags & inspect.CO_VARARGS))


def _notices(instance: BaseMod) -> list[tuple[Sequence[str], Handler]]:
    """What tells a mod of agents that come and go, where its class listens to that."""
    found: list[tuple[Sequence[str], Handler]] = []
    if type(instance).handle_register_agent is not BaseMod.handle_register_agent:

        def came(event: Event) -> Any:
            return instance.handle_register_agent(event.payload["agent_id"], event.payload.get("metadata") or {})

        found.append(((AGENT_CAME,), came))
    if type(instance).handle_unregister_agent is not BaseMod.handle_unregister_agent:

        def went(event: Event) -> Any:
            return instance.handle_unregister_agent(event.payload["agent_id"])

        found.append(((AGENT_WENT,), went))
    return found


AGENT_CAME = "system.notification.register_agent"
AGENT_WENT = "system.notification.unregister_agent"


@dataclass(slots=True, eq=False)
class Call:
    """One run of a generation's code: a handler with its event, or (`event` None) a hook.

    `active` until it has ended; what it started (tasks) may outlive it and still carries it in its context.
    """

    generation: Generation
    event: Event | None
    parent: Call | None
    depth: int
    task: asyncio.Task[Any] | None = None
    started: float = 0.0
    active: bool = True
    expired: str | None = None
    """Why the call was cancelled by us, which becomes the answer to its sender."""
    waits: bool = False
    """Whether it waits for a change of mods, which therefore must not wait for it."""
    expired_at: float = 0.0
    detached: bool = False
    """Whether it was given up, because it went on after it was cancelled: what it still does counts no more."""
    refused: bool = False
    """Whether something that it tried then was refused."""


running: ContextVar[Call | None] = ContextVar("oa_dev_running_call", default=None)
"""The call that this context runs in. A chain of `parent` leads through all mods that are waiting for it."""


def running_calls() -> Iterator[Call]:
    """The calls that this context works for and that have not ended, innermost first."""
    call = running.get()
    while call is not None:
        if call.active:
            yield call
        call = call.parent


def running_in(generation: Generation) -> bool:
    """Whether this context works for a call of `generation` that has not ended."""
    return any(call.generation is generation for call in running_calls())


def detached_call() -> Call | None:
    """The call that was given up on whose behalf this context runs, if there is one."""
    call = running.get()
    while call is not None and not call.detached:
        call = call.parent
    return call


def expire(call: Call, reason: str) -> bool:
    """End a handler that runs for too long; its sender is answered with `reason`. Whether that is news to it."""
    if not call.active or call.expired is not None or call.task is None:
        return False
    call.expired, call.expired_at = reason, time.monotonic()
    call.task.cancel(reason)
    return True


def outermost(call: Call) -> Call:
    """The first of the calls that run in the task of this one: whoever sent its event waits for that task."""
    while call.parent is not None and call.parent.active and call.parent.task is call.task:
        call = call.parent
    return call


@dataclass(slots=True, eq=False, weakref_slot=True)
class Generation:
    """One build of a mod's code, alive. `number` counts from 1; `entry` is the module that its class is in."""

    mod_id: str
    mod_path: str
    number: int
    entry: str
    _: KW_ONLY
    instance: BaseMod
    config: Mapping[str, Any]
    hand_over: HandOver
    listed: bool = True
    reloadable: bool = True
    handle: Any = None
    """The network as the instance has it, which speaks for this generation."""
    state: ModState = ModState.STARTING
    handlers: HandlerTable = field(default_factory=lambda: HandlerTable(()))
    reads: Sources = field(default_factory=dict)
    """Data files that were read while this generation was initialised, as they were then."""
    written: set[str] = field(default_factory=set)
    """Files that this generation's code has opened for writing: its data, never its sources."""
    loaded_at: float = field(default_factory=time.time)
    calls: set[Call] = field(default_factory=set)
    tasks: weakref.WeakSet[asyncio.Task[Any]] = field(default_factory=weakref.WeakSet)
    is_down: bool = False
    """Whether `shutdown()` has been called already."""
    left_behind: tuple[str, ...] = ()
    """What is still there of what it installed and started, after its end, each in words."""
    handled: int = 0
    failed: int = 0
    _when_idle: list[Callable[[], None]] = field(default_factory=list)

    @property
    def name(self) -> str:
        """How people call it, as in "wiki v3"."""
        return f"{self.mod_id} v{self.number}"

    def begin(self, event: Event | None) -> Call:
        """A call of this generation begins in the running context."""
        parent = running.get()
        depth = parent.depth + 1 if parent is not None and parent.active else 0
        call = Call(self, event, parent, depth, asyncio.current_task(), time.monotonic())
        self.calls.add(call)
        return call

    def end(self, call: Call) -> None:
        """That call has ended."""
        call.active = False
        self.calls.discard(call)
        if self._when_idle:
            self._wake()

    def waits(self, call: Call, waits: bool) -> None:
        """That call waits for a change of mods, or does so no longer."""
        call.waits = waits
        self._wake()

    def _wake(self) -> None:
        waiting, self._when_idle = self._when_idle, []
        for wake in waiting:
            wake()

    def handler_calls(self) -> list[Call]:
        """The calls of handlers in flight, oldest first."""
        return sorted((each for each in self.calls if each.event is not None), key=lambda each: each.started)

    async def idle(self, *, but_for_waiting: bool = False) -> None:
        """Return when no call is in flight, or none but those that wait for a change of mods."""
        while any(not (but_for_waiting and each.waits) for each in self.calls):
            idle = asyncio.Event()
            self._when_idle.append(idle.set)
            await idle.wait()
