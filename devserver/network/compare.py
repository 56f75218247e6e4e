"""The differences between two values, each at its path. Pure; knows neither events nor mods.

A path reads as `answer.data.pages[2].title`; its *pattern* has `[]` for each place in a list. Two
lists of different lengths are aligned at both ends first, so that one more item is one difference.
Two values that every run makes afresh, such as ids and times, count as equal (`Skip.times`); other
differences between runs are measured by `noise`, and skipped by their patterns. A mapping whose
keys are noise (`projects{}`) is compared by the number and the shapes of its values.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, NamedTuple

MOST = 200
"""The most differences that are found; there may be more."""

_DEEPEST = 100
_SAME_TIME = 5.0
"""Seconds around the moment when a value was made, within which a number in it is a time."""

_SHAPE_DEPTH = 4
_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]+")
_UUID = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")
_HEX = re.compile(r"(?=.*[0-9])[0-9a-fA-F]{16,}")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}")
_UNITS = (1.0, 1e3, 1e6, 1e9)


class Absent:
    """The type of `ABSENT`, which stands for a missing value."""

    def __repr__(self) -> str:
        return "nothing"


ABSENT: Final = Absent()

Step = str | int
Steps = tuple[Step, ...]


class Difference(NamedTuple):
    """One place at which two values differ; ABSENT for a missing one."""

    path: str
    pattern: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class Skip:
    """The places that are not compared: `patterns` (or paths) with everything below them.

    `times`: when each of the two values was made, in seconds since 1970. With it, two ids or two
    times count as equal, whatever their values; a number is a time if it is within 5 s of the
    moment at which its value was made.
    """

    patterns: frozenset[str] = frozenset()
    times: tuple[float, float] | None = None


@dataclass(slots=True)
class _Walk:
    skip: Skip
    most: int
    found: list[Difference] = field(default_factory=list)
    places: list[tuple[Steps, Any, Any]] = field(default_factory=list)

    def values(self, before: Any, after: Any, steps: Steps) -> None:
        """Note the differences between two values of the same place."""
        if len(self.found) >= self.most or before is after or self._skipped(steps):
            return
        if len(steps) < _DEEPEST:
            if isinstance(before, Mapping) and isinstance(after, Mapping):
                self._mappings(before, after, steps)
                return
            if _is_list(before) and _is_list(after):
                self._lists(before, after, steps)
                return
        if not same(before, after) and not self._alike(before, after):
            self._note(steps, before, after)

    def _mappings(self, before: Mapping[Any, Any], after: Mapping[Any, Any], steps: Steps) -> None:
        if f"{pattern_of(steps)}{{}}" in self.skip.patterns:
            one, two = Counter(map(shape, before.values())), Counter(map(shape, after.values()))
            path, pattern = path_of((*steps, "{}")), pattern_of((*steps, "{}"))
            if len(before) != len(after):
                self.found.append(Difference(path, pattern, len(before), len(after)))
            elif one != two:
                gone, new = "; ".join(one - two), "; ".join(two - one)
                self.found.append(Difference(path, pattern, gone, new))
            return
        for key in (*before, *(each for each in after if each not in before)):
            step = key if isinstance(key, int) and not isinstance(key, bool) else str(key)
            here = (*steps, step)
            if key in before and key in after:
                self.values(before[key], after[key], here)
            elif not self._skipped(here):
                self._note(here, before.get(key, ABSENT), after.get(key, ABSENT))

    def _lists(self, before: Sequence[Any], after: Sequence[Any], steps: Steps) -> None:
        short = min(len(before), len(after))
        head, tail = 0, 0
        if len(before) != len(after):
            while head < short and self._equal(before[head], after[head], (*steps, head)):
                head += 1
            while tail < short - head and self._equal(before[-1 - tail], after[-1 - tail], (*steps, -1)):
                tail += 1
        for place in range(head, short - tail):
            self.values(before[place], after[place], (*steps, place))
        for place in range(short - tail, len(before) - tail):
            self._note((*steps, place), before[place], ABSENT)
        for place in range(short - tail, len(after) - tail):
            self._note((*steps, place), ABSENT, after[place])

    def _equal(self, before: Any, after: Any, steps: Steps) -> bool:
        """Return whether two values differ in skipped places at most."""
        inner = _Walk(self.skip, 1)
        inner.values(before, after, steps)
        return not inner.found

    def _alike(self, before: Any, after: Any) -> bool:
        """Return whether both are ids, or both are times, as each run makes its own."""
        if self.skip.times is None:
            return False
        if isinstance(before, str) and isinstance(after, str):
            return _kind(before) is not None and _kind(before) == _kind(after)
        return _is_now(before, self.skip.times[0]) and _is_now(after, self.skip.times[1])

    def _skipped(self, steps: Steps) -> bool:
        patterns = self.skip.patterns
        return bool(patterns) and (pattern_of(steps) in patterns or path_of(steps) in patterns)

    def _note(self, steps: Steps, before: Any, after: Any) -> None:
        if len(self.found) < self.most and not self._skipped(steps):
            self.found.append(Difference(path_of(steps), pattern_of(steps), before, after))
            self.places.append((steps, before, after))


def compare(before: Any, after: Any, skip: Skip = Skip(), *, most: int = MOST) -> list[Difference]:
    """Find the differences between two values, in the order of `before`; at most `most`.

    Values are compared as JSON has them: mappings by key, lists and tuples by place, all else by type and value.
    """
    walk = _Walk(skip, most)
    walk.values(before, after, ())
    return walk.found


def compare_at(steps: Steps, before: Any, after: Any) -> list[tuple[Steps, Any, Any, str]]:
    """Find the differences between two values at `steps`. Each is its place as steps, the value
    before and now (None for nothing), and "changed", "added" or "removed"."""
    walk = _Walk(Skip(), MOST)
    walk.values(before, after, steps)
    return [
        (
            place,
            None if one is ABSENT else one,
            None if two is ABSENT else two,
            "added" if one is ABSENT else "removed" if two is ABSENT else "changed",
        )
        for place, one, two in walk.places
    ]


def noise(one: Any, two: Any) -> frozenset[str]:
    """Return the patterns of the differences between two runs of the same code. If a mapping has as
    many keys in both and some of them differ, its keys are the noise: `projects{}`."""
    walk = _Walk(Skip(), MOST)
    walk.values(one, two, ())
    found: set[str] = set()
    gone: Counter[str] = Counter()
    come: Counter[str] = Counter()
    for each in walk.found:
        parent = _parent(each.pattern)
        if each.before is ABSENT:
            come[parent] += 1
        elif each.after is ABSENT:
            gone[parent] += 1
    for each in walk.found:
        parent = _parent(each.pattern)
        is_key = (each.before is ABSENT or each.after is ABSENT) and not each.pattern.endswith("[]")
        found.add(f"{parent}{{}}" if is_key and gone[parent] == come[parent] else each.pattern)
    return frozenset(found)


def path_of(steps: Iterable[Step]) -> str:
    """Write a place in a value: `pages.home.versions[3]`; a key of other characters stands as `["a key"]`."""
    return "".join(_words(steps, lambda place: f"[{place}]"))


def pattern_of(steps: Iterable[Step]) -> str:
    """Write a place in a value with `[]` for each place in a list."""
    return "".join(_words(steps, lambda place: "[]"))


def _words(steps: Iterable[Step], place: Any) -> Iterator[str]:
    first = True
    for step in steps:
        if isinstance(step, int):
            yield place(step)
        elif step == "{}":
            yield step
        elif _PLAIN_KEY.fullmatch(step):
            yield step if first else f".{step}"
        else:
            escaped = step.replace("\\", "\\\\").replace('"', '\\"')
            yield f'["{escaped}"]'
        first = False


def steps_of(path: str) -> Steps:
    """Read a path that `path_of` has written. Raises ValueError for any other text."""
    steps: list[Step] = []
    place = 0
    while place < len(path):
        found = _STEP.match(path, place)
        if found is None or (place == 0 and found[0].startswith(".")):
            raise ValueError(f"{path!r} is not a path: write it as pages.home.versions[3]")
        plain, index, quoted = found.groups()
        if index is not None:
            steps.append(int(index))
        else:
            steps.append(plain if plain is not None else re.sub(r"\\(.)", r"\1", quoted))
        place = found.end()
    return tuple(steps)


_STEP = re.compile(r"""\.?([A-Za-z0-9_-]+)|\[(\d{1,9})\]|\["((?:[^"\\]|\\.)*)"\]""", re.ASCII)


def _parent(pattern: str) -> str:
    """Return the pattern without its last step."""
    if pattern.endswith('"]'):
        start = pattern.rfind('["')
        while start > 0 and pattern[start - 1] == "\\":
            # A quote within the last step, where it is escaped.
            start = pattern.rfind('["', 0, start)
        return pattern[: max(start, 0)]
    if pattern.endswith(("[]", "{}")):
        return pattern[:-2]
    # A dot or a bracket ends the part above; the last step itself has neither.
    return pattern[: max(pattern.rfind("."), 0)]


def same(before: Any, after: Any) -> bool:
    """Return whether two plain values are of one type and equal: 1, 1.0 and True are three."""
    if type(before) is not type(after):
        return False
    if isinstance(before, float) and math.isnan(before):
        return math.isnan(after)
    try:
        return bool(before == after)
    except Exception:
        # The == of a mod's own class may fail: they do not count as equal then.
        return False


def shape(value: Any, depth: int = _SHAPE_DEPTH) -> str:
    """Write the shape of a value, without its contents: `{head: int, versions: [str]}`."""
    if isinstance(value, Mapping):
        inside = ", ".join(f"{key}: {shape(each, depth - 1)}" for key, each in value.items()) if depth else "…"
        return f"{{{inside}}}"
    if _is_list(value):
        return f"[{', '.join(dict.fromkeys(shape(each, depth - 1) for each in value))}]" if depth else "[…]"
    return type(value).__name__


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple)


def _kind(text: str) -> str | None:
    if _UUID.fullmatch(text):
        return "uuid"
    if _HEX.fullmatch(text):
        return "hex"
    if _DATE.match(text):
        try:
            datetime.fromisoformat(text)
        except ValueError:
            return None
        return "time"
    return None


def _is_now(value: Any, now: float) -> bool:
    """Return whether a number is a time about now: seconds since 1970, or thousandths."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return any(abs(value / unit - now) <= _SAME_TIME for unit in _UNITS)
