"""What the analytics mod counts, and what it leaves alone."""

from __future__ import annotations

import pytest

from mods.analytics.mod import REPORT, AnalyticsMod


class Clock:
    """A clock that stands still until someone sets it."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch):
    """The clock of every analytics mod that is started."""
    made = Clock()
    monkeypatch.setattr(AnalyticsMod, "clock", staticmethod(made))
    return made


@pytest.fixture
async def mod(clock, start):
    """Analytics that has counted nothing yet."""
    return await start(AnalyticsMod)


async def test_every_event_is_counted_and_none_is_answered(mod, ask):
    """By event name and by agent, the most frequent first."""
    for name, by in [("thread.one.post", "ana"), ("thread.one.post", "ben"), ("odd.name", "agent:ana")]:
        assert await ask(mod, name, by=by) is None
    report = await ask(mod, REPORT, by="cleo")

    assert report.data["total"] == 4
    assert report.data["events"] == [
        {"name": "thread.one.post", "count": 2},
        {"name": REPORT, "count": 1},
        {"name": "odd.name", "count": 1},
    ]
    assert report.data["agents"][0] == {"name": "ana", "count": 2}


async def test_a_report_counts_the_question_for_it_once(mod, ask):
    """Both handlers of the mod cover that event, and still it is one."""
    first = await ask(mod, REPORT)
    second = await ask(mod, REPORT)
    refused = await ask(mod, REPORT, {"limit": "all"})
    third = await ask(mod, REPORT)

    assert not refused.success
    assert [each.data["total"] for each in (first, second, third)] == [1, 2, 4]


async def test_mods_and_the_system_are_no_agents(mod, ask):
    """What they send is counted by event name only."""
    await ask(mod, "some.event", by="mod:mods.wiki")
    await ask(mod, "some.event", by="system:system")
    report = await ask(mod, REPORT, by="ana")

    assert report.data["agents"] == [{"name": "ana", "count": 1}]
    assert {"name": "some.event", "count": 2} in report.data["events"]


async def test_rates_are_over_one_and_five_minutes(mod, clock, ask):
    """An event leaves the minute after sixty seconds and the five minutes after three hundred."""

    async def rates(now):
        clock.now = now
        data = (await ask(mod, REPORT)).data
        return data["last_minute"]["events"], data["last_5_minutes"]["events"]

    for _ in range(3):
        await ask(mod, "some.event")

    assert await rates(1059.9) == (4, 4)
    assert await rates(1060.0) == (2, 5)
    assert await rates(1299.0) == (1, 6)
    assert await rates(1300.0) == (2, 4)
    assert await rates(9000.0) == (1, 1)


async def test_a_rate_is_per_second_of_the_time_that_was_counted(mod, clock, ask):
    """After ten seconds a minute's rate is over ten seconds, after an hour over sixty."""
    for _ in range(19):
        await ask(mod, "some.event")
    clock.now = 1010.0
    early = await ask(mod, REPORT)
    clock.now = 4600.0
    late = await ask(mod, REPORT)

    assert early.data["last_minute"] == {"events": 20, "per_second": 2.0}
    assert late.data["last_minute"] == {"events": 1, "per_second": round(1 / 60, 3)}
    assert late.data["counted_for_seconds"] == 3600.0


async def test_names_are_bounded_and_what_is_beyond_is_counted_together(clock, start, ask):
    """`max_names` holds for event names and for agents; the total stays right."""
    mod = await start(AnalyticsMod, {"max_names": 2})
    for number in range(5):
        await ask(mod, f"some.event{number}", by=f"agent{number}")
    report = await ask(mod, REPORT, by="agent0")

    assert len(mod.state["events"]) == len(mod.state["agents"]) == 2
    assert report.data["other"] == {"events": 4, "agents": 3}
    assert report.data["total"] == 6
    assert report.data["agents"][0] == {"name": "agent0", "count": 2}


async def test_a_report_may_be_limited(mod, ask):
    """To so many names of each kind."""
    for number in range(5):
        await ask(mod, f"some.event{number}", by=f"agent{number}")
    report = await ask(mod, REPORT, {"limit": 2}, by="agent0")

    assert len(report.data["events"]) == len(report.data["agents"]) == 2


async def test_counts_survive_a_new_instance(mod, clock, start, ask):
    """Totals, rates and the beginning of counting are those of before."""
    await ask(mod, "some.event")
    clock.now = 1030.0
    following = await start(AnalyticsMod, None, mod.state)
    report = await ask(following, REPORT)

    assert report.data["total"] == 2
    assert report.data["last_minute"]["events"] == 2
    assert report.data["counted_for_seconds"] == 30.0


async def test_a_configuration_that_cannot_be_used_is_refused_with_its_key(start):
    """The load fails with a sentence for the author of network.yaml."""
    with pytest.raises(ValueError, match='"max_names" must be at least 1, not 0'):
        await start(AnalyticsMod, {"max_names": 0})
