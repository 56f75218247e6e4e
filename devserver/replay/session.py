"""Sessions: events of a run as a file of JSON lines, and what a run of them again is compared with.

The first line says where the session begins, each further one what happened:

    {"oa-dev session": 1, "network": …, "at": …, "sources": {path: sha256}, "state": {mod: {"plain": …}},
     "agents": […], "channels": {…}}
    {"e": row, "payload": …, "answer": …, "errors": …}    an event that has ended, as the recorder keeps it
    {"agent": id, "came": true, "metadata": {…}}          an agent came, or went
    {"outcome": {…}}                                      a mod was reloaded; only read by people

Events that handlers sent because of another one (their parent) are what that one did; all others are what is run again.
A file is data: strictly read, bounded, never executed. A last line that is cut is left out, and said.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, BinaryIO

from devserver.errors import DevServerError
from devserver.model.observation import ANSWERED, PASSED, RAISED, Observation, Sent
from devserver.model.trace import (
    AT,
    DESTINATION,
    EVENT_NAME,
    NUMBER,
    OK,
    PARENT,
    PAYLOAD,
    ROW,
    SAID,
    SOURCE,
    TO,
    TOOK,
    WAY,
    Said,
    event_of_row,
)
from devserver.replay.plain import is_too_deep
from devserver.replay.stand import Given

FORMAT = 1
MOST_BYTES = 64 * 1024 * 1024
"""The most bytes of a session that is read."""
_KEY = "oa-dev session"
_ASKED = {Said.PASSED: PASSED, Said.ANSWERED: ANSWERED, Said.RAISED: RAISED}


class BadSession(DevServerError):
    """A file that is not a session. The text says why, with the line."""


@dataclass(frozen=True, slots=True)
class Input:
    """An event that is run again: its values, its former effects, the parts without a record."""

    number: int
    event: dict[str, Any]
    did: Observation
    unknown: frozenset[str]


@dataclass(slots=True, kw_only=True)
class Session:
    """One session. `steps`: events that are run again, and agents that come and go, in order."""

    network: str
    state: dict[str, dict[str, Any]]
    agents: list[dict[str, Any]]
    channels: dict[str, list[str]]
    steps: list[Input | dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def inputs(self) -> list[Input]:
        """The events that are run again."""
        return [each for each in self.steps if isinstance(each, Input)]

    def until(self, number: int) -> Session:
        """Return the part up to an event. Raises BadSession without that event."""
        for place, each in enumerate(self.steps):
            if isinstance(each, Input) and each.number == number:
                return replace(self, steps=self.steps[: place + 1])
        raise BadSession(f"the session has no event #{number} that could be run again")

    def message(self) -> dict[str, Any]:
        """Return it as the replay process gets it: its beginning, and its `events`."""
        events = [each.event if isinstance(each, Input) else each for each in self.steps]
        return {"agents": self.agents, "channels": self.channels, "states": self.state, "events": events}


def first_line(
    network: str, at: float, sources: Mapping[str, str], state: Mapping[str, Any], begins: Mapping[str, Any]
) -> bytes:
    """Write the first line of a session; `begins` has `agents` and `channels`."""
    head = {_KEY: FORMAT, "network": network, "at": at, "sources": dict(sources), "state": dict(state)}
    return json.dumps({**head, "agents": begins["agents"], "channels": begins["channels"]}).encode() + b"\n"


def event_line(entry: bytes) -> bytes:
    """Write the line of an event that has ended, from what the recorder keeps of it."""
    row, _, rest = entry.partition(b"\n")
    return b'{"e":%b,%b' % (row, rest[1:]) if rest else b'{"e":%b}\n' % row


def read_session(stream: BinaryIO) -> Session:
    """Read a session. Raises BadSession."""
    data = stream.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise BadSession(f"it is larger than {MOST_BYTES // 1024 // 1024} MiB")
    lines = data.split(b"\n")
    notes = ["its last line is cut, and left out"] if lines[-1] else []
    rows: list[tuple[int, dict[str, Any]]] = []
    for number, line in enumerate(lines[:-1], 1):
        if line.strip():
            rows.append((number, _object(line, number)))
    if not rows:
        raise BadSession("it is empty")
    session = _begun(rows[0][1])
    session.notes += notes
    _fill(session, rows[1:])
    return session


def _object(line: bytes, number: int) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise BadSession(f"line {number} is not JSON ({error})") from error
    if not isinstance(found, dict) or is_too_deep(found):
        raise BadSession(f"line {number} is not an object of at most 100 levels")
    return found


def _begun(head: Mapping[str, Any]) -> Session:
    if head.get(_KEY) != FORMAT:
        raise BadSession(f"line 1: it has the format {head.get(_KEY)!r}, this oa-dev reads {FORMAT}")
    try:
        state = {str(mod_id): dict(each) for mod_id, each in head["state"].items()}
        for each in state.values():
            if "plain" in each:
                Given.from_dict(each)
        lost = [f"{mod_id} begins on fresh state: {each['lost']}" for mod_id, each in state.items() if "lost" in each]
        return Session(
            network=str(head["network"]),
            state={mod_id: each for mod_id, each in state.items() if "plain" in each},
            agents=[{**each, "agent_id": str(each["agent_id"])} for each in head["agents"]],
            channels={str(name): [str(each) for each in members] for name, members in head["channels"].items()},
            notes=lost,
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadSession(f"line 1 is of another form ({type(error).__name__}: {error})") from error


def _fill(session: Session, rows: Iterable[tuple[int, dict[str, Any]]]) -> None:
    """Add the events of a session, in the order in which they began."""
    events: list[tuple[list[Any], dict[str, Any]]] = []
    steps: list[tuple[float, Input | dict[str, Any]]] = []
    latest = 0.0
    for number, line in rows:
        row = line.get("e")
        if row is not None:
            _check(row, number)
            events.append((row, line))
            latest = max(latest, float(row[AT] + row[TOOK]))
        elif "agent" in line:
            steps.append((latest, {"agent": str(line["agent"]), "came": bool(line.get("came")), **_metadata(line)}))
    children: dict[int, list[tuple[list[Any], dict[str, Any]]]] = {}
    for each in events:
        children.setdefault(each[0][PARENT], []).append(each)
    known = {row[NUMBER] for row, _ in events}
    for row, line in events:
        if row[EVENT_NAME].startswith("system.") or row[PARENT] in known:
            continue
        family = [(row, line), *_descendants(row[NUMBER], children)]
        made = _input(row, line, family)
        if made is None:
            session.notes.append(f"#{row[NUMBER]} is left out: its payload was not kept")
        else:
            steps.append((float(row[AT]), made))
    session.steps = [each for _, each in sorted(steps, key=lambda step: step[0])]


def _metadata(line: Mapping[str, Any]) -> dict[str, Any]:
    return {"metadata": line["metadata"]} if isinstance(line.get("metadata"), dict) else {}


def _check(row: Any, number: int) -> None:
    numbers = (NUMBER, PARENT, AT, TOOK)
    sound = isinstance(row, list) and len(row) == len(ROW) and all(type(row[each]) is int for each in numbers)
    if not sound or not isinstance(row[EVENT_NAME], str) or not isinstance(row[WAY], list):
        raise BadSession(f"line {number} is not a row of an event")


def _descendants(
    number: int, children: Mapping[int, list[tuple[list[Any], dict[str, Any]]]]
) -> Iterator[tuple[list[Any], dict[str, Any]]]:
    pending = [number]
    while pending:
        for each in children.get(pending.pop(), ()):
            yield each
            # A row that names itself as its parent would make an endless loop.
            if each[0][NUMBER] > each[0][PARENT]:
                pending.append(each[0][NUMBER])


def _input(row: list[Any], line: Mapping[str, Any], family: list[tuple[list[Any], dict[str, Any]]]) -> Input | None:
    payload = line.get("payload", row[PAYLOAD])
    if not isinstance(payload, dict):
        return None
    answer = line.get("answer")
    values = answer if isinstance(answer, list) else [row[OK], row[SAID], None, None]
    if isinstance(answer, dict):
        values = [answer.get("success"), answer.get("message"), answer.get("data"), None]
    visits = sorted((visit for each, _ in family for visit in each[WAY]), key=lambda visit: visit[2])
    sent = sorted(family[1:], key=lambda each: each[0][NUMBER])
    told: dict[str, tuple[str, ...]] = {}
    for each, _ in sorted(family, key=lambda one: one[0][AT] + one[0][TOOK]):
        for agent in each[TO]:
            if isinstance(agent, str):
                told[agent] = (*told.get(agent, ()), each[EVENT_NAME])
    # Of very many agents only the first are recorded, of a large answer nothing.
    unknown = {"told"} if any(not isinstance(agent, str) for each, _ in family for agent in each[TO]) else set()
    did = Observation(
        success=bool(values[0]),
        message=str(values[1]),
        data=values[2],
        way=tuple((str(visit[0]), _ASKED.get(visit[5], "given up")) for visit in visits),
        sends=tuple(
            Sent(e[EVENT_NAME], e[SOURCE], e[DESTINATION], more.get("payload", e[PAYLOAD])) for e, more in sent
        ),
        told=dict(sorted(told.items())),
    )
    # Parts that were not recorded are not compared: states, refusals, how often an exception was
    # raised.
    return Input(int(row[NUMBER]), event_of_row(row, payload), did, frozenset(unknown | {"state", "raised", "refused"}))
