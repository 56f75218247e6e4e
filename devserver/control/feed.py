"""The feed: everything that happens, for the page, `oa-dev events` and programs, at their own pace.

A question is held until there is news, and answered a moment later with all news, so that an answer
costs the same at any rate of events. Rows, sums, facts and log lines are JSON already and are put
together as bytes. All of it needs this run's admin token: it contains payloads.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Collection
from itertools import islice
from time import monotonic, perf_counter
from typing import Any, Protocol

from devserver.control.tape import Tape
from devserver.model.encoding import from_json, to_json
from devserver.model.principal import Scope
from devserver.model.trace import AT, OK, PAYLOAD, ROW, SAID, TO, VISIT
from devserver.network.recorder import Recorder, rest_of, row_of
from devserver.network.search import BadSearch, parse_search
from devserver.transports.http.answers import Answer, refused
from devserver.transports.http.routes import Request, Route
from devserver.transports.strict import Malformed

HOLD_SECONDS = 20.0
GATHER_SECONDS = 0.25
"""The least time between a question and its answer: four answers a second for each asker."""
SOON_SECONDS = 0.02
"""How long events are gathered if the question has waited longer than that."""
MOST_WATCHERS = 8
MOST_ROWS = 100
MOST_BYTES = 48 * 1024
"""The most bytes of the rows of one answer."""
MOST_NEWS = 50
"""The most facts, and the most log lines, of one answer."""
MOST_FOUND = 500
MOST_LOGS = 10_000
TURN_SECONDS = 0.02
"""Seconds that a search may keep the loop before others have their turn."""

LogLine = tuple[float, str, str, int, str]
"""A line of the log: seconds since 1970, level, author, the handled event's number, words."""


class Views(Protocol):
    """The server, as the feed needs it."""

    @property
    def recorder(self) -> Recorder: ...
    @property
    def facts(self) -> Tape[Any]: ...
    @property
    def logs(self) -> Tape[LogLine]: ...
    @property
    def pinned(self) -> Collection[int]: ...
    def mods_revision(self) -> int: ...
    def mods_since(self, revision: int) -> dict[str, Any]: ...
    def agents_seen(self) -> dict[str, int]: ...
    def recording(self) -> str | None: ...
    def clean(self, raw: bytes) -> bytes: ...


class FeedApi:
    """The endpoints, over one server. `sleep`: how to wait; `clock`: monotonic seconds."""

    def __init__(
        self,
        views: Views,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._clock = clock
        self._views = views
        self._sleep = sleep
        self._watching = 0

    def routes(self) -> tuple[Route, ...]:
        return (
            Route("GET", "/_dev/feed", Scope.ADMIN, self.feed, waits=True),
            Route("GET", "/_dev/mods", Scope.ADMIN, self.mods),
            Route("GET", "/_dev/event", Scope.ADMIN, self.event),
            Route("GET", "/_dev/search", Scope.ADMIN, self.search, waits=True),
            Route("GET", "/_dev/logs", Scope.ADMIN, self.logs),
        )

    async def feed(self, request: Request) -> Answer:
        """Return what is new since the cursors `after`, `facts`, `logs`, `second`, else the latest.

        With `only=rows` facts and log lines are left out, and are no news. The answer without
        `after` names the columns of rows, and is given at once.
        """
        if self._watching >= MOST_WATCHERS:
            sentence = f"{MOST_WATCHERS} pages and commands follow the events already; close one of them"
            return refused("too_many_watchers", sentence, 429)
        after, only_rows = number(request, "after"), request.query.get("only") == "rows"
        known = (after or 0, number(request, "facts") or 0, number(request, "logs") or 0)
        seconds, began = seconds_of(request), self._clock()
        self._watching += 1
        try:
            if after is not None:
                await self._news(known[:1] if only_rows else known, seconds)
                # A question comes right after an answer: news after a quiet time need not wait.
                await self._sleep(max(SOON_SECONDS, GATHER_SECONDS - (self._clock() - began)))
            body = self._answer(request, known, is_first=after is None)
        finally:
            self._watching -= 1
        return Answer(self._views.clean(body))

    async def _news(self, known: tuple[int, ...], seconds: float) -> None:
        """Wait for something after these cursors, or for so many seconds."""
        views, loop, news = self._views, asyncio.get_running_loop(), asyncio.Event()
        recorder, tapes, key = views.recorder, (views.facts, views.logs)[: len(known) - 1], object()

        def wake() -> None:
            # A waiting caller has disarmed it before its loop can close.
            loop.call_soon_threadsafe(news.set)

        recorder.arm(wake)
        for each in tapes:
            each.arm(key, wake)
        try:
            numbers = (recorder.number, *(each.number for each in tapes))
            # A cursor beyond the end comes from an earlier run.
            if numbers != known or views.facts.closed:
                return
            async with asyncio.timeout(seconds):
                await news.wait()
        except TimeoutError:
            return
        finally:
            recorder.disarm(wake)
            for each in tapes:
                each.disarm(key)

    def _answer(self, request: Request, known: tuple[int, int, int], *, is_first: bool) -> bytes:
        views, second = self._views, number(request, "second") or 0
        rows = views.recorder.after(known[0], min(number(request, "most") or MOST_ROWS, MOST_ROWS), MOST_BYTES)
        told = b'"next":%d,"skipped":%d,"rows":[%b]' % (rows.next, rows.skipped, b",".join(rows.rows))
        if request.query.get("only") == "rows":
            return b"{%b,%b}" % (told, b'"zero":%b' % to_json(views.recorder.zero_at))
        facts = views.facts.raw_after(known[1], MOST_NEWS)
        logs = views.logs.raw_after(known[2], MOST_NEWS)
        parts = [
            told,
            b'"seconds":[%b]' % b",".join(views.recorder.seconds(second)),
            b'"facts":[%b]' % b",".join(b'{"n":%d,%b' % (n, raw[1:]) for n, raw in facts),
            b'"logs":[%b]' % b",".join(b"[%d,%b" % (n, raw[1:]) for n, raw in logs),
            b'"mods":%d,"agents":%b' % (views.mods_revision(), to_json(views.agents_seen())),
            b'"recording":%b' % to_json(views.recording()),
        ]
        if is_first:
            parts.append(b'"zero":%b' % to_json(views.recorder.zero_at))
            parts.append(b'"columns":%b' % to_json([name for name, _ in ROW]))
            parts.append(b'"visit":%b' % to_json([name for name, _ in VISIT]))
        return b"{%b}" % b",".join(parts)

    async def mods(self, request: Request) -> Answer:
        """Return the rows of the mods that changed after revision `since`, and the order of all."""
        return self._told(self._views.mods_since(number(request, "since") or 0))

    async def event(self, request: Request) -> Answer:
        """Return one event, as far as the recorder has it: row, events that handlers sent on its behalf,
        answer, deliveries, errors, log."""
        asked = number(request, "number")
        recorder = self._views.recorder
        entry = None if asked is None else recorder.find(asked)
        if asked is None or entry is None:
            sentence = (
                f"the event #{asked} is not kept: its way has not ended, or it is not among the latest {recorder.kept}"
            )
            return refused("no_such_event", sentence, 404)
        row, rest = from_json(row_of(entry)), rest_of(entry)
        # An answer that was too large to be kept is that of its row.
        success, message, data, *_ = rest.get("answer", (row[OK], row[SAID], None))
        errors, logs = rest.get("errors", []), self._views.logs.raw_after(0, MOST_LOGS)
        return self._told(
            {
                "row": row,
                "children": [from_json(each) for each in recorder.children(asked)],
                "payload": rest.get("payload", row[PAYLOAD]),
                "answer": {"success": success, "message": message, "data": data},
                "deliveries": self._deliveries(asked, row),
                "error": errors[0] if errors else None,
                "errors": errors,
                "logs": [line for n, raw in logs if (line := [n, *from_json(raw)])[4] == asked],
            }
        )

    def _deliveries(self, asked: int, row: list[Any]) -> list[dict[str, Any]]:
        """Return its receivers and whether they have read it: after how long, or since when not."""
        recorder = self._views.recorder
        reads, now = recorder.reads(asked), recorder.now()
        told_to = [each for each in row[TO] if isinstance(each, str)]
        return [
            {"agent": each, "read_us": reads[each] - row[AT]}
            if each in reads
            else {"agent": each, "waits_us": now - row[AT]}
            for each in told_to
        ]

    async def search(self, request: Request) -> Answer:
        """Find the latest events that fit `q`, perhaps before the cursor `before`; see `search`."""
        before, most = number(request, "before"), min(number(request, "most") or MOST_ROWS, MOST_FOUND)
        try:
            wanted = parse_search(request.query.get("q", ""), self._views.pinned)
        except BadSearch as error:
            raise Malformed("bad_search", str(error)) from error
        began, recorder = perf_counter(), self._views.recorder
        ended, entries = recorder.all()
        start = 0 if before is None else max(0, ended - before + 1)
        found: list[bytes] = []
        scanned, until = start, began + TURN_SECONDS
        for entry in islice(entries, start, None):
            if len(found) >= most:
                break
            scanned += 1
            if wanted.fits(entry):
                found.append(row_of(entry))
            if perf_counter() > until:
                await asyncio.sleep(0)  # agents have their turn in a long search
                until = perf_counter() + TURN_SECONDS
        left = scanned < len(entries)
        body = b'{"rows":[%b],"scanned":%d,"kept":%d,"next":%b,"took_ms":%b}' % (
            b",".join(found),
            scanned - start,
            len(entries),
            to_json(ended - scanned + 1 if left else None),
            to_json(round((perf_counter() - began) * 1000, 1)),
        )
        return Answer(self._views.clean(body))

    async def logs(self, request: Request) -> Answer:
        """Return the log lines before the number `before`, or the latest."""
        before, most = number(request, "before"), min(number(request, "most") or MOST_ROWS, MOST_FOUND)
        tape = self._views.logs
        found = tape.before(tape.number + 1 if before is None else before, most)
        return self._told({"logs": [[n, *from_json(raw)] for n, raw in found]})

    def _told(self, values: dict[str, Any]) -> Answer:
        return Answer(self._views.clean(to_json(values)))


def number(request: Request, name: str) -> int | None:
    """Return a number of the query; None if it is left out. Raises Malformed."""
    text = request.query.get(name)
    if text is not None and not (text.isascii() and text.isdecimal() and len(text) < 19):
        raise Malformed("bad_query", f"{name} is a whole number")
    return None if text is None else int(text)


def seconds_of(request: Request) -> float:
    """Return how long a question is held: as it wants, up to HOLD_SECONDS. Raises Malformed."""
    text = request.query.get("seconds", "")
    if text and not re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,6})?", text, re.ASCII):
        raise Malformed("bad_query", "seconds is a number")
    return min(float(text), HOLD_SECONDS) if text else HOLD_SECONDS
