"""Asks and replies as hosts send them to each other. Pure.

A message is a line that all in it have in common, and a line of JSON for each: an ask is read for every event, its head
once. What is written here is part of `link.WIRE`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from operator import attrgetter
from typing import Any

from devserver.hosts.work import whole_number
from devserver.model.encoding import to_json
from devserver.model.event import Event, EventResponse
from devserver.model.facts import ErrorFacts
from devserver.network.others import Asked, Reply
from devserver.transports.strict import parse_ours

PING = b"ping"
"""The head of a message that asks whether a host is there."""

_MOST_MODS = 1000
_MOST_CACHED = 4096
"""The bytes of a head that is remembered."""
_REQUESTS = "system."
_NOTICES = "system.notification."
_FIELDS = tuple(each.name for each in fields(Event) if each.name != "secret")
_values_of = attrgetter(*_FIELDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """What the asks of one message have in common. `seen`: the revision of the agents' bucket that the asker knows;
    `again`: the run of the host that was asked before, where this is a repeat."""

    mods: tuple[str, ...]
    whole: bool
    told: bool
    depth: int
    calls: tuple[str, ...]
    seats: Mapping[str, int]
    met: int
    seen: int
    again: str | None


def head_of(asked: Asked, seen: int) -> bytes:
    """Write what an ask has in common with others."""
    seats = tuple(asked.seats.items())
    return _head_written((asked.mods, asked.whole, asked.told, asked.depth, asked.calls, seats, asked.met, seen))


def again(head: bytes, run: str) -> bytes:
    """Write the head of an ask that is sent once more, to that run of its host alone."""
    return b"%b,%b]" % (head[:-1], to_json(run))


@lru_cache(maxsize=64)
def _head_written(values: tuple[Any, ...]) -> bytes:
    return to_json(values)


def head_from(raw: bytes) -> Head:
    """Read the head of a message. Raises Malformed, ValueError or TypeError for other bytes."""
    return _head_remembered(raw) if len(raw) <= _MOST_CACHED else _head_read(raw)


def _head_read(raw: bytes) -> Head:
    mods, whole, told, depth, calls, seats, met, seen, *run = _list(parse_ours(raw))
    return Head(
        mods=_texts(mods),
        whole=whole is True,
        told=told is True,
        depth=max(0, whole_number(depth)),
        calls=_texts(calls),
        seats={str(mod): whole_number(epoch) for mod, epoch in _list(seats)},
        met=max(0, whole_number(met)),
        seen=whole_number(seen),
        again=str(run[0]) if run else None,
    )


_head_remembered = lru_cache(maxsize=64)(_head_read)


def ask_of(asked: Asked, number: int) -> bytes:
    """Write the line of an ask. `number`: that of its reply."""
    event = asked.event
    first = asked.first or (event.source_id or "", event.source_agent_group)
    return to_json((number, asked.key, first, _values_of(event)))


def ask_from(head: Head, values: Sequence[Any]) -> Asked:
    """Read an ask from the values of its line. Raises ValueError or TypeError for other ones."""
    _, key, (sender, group), of_event = values
    event = Event(**dict(zip(_FIELDS, of_event, strict=True)))
    if event.event_name.startswith(_REQUESTS) and not event.event_name.startswith(_NOTICES):
        raise ValueError(f"{event.event_name} is judged where its sender is, and never asked of another host")
    return Asked(
        event=event,
        mods=head.mods,
        key=str(key)[:4096],
        whole=head.whole,
        told=head.told,
        depth=head.depth,
        seats=head.seats,
        met=head.met,
        calls=head.calls,
        first=(str(sender), None if group is None else str(group)),
    )


def reply_of(reply: Reply, number: int) -> bytes:
    """Write the line of a reply."""
    answer = reply.answer
    told = None if answer is None else (answer.success, answer.message, answer.data, answer.event_name)
    errors = [(mod_id, error.kind, error.message) for mod_id, error in reply.errors]
    return to_json((number, told, errors, reply.visits))


def reply_from(values: Sequence[Any]) -> Reply:
    """Read a reply from the values of its line. Raises ValueError or TypeError for other ones."""
    _, told, errors, visits = values
    answer = None
    if told is not None:
        success, message, data, name = told
        if data is not None and not isinstance(data, dict):
            raise ValueError("the data of an answer is an object")
        answer = EventResponse(success is True, str(message or ""), data, name)
    failed = [(str(mod), ErrorFacts(str(kind), str(words))) for mod, kind, words in errors]
    return Reply(answer, failed, [(str(mod), *map(int, five)) for mod, *five in visits if len(five) == 5])  # type: ignore[misc]


def numbered(line: bytes) -> tuple[int, Sequence[Any]]:
    """Read a line: its number, and its values. Raises Malformed or ValueError for other bytes."""
    values = _list(parse_ours(line))
    return whole_number(values[0] if values else None), values


def _list(values: Any) -> list[Any]:
    if not isinstance(values, list) or len(values) > _MOST_MODS:
        raise ValueError("a list was expected")
    return values


def _texts(values: Any) -> tuple[str, ...]:
    if not all(isinstance(each, str) for each in _list(values)):
        raise ValueError("a list of names was expected")
    return tuple(values)
