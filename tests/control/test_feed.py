"""The feed: what happened, as often as can be looked at it, for those alone who hold this run's token."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Collection
from typing import Any

import orjson
import pytest

from devserver import Event, EventResponse
from devserver.control.feed import (
    GATHER_SECONDS,
    MOST_BYTES,
    MOST_NEWS,
    MOST_ROWS,
    MOST_WATCHERS,
    SOON_SECONDS,
    FeedApi,
)
from devserver.control.tape import Tape
from devserver.model.principal import ADMIN, Scope
from devserver.model.trace import ROW, Said
from devserver.network.accounts import RECORDED, Account
from devserver.network.recorder import Recorder
from devserver.server.redact import HIDDEN, Redactor
from devserver.transports.http.answers import Answer
from devserver.transports.http.routes import Request
from devserver.transports.strict import Malformed

TOKEN, SECRET = "the-token-of-this-run", "a1B2" * 16
NUMBER = [name for name, _ in ROW].index("number")


class SmallViews:
    """Views of a network in which nothing runs."""

    pinned: Collection[int] = ()

    def __init__(self) -> None:
        self.recorder = Recorder(Account(RECORDED))
        self.facts: Tape[Any] = Tape(500)
        self.logs: Tape[Any] = Tape(500)
        known = hashlib.sha256(SECRET.encode()).hexdigest()
        self.clean = Redactor(TOKEN, lambda digest: digest == known).json

    def mods_revision(self) -> int:
        return 7

    def mods_since(self, revision: int) -> dict[str, Any]:
        return {"revision": 7, "mods": [], "order": ["wiki"], "since": revision}

    def agents_seen(self) -> dict[str, int]:
        return {"n": 3, "dropped": 0}

    def recording(self) -> str | None:
        return "a.jsonl"

    def happen(self, count: int = 1, answer: EventResponse | None = None, **fields: Any) -> None:
        """Let events begin and end."""
        for _ in range(count):
            event = Event(**{"event_name": "note.take", "source_id": "ana", **fields})
            way = self.recorder.begin(event, 0)
            way.end(event, answer or EventResponse(True, "done"))


class Clock:
    """Lets those who sleep go on when time is let pass."""

    def __init__(self) -> None:
        self.slept: list[float] = []
        self.now = 0.0
        self._sleepers: list[asyncio.Future[None]] = []
        self._news = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        waiting = asyncio.get_running_loop().create_future()
        self._sleepers.append(waiting)
        self._news.set()
        await waiting

    async def somebody_sleeps(self) -> None:
        await self._news.wait()

    async def let_pass(self) -> None:
        await self.somebody_sleeps()
        for each in self._sleepers:
            each.set_result(None)
        self._sleepers.clear()
        self._news.clear()


@pytest.fixture
def views() -> SmallViews:
    return SmallViews()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def api(views: SmallViews, clock: Clock) -> FeedApi:
    return FeedApi(views, sleep=clock.sleep, clock=lambda: clock.now)


def asked(**query: Any) -> Request:
    return Request(ADMIN, {}, {key: str(value) for key, value in query.items()})


async def told(answer: Awaitable[Answer]) -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads((await answer).body)
    return found


def numbers(answer: dict[str, Any]) -> list[int]:
    return [row[NUMBER] for row in answer["rows"]]


async def test_the_first_answer_has_the_latest_of_everything_and_names_the_columns(
    api: FeedApi, views: SmallViews, clock: Clock
) -> None:
    """It is given at once, and says where to go on."""
    views.happen(3)
    views.facts.put({"type": "notice", "message": "hello"})
    views.logs.put((5.0, "info", "wiki", 2, "words"))
    found = await told(api.feed(asked()))
    assert found["columns"] == [name for name, _ in ROW]
    assert (numbers(found), found["next"], found["skipped"]) == ([1, 2, 3], 3, 0)
    assert found["facts"] == [{"n": 1, "type": "notice", "message": "hello"}]
    assert found["logs"] == [[1, 5.0, "info", "wiki", 2, "words"]]
    assert (found["mods"], found["agents"], clock.slept) == (7, {"n": 3, "dropped": 0}, [])
    assert abs(found["zero"] - views.recorder.zero_at) < 1e-3


async def test_a_question_is_held_until_something_happens_and_gathers_what_comes_with_it(
    api: FeedApi, views: SmallViews, clock: Clock
) -> None:
    """One wake-up for an answer, however many events there are; four answers a second at most."""
    waiting = asyncio.create_task(told(api.feed(asked(after=0))))
    for _ in range(5):
        await asyncio.sleep(0)
    assert clock.slept == []
    views.happen()
    await clock.somebody_sleeps()
    views.happen(4)
    await clock.let_pass()
    found = await waiting
    assert (numbers(found), found["next"], clock.slept) == ([1, 2, 3, 4, 5], 5, [GATHER_SECONDS])
    assert "columns" not in found


async def test_what_comes_after_a_quiet_time_is_told_at_once(api: FeedApi, views: SmallViews, clock: Clock) -> None:
    """A swap that a person waits for is seen; the next answer takes its time again."""
    waiting = asyncio.create_task(told(api.feed(asked(after=0))))
    for _ in range(5):
        await asyncio.sleep(0)
    clock.now += 5.0
    views.happen()
    await clock.let_pass()
    assert numbers(await waiting) == [1]
    assert clock.slept == [SOON_SECONDS]


@pytest.mark.parametrize("what", ["facts", "logs"])
async def test_a_fact_and_a_log_line_wake_who_waits(api: FeedApi, views: SmallViews, clock: Clock, what: str) -> None:
    """Also where no event comes."""
    waiting = asyncio.create_task(told(api.feed(asked(after=0))))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    if what == "facts":
        views.facts.put({"type": "notice"})
    else:
        views.logs.put((1.0, "info", "wiki", 0, "words"))
    await clock.let_pass()
    assert len((await waiting)[what]) == 1


async def test_nothing_is_an_answer_too(api: FeedApi, clock: Clock) -> None:
    """When the time that was asked for is over."""
    waiting = asyncio.create_task(told(api.feed(asked(after=0, seconds=0))))
    await clock.let_pass()
    assert (await waiting)["rows"] == []


async def test_the_end_of_the_server_lets_go_of_who_waits(api: FeedApi, views: SmallViews, clock: Clock) -> None:
    """Nothing more will come."""
    waiting = asyncio.create_task(told(api.feed(asked(after=0))))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    views.logs.close()
    await clock.let_pass()
    assert (await waiting)["rows"] == []


async def ask(api: FeedApi, clock: Clock, **query: Any) -> dict[str, Any]:
    """An answer after the moment in which it gathers."""
    waiting = asyncio.create_task(told(api.feed(asked(**query))))
    await clock.let_pass()
    return await waiting


async def test_what_does_not_fit_into_an_answer_is_counted(api: FeedApi, views: SmallViews, clock: Clock) -> None:
    """The latest hundred rows come; a tab that slept is told how many it has missed."""
    views.happen(2310)
    found = await ask(api, clock, after=10)
    assert (len(found["rows"]), found["next"], found["skipped"]) == (MOST_ROWS, 2310, 2200)
    assert numbers(found)[-1] == 2310
    assert (await ask(api, clock, after=2300, most=3))["skipped"] == 7
    assert numbers(await ask(api, clock, after=2300, most=3)) == [2308, 2309, 2310]


async def test_an_answer_is_small_however_large_the_events_are(api: FeedApi, views: SmallViews, clock: Clock) -> None:
    """So many bytes of rows, and at least one row."""
    views.happen(100, payload={"text": "x" * 4000})
    found = await ask(api, clock, after=0)
    assert 1 <= len(found["rows"]) <= MOST_BYTES // 4000
    assert len(found["rows"]) + found["skipped"] == 100
    for n in range(200):
        views.facts.put({"n2": n})
    assert len((await ask(api, clock, after=0))["facts"]) == MOST_NEWS


async def test_cursors_of_an_earlier_run_are_answered_with_what_there_is(
    api: FeedApi, views: SmallViews, clock: Clock
) -> None:
    """They lie beyond it."""
    views.happen(2)
    views.facts.put({"type": "notice"})
    found = await ask(api, clock, after=9000, facts=400, logs=30)
    assert (numbers(found), len(found["facts"]), found["next"]) == ([1, 2], 1, 2)


async def test_the_ninth_who_watches_is_refused_and_told_so(api: FeedApi, views: SmallViews, clock: Clock) -> None:
    """Until one of the others has its answer or goes away."""
    watching = [asyncio.create_task(told(api.feed(asked(after=0)))) for _ in range(MOST_WATCHERS)]
    await asyncio.sleep(0)
    answer = await api.feed(asked(after=0))
    assert (answer.status, orjson.loads(answer.body)["code"]) == (429, "too_many_watchers")
    watching.pop().cancel()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    last = asyncio.create_task(told(api.feed(asked(after=0))))
    await asyncio.sleep(0)
    views.happen()
    await clock.somebody_sleeps()
    for _ in range(20):
        await asyncio.sleep(0)
    await clock.let_pass()
    assert [numbers(each) for each in await asyncio.gather(*watching, last)] == [[1]] * MOST_WATCHERS


HOSTILE = "<script>alert(1)</script>\u202e\x1b[31m\n"


async def test_no_live_secret_gets_out_and_hostile_names_stay_text(
    api: FeedApi, views: SmallViews, clock: Clock
) -> None:
    """Wherever they stand: in payloads, answers, names, and behind an escape of JSON."""
    payload = {"key": TOKEN, "text": f"line\n{SECRET}", HOSTILE: "x", "other": "b" * 64}
    views.happen(payload=payload, source_id=f"{TOKEN}{HOSTILE}", answer=EventResponse(True, SECRET, {"t": TOKEN}))
    for answer in (api.feed(asked()), api.event(asked(number=1)), api.search(asked(q="note.*"))):
        raw = (await answer).body
        assert TOKEN.encode() not in raw and SECRET.encode() not in raw
    (row,) = (await told(api.feed(asked())))["rows"]
    assert row[-1] == {"key": HIDDEN, "text": f"line\n{HIDDEN}", HOSTILE: "x", "other": "b" * 64}
    assert row[5] == f"{HIDDEN}{HOSTILE}"


async def test_every_route_needs_the_token_of_this_run(api: FeedApi) -> None:
    """Payloads are in all of them."""
    assert {each.scope for each in api.routes()} == {Scope.ADMIN}


async def test_one_event_is_told_whole(api: FeedApi, views: SmallViews) -> None:
    """With its answer, what was sent on its behalf, who got it and who has read it, and the lines it logged."""
    recorder = views.recorder
    outer, inner = (Event(event_name=name, source_id="ana", payload={"x": "y" * 20_000}) for name in ("a1.b1", "c1.d1"))
    way = recorder.begin(outer, 0)
    sent = recorder.begin(inner, 1)

    class Delivery:
        delivered, full, to = 2, (), ("bob", "cy")

    sent.delivered(Delivery)  # type: ignore[arg-type]
    recorder.read("bob", 2)
    sent.end(inner, EventResponse(True, "delivered"))
    way.end(outer, EventResponse(True, "good", {"version": 8}))
    views.logs.put((1.0, "info", "wiki", 1, "of the first"))
    views.logs.put((1.0, "info", "wiki", 2, "of the second"))
    found = await told(api.event(asked(number=1)))
    assert (found["row"][-1], found["payload"]) == ("20,008 bytes", {"x": "y" * 20_000})
    assert found["answer"] == {"success": True, "message": "good", "data": {"version": 8}}
    assert [row[NUMBER] for row in found["children"]] == [2]
    assert [each[-1] for each in found["logs"]] == ["of the first"]
    deliveries = (await told(api.event(asked(number=2))))["deliveries"]
    assert [(each["agent"], "read_us" in each, "waits_us" in each) for each in deliveries] == [
        ("bob", True, False),
        ("cy", False, True),
    ]


async def test_an_event_that_is_not_kept_says_so(api: FeedApi) -> None:
    """It has not ended, or is gone."""
    answer = await api.event(asked(number=5))
    assert (answer.status, orjson.loads(answer.body)["code"]) == (404, "no_such_event")


async def test_a_search_goes_on_where_it_ended(api: FeedApi, views: SmallViews) -> None:
    """The latest come first, and it says how many it has looked at."""
    for n in range(30):
        views.happen(event_name="wiki.page.get" if n % 3 == 0 else "note.take")
    first = await told(api.search(asked(q="wiki.*", most=4)))
    assert (numbers(first), first["kept"], first["scanned"]) == ([28, 25, 22, 19], 30, 12)
    views.happen(5)
    then = await told(api.search(asked(q="wiki.*", most=4, before=first["next"])))
    assert numbers(then) == [16, 13, 10, 7]
    last = await told(api.search(asked(q="wiki.*", before=then["next"])))
    assert (numbers(last), last["next"]) == ([4, 1], None)


async def test_a_search_that_says_nothing_is_refused(api: FeedApi) -> None:
    """With an example."""
    with pytest.raises(Malformed, match="mod: needs a value"):
        await api.search(asked(q="mod:"))


@pytest.mark.parametrize("ask_for", [{"after": "x"}, {"after": "-1"}, {"most": "1.5"}, {"logs": "٣"}])
async def test_a_number_is_a_number(api: FeedApi, ask_for: dict[str, str]) -> None:
    """Anything else is refused."""
    with pytest.raises(Malformed):
        await api.feed(asked(**ask_for))


async def test_older_log_lines_are_there_to_be_asked_for(api: FeedApi, views: SmallViews) -> None:
    """Before a number, the latest of those."""
    for n in range(10):
        views.logs.put((float(n), "info", "wiki", 0, "words"))
    assert [each[0] for each in (await told(api.logs(asked(before=6, most=3))))["logs"]] == [3, 4, 5]
    assert [each[0] for each in (await told(api.logs(asked(most=2))))["logs"]] == [9, 10]


async def test_the_mods_are_asked_for_by_their_revision(api: FeedApi) -> None:
    """What changed since then comes."""
    assert (await told(api.mods(asked(since=6))))["since"] == 6


def test_what_a_visit_said_has_a_number_of_its_own() -> None:
    """The page and programs know it by that."""
    assert [each.value for each in Said] == [0, 1, 2, 3, 4, 5]
