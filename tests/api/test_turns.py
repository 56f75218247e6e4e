"""The turns of connections with more to do than one step."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

import pytest

from devserver.transports.http.channel import Channel
from devserver.transports.http.serving import BURST_SECONDS, Turns

EVENTS = 400


class Line:
    """A connection with many events, each of which is taken by a step and answered later."""

    has_turn = False

    def __init__(self, turns: Turns, *, busy: bool) -> None:
        self._turns, self.is_busy, self.left = turns, busy, EVENTS

    def is_working(self) -> bool:
        """Return that events wait for their answers."""
        return True

    def go_on(self) -> None:
        """Take one event."""
        self.left -= 1
        if self.left:
            self._turns.add(cast(Channel, self))


class Loop:
    """A loop that makes its calls on demand, and counts the rests."""

    def __init__(self) -> None:
        self.rests = 0
        self._due: list[Callable[[], None]] = []

    def call_soon(self, function: Callable[[], None]) -> None:
        """Have a function called in the next turn."""
        self._due.append(function)

    def call_later(self, seconds: float, function: Callable[[], None]) -> None:
        """Have it called after a rest."""
        self.rests += 1
        self._due.append(function)

    def run(self) -> None:
        """Make all calls."""
        while self._due:
            self._due.pop()()


@pytest.mark.parametrize(("busy", "most"), [(False, EVENTS // 4), (True, EVENTS)])
def test_a_backlog_of_events_does_not_wait_for_a_rest_each(busy: bool, most: int) -> None:
    """After a long burst a WebSocket takes several events a turn; a connection with a request in progress one."""
    loop = Loop()
    turns = Turns(cast(asyncio.AbstractEventLoop, loop))
    line: Any = Line(turns, busy=busy)
    turns.add(line)
    turns._since -= BURST_SECONDS
    loop.run()
    assert line.left == 0
    assert loop.rests <= most
    assert not busy or loop.rests == EVENTS - 1


class Broken(Line):
    """A connection whose step fails."""

    def __init__(self, turns: Turns) -> None:
        super().__init__(turns, busy=False)
        self.transport, self.ended = self, 0

    def go_on(self) -> None:
        """Fail."""
        raise ValueError("a fault")

    def abort(self) -> None:
        """Note the end."""
        self.ended += 1


def test_a_connection_whose_step_fails_ends_and_takes_no_turn_from_the_others() -> None:
    """The loop tells the error; the next turn comes all the same."""
    loop = Loop()
    turns = Turns(cast(asyncio.AbstractEventLoop, loop))
    broken, line = Broken(turns), Line(turns, busy=False)
    turns.add(cast(Channel, broken))
    turns.add(cast(Channel, line))
    with pytest.raises(ValueError, match="a fault"):
        loop.run()
    loop.run()
    assert (broken.ended, line.left) == (1, 0)
