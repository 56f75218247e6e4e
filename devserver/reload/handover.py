"""Moves state from one generation to the next, in one of three ways, with an undo until the commit.

    fresh      a new instance; the state moves along while the old instance stays unchanged
    exclusive  the old instance is shut down first
    rebind     the same instance under its new class

References in the state to replaced code are moved to the new code on the way, and named if they cannot
be. Knows state; knows nothing of gates, modules or plans.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import ModuleType
from typing import Any

from devserver.errors import HookFailed
from devserver.live.generation import Generation
from devserver.live.handlers import collect_handlers
from devserver.live.overseer import frames_of
from devserver.loader import raw
from devserver.loader.changes import changes_of
from devserver.loader.moving import Remembered, StateMove, sentinels
from devserver.loader.started import take_out
from devserver.loader.successor import alias_enums
from devserver.loader.walk import MOST_OBJECTS, Walk
from devserver.mod import BaseMod
from devserver.model.lifecycle import HandOver
from devserver.reload import hooks

_TURN = 0.0003
"""Seconds that a state is looked through between two events: most are seen in one turn, and each costs a
turn of the loop."""

MOST_NAMED = 5
"""The most keys of a state that are named in one outcome."""


class Belongings:
    """The tasks, threads, processes and sockets in a state, which outlive their generation.

    They leave `old` with the hand-over, come `back` on a rollback, and end with the generation that
    they `join`.
    """

    def __init__(self, old: Generation, things: Sequence[Any]) -> None:
        self._old = old
        mine = {*old.tasks, *old.instance._tasks}
        self._tasks = [each for each in mine if any(each is thing for thing in things)]
        self._started = take_out(things)
        old.tasks.difference_update(self._tasks)
        old.instance._tasks.difference_update(self._tasks)
        old.outliving.update(self._tasks)

    def back(self) -> None:
        """Give everything back to its former owner."""
        self._old.outliving.difference_update(self._tasks)
        self._old.tasks.update(self._tasks)
        for each in self._started:
            each.note_in(each.owner)

    def join(self, new: Generation) -> None:
        """Let everything belong to `new`."""
        new.tasks.update(self._tasks)
        for each in self._started:
            each.note_in(changes_of(new.instance).started)


@dataclass(slots=True, kw_only=True)
class StateTransfer:
    """One hand-over, from `old` to `new`, and its undo.

    `way`: the way of the hand-over, whatever the mod asks for. `before`: the contents that the
    state gets back first, if a reload is undone; `earlier`: those that it could get back later.
    `replaced`: the modules that the reload has replaced.
    """

    old: Generation
    new: Generation
    new_class: type[BaseMod]
    way: HandOver
    limit: float
    before: Remembered | None = None
    earlier: Sequence[Remembered] = ()
    replaced: Mapping[str, ModuleType] = field(default_factory=dict)
    undo_class: Callable[[], None] | None = None
    move: StateMove | None = None
    belongings: Belongings | None = None
    undone: Walk | None = None
    """The state as found, before it got earlier contents back."""

    async def prepare(self) -> None:
        """Look through the state in steps, between which events go on."""
        rebinds = self.way is HandOver.REBIND
        if self._hooks() is not None or (self.before is not None and not rebinds):
            return
        if rebinds and not self.replaced and type(self.old.instance) is self.new_class:
            # An edit that has only moved code.
            return
        self.move = self._move_of(vars(self.old.instance) if rebinds else self.old.instance.state)
        began = time.monotonic()
        while self.move.look():
            if time.monotonic() - began > _TURN:
                # Between two turns events go on.
                await asyncio.sleep(0)
                began = time.monotonic()

    async def go(self) -> str:
        """Hand over; return what happened to the state in few words. Raises a hook's exceptions."""
        match self.way:
            case HandOver.REBIND:
                return self._rebind()
            case HandOver.EXCLUSIVE:
                said = await self._transfer()
                self.old.is_down = True
                failures = await hooks.shutdown(self.old, self.limit)
                if failures:
                    raise failures[0]
                return said
            case HandOver.FRESH | HandOver.RESTART:
                return await self._transfer()

    async def back(self) -> None:
        """Undo `go`: the old instance has its class and state again, and runs again."""
        if self.belongings is not None:
            self.belongings.back()
        if self.move is not None:
            self.move.undo()
        if self.undone is not None:
            self.undone.give_back()
        if self.undo_class is not None:
            self.undo_class()
            _serve_as(self.old, self.old)
            return
        if self.old.is_down:
            self.old.is_down = False
            self.old.instance._registered.clear()
            await hooks.call_hook(self.old, self.old.instance.initialize, "initialize()", self.limit)
            self.old.handlers = collect_handlers(self.old.instance)

    def keep(self) -> None:
        """Make the hand-over final: the new generation is live."""
        if self.belongings is not None:
            self.belongings.join(self.new)
        if self.move is not None and self.old.handler_calls():
            alias_enums(self.replaced.values(), self.move.enums(), _held_by(self.old))

    @property
    def stale_keys(self) -> tuple[str, ...]:
        """The keys of the state that still hold replaced code."""
        return tuple(self.move.stale) if self.move is not None else ()

    def remembered(self) -> Remembered | None:
        """Return the contents that were handed over, for an undo."""
        rebinds = self.way is HandOver.REBIND
        return self.move.remembered() if self.move is not None and not rebinds else None

    def _hooks(self) -> tuple[Callable[[], Any], Callable[[Any], Any]] | None:
        """Return the mod's own hooks for the hand-over, if it defines both."""
        capture = raw.own(self.old.instance, "capture_state")
        restore = raw.own(self.new.instance, "restore_state")
        fresh = self.way is not HandOver.REBIND
        return (capture, restore) if fresh and callable(capture) and callable(restore) else None

    def _move_of(self, state: dict[Any, Any]) -> StateMove:
        instances = [] if self.new.instance is self.old.instance else [(self.old.instance, self.new.instance)]
        return StateMove(state, [*instances, *sentinels(self.replaced)], self.earlier)

    async def _transfer(self) -> str:
        own = self._hooks()
        if own is not None:
            return await self._captured(*own)
        state: Any = self.old.instance.state
        if self.before is not None:
            state = self._earlier(self.before)
        if self.move is not None:
            self.move.go()
            self.belongings = Belongings(self.old, self.move.owned())
            state = self.move.latest(state)
        self.new.instance.state = state
        kept, kind = self.new.kept, type(state)
        if not kept and (kind is type(None) or issubclass(kind, dict)):
            return "no state"
        words = "state kept" if self.before is None else "state restored"
        # An object of a class of its own is not asked how much it holds.
        held = _count(len(kept), "key") if kept else f"{raw.qualname_of(kind)}: no dict, a restart begins it again"
        return _said(words, (held, *self._unmoved()))

    async def _captured(self, capture: Callable[[], Any], restore: Callable[[Any], Any]) -> str:
        if self.before is None:
            captured = {"state": await hooks.call_hook(self.old, capture, "capture_state()", self.limit)}
            self.move = self._move_of(captured)
        else:
            captured = self._earlier(self.before)
        if self.move is not None:
            self.move.go()
        answer = await hooks.call_hook(self.new, restore, "restore_state()", self.limit, captured["state"])
        if answer is False:
            raise HookFailed(f"{self.new.mod_id}: restore_state() returned False")
        return _said("state restored", self._unmoved())

    def _earlier(self, before: Remembered) -> dict[Any, Any]:
        """Give the state its earlier contents, to move them; the present ones are kept."""
        self.undone = Walk(before.root)
        self.undone.finish()
        before.give_back()
        self.move = self._move_of(before.root)
        return before.root

    def _rebind(self) -> str:
        instance = self.old.instance
        # A mod that stands for another object decides on this itself.
        take_class = raw.own(instance, "take_class") or partial(_take_class, instance)
        self.undo_class = take_class(self.new_class)
        _serve_as(self.old, self.new)
        if self.move is not None:
            self.move.go()
        return _said("same instance", self._unmoved())

    def _unmoved(self) -> tuple[str, ...]:
        """Name the keys of the state that the new code cannot use, or only in part."""
        if self.move is None:
            return ()
        stale = [f"key {key!r} still runs v{self.old.number} code: {reason}" for key, reason in self.move.stale.items()]
        lacking = [f"key {key!r} lacks {names}" for key, names in self.move.lacks.items()]
        named = [*stale, *lacking]
        more = [f"{_count(len(named) - MOST_NAMED, 'more key')}"] if len(named) > MOST_NAMED else []
        cut = [f"only {MOST_OBJECTS:,} of its objects were looked at"] if self.move.cut else []
        return (*named[:MOST_NAMED], *more, *cut)


def move_late_state(old: Generation, live: Generation) -> None:
    """Move values that handlers of `old` have put into the state since, when they have ended."""
    move = StateMove(live.instance.state)
    move.go()
    Belongings(old, move.owned()).join(live)


def _held_by(generation: Generation) -> Iterator[object]:
    """Return the variables of a generation's running handlers, and its instance's attributes."""
    yield from list(vars(generation.instance).values())
    for call in generation.handler_calls():
        for frame in frames_of(call.task) if call.task is not None else ():
            yield from list(frame.f_locals.values())


def _take_class(instance: BaseMod, new_class: type[BaseMod]) -> Callable[[], None]:
    """Give an instance its new class; return the undo. Raises HookFailed if they differ."""
    old_class = type(instance)

    def become(cls: type[BaseMod]) -> None:
        instance.__class__ = cls
        # Handlers that were registered as methods are those of the new class now.
        for place, (patterns, handler) in enumerate(instance._registered):
            if getattr(handler, "__self__", None) is instance:
                instance._registered[place] = (patterns, getattr(instance, handler.__name__, handler))

    try:
        become(new_class)
    except TypeError as error:
        raise HookFailed(f"{instance.mod_name}: the instance cannot take its new class: {error}") from error
    return partial(become, old_class)


def _serve_as(old: Generation, generation: Generation) -> None:
    """Let the instance and its handle speak for this generation."""
    generation.handle = old.handle
    generation.handle.bind(generation)
    generation.configure()


def _said(words: str, details: Sequence[str]) -> str:
    return f"{words} ({'; '.join(details)})" if details else words


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
