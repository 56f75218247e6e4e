"""State goes from one generation to the next, in one of three ways, and can be given back until the commit.

    fresh      a new instance; the state moves along while the old instance stays as it is
    exclusive  the old instance is shut down first
    rebind     the same instance under its new class

Knows what state is; knows nothing of gates, modules or plans.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from devserver.errors import HookFailed
from devserver.generation import Generation
from devserver.mod import BaseMod
from devserver.model.lifecycle import HandOver
from devserver.reload import hooks


@dataclass(slots=True)
class Passage:
    """One hand-over, from `old` to `new`, with what it takes to give it back."""

    old: Generation
    new: Generation
    new_class: type[BaseMod]
    limit: float
    kept: dict[Any, Any] = field(default_factory=dict)
    old_class: type[BaseMod] | None = None

    async def go(self) -> str:
        """Hand over; what happened to the state, in two or three words. Raises what a mod's hook raises."""
        match self.new.hand_over:
            case HandOver.REBIND:
                return self._rebind()
            case HandOver.EXCLUSIVE:
                said = await self._move()
                await self._shut_old()
                return said
            case HandOver.FRESH:
                return await self._move()

    async def back(self) -> None:
        """Undo `go`: the old instance has its class and state again, and runs again where it was shut down."""
        if self.old_class is not None:
            self.old.instance.__class__ = self.old_class
            _refresh_registered(self.old.instance)
            return
        if self.old.instance.state != self.kept:
            # The very dict, as handlers of the old generation hold it.
            self.old.instance.state.clear()
            self.old.instance.state.update(self.kept)
        if self.old.is_down:
            self.old.is_down = False
            await hooks.call_hook(self.old, self.old.instance.initialize, "initialize()", self.limit)

    async def _move(self) -> str:
        old, new = self.old.instance, self.new.instance
        self.kept = dict(old.state)
        capture, restore = getattr(old, "capture_state", None), getattr(new, "restore_state", None)
        if callable(capture) and callable(restore):
            state = await hooks.call_hook(self.old, capture, "capture_state()", self.limit)
            answer = await hooks.call_hook(self.new, restore, "restore_state()", self.limit, state)
            if answer is False:
                raise HookFailed(f"{self.new.mod_id}: restore_state() returned False")
            return "state restored"
        new.state = old.state
        return f"state kept ({_count(len(old.state), 'key')})" if old.state else "no state"

    async def _shut_old(self) -> None:
        self.old.is_down = True
        failures = await hooks.shutdown(self.old, self.limit)
        if failures:
            raise failures[0]

    def _rebind(self) -> str:
        instance = self.old.instance
        self.old_class = type(instance)
        try:
            instance.__class__ = self.new_class
        except TypeError as error:
            self.old_class = None
            raise HookFailed(f"{self.new.mod_id}: the instance cannot take its new class: {error}") from error
        _refresh_registered(instance)
        return "same instance"


def _refresh_registered(instance: BaseMod) -> None:
    """Let handlers that were registered by hand as methods of the instance be those of its class now."""
    for place, (patterns, handler) in enumerate(instance._registered):
        if getattr(handler, "__self__", None) is instance:
            instance._registered[place] = (patterns, getattr(instance, handler.__name__, handler))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
