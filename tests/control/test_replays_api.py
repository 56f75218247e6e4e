"""The endpoints of replay: an event is sent for real only on the generations that were seen, and the log says so."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import pytest

from devserver.control.replays import ReplayApi
from devserver.model.principal import ADMIN, Scope
from devserver.transports.http.routes import Request
from devserver.transports.strict import Malformed


class Replays:
    """Notes what it is asked to send."""

    def __init__(self) -> None:
        self.sent: list[Any] = []

    async def send_again(self, what: Any, payload: Any, seen: Any) -> dict[str, Any]:
        self.sent.append((what, payload, seen))
        return {}

    async def replay(self, what: Any, *, payload: Any, on: str) -> dict[str, Any]:
        return {}


async def test_an_event_is_sent_for_real_with_the_generations_that_were_seen_and_a_line_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Without these it is refused. A replay has its line, too. Every endpoint needs the admin's token: observations
    show payloads."""
    caplog.set_level(logging.INFO, "devserver.audit")
    replays = Replays()
    api = ReplayApi(SimpleNamespace(replays=replays, sessions=None))
    assert {each.scope for each in api.routes()} == {Scope.ADMIN}
    body: dict[str, Any] = {"number": 57, "for_real": True}
    with pytest.raises(Malformed, match="the generations that you have seen"):
        await api.replay(Request(ADMIN, body))
    assert (replays.sent, caplog.messages) == ([], [])
    await api.replay(Request(ADMIN, {**body, "generations": {"wiki": 4}}, who="a client at 127.0.0.1"))
    assert replays.sent == [(57, None, {"wiki": 4})]
    await api.replay(Request(ADMIN, {"number": 57}, who="a client at 127.0.0.1"))
    client = "a client at 127.0.0.1"
    assert caplog.messages == [f"{client} sends 57 again, for real", f"{client} replays 57"]


@pytest.mark.parametrize("given", ["", "five", "9" * 5000])
async def test_a_number_that_is_none_is_refused(given: str) -> None:
    """Also one with more digits than Python reads."""
    api = ReplayApi(SimpleNamespace(replays=None, sessions=None))
    with pytest.raises(Malformed) as refused:
        await api.moment(Request(ADMIN, {}, {"name": "one", "number": given}))
    assert refused.value.code == "bad_query"
