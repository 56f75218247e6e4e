"""What people type to find events: words that an event has to fit, all of them. Pure.

Most words look at bytes before anything is parsed: a ring of 10,000 events is looked through in milliseconds.

    wiki.*        the event's name begins so         from:ana    who sent it
    mod:wiki      a mod that was asked               to:critic   whom it was for, or who got it
    v:5           a generation that was asked        id:5f3a     the event's id begins so
    failed        the answer says no success         held        it waited at the gate of a mod
    >5ms          its way was longer (us, ms, s)     #1287       its number
    pinned        a pin was made of it               in:wiki.x   the event's name, exactly
    words         a text anywhere in the event or its answer; "two words" in quotes
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from devserver.model import trace
from devserver.model.encoding import from_json
from devserver.model.event import matches, parse_destination, parse_source, pattern_problem
from devserver.model.trace import Said

_WORD = re.compile(r'"([^"]*)"|(\S+)')
_PATTERN = re.compile(r"[a-z0-9_.*]*\*[a-z0-9_.*]*")
_LONGER = re.compile(r">(\d+(?:\.\d+)?)(us|µs|ms|s)")
_NUMBER = re.compile(r"#(\d{1,18})")
_UNITS = {"us": 1, "µs": 1, "ms": 1_000, "s": 1_000_000}
_MOST = 500
"""The longest question."""

OfEntry = Callable[[bytes], bool]
OfRow = Callable[[list[Any]], bool]


class BadSearch(ValueError):
    """A word that says nothing, and what could be meant."""


@dataclass(frozen=True, slots=True)
class Search:
    """What an event has to fit: its entry as bytes, in lower case where `texts` are asked for, then its row."""

    texts: tuple[bytes, ...] = ()
    of_entry: tuple[OfEntry, ...] = ()
    of_row: tuple[OfRow, ...] = ()

    def fits(self, entry: bytes) -> bool:
        """Return whether an event is one of those that are looked for."""
        if self.texts:
            lower = entry.lower()
            if not all(each in lower for each in self.texts):
                return False
        if not all(each(entry) for each in self.of_entry):
            return False
        if not self.of_row:
            return True
        row = from_json(entry[: entry.index(b"\n")])
        return all(each(row) for each in self.of_row)


def parse_search(query: str, pinned: Collection[int] = ()) -> Search:
    """Read what was typed. `pinned`: the numbers of events that pins were made of. Raises BadSearch."""
    if len(query) > _MOST:
        raise BadSearch(f"a search has at most {_MOST} characters")
    texts: list[bytes] = []
    of_entry: list[OfEntry] = []
    of_row: list[OfRow] = []
    visit: dict[str, str] = {}
    for quoted, word in _WORD.findall(query):
        key, colon, value = word.partition(":")
        if colon and key in ("mod", "v"):
            # Of one visit: `mod:wiki v:5` is the wiki when it was v5.
            visit[key] = _value(word, value)
        elif colon and key in _FIELDS:
            of_row.append(_FIELDS[key](_value(word, value)))
        elif (number := _NUMBER.fullmatch(word)) is not None:
            of_entry.append(_begins(b"[%d," % int(number[1])))
        elif (longer := _LONGER.fullmatch(word)) is not None:
            of_row.append(_longer(float(longer[1]) * _UNITS[longer[2]]))
        elif word in _STATES:
            of_row.append(_STATES[word])
        elif word == "pinned":
            of_row.append(_among(frozenset(pinned)))
        elif _PATTERN.fullmatch(word) and (problem := pattern_problem(word)) is not None:
            raise BadSearch(problem)
        elif _PATTERN.fullmatch(word):
            of_row.append(_named(word))
        else:
            texts.append(json.dumps(quoted or word, ensure_ascii=False)[1:-1].encode("utf-8", "replace").lower())
    if visit:
        of_row.append(_visited(visit.get("mod"), visit.get("v")))
    return Search(tuple(texts), tuple(of_entry), tuple(of_row))


def _value(word: str, value: str) -> str:
    if not value:
        raise BadSearch(f"{word} needs a value, as in {word}{_EXAMPLES[word[:-1]]}")
    return value


def _begins(start: bytes) -> OfEntry:
    return lambda entry: entry.startswith(start)


def _longer(micros: float) -> OfRow:
    return lambda row: bool(row[trace.TOOK] > micros)


def _among(numbers: frozenset[int]) -> OfRow:
    return lambda row: row[trace.NUMBER] in numbers


def _named(pattern: str) -> OfRow:
    return lambda row: matches(pattern, row[trace.EVENT_NAME])


def _from(who: str) -> OfRow:
    return lambda row: who in (row[trace.SOURCE], parse_source(row[trace.SOURCE]).id)


def _to(who: str) -> OfRow:
    def fits(row: list[Any]) -> bool:
        destination = row[trace.DESTINATION]
        return who in row[trace.TO] or who in (destination, parse_destination(destination).id)

    return fits


def _id(start: str) -> OfRow:
    return lambda row: str(row[trace.EVENT_ID]).startswith(start)


def _exactly(name: str) -> OfRow:
    return lambda row: bool(row[trace.EVENT_NAME] == name)


def _visited(mod: str | None, version: str | None) -> OfRow:
    if version is not None and not (version.isascii() and version.removeprefix("v").isdigit()):
        raise BadSearch(f"v:{version} is not a generation, as in v:{_EXAMPLES['v']}")
    number = None if version is None else int(version.removeprefix("v"))

    def fits(row: list[Any]) -> bool:
        return any(mod in (None, mod_id) and number in (None, asked) for mod_id, asked, *_ in row[trace.WAY])

    return fits


def _held(row: list[Any]) -> bool:
    return any(each[3] for each in row[trace.WAY])


def _failed(row: list[Any]) -> bool:
    return row[trace.OK] is not True or any(each[5] in (Said.RAISED, Said.GIVEN_UP) for each in row[trace.WAY])


_FIELDS: dict[str, Callable[[str], OfRow]] = {"from": _from, "to": _to, "id": _id, "in": _exactly}
_STATES: dict[str, OfRow] = {"held": _held, "failed": _failed}
_EXAMPLES = {"mod": "wiki", "v": "5", "from": "ana", "to": "critic", "id": "5f3a", "in": "wiki.page.edit"}
