"""`oa-dev events`: events as they come, the latest that fit, or one of them whole. Reads the server's recorder."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

from devserver.cli.client import Client, NotRunning, connect
from devserver.cli.exits import Exit, Problem
from devserver.cli.locate import workspace
from devserver.cli.output import say, say_json, show_lines, view
from devserver.model.trace import NUMBER, row_to_dict
from devserver.network.search import BadSearch, Search, parse_search
from devserver.ui.events import event_line, event_lines

_MOST_AT_ONCE = 500
_PATIENCE = 30.0
"""Seconds in which another server may take the place of the one that has ended."""
_LOOK = 0.1


def events(words: tuple[str, ...], *, last: int | None, count: int | None, follow: bool, as_json: bool) -> int:
    """Print the latest events that fit, or follow them until Ctrl-C or until there were `count`.

    Args:
        words: what the events have to fit, as of `network.search`; a number alone shows that event whole.
        last: how many of those that have ended are printed; None: none of them, they are followed.
        count: after how many events following ends.
        follow: whether to go on after the last ones.
    """
    number = _number(words)
    if number is not None:
        return _one(connect(workspace()), number, as_json=as_json)
    query = " ".join(words)
    wanted, server = _search(query), connect(workspace())
    feed = Feed(server)
    if last is not None:
        # In the order in which they began: an event that a handler sends ends before its parent.
        for row in sorted(found(server, query, last), key=lambda row: int(row[NUMBER])):
            _show(row_to_dict(row, feed.zero), as_json=as_json)
        if not follow:
            return Exit.CLEAN
    try:
        _follow(feed, wanted, count, as_json=as_json)
    except KeyboardInterrupt:
        # This ends following.
        return Exit.CLEAN
    return Exit.CLEAN


class Feed:
    """The rows of a server's feed, from now on. `zero` is the zero of their times, in seconds since
    1970."""

    def __init__(self, server: Client, after: int | None = None) -> None:
        self.server = server
        first = server.feed(None, 0)
        self.zero = float(first["zero"])
        self.after = int(first["next"]) if after is None else after

    def news(self, seconds: float) -> tuple[list[list[Any]], int]:
        """Wait for the next rows; return them, and the number of those that were left out."""
        answer = self.server.feed(self.after, seconds)
        self.after = int(answer["next"])
        return answer["rows"], int(answer["skipped"])


def found(server: Client, query: str, most: int) -> list[list[Any]]:
    """Yield the latest rows that fit a search, the latest first."""
    rows: list[list[Any]] = []
    before: int | None = None
    while len(rows) < most:
        answer = server.search(query, min(most - len(rows), _MOST_AT_ONCE), before)
        rows += answer["rows"]
        before = answer["next"]
        if before is None:
            break
    return rows


def fits(wanted: Search, row: list[Any]) -> bool:
    """Return whether a row fits the search."""
    return wanted.fits(json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace") + b"\n")


def _follow(feed: Feed, wanted: Search, left: int | None, *, as_json: bool) -> None:
    while left is None or left > 0:
        try:
            rows, skipped = feed.news(20.0)
        except NotRunning as error:
            feed = _next_feed(feed, error)
            continue
        fitting = [row for row in rows if fits(wanted, row)][:left]
        for row in fitting:
            _show(row_to_dict(row, feed.zero), as_json=as_json)
        if skipped and not as_json:
            say(f"{skipped} more events came at once: oa-dev events --last {skipped + len(rows)} shows them")
        left = None if left is None else left - len(fitting)


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
            server = connect(workspace())
            found = Feed(server, feed.after if lives else 0)
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


def _one(server: Client, number: int, *, as_json: bool) -> int:
    """Print one event, whole."""
    told = server.event(number)
    zero = Feed(server).zero
    children = [row_to_dict(each, zero) for each in told["children"]]
    event = {**told, **row_to_dict(told["row"], zero), "payload": told["payload"], "children": children}
    del event["row"]
    if as_json:
        say_json(event)
    else:
        show_lines(event_lines(event, view()))
    return Exit.CLEAN


def _number(words: tuple[str, ...]) -> int | None:
    """Return the wanted number, as in 1287 or #1287, which a shell takes for a comment unless it is
    quoted."""
    text = words[0].removeprefix("#") if len(words) == 1 else ""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


def _search(query: str) -> Search:
    try:
        return parse_search(query)
    except BadSearch as error:
        raise Problem(str(error)) from error


def words_of(what: list[str], *, failed: bool, slow: str | None) -> tuple[str, ...]:
    """Return the words of a search: the typed ones, and options that stand for some."""
    return tuple(_words(what, failed=failed, slow=slow))


def _words(what: list[str], *, failed: bool, slow: str | None) -> Iterator[str]:
    for each in what:
        # One argument may contain spaces: then it was meant as one text.
        yield f'"{each}"' if " " in each and ":" not in each and '"' not in each else each
    if failed:
        yield "failed"
    if slow is not None:
        if not parse_search(word := f">{slow}").of_row:
            raise Problem(f"--slow {slow}: a time has its unit, as in 5ms or 1.5s")
        yield word
