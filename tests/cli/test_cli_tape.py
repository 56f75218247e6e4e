"""A tape numbers what happens and hands it to whoever waits; events reach it only while somebody follows them."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from workspaces import Workspace, served

from devserver.control.desk import DeskApi
from devserver.control.followed import MOST_PAYLOAD, UNASKED_SECONDS, Followed, event_row
from devserver.control.tape import Tape
from devserver.model.event import Event, EventResponse
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
    """Whoever is behind catches up at once, as far as it is kept."""
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


class Clock:
    """Monotonic seconds that somebody sets."""

    now = 0.0

    def __call__(self) -> float:
        """The time it was set to."""
        return self.now


async def test_a_network_is_tapped_only_while_somebody_asks(work: Workspace) -> None:
    """Nobody's events are kept; a minute after the last question they are not any more."""
    work.mod("ant", served("ant", 1))
    network = await work.start("mods.ant")
    clock = Clock()
    followed = Followed(network.on_event, clock)
    await work.ask("ant.version.get")
    tape = followed.ask()
    await work.ask("ant.version.get", question=1)
    assert [(row["event_name"], row["payload"], row["success"]) for _, row in tape.after(0)] == [
        ("ant.version.get", {"question": 1}, True)
    ]
    clock.now = UNASKED_SECONDS + 1
    await work.ask("ant.version.get")
    assert (network.on_event, tape.number) == ([], 1)


async def test_what_mods_send_each_other_is_followed_too(work: Workspace) -> None:
    """The event of a handler comes before the one that it answers, which ends later."""
    work.mod("ant", served("ant", 1))
    work.mod(
        "bee",
        """
        @mod_event_handler("bee.ask")
        async def ask(self, event):
            return await self.network.process_event(Event(event_name="ant.version.get"))
        """,
    )
    network = await work.start("mods.ant", "mods.bee")
    tape = Followed(network.on_event).ask()
    await work.ask("bee.ask")
    rows = [row for _, row in tape.after(0)]
    assert [(row["event_name"], row["source_id"]) for row in rows] == [
        ("ant.version.get", "mod:mods.bee"),
        ("bee.ask", "ana"),
    ]


def row(name: str, **payload: Any) -> dict[str, Any]:
    """An event as it is shown."""
    event = Event(event_name=name, source_id="ana", payload=payload, secret="hush")
    return event_row(event, EventResponse(True, "done"), 5.0)


def test_no_secret_is_shown() -> None:
    """Neither an agent's, nor what it registers with."""
    assert "hush" not in str(row("wiki.page.get"))
    assert row("system.register_agent", password_hash="c97a")["payload"] is None


def test_a_payload_is_a_copy_and_bounded() -> None:
    """Whoever got the event may change it; a huge one is told by its size; what is no JSON is told as text."""
    pages: list[int] = [1]
    shown = row("wiki.pages.put", pages=pages)
    pages.append(2)
    assert shown["payload"] == {"pages": [1]}
    assert row("wiki.page.put", text="x" * MOST_PAYLOAD)["payload"].endswith(" bytes")
    assert row("wiki.page.put", odd={1, 2})["payload"] == {"odd": [1, 2]}


class FakeDesk:
    """Only tapes."""

    def __init__(self) -> None:
        self.taps: list[Any] = []
        self.followed = Followed(self.taps)
        self.reloads: Tape[dict[str, Any]] = Tape(3)


def asked(**query: str) -> Request:
    """A question of the admin's."""

    return Request(ADMIN, {}, query)


def values(answer: Any) -> dict[str, Any]:
    """The object in an answer."""
    import orjson

    found: dict[str, Any] = orjson.loads(answer.body)
    return found


async def test_a_first_question_for_events_is_where_they_stand() -> None:
    """It taps the network and waits for nothing; the second gets what came since, by pattern, and what was lost."""
    desk = FakeDesk()
    api = DeskApi(desk)  # type: ignore[arg-type]
    assert values(await api.events(asked())) == {"next": 0, "lost": 0, "events": []}
    for number in range(1001):
        desk.taps[0](Event(event_name="a1.b1" if number else "c1.d1"), EventResponse(True))
    desk.taps[0](Event(event_name="c1.d1"), EventResponse(True))
    told = values(await api.events(asked(after="0", pattern="c1.*")))
    assert (told["next"], told["lost"], [each["event_name"] for each in told["events"]]) == (1002, 2, ["c1.d1"])


async def test_reloads_carry_their_numbers() -> None:
    """So that whoever asks again asks for what comes after."""
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
