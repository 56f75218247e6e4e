"""A tape numbers what happens and hands it to the callers that wait."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from devserver.control.desk import DeskApi
from devserver.control.tape import Tape
from devserver.model.principal import ADMIN
from devserver.transports.http.routes import Request
from devserver.transports.strict import Malformed


async def test_who_waits_gets_what_comes_from_another_thread() -> None:
    """Numbered, and in order."""
    tape: Tape[str] = Tape(10)
    waiting = asyncio.create_task(tape.wait_after(0, 20))
    await asyncio.sleep(0)
    thread = threading.Thread(target=tape.put, args=("first",))
    thread.start()
    assert await waiting == ((1, "first"),)
    thread.join()
    tape.put("second")
    assert await tape.wait_after(1, 20) == ((2, "second"),)


async def test_what_is_known_already_is_not_waited_for() -> None:
    """A caller that is behind catches up at once, as far as it is kept."""
    tape: Tape[int] = Tape(3)
    for number in range(5):
        tape.put(number)
    assert await tape.wait_after(0, 20) == ((3, 2), (4, 3), (5, 4))
    assert tape.number == 5


async def test_nothing_is_an_answer_too() -> None:
    """When the time is over, and when the tape has ended."""
    tape: Tape[int] = Tape(3)
    assert await tape.wait_after(0, 0.001) == ()
    waiting = asyncio.create_task(tape.wait_after(0, 20))
    await asyncio.sleep(0)
    tape.close()
    assert await waiting == ()
    assert await tape.wait_after(0, 20) == ()


class FakeDesk:
    """Only tapes."""

    def __init__(self) -> None:
        self.reloads: Tape[dict[str, Any]] = Tape(3)


def asked(**query: str) -> Request:
    """A question of the admin's."""

    return Request(ADMIN, {}, query)


def values(answer: Any) -> dict[str, Any]:
    """The object in an answer."""
    import orjson

    found: dict[str, Any] = orjson.loads(answer.body)
    return found


async def test_reloads_carry_their_numbers() -> None:
    """So that a second question asks for what comes after."""
    desk = FakeDesk()
    api = DeskApi(desk)  # type: ignore[arg-type]
    desk.reloads.put({"success": True})
    assert values(await api.reloads(asked())) == {"next": 1, "reloads": []}
    assert values(await api.reloads(asked(after="0"))) == {"next": 1, "reloads": [{"number": 1, "success": True}]}
    assert values(await api.reloads(asked(after="1", seconds="0.001"))) == {"next": 1, "reloads": []}


@pytest.mark.parametrize("query", [{"after": "-1"}, {"after": "x"}, {"after": "٣"}, {"after": "1" * 30}])
async def test_a_number_is_a_number(query: dict[str, str]) -> None:
    """Anything else is refused."""
    with pytest.raises(Malformed):
        await DeskApi(FakeDesk()).reloads(asked(**query))  # type: ignore[arg-type]


@pytest.mark.parametrize("seconds", ["-1", "inf", "nan", "1e9", "x"])
async def test_how_long_to_wait_is_a_plain_number(seconds: str) -> None:
    """Anything else is refused."""
    with pytest.raises(Malformed):
        await DeskApi(FakeDesk()).reloads(asked(after="0", seconds=seconds))  # type: ignore[arg-type]
