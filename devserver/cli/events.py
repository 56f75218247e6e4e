"""`oa-dev events`: events as they come, the latest that fit, or one of them whole. Reads the server's recorder."""

from __future__ import annotations

import json
import queue
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from devserver.cli.client import Client, NotRunning, ServerRefused, of_host, server_here
from devserver.cli.exits import Exit, Problem
from devserver.cli.output import say, say_json, show_lines, view
from devserver.errors import DevServerError
from devserver.model.trace import AT, NUMBER, row_to_dict
from devserver.network.search import BadSearch, Search, parse_search
from devserver.ui.events import event_line, event_lines

_MOST_AT_ONCE = 500
_PATIENCE = 30.0
"""Seconds in which another server may take the place of the one that has ended."""
_LOOK = 0.1
_START_SECONDS = 5.0
"""Seconds in which a host that does not answer yet may do so."""
_AWAY = 503


def events(words: tuple[str, ...], *, last: int | None, count: int | None, follow: bool, as_json: bool) -> int:
    """Print the latest events that fit, or follow them until Ctrl-C or until there were `count`.

    Args:
        words: what the events have to fit, as of `network.search`; a number alone shows that event whole, and
            `HOST#NUMBER` one of another host.
        last: how many of those that have ended are printed; None: none of them, they are followed.
        count: after how many events following ends.
        follow: whether to go on after the last ones.
    """
    # As in 1287, gpu-1#1287 or #1287, which a shell takes for a comment unless it is quoted.
    host, _, text = words[0].rpartition("#") if len(words) == 1 else ("", "", "")
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None
    if number is not None:
        return _one(server_here(), number, host, as_json=as_json)
    query = " ".join(words)
    try:
        wanted = parse_search(query)
    except BadSearch as error:
        raise Problem(str(error)) from error
    feeds = _feeds(server_here())
    if last is not None:
        for row in _latest(feeds, query, last):
            _show(row, as_json=as_json)
        if not follow:
            return Exit.CLEAN
    try:
        _follow(feeds, wanted, count, as_json=as_json)
    except KeyboardInterrupt:
        # This ends following.
        return Exit.CLEAN
    return Exit.CLEAN


class Feed:
    """The rows of a server's feed, from now on; `host`: of another host, through that server. `zero` is the zero of
    their times, in seconds since 1970."""

    def __init__(self, server: Client, after: int | None = None, host: str = "") -> None:
        self.server, self.host = server, host
        first = server.feed(None, 0, host)
        self.zero = float(first["zero"])
        self.after = int(first["next"]) if after is None else after
        self.shown_host = ""
        """The host that its rows are shown with, where there are several."""

    def news(self, seconds: float) -> tuple[list[list[Any]], int]:
        """Wait for the next rows; return them, and the number of those that were left out."""
        answer = self.server.feed(self.after, seconds, self.host)
        before, self.after = self.after, int(answer["next"])
        if self.after < before:
            # It was started again, and counts from the beginning.
            self.after, self.zero = 0, float(answer["zero"])
        return answer["rows"], int(answer["skipped"])

    def named(self, row: list[Any]) -> dict[str, Any]:
        return row_to_dict(row, self.zero) | ({"host": self.shown_host} if self.shown_host else {})


def _feeds(server: Client) -> list[Feed]:
    """Return the feed of this host, and those of the others that are there."""
    own = Feed(server)
    feeds = [own]
    for row in server.get("hosts", quick=True).get("hosts") or ():
        if row["here"]:
            own.shown_host = row["host"]
        elif row["state"] == "there" and (feed := _feed_of(server, row["host"])) is not None:
            feeds.append(feed)
    return feeds


def _feed_of(server: Client, host: str, after: int | None = None) -> Feed | None:
    """Return the feed of another host, which may just start again; None, told, without one."""
    until = time.monotonic() + _START_SECONDS
    while True:
        try:
            feed = Feed(server, after, host)
            feed.shown_host = host
            return feed
        except ServerRefused as error:
            if error.status != _AWAY or time.monotonic() > until:
                print(f"oa-dev: without the events of {host}: {error}", file=sys.stderr, flush=True)
                return None
            time.sleep(_LOOK)


def _latest(feeds: list[Feed], query: str, most: int) -> list[dict[str, Any]]:
    """Return the latest events of all hosts that fit, in the order in which they began: an event that a handler sends
    ends before its parent."""
    rows = [
        (each.zero + row[AT] / 1e6, row[NUMBER], each.named(row))
        for each in feeds
        for row in found(each.server, query, most, each.host)
    ]
    return [row for _, _, row in sorted(rows, key=lambda each: each[:2])][-most:]


def found(server: Client, query: str, most: int, host: str = "") -> list[list[Any]]:
    """Yield the latest rows that fit a search, the latest first."""
    rows: list[list[Any]] = []
    before: int | None = None
    while len(rows) < most:
        wanted = {"q": query, "most": str(min(most - len(rows), _MOST_AT_ONCE)), **of_host(host)}
        wanted |= {} if before is None else {"before": str(before)}
        answer = server.get("search", quick=True, **wanted)
        rows += answer["rows"]
        before = answer["next"]
        if before is None:
            break
    return rows


def fits(wanted: Search, row: list[Any]) -> bool:
    return wanted.fits(json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace") + b"\n")


News = tuple[list[dict[str, Any]], int]
"""Rows by names, and how many were left out."""


def _follow(feeds: list[Feed], wanted: Search, left: int | None, *, as_json: bool) -> None:
    """Show the events of all hosts as they come; those of one process need no thread."""
    for fitting, skipped in _merged(_sources(feeds, wanted)) if feeds[0].shown_host else _news_of(feeds[0], wanted):
        for row in fitting[:left]:
            _show(row, as_json=as_json)
        if skipped and not as_json:
            say(f"{skipped} more events came at once: oa-dev events --last {skipped + len(fitting)} shows them")
        left = None if left is None else left - len(fitting)
        if left is not None and left <= 0:
            return


def _news_of(feed: Feed, wanted: Search) -> Iterator[News]:
    while True:
        try:
            rows, skipped = feed.news(20.0)
        except NotRunning as error:
            feed = _next_feed(feed, error)
            continue
        yield [feed.named(row) for row in rows if fits(wanted, row)], skipped


def _news_of_other(feed: Feed, wanted: Search) -> Iterator[News]:
    """Follow another host for as long as this one is there: one that is away may come back."""
    while True:
        try:
            rows, skipped = feed.news(20.0)
        except (NotRunning, ServerRefused):
            time.sleep(10 * _LOOK)
            with suppress(NotRunning):  # a server that was started again has another token
                feed.server = server_here()
            continue
        yield [feed.named(row) for row in rows if fits(wanted, row)], skipped


def _sources(feeds: list[Feed], wanted: Search) -> Iterator[Iterator[News]]:
    """Yield the news of each host; those that join later with all their events."""
    yield _news_of(feeds[0], wanted)
    for each in feeds[1:]:
        yield _news_of_other(each, wanted)
    known = {each.shown_host for each in feeds}
    while True:
        time.sleep(10 * _LOOK)
        try:
            server = server_here()
            rows = server.get("hosts", quick=True).get("hosts") or ()
        except (NotRunning, ServerRefused):
            continue  # its own news waits for the next server, or ends
        for host in [each["host"] for each in rows if each["state"] == "there" and each["host"] not in known]:
            try:
                feed = _feed_of(server, host, 0)
            except NotRunning:
                continue  # it is asked again
            known.add(host)
            if feed is not None:
                yield _news_of_other(feed, wanted)


def _merged(sources: Iterator[Iterator[News]]) -> Iterator[News]:
    """Yield what comes from any of the sources, each read by a thread; an error of one ends it."""
    came: queue.SimpleQueue[News | Exception] = queue.SimpleQueue()

    def read(source: Iterator[News]) -> None:
        try:
            for each in source:
                came.put(each)
        except DevServerError as error:
            came.put(error)

    def begin() -> None:
        for source in sources:
            threading.Thread(target=read, args=(source,), daemon=True).start()

    threading.Thread(target=begin, daemon=True).start()
    while True:
        found = came.get()
        if isinstance(found, Exception):
            raise found
        yield found


def _next_feed(feed: Feed, error: NotRunning) -> Feed:
    """Wait for the server that follows: the next image of the same process, which goes on counting, or another process,
    of which all events are new.

    Raises the error if none comes in time.
    """
    was_said, until = False, time.monotonic() + _PATIENCE
    while time.monotonic() < until:
        lives = feed.server.is_alive
        if not lives and not was_said:
            # Not among the events: a program reads those.
            print(f"oa-dev: the server ended; waiting {_PATIENCE:g} s for the next one", file=sys.stderr, flush=True)
            was_said = True
        try:
            server = server_here()
            found = Feed(server, feed.after if lives else 0)
            found.shown_host = feed.shown_host
        except NotRunning:
            time.sleep(_LOOK)
            continue
        if not lives:
            print(f"oa-dev: these are events of the next one, at {server.url}", file=sys.stderr, flush=True)
        return found
    raise error


def _show(row: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        say_json(row, line=True)
    else:
        show_lines([event_line(row, view())])


def _one(server: Client, number: int, host: str, *, as_json: bool) -> int:
    """Print one event, whole."""
    told = server.get("event", quick=True, number=str(number), **of_host(host))
    zero = Feed(server, host=host).zero
    children = [row_to_dict(each, zero) for each in told["children"]]
    event = {**told, **row_to_dict(told["row"], zero), "payload": told["payload"], "children": children}
    del event["row"]
    if as_json:
        say_json(event)
    else:
        show_lines(event_lines(event, view()))
    return Exit.CLEAN


def words_of(what: list[str], *, failed: bool, slow: str | None) -> tuple[str, ...]:
    """Return the words of a search: those typed, and of options. Raises Problem."""
    # One argument may contain spaces: then it was meant as one text.
    words = [f'"{each}"' if " " in each and ":" not in each and '"' not in each else each for each in what]
    if failed:
        words.append("failed")
    if slow is not None:
        if not parse_search(word := f">{slow}").of_row:
            raise Problem(f"--slow {slow}: a time has its unit, as in 5ms or 1.5s")
        words.append(word)
    return tuple(words)
