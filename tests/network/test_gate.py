"""The gate before a mod: order, bound, and that no one is forgotten before it."""

from __future__ import annotations

import asyncio

import pytest

from devserver.errors import EventRefused
from devserver.live.registry import Gate


class Line:
    """Events that go through a gate, and the order in which they came out."""

    def __init__(self, limit: int = 100) -> None:
        self.gate = Gate(limit)
        self.through: list[str] = []
        self.tasks: dict[str, asyncio.Task[None]] = {}

    def come(self, *names: str) -> None:
        """Events arrive, in this order."""
        for name in names:
            self.tasks[name] = asyncio.create_task(self._go(name))

    async def _go(self, name: str) -> None:
        if self.gate.shut:
            await self.gate.wait("wiki")
        self.through.append(name)

    async def all(self) -> list[str]:
        """Who went through, in order, when no one is on the way any more."""
        async with asyncio.timeout(60):
            await asyncio.gather(*self.tasks.values(), return_exceptions=True)
        return self.through


async def turn(times: int = 1) -> None:
    """Let everything that can run do so once."""
    for _ in range(times):
        await asyncio.sleep(0)


async def test_an_open_gate_holds_nobody() -> None:
    """What comes to an open gate goes through at once."""
    line = Line()
    line.come("a", "b")
    assert await line.all() == ["a", "b"]


async def test_held_events_go_in_in_the_order_of_their_coming() -> None:
    """First in, first out."""
    line = Line()
    line.gate.close()
    line.come(*"abcdef")
    await turn(3)
    assert line.through == []
    line.gate.open()
    assert await line.all() == list("abcdef")


async def test_a_gate_says_how_many_it_held_and_how_long() -> None:
    """The first has waited longest."""
    line = Line()
    line.gate.close()
    line.come(*"abc")
    await turn(2)
    held = line.gate.open()
    assert held.events == 3
    assert held.longest_ms > 0
    assert line.gate.open().events == 0


async def test_who_comes_while_the_gate_opens_does_not_overtake() -> None:
    """An opened gate counts as shut until the last of those who waited has gone in."""
    line = Line()
    line.gate.close()
    line.come(*"abc")
    await turn()
    line.gate.open()
    assert line.gate.shut
    # These two come in the same turn of the loop in which the others are called.
    await asyncio.gather(line._go("d"), line._go("e"))
    assert await line.all() == list("abcde")
    assert not line.gate.shut


async def test_who_comes_after_each_turn_of_the_opening_does_not_overtake() -> None:
    """Whenever it comes while the line moves, it goes behind."""
    line = Line()
    line.gate.close()
    line.come(*"abc")
    await turn()
    line.gate.open()
    for name in "defgh":
        line.come(name)
        await turn()
    assert await line.all() == list("abcdefgh")


async def test_a_gate_that_closes_again_holds_those_who_have_not_gone_in() -> None:
    """Closed in the turn in which it opened, it lets no one in, and everyone keeps their place."""
    line = Line()
    line.gate.close()
    line.come(*"abc")
    await turn()
    line.gate.open()
    line.gate.close()
    await turn(5)
    assert line.through == []
    assert line.gate.shut
    line.come("d")
    await turn(2)
    assert line.gate.open().events == 4
    assert await line.all() == list("abcd")


async def test_a_gate_that_closes_again_stays_closed_for_those_who_come() -> None:
    """What is left of one opening does not open the next closing."""
    line = Line()
    line.gate.close()
    line.come("a")
    await turn()
    line.gate.open()
    await turn()
    line.gate.close()
    line.come("b")
    await turn(5)
    assert line.through == ["a"]
    line.gate.open()
    assert await line.all() == ["a", "b"]


@pytest.mark.parametrize("given_up", ["a", "b", "c", "abc", "ac"])
async def test_who_gives_up_leaves_the_line_to_the_others(given_up: str) -> None:
    """A cancelled sender neither holds up those behind it nor keeps the gate shut."""
    line = Line()
    line.gate.close()
    line.come(*"abc")
    await turn()
    for name in given_up:
        line.tasks[name].cancel()
    line.gate.open()
    line.come("d")
    assert await line.all() == [each for each in "abcd" if each not in given_up]
    assert not line.gate.shut


@pytest.mark.parametrize("given_up", ["a", "b", "c", "abc"])
async def test_who_gives_up_while_the_gate_is_closed_does_not_open_it(given_up: str) -> None:
    """A cancelled sender at the head of the line lets no one in."""
    line = Line()
    line.gate.close()
    line.come(*"abc")
    await turn()
    for name in given_up:
        line.tasks[name].cancel()
    line.come("d")
    await turn(3)
    assert line.through == []
    line.gate.open()
    assert await line.all() == [each for each in "abcd" if each not in given_up]


async def test_who_gives_up_after_the_gate_has_opened_is_not_let_in() -> None:
    """Called and cancelled in one turn, it leaves the line."""
    line = Line()
    line.gate.close()
    line.come(*"abc")
    await turn()
    line.gate.open()
    line.tasks["c"].cancel()
    line.tasks["a"].cancel()
    assert await line.all() == ["b"]
    assert not line.gate.shut


async def test_a_full_gate_refuses_and_says_what_to_do() -> None:
    """No more events wait than the limit says; each that is refused learns why."""
    gate = Gate(2)
    gate.close()
    waiting = [asyncio.create_task(gate.wait("wiki")) for _ in range(2)]
    await turn()
    with pytest.raises(EventRefused, match="wiki is being reloaded and 2 events wait for it already; send again"):
        await gate.wait("wiki")
    gate.open()
    await asyncio.gather(*waiting)


async def test_an_opening_gate_refuses_nobody() -> None:
    """The limit is for a closed gate: what comes while the line moves only stands behind it."""
    line = Line(limit=2)
    line.gate.close()
    line.come("a", "b")
    await turn()
    line.gate.open()
    line.come("c", "d", "e")
    assert await line.all() == list("abcde")


async def test_a_thousand_held_events_go_in_within_a_few_turns() -> None:
    """The line does not move one by one with everything else of the loop in between."""
    line = Line(limit=1000)
    line.gate.close()
    line.come(*(str(n) for n in range(1000)))
    await turn()
    line.gate.open()
    await turn(3)
    assert len(line.through) == 1000
