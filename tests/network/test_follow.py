"""Events that are followed: each entry as it ends, whole."""

from __future__ import annotations

from devserver import Event, EventResponse
from devserver.network.accounts import RECORDED, Account
from devserver.network.recorder import Recorder, number_of, rest_of


def test_who_follows_is_given_each_event_when_it_ends_with_its_whole_payload() -> None:
    """What came before is not told again, nor what comes after the end."""
    recorder, seen = Recorder(Account(RECORDED)), []

    def send(size: int = 1) -> None:
        event = Event(event_name="note.take", source_id="ana", payload={"text": "x" * size})
        recorder.begin(event, 0).end(event, EventResponse(True, "good"))

    send()
    recorder.follow(seen.extend)
    mark = recorder.mark()
    send(200_000)
    send()
    recorder.take_in()
    assert [number_of(each) > mark for each in seen] == [True, True]
    assert rest_of(seen[0])["payload"] == {"text": "x" * 200_000}
    recorder.follow(None)
    send()
    assert len(seen) == 2
