"""Answers that were given already: who gets which, and what is forgotten."""

from __future__ import annotations

import asyncio

from devserver.model.event import EventResponse
from devserver.network.answers import Answers, Pending


def answer(text: str) -> EventResponse:
    return EventResponse(True, text)


def answered(answers: Answers, sender: str | None, *event_ids: str) -> None:
    """These events come and are answered, each with its id."""
    for event_id in event_ids:
        assert answers.begin(sender, event_id) is None
        answers.end(sender, event_id, answer(event_id))


def known(answers: Answers, sender: str | None, *event_ids: str) -> list[str]:
    """Those of these events whose answer is still known."""
    return [each for each in event_ids if isinstance(answers.begin(sender, each), EventResponse)]


def test_a_repeat_gets_the_first_answer() -> None:
    """An event id is answered once."""
    answers = Answers()
    answered(answers, "ana", "e1")
    assert answers.begin("ana", "e1") == answer("e1")


def test_an_event_id_belongs_to_its_sender() -> None:
    """The same id of another sender is another event."""
    answers = Answers()
    answered(answers, "ana", "e1")
    assert answers.begin("bob", "e1") is None
    assert answers.begin(None, "e1") is None


async def test_a_repeat_waits_for_an_answer_that_is_being_made() -> None:
    """All who send an event while it is on its way get its one answer."""
    answers = Answers()
    assert answers.begin("ana", "e1") is None
    pending = answers.begin("ana", "e1")
    assert isinstance(pending, Pending)
    waiting = [asyncio.create_task(answers.wait(pending)) for _ in range(3)]
    await asyncio.sleep(0)
    waiting[1].cancel()
    answers.end("ana", "e1", answer("done"))
    assert await asyncio.gather(waiting[0], waiting[2]) == [answer("done"), answer("done")]
    assert waiting[1].cancelled()


async def test_what_is_being_answered_is_never_forgotten() -> None:
    """However many other events are answered meanwhile, who waits for an answer gets it."""
    answers = Answers(per_sender=2, senders=2)
    assert answers.begin("ana", "slow") is None
    pending = answers.begin("ana", "slow")
    assert isinstance(pending, Pending)
    waiting = asyncio.create_task(answers.wait(pending))
    await asyncio.sleep(0)
    answered(answers, "ana", "e1", "e2", "e3", "e4")
    for sender in ("bob", "eve", "dan"):
        answered(answers, sender, "e1")
    assert answers.begin("ana", "slow") is pending
    answers.end("ana", "slow", answer("at last"))
    async with asyncio.timeout(10):
        assert await waiting == answer("at last")


def test_of_one_sender_the_oldest_answers_are_forgotten() -> None:
    """No more are kept than the bound."""
    answers = Answers(per_sender=2)
    answered(answers, "ana", "e1", "e2", "e3")
    assert known(answers, "ana", "e2", "e3") == ["e2", "e3"]
    assert answers.begin("ana", "e1") is None


def test_of_many_senders_those_are_forgotten_that_were_answered_longest_ago() -> None:
    """Who came first but is still busy stays known."""
    answers = Answers(senders=2)
    answered(answers, "ana", "e1")
    answered(answers, "bob", "e1")
    answered(answers, "ana", "e2")
    answered(answers, "eve", "e1")
    assert known(answers, "ana", "e1", "e2") == ["e1", "e2"]
    assert answers.begin("bob", "e1") is None


def test_an_end_without_a_begin_changes_nothing() -> None:
    """An answer counts once, and only for what was asked."""
    answers = Answers()
    answers.end("ana", "e1", answer("unasked"))
    assert answers.begin("ana", "e1") is None
    answers.end("ana", "e1", answer("first"))
    answers.end("ana", "e1", answer("second"))
    assert answers.begin("ana", "e1") == answer("first")
