"""Answers: what cannot be written costs only itself."""

import json
import tracemalloc

import pytest

from devserver.model.event import Event, EventResponse
from devserver.transports.http.answers import to_json

HUGE = 10**5000


class Odd:
    """A value whose text fails, as those of mods may."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


class Failing(dict):
    """A mapping that cannot be read."""

    def items(self):
        raise RuntimeError("changed while it was read")


CIRCLE: list = []
CIRCLE.append(CIRCLE)


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (HUGE, "<an integer of 16610 bits>"),
        ([1, {"n": HUGE}, 2], [1, {"n": "<an integer of 16610 bits>"}, 2]),
        ({HUGE: 1}, {"<int: ValueError>": 1}),
        (10**4200, 10**4200),
        (Odd(), "<Odd: RuntimeError>"),
        ({"a": Odd(), "b": 2**70}, {"a": "<Odd: RuntimeError>", "b": 2**70}),
        (float("nan"), None),
    ],
    ids=["alone", "in a list", "as a key", "the longest", "odd", "odd beside big", "nan"],
)
def test_a_value_that_cannot_be_written_is_a_sentence(value, written):
    """And what stands beside it is written as it is."""
    assert json.loads(to_json(value)) == written


def test_nothing_that_a_mod_answers_makes_writing_fail():
    """A circle, and a mapping that changes while it is read."""
    assert b"\\u2026" in to_json({"circle": CIRCLE, "big": 2**70})
    assert json.loads(to_json({"odd": Failing(a=1), "big": 2**70}))


async def test_a_poll_loses_no_event_beside_one_that_cannot_be_written(served):
    """All of them come, in their order."""
    secret = await served.join("bea")
    for value in (1, HUGE, 2):
        told = Event(event_name="test.event", source_id="ana", destination_id="bea", payload={"n": value})
        served.network.directory.deliver(told)
    found = [each["payload"]["n"] for each in (await served.poll("bea", secret))["messages"]]
    assert found == [1, "<an integer of 16610 bits>", 2]


async def test_a_line_goes_on_behind_an_event_that_cannot_be_written(served):
    """Its agent is not cut off."""
    async with served.agent("bea") as (line, _):
        for value in (1, HUGE, 2):
            told = Event(event_name="test.event", source_id="ana", destination_id="bea", payload={"n": value})
            served.network.directory.deliver(told)
        found = [json.loads(await line.recv())["event"]["payload"]["n"] for _ in range(3)]
    assert found == [1, "<an integer of 16610 bits>", 2]


async def test_an_answer_that_cannot_be_written_is_an_answer(served):
    """With a sentence in the place of the value."""

    async def answer(event):
        return EventResponse(True, "done", {"n": HUGE})

    served.network.on_event = answer
    secret = await served.join("ana")
    assert (await served.send("ana", secret))["data"] == {"n": "<an integer of 16610 bits>"}


def test_what_is_kept_takes_the_memory_that_its_length_says():
    """What is kept for agents is bounded by the length of these bytes, so no buffer may stay behind them."""
    tracemalloc.start()
    try:
        kept = [to_json({"n": n}) for n in range(1000)]
        used, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert used < sum(map(len, kept)) + 100 * len(kept)
