"""Answers that were given already: who gets which, and what is forgotten."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from devserver.model.event import EventResponse
from devserver.network.accounts import ANSWERS, Accounts
from devserver.network.answers import MOST_ANSWER, Answers, Pending, _kept


def answer(text: str) -> EventResponse:
    return EventResponse(True, text)


def holding(each: int | None = None, most: int | None = None) -> Answers:
    """Answers with room for so many small ones of one sender, or of all."""
    one, *_ = _kept("e1", answer("e1"))
    bound = replace(ANSWERS, each=each * one if each else ANSWERS.each, most=most * one if most else ANSWERS.most)
    return Answers(bound=bound)


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


def test_the_first_of_two_answers_to_one_event_counts() -> None:
    """Also where the second one needs no mod, and is there before the first one has ended."""
    answers = Answers()
    assert answers.begin("ana", "e1") is None
    answers.give("ana", "e1", answer("second"))
    assert isinstance(answers.given("ana", "e1"), Pending)
    answers.end("ana", "e1", answer("first"))
    answers.give("ana", "e1", answer("third"))
    assert answers.given("ana", "e1") == answer("first")


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


async def test_an_answer_that_is_left_out_is_told_and_not_remembered() -> None:
    """What another host's mod did is not known: who waits hears that, and the same event may come again."""
    answers = Answers()
    assert answers.begin("ana", "e1") is None
    pending = answers.begin("ana", "e1")
    assert isinstance(pending, Pending)
    waiting = asyncio.create_task(answers.wait(pending))
    await asyncio.sleep(0)
    answers.leave_out("ana", "e1")
    answers.end("ana", "e1", answer("unknown"))
    assert await waiting == answer("unknown")
    assert answers.begin("ana", "e1") is None


async def test_what_is_being_answered_is_never_forgotten() -> None:
    """However many other events are answered meanwhile, who waits for an answer gets it."""
    answers = holding(each=2, most=4)
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
    async with asyncio.timeout(60):
        assert await waiting == answer("at last")


def test_of_one_sender_the_oldest_answers_are_forgotten() -> None:
    """No more are kept than the bound."""
    answers = holding(each=2)
    answered(answers, "ana", "e1", "e2", "e3")
    assert known(answers, "ana", "e2", "e3") == ["e2", "e3"]
    assert answers.begin("ana", "e1") is None


def test_of_many_senders_those_are_forgotten_that_were_answered_longest_ago() -> None:
    """Who came first but is still busy stays known."""
    answers = holding(most=3)
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


def test_a_large_answer_is_not_kept_and_its_event_is_still_handled_once() -> None:
    """The repeat is told so."""
    accounts = Accounts()
    answers = Answers(accounts)
    assert answers.begin("ana", "e1") is None
    answers.end("ana", "e1", EventResponse(True, "", {"x": "y" * MOST_ANSWER}, "some.event"))
    repeated = answers.begin("ana", "e1")
    assert isinstance(repeated, EventResponse)
    assert (repeated.success, repeated.data, repeated.event_name) == (True, {"code": "answer_not_kept"}, "some.event")
    assert accounts.rows()[0]["bytes"] < 1000


def test_a_thousand_large_answers_take_no_more_than_their_bound() -> None:
    """5,000 answers of 100 KB once took 2.4 GB, and 5,000 of 60 KB would as well."""
    accounts = Accounts()
    answers = Answers(accounts)
    for number in range(5000):
        answers.give(f"agent{number % 5}", f"e{number}", EventResponse(True, "", {"x": "y" * 60_000}))
    row = accounts.rows()[0]
    assert 5 * 900_000 < row["bytes"] <= 5 * row["each"]
    assert sum(each["bytes"] for each in row["owners"]) == row["bytes"]


async def test_what_was_answered_goes_with_its_sender() -> None:
    """Also what is still being answered: the next agent of that id is another one."""
    accounts = Accounts()
    answers = Answers(accounts)
    answered(answers, "ana", "e1", "e2")
    answered(answers, "bob", "e1")
    assert answers.begin("ana", "slow") is None
    assert answers.begin("ana", "awaited") is None
    pending = answers.begin("ana", "awaited")
    assert isinstance(pending, Pending)
    waiting = asyncio.create_task(answers.wait(pending))
    await asyncio.sleep(0)
    accounts.owner_gone("ana")
    answers.end("ana", "slow", answer("late"))
    answers.end("ana", "awaited", answer("late, too"))
    assert await waiting == answer("late, too")
    assert known(answers, "bob", "e1") == ["e1"]
    assert [answers.begin("ana", each) for each in ("e1", "e2", "slow")] == [None, None, None]
    assert answers.sizes() == {"bob": accounts.rows()[0]["bytes"]}


def test_an_answer_is_kept_as_it_was_given() -> None:
    """Later changes of its data by the mod concern no one; what is not JSON is kept as it went over the wire."""
    answers = Answers()
    data = {"n": [1], "big": 2**80, "set": {1}}
    answers.give("ana", "e1", EventResponse(True, "m", data, "some.event"))
    data["n"].append(2)
    assert answers.given("ana", "e1") == EventResponse(True, "m", {"n": [1], "big": 2**80, "set": [1]}, "some.event")
