"""One generation: a build of a mod's code with its instance, handlers, calls and tasks.

Also tells whose code runs in a context. Starts, swaps and ends nothing.
"""

from __future__ import annotations

import asyncio
import copy
import threading
import time
import weakref
from asyncio import current_task
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar, Token
from dataclasses import KW_ONLY, dataclass, field
from time import monotonic
from typing import Any

from devserver.live.handlers import HandlerTable
from devserver.live.tally import Tally
from devserver.mod import BaseMod
from devserver.model import logs
from devserver.model.change import Sources
from devserver.model.config import Manifest
from devserver.model.event import Event
from devserver.model.lifecycle import HandOver, ModState
from devserver.model.plan import LiveMod


class Call:
    """One run of a generation's code: a handler with its event, or (`event` None) a hook.

    Tasks that it started may outlive it and still carry it in their context. Nearly all calls differ
    in a few values, so the others are attributes of the class until there is something.
    """

    active = True
    """Whether it has not ended."""
    expired: str | None = None
    """Why we cancelled the call; this becomes the answer to its sender."""
    waits = False
    """Whether it waits for a change of mods, which therefore must not wait for it."""
    expired_at = 0.0
    detached = False
    """Whether it was given up, for it went on after its cancellation: what it does is refused."""
    refused = False
    """Whether an action was refused then."""
    depth = 0
    """How many calls wait for it."""
    entered: Sequence[Token[Any]] = ()
    """Restores this context's own values of context variables, in the place of the generation's."""

    def __init__(self, generation: Generation, event: Event | None, parent: Call | None, way: Any) -> None:
        self.generation = generation
        self.event = event
        self.parent = parent
        if parent is not None and parent.active:
            self.depth = parent.depth + 1
        self.task = current_task(_here.loop) or _task_here()
        self.started = monotonic()
        self.way = way
        """The way of its event (`network.way.Way`); its number marks everything done for it."""


class _Here(threading.local):
    """The loop that ran last in this thread: asking asyncio is a system call on 3.11."""

    loop: Any = object()


_here = _Here()


def _task_here() -> asyncio.Task[Any] | None:
    """Return the running task, if there is one, and remember its loop."""
    task = current_task()
    if task is not None:
        _here.loop = task.get_loop()
    return task


class Activity:
    """Counts the calls that have begun and ended, to tell whether code of mods ran meanwhile."""

    __slots__ = ("begun", "ended")

    def __init__(self) -> None:
        self.begun = 0
        self.ended = 0


activity = Activity()


def copied_plain(value: Any) -> Any:
    """Return a copy of a value of network.yaml."""
    if isinstance(value, Mapping):
        return {name: copied_plain(each) for name, each in value.items()}
    return [copied_plain(each) for each in value] if isinstance(value, list) else value


running: ContextVar[Call | None] = ContextVar("oa_dev_running_call", default=None)
"""The call that this context runs in. `parent` leads through all mods that wait for it."""


def _about() -> dict[str, Any]:
    """Return the keys that the log binds to a record: mod, event and agent of what runs here."""
    call = running.get()
    if call is None:
        return {}
    found: dict[str, Any] = {"mod": call.generation.mod_id, "generation": call.generation.number}
    event = call.event if call.active else None
    if event is not None:
        source = event.source
        if call.way is not None and call.way.number:
            found["number"] = call.way.number
        found |= {"event_name": event.event_name, **({"agent": source.id} if source.role == "agent" else {})}
    return found


logs.bind_with(_about)


def running_calls() -> Iterator[Call]:
    """Yield the calls that this context works for and that have not ended, innermost first."""
    call = running.get()
    while call is not None:
        if call.active:
            yield call
        call = call.parent


def running_in(generation: Generation) -> bool:
    """Return whether this context works for a call of `generation` that has not ended."""
    return any(call.generation is generation for call in running_calls())


def detached_call() -> Call | None:
    """Return the given-up call on whose behalf this context runs, if any."""
    call = running.get()
    while call is not None and not call.detached:
        call = call.parent
    return call


def expire(call: Call, reason: str) -> bool:
    """End a handler that runs too long; answer its sender with `reason`. False if told before."""
    if not call.active or call.expired is not None or call.task is None:
        return False
    call.expired, call.expired_at = reason, monotonic()
    call.task.cancel(reason)
    return True


def outermost(call: Call) -> Call:
    """Return the first call in the task of this one: the sender of its event waits for that."""
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
    """The configuration from network.yaml or from the caller that loaded the mod."""
    hand_over: HandOver
    listed: bool = True
    came_with: str = ""
    """The mod (id) that needs it, if it was loaded for that alone."""
    reloadable: bool = True
    code: str = ""
    """The path of its code if that is another mod's: that of a line, or of a promoted line."""
    config_model: Any = None
    """The pydantic model that the mod declares for its configuration, if it declares one."""
    settings: Any = None
    """The configuration as an instance of that model."""
    manifest: Manifest | None = None
    """The files beside the mod, as mod_manifest.json."""
    context: Mapping[ContextVar[Any], Any] = field(default_factory=dict)
    """The context variables that importing its code has set: its calls see them."""
    handle: Any = None
    """The network as its instance has it, which speaks for this generation."""
    state: ModState = ModState.STARTING
    handlers: HandlerTable = field(default_factory=lambda: HandlerTable(()))
    reads: Sources = field(default_factory=dict)
    """Data files that were read during `initialize()`, with their digests then."""
    written: set[str] = field(default_factory=set)
    """Files that this generation's code has opened for writing: its data, never its sources."""
    loaded_at: float = field(default_factory=time.time)
    calls: set[Call] = field(default_factory=set)
    tasks: weakref.WeakSet[asyncio.Task[Any]] = field(default_factory=weakref.WeakSet)
    outliving: weakref.WeakSet[asyncio.Task[Any]] = field(default_factory=weakref.WeakSet)
    """Tasks of its code that belong to the state, and continue after its end."""
    is_down: bool = False
    """Whether `shutdown()` has been called."""
    left_behind: tuple[str, ...] = ()
    """What its code installed and started and did not remove, after its end, each in words."""
    tally: Tally | None = None
    """The results of its events, if there are several versions of the mod."""
    planned: LiveMod | None = None
    """What plans know of it, once one has asked (`reload/live_mods`)."""
    handled: int = 0
    failed: int = 0
    _when_idle: list[Callable[[], None]] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Its name for people, as in "wiki v3"."""
        return f"{self.mod_id} v{self.number}"

    @property
    def kept(self) -> dict[Any, Any]:
        """The dict that is its instance's state; an empty one if the mod has put something else there."""
        state: Any = self.instance.state
        return state if issubclass(type(state), dict) else {}

    def configure(self) -> None:
        """Give the instance its configuration: of the model that it declares, or a dict."""
        self.instance.config = self.whole(self.config) if self.settings is None else self.settings
        self.instance.known_as = (self.mod_id, self.number)

    def whole(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Return a configuration of this mod, completed by the defaults of its manifest."""
        defaults = {} if self.manifest is None else copy.deepcopy(self.manifest.defaults)
        # A mod may change what it gets: network.yaml's own stays as it was read.
        return {**defaults, **{name: copied_plain(value) for name, value in config.items()}}

    def begin(self, event: Event | None, way: Any = None) -> Call:
        """Begin a call of this generation in the running context; `way` is that of its event."""
        call = Call(self, event, running.get(), way)
        # A call inside of another one of the same code keeps the context of the first.
        if self.context and not running_in(self):
            call.entered = [variable.set(value) for variable, value in self.context.items()]
        self.calls.add(call)
        activity.begun += 1
        return call

    def end(self, call: Call) -> None:
        """End a call, in the context that it began in."""
        call.active = False
        if call.entered:
            for token in call.entered:
                token.var.reset(token)
        activity.ended += 1
        self.calls.discard(call)
        if self._when_idle:
            self._wake()

    def waits(self, call: Call, waits: bool) -> None:
        """Note whether a call waits for a change of mods."""
        call.waits = waits
        self._wake()

    def _wake(self) -> None:
        waiting, self._when_idle = self._when_idle, []
        for wake in waiting:
            wake()

    def handler_calls(self) -> list[Call]:
        """Return the calls of handlers in flight, oldest first."""
        return sorted((each for each in self.calls if each.event is not None), key=lambda each: each.started)

    async def idle(self, *, but_for_waiting: bool = False) -> None:
        """Wait until no call is in flight, except for those that wait for a change of mods."""
        while any(not (but_for_waiting and each.waits) for each in self.calls):
            idle = asyncio.Event()
            self._when_idle.append(idle.set)
            await idle.wait()
