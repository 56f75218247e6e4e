"""The events that a network answers, and the answers' shapes, before and after a change. Pure.

Made from recorded traffic: of each generation the answers to an event, and the events that it sent
because of one. Compares the shapes of values, never the values.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from devserver.model.facts import LostEvent, ShapeChange

ENOUGH = 3
"""The number of answers of a generation from which their shape counts."""
FIRST, EVERY = 20, 100
"""The first answers of a generation are looked at, then every hundredth."""
_KEPT_GENERATIONS = 3
DEPTH = 4
MOST_KEYS = 64
MOST_NAMED = 5
_ABSENT = "nothing"


@dataclass(slots=True)
class Shape:
    """Of the values in one place: their types, how many there were, and of objects and lists what is in them."""

    types: set[str] = field(default_factory=set)
    count: int = 0
    objects: int = 0
    keys: dict[str, Shape] = field(default_factory=dict)
    items: Shape | None = None

    def add(self, value: Any, depth: int = DEPTH) -> None:
        """Take in one more value."""
        self.count += 1
        self.types.add(_type_of(value))
        if not depth:
            return
        if isinstance(value, Mapping):
            self.objects += 1
            for key, each in value.items():
                if key in self.keys or len(self.keys) < MOST_KEYS:
                    self.keys.setdefault(str(key), Shape()).add(each, depth - 1)
        elif isinstance(value, list):
            for each in value[:FIRST]:
                self.items = self.items or Shape()
                self.items.add(each, depth - 1)

    @property
    def words(self) -> str:
        """Its types: `int`, `int or null`."""
        return " or ".join(sorted(self.types)) or _ABSENT


def _type_of(value: Any) -> str:
    if value is None:
        return "null"
    names = {dict: "object", list: "list", bool: "bool", int: "int", float: "number", str: "str"}
    return names.get(type(value), type(value).__name__)


def narrower(before: Shape, after: Shape, path: str = "") -> Iterator[tuple[str, str, str]]:
    """Yield where readers of `before` may fail on `after`: a place, what was there, what is now.

    What is new beside it hurts nothing that reads what was there, and is not told.
    """
    fresh = after.types - before.types - ({"int"} if "number" in before.types else set())
    if fresh:
        yield path, before.words, after.words
        return
    for key, shape in before.keys.items():
        place, now = f"{path}.{key}" if path else key, after.keys.get(key)
        was_always = shape.count == before.objects
        if now is None:
            if after.objects and was_always:
                yield place, shape.words, _ABSENT
        elif was_always and now.count < after.objects:
            yield place, "always there", "sometimes there"
        else:
            yield from narrower(shape, now, place)
    if before.items is not None and after.items is not None:
        yield from narrower(before.items, after.items, f"{path}[]")


@dataclass(frozen=True, slots=True)
class Observed:
    """A place to compare: what the mod answers to an event (`answer`), or what it sends under a name (`sends`)."""

    mod_id: str
    part: str
    event_name: str


class Shapes:
    """The shapes that were seen of the latest generations of each mod."""

    def __init__(self) -> None:
        self._shapes: dict[Observed, dict[int, Shape]] = {}
        self._seen: dict[tuple[Observed, int], int] = {}

    def add(self, observed: Observed, generation: int, value: Any) -> None:
        """Take in an answer, or a payload that was sent."""
        seen = self._seen[observed, generation] = self._seen.get((observed, generation), 0) + 1
        if seen > FIRST and seen % EVERY:
            return
        known = self._shapes.setdefault(observed, {})
        known.setdefault(generation, Shape()).add(value)
        for old in sorted(known)[:-_KEPT_GENERATIONS]:
            del known[old]
            self._seen.pop((observed, old), None)

    def changed(self) -> list[ShapeChange]:
        """Return what differs between a mod's latest two generations that were seen enough."""
        found = []
        for observed, known in self._shapes.items():
            numbers = [number for number in sorted(known) if known[number].count >= ENOUGH]
            if len(numbers) > 1:
                before, after = known[numbers[-2]], known[numbers[-1]]
                found += [
                    ShapeChange(observed.event_name, observed.part, path, was, now)
                    for path, was, now in narrower(before, after)
                ]
        return found


def lost_events(
    before: Iterable[str], after: Sequence[str], seen: Mapping[str, Sequence[str | None]]
) -> list[LostEvent]:
    """Return the events that had a handler and have none now.

    Args:
        before, after: the patterns of all live mods.
        seen: who has sent events of each name lately, one entry for each event.
    """
    was, now = Heard(before), Heard(after)
    # A name that only a prefix covered counts once an agent or a mod has sent it.
    names = dict.fromkeys((*was.exact, *(name for name in seen if name in was)))
    return [LostEvent(name, len(seen.get(name, ())), _named(seen.get(name, ()))) for name in names if name not in now]


class Heard:
    """The names of events that patterns cover; the time of a look does not depend on their number."""

    def __init__(self, patterns: Iterable[str]) -> None:
        found = tuple(patterns)
        self.exact = dict.fromkeys(each for each in found if not each.endswith("*"))
        self._prefixes = tuple(each[:-1] for each in found if each.endswith("*"))

    def __contains__(self, name: str) -> bool:
        return name in self.exact or name.startswith(self._prefixes)


def _named(seen: Iterable[str | None]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(each.removeprefix("agent:") for each in seen if each))[:MOST_NAMED]


def with_agents(
    changes: Iterable[ShapeChange], senders: Mapping[str, Sequence[str | None]], receivers: Mapping[str, Sequence[str]]
) -> list[ShapeChange]:
    """Return the changes with the agents that have met them: by event, who has sent it or got it lately."""
    return [
        replace(each, agents=_named((receivers if each.part == "sends" else senders).get(each.event_name, ())))
        for each in changes
    ]


def newly_needed(before: Mapping[str, frozenset[str]], after: Mapping[str, frozenset[str]]) -> Iterator[ShapeChange]:
    """Yield the keys of payloads that were optional and are needed now, by event."""
    for name, keys in after.items():
        if name in before:
            yield from (ShapeChange(name, "takes", key, "optional", "required") for key in sorted(keys - before[name]))
