"""What the heavy analytics mod holds, answers, and gives back."""

from __future__ import annotations

import weakref

import pytest

from mods.heavy_analytics.mod import HeavyAnalyticsMod
from mods.heavy_analytics.table import SERIES, build

QUERY = "heavy_analytics.query"


@pytest.fixture
async def mod(start):
    """Ten minutes of rows."""
    return await start(HeavyAnalyticsMod, {"rows": 10 * SERIES})


async def test_a_query_sums_up_a_series_over_minutes(mod, ask):
    """The first and the last minute are both in it, and what is beyond the table is nothing."""
    everything = await ask(mod, QUERY, {"series": 3})
    part = await ask(mod, QUERY, {"series": 3, "first_minute": 2, "last_minute": 4})
    beyond = await ask(mod, QUERY, {"series": 3, "first_minute": 10})

    values = [value for series, minute, value in build(10 * SERIES).rows if series == 3 and 2 <= minute <= 4]
    assert (everything.data["count"], everything.data["rows"]) == (10, 10 * SERIES)
    assert (part.data["count"], part.data["least"], part.data["greatest"]) == (3, min(values), max(values))
    assert part.data["mean"] == pytest.approx(sum(values) / 3)
    assert (beyond.data["count"], beyond.data["mean"]) == (0, None)


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        ({}, '"series" is missing'),
        ({"series": SERIES}, f'"series" must be below {SERIES}, not {SERIES}'),
        ({"series": 0, "first_minute": 5, "last_minute": 4}, '"last_minute" must be at least 5, not 4'),
    ],
)
async def test_a_query_that_makes_no_sense_is_refused_with_a_sentence(mod, ask, payload, words):
    """The answer says what is wrong."""
    answer = await ask(mod, QUERY, payload)

    assert not answer.success
    assert words in answer.message


async def test_shutdown_gives_the_table_back(mod, ask):
    """Nothing else refers to the table, also while someone still holds the mod; asked then, it says so."""
    table = weakref.ref(mod.table)
    assert table() is not None

    mod.shutdown()

    assert table() is None
    assert (await ask(mod, QUERY, {"series": 0})).message == "the table is not there: the mod has been shut down"


async def test_the_table_is_no_state(mod, start):
    """A new generation builds its own, so two tables never travel."""
    following = await start(HeavyAnalyticsMod, {"rows": SERIES}, mod.state)

    assert mod.state == {}
    assert len(following.table.rows) == SERIES
    assert len(mod.table.rows) == 10 * SERIES


async def test_the_rows_are_bounded(start):
    """More than five million are refused before they are built."""
    with pytest.raises(ValueError, match='"rows" must be at most 5000000, not 5000001'):
        await start(HeavyAnalyticsMod, {"rows": 5_000_001})
