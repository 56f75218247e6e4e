"""Key v: events are shown in the terminal, until it is pressed again."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from workspaces import until

from devserver import Event, EventResponse
from devserver.model.facts import Fact, Notice
from devserver.network.accounts import RECORDED, Account
from devserver.network.recorder import Recorder
from devserver.server.shown_events import ShownEvents


async def test_events_are_shown_while_a_person_wants_that(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that come from now on, the latest where there are too many, without secrets; and then no more."""
    monkeypatch.setattr("devserver.server.shown_events._GATHER_SECONDS", 0.0)
    recorder, shown, told = Recorder(Account(RECORDED)), list[Any](), list[Fact]()
    tasks: list[asyncio.Task[Any]] = []
    events = ShownEvents(
        recorder,
        show=shown.append,
        clean=lambda raw: raw.replace(b"hush", b"[secret]"),
        tell=told.append,
        begin=lambda work: tasks.append(asyncio.ensure_future(work)),  # type: ignore[arg-type]
    )

    def send(count: int = 1) -> None:
        for _ in range(count):
            event = Event(event_name="note.take", source_id="ana", payload={"text": "hush"})
            recorder.begin(event, 0).end(event, EventResponse(True, "good"))

    send()
    events.turn()
    await asyncio.sleep(0)
    send(2)
    await until(lambda: len(shown) == 2)
    assert [(each["number"], each["payload"]) for each in shown] == [
        (2, {"text": "[secret]"}),
        (3, {"text": "[secret]"}),
    ]
    send(30)
    await until(lambda: len(shown) == 22)
    assert [each.message for each in told if isinstance(each, Notice)] == [
        "events are shown; v again ends that",
        "10 more events: oa-dev events --last 10 shows them",
    ]
    events.turn()
    await asyncio.gather(*tasks)
    send()
    assert len(shown) == 22
