"""Writes a test of a pinned event: plain pytest, no fixtures, no plugin, values as literals. Pure.

`ANY` stands where two runs of the same code disagreed. The text is as `ruff format` leaves it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from devserver.model.observation import ANSWERED, Changed, Observation
from devserver.network.compare import Step, path_of, pattern_of
from devserver.replay.pins import Pin

WIDTH = 88
"""The columns that a formatter uses unless it is told others."""
MOST_LINES = 200
"""The lines of a test beyond which its state has a file of its own."""
_MOST_CHANGES = 12
_SECRET = re.compile(r"pass(word|wd|phrase)?$|secret|token|api_?key|credential|private_?key", re.IGNORECASE)
HIDDEN = "…"


class _Any:
    """Stands for `ANY` among values."""

    def __repr__(self) -> str:
        return "ANY"


ANY = _Any()


@dataclass(frozen=True, slots=True)
class Written:
    """A test: its text, what goes into `data/<name>.json` beside it (None: nothing), and what a person should know."""

    text: str
    data: str | None
    warnings: tuple[str, ...] = ()


def test_name(pin: Pin) -> str:
    return re.sub(r"[^a-z0-9]+", "_", pin.event_name.lower()).strip("_")


def written(pin: Pin, seen: Observation, asked: str, name: str) -> Written:
    """Return a test that says what an event did. `asked`: the command that writes it; `name`: that of the test."""
    hidden: list[str] = []
    state = {mod_id: _hiding(each["plain"], hidden) for mod_id, each in pin.state.items() if "plain" in each}
    payload = _hiding(pin.event.get("payload") or {}, hidden)
    warnings = (f"{', '.join(dict.fromkeys(hidden))}: written as {HIDDEN!r}",) if hidden else ()
    text = _text(pin, seen, asked, name, payload=payload, state=state, apart=False)
    if text.count("\n") <= MOST_LINES:
        return Written(text, None, warnings)
    data = json.dumps(state, ensure_ascii=False, indent=1) + "\n"
    return Written(_text(pin, seen, asked, name, payload=payload, state=state, apart=True), data, warnings)


def _text(
    pin: Pin, seen: Observation, asked: str, name: str, *, payload: Any, state: Mapping[str, Any], apart: bool
) -> str:
    checks = list(_checks(pin, seen))
    uses_any = any(re.search(r"\bANY\b", each) for each in checks)
    day = datetime.fromtimestamp(pin.at, UTC).date().isoformat()
    mods = ", ".join(f"{mod_id} v{number}" for mod_id, number in seen.generations.items()) or "no mod"
    event = "" if pin.number is None else f"event #{pin.number}, "
    head = f'"""{pin.event_name} as it went on {day} ({event}{mods}).\n\nWritten by `{asked}`; yours to edit.\n"""\n'
    standard = ["import json", "from pathlib import Path"] if apart else []
    standard += ["from unittest.mock import ANY"] if uses_any else []
    parts = [head, "\n".join(standard) + "\n" if standard else "", "from devserver.testing import replay\n"]
    if apart:
        parts.append(f'STATE = json.loads((Path(__file__).parent / "data" / "{name}.json").read_text())\n')
    elif state:
        parts.append(f"STATE = {literal(state)}\n")
    body = "\n".join(f"    {line}" for each in (_call(pin, payload, bool(state)), *checks) for line in each.split("\n"))
    function = f'def test_{name}() -> None:\n    """{_sentence(pin, seen)}"""\n{body}\n'
    return "\n".join(each for each in parts if each) + f"\n\n{function}"


def _sentence(pin: Pin, seen: Observation) -> str:
    if seen.raised:
        return f"{pin.event_name} fails with {seen.raised[0].kind}."
    told = f", and tells {', '.join(seen.told)}" if 0 < len(seen.told) <= 3 else ""
    told = told or (f", and tells {len(seen.told)} agents" if seen.told else "")
    return f"{pin.event_name} {'succeeds' if seen.success else 'is refused'}{told}."


def _call(pin: Pin, payload: Any, has_state: bool) -> str:
    lines = ['    "network.yaml",', f"    {_string(pin.event_name)},", f"    {literal(payload, 4, 1)},"]
    event = pin.event
    for key, name in (("source_id", "source"), ("destination_id", "to")):
        if event.get(key):
            lines.append(f"    {name}={_string(event[key])},")
    agents = [each["agent_id"] for each in pin.agents]
    groups = {each["agent_id"]: each["group"] for each in pin.agents if each.get("group") not in (None, "guest")}
    if agents:
        lines.append(f"    agents={literal(agents, 4, 8)},")
    if groups:
        lines.append(f"    groups={literal(groups, 4, 8)},")
    if pin.channels:
        lines.append(f"    channels={literal(pin.channels, 4, 10)},")
    if has_state:
        lines.append("    state=STATE,")
    inner = "\n".join(lines)
    return f"seen = replay(\n{inner}\n)"


def _checks(pin: Pin, seen: Observation) -> Iterator[str]:
    noise = frozenset((*pin.noise, *pin.ignore))
    if "answer.success" not in noise:
        yield "assert seen.success" if seen.success else "assert not seen.success"
    if seen.message and "answer.message" not in noise:
        yield f"assert seen.message == {_string(seen.message)}"
    if seen.data is not None and "answer.data" not in noise:
        yield f"assert seen.data == {literal(with_any(seen.data, ('answer', 'data'), noise), 0, 20)}"
    if seen.told and "told" not in noise:
        told = {agent: list(names) for agent, names in seen.told.items()}
        yield f"assert seen.told == {literal(with_any(told, ('told',), noise), 0, 20)}"
    for each in seen.raised:
        yield f"assert {literal([each.mod_id, each.kind])} in [[each.mod_id, each.kind] for each in seen.raised]"
    for mod_id, change in _steady(seen, noise):
        before, after = (None if each is None else each for each in (change.before, change.after))
        values = literal((before, after), 0, 40)
        yield f"assert seen.changed({_string(mod_id)}, {_string(path_of(change.steps))}) == {values}"


def _steady(seen: Observation, noise: frozenset[str]) -> list[tuple[str, Changed]]:
    """Return the changes of states that all runs make and a person can read, by mod."""
    found = []
    answered = {mod_id for mod_id, what in seen.way if what == ANSWERED}
    for mod_id, changes in seen.changed.items():
        if answered and mod_id not in answered:
            continue
        for each in changes:
            steps: tuple[Step, ...] = ("state", mod_id, *each.steps)
            above = (pattern_of(steps[:place]) for place in range(1, len(steps) + 1))
            is_noise = any(pattern in noise or f"{pattern}{{}}" in noise for pattern in above)
            if not is_noise and _is_simple(each.before) and _is_simple(each.after):
                found.append((mod_id, each))
    return found[:_MOST_CHANGES]


def _is_simple(value: Any) -> bool:
    return value is None or isinstance(value, bool | int | float) or (isinstance(value, str) and len(value) < 60)


def with_any(value: Any, steps: tuple[Step, ...], noise: frozenset[str]) -> Any:
    pattern = pattern_of(steps)
    if pattern in noise or f"{pattern}{{}}" in noise:
        return ANY
    if isinstance(value, Mapping):
        return {key: with_any(each, (*steps, str(key)), noise) for key, each in value.items()}
    if isinstance(value, list):
        return [with_any(each, (*steps, place), noise) for place, each in enumerate(value)]
    return value


def _hiding(value: Any, hidden: list[str]) -> Any:
    """Return a value without what stands under a key that is named like a secret."""
    if isinstance(value, Mapping):
        inside = {}
        for key, each in value.items():
            if isinstance(each, str) and each and _SECRET.search(str(key)):
                hidden.append(str(key))
                each = HIDDEN
            inside[key] = _hiding(each, hidden)
        return inside
    return [_hiding(each, hidden) for each in value] if isinstance(value, list) else value


def literal(value: Any, indent: int = 0, before: int = 0) -> str:
    """Write a value as Python, broken into lines where it is too long. `indent`: the columns that
    its lines stand at; `before`: those that its first line has in front of it."""
    flat = _flat(value)
    # 4 more: the test's function; 1 more: the comma behind it.
    if 4 + indent + before + len(flat) + 1 <= WIDTH or not isinstance(value, dict | list | tuple) or not value:
        return flat
    inner = " " * (indent + 4)
    lines: Iterable[str]
    if isinstance(value, dict):
        keyed = ((_flat(key), each) for key, each in value.items())
        lines = (f"{inner}{key}: {literal(each, indent + 4, len(key) + 2)}," for key, each in keyed)
        opened, closed = "{", "}"
    else:
        lines = (f"{inner}{literal(each, indent + 4)}," for each in value)
        opened, closed = ("(", ")") if isinstance(value, tuple) else ("[", "]")
    return f"{opened}\n" + "\n".join(lines) + f"\n{' ' * indent}{closed}"


def _flat(value: Any) -> str:
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_flat(key)}: {_flat(each)}' for key, each in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(_flat, value))}]"
    if isinstance(value, tuple):
        return f"({', '.join(map(_flat, value))}{',' if len(value) == 1 else ''})"
    return repr(value)


def _string(text: str) -> str:
    """Return a text in double quotes, unless it has some and no single ones."""
    written = repr(text)
    if written[0] == "'" and '"' not in written:
        return f'"{written[1:-1]}"'
    return written
