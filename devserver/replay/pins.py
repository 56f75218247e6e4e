"""Pins: events that are run again after each change, with initial state and accepted observation.

A pin is a file of plain data; nothing in it is ever executed. A state without a plain form is held
in memory for this run alone, and the pin says so.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from devserver.errors import DevServerError
from devserver.model.facts import PinReplayed, PinResult
from devserver.model.observation import Differs, Observation
from devserver.network.compare import ABSENT, Skip, compare, noise
from devserver.reload.carry import PackedState
from devserver.replay.plain import is_too_deep
from devserver.replay.stand import Given, event_of

if TYPE_CHECKING:
    from devserver.server.private_folder import PrivateFolder

FORMAT = 1
MOST_BYTES = 8 * 1024 * 1024
"""The largest file of a pin."""
MOST_PINS = 500
_SUFFIX = ".json"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_UNSTEADY = 2
"""How often the result of an unsteady pin has changed on the same code."""


class PinRefused(DevServerError):
    """A pin that cannot be made, or read. The text says why."""


@dataclass(slots=True, kw_only=True)
class Pin:
    """One pin. `number` is that of the event in its run, `at` seconds since 1970."""

    name: str
    number: int | None
    at: float
    generations: dict[str, int]
    event: dict[str, Any]
    agents: list[dict[str, Any]]
    channels: dict[str, list[str]]
    state: dict[str, dict[str, Any]]
    """For each mod its state as `{"plain": …}`, or why it has no plain form as `{"lost": …}`."""
    accepted: Observation
    noise: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    is_here: bool = True
    """Whether its number is that of an event of this run; other runs number other events."""
    packed: dict[str, PackedState] = field(default_factory=dict)
    """The states without a plain form, for this run alone."""
    last: PinReplayed | None = None
    """The result of its last run."""
    seen: Observation | None = None
    """The observation of its last run."""
    flips: int = 0
    """How often its result changed on the same code."""
    _differed: bool | None = None

    @property
    def event_name(self) -> str:
        return str(self.event["event_name"])

    @property
    def known_as(self) -> int | None:
        """The number of its event for people; None for one that was given, or is of another run."""
        return self.number if self.is_here else None

    @property
    def differed(self) -> bool:
        """Whether its last run differed."""
        return self.last is not None and self.last.result is PinResult.DIFFERS

    @property
    def lost(self) -> str:
        """Why it can no longer be run in this run, in words; empty if it can."""
        gone = [f"{mod_id}: {each['lost']}" for mod_id, each in self.state.items() if "lost" in each]
        missing = any(mod_id not in self.packed for mod_id, each in self.state.items() if "lost" in each)
        return f"its state was that of an earlier run ({'; '.join(gone)})" if missing else ""

    def begins(self) -> dict[str, Any]:
        """Return the values with which the replay process runs it."""
        plain = {mod_id: each for mod_id, each in self.state.items() if "plain" in each}
        return {
            "event": self.event,
            "agents": self.agents,
            "channels": self.channels,
            "states": plain,
            "packed": self.packed,
        }

    def judge(self, seen: Observation) -> PinReplayed:
        """Return the result of a run, compared with the accepted observation."""
        skip = Skip(frozenset((*self.noise, *self.ignore)), (self.accepted.at, seen.at))
        found = differences_of(self.accepted, seen, skip)
        result, why = (PinResult.DIFFERS, "") if found else (PinResult.SAME, "")
        if found and self.accepted.raised and not seen.raised and seen.success:
            first = self.accepted.raised[0]
            result, why = PinResult.FIXED, f"{first.kind} {first.message} → success"
        return self._came_to(result, found, why)

    def note(self, seen: Observation) -> PinReplayed:
        """Keep a run and its result: see PinResult.UNSTEADY."""
        came = self.judge(seen)
        differs = came.result is PinResult.DIFFERS
        is_same_code = self.seen is not None and self.seen.generations == seen.generations
        if is_same_code and self._differed not in (None, differs):
            self.flips += 1
        if differs and self.flips >= _UNSTEADY:
            why = f"ignore it: oa-dev pins ignore {self.name} PATH"
            came = self._came_to(PinResult.UNSTEADY, came.differences, why)
        self.last, self.seen, self._differed = came, seen, differs
        return came

    def cannot(self, why: str) -> PinReplayed:
        """Return the result of a pin that was not run."""
        return self._came_to(PinResult.CANNOT, (), why)

    def forget_flips(self) -> None:
        """Begin to count from the start: it is compared with something else now."""
        self.flips, self._differed = 0, None

    def _came_to(self, result: PinResult, found: tuple[Differs, ...], why: str) -> PinReplayed:
        return PinReplayed(
            name=self.name, number=self.known_as, event_name=self.event_name, result=result, differences=found, why=why
        )

    def to_dict(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "name": self.name,
            "from": {"number": self.number, "at": self.at, "generations": self.generations},
            "event": self.event,
            "agents": self.agents,
            "channels": self.channels,
            "state": self.state,
            "accepted": self.accepted.to_dict(),
            "noise": list(self.noise),
            "ignore": list(self.ignore),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Pin:
        """Return what a file has. Raises PinRefused for another format, ValueError or the like for another form."""
        if values["format"] != FORMAT:
            raise PinRefused(f"it has the format {values['format']!r}, this oa-dev reads {FORMAT}: update oa-dev")
        begun = values["from"]
        state = {str(mod_id): dict(each) for mod_id, each in values["state"].items()}
        for each in state.values():
            if "plain" in each:
                Given.from_dict(each)
        event_of(values["event"])
        return cls(
            name=str(values["name"]),
            number=None if begun["number"] is None else int(begun["number"]),
            at=float(begun["at"]),
            generations={str(mod_id): int(number) for mod_id, number in begun["generations"].items()},
            event=dict(values["event"]),
            agents=[{**each, "agent_id": str(each["agent_id"])} for each in values["agents"]],
            channels={str(name): [str(each) for each in members] for name, members in values["channels"].items()},
            state=state,
            accepted=Observation.from_dict(values["accepted"]),
            noise=tuple(map(str, values["noise"])),
            ignore=tuple(map(str, values["ignore"])),
        )


def differences_of(before: Observation, after: Observation, skip: Skip) -> tuple[Differs, ...]:
    return tuple(_differs(each) for each in compare(before.compared(), after.compared(), skip))


def _differs(each: Any) -> Differs:
    if each.before is ABSENT:
        return Differs(each.path, None, each.after, "added")
    if each.after is ABSENT:
        return Differs(each.path, each.before, None, "removed")
    return Differs(each.path, each.before, each.after)


def noise_of(one: Observation, two: Observation) -> tuple[str, ...]:
    """Return the differences between two runs of the same code."""
    return tuple(sorted(noise(one.compared(), two.compared())))


class Pins:
    """A workspace's pins, in a private folder. `is_here`: whether this run had a pin's event."""

    def __init__(self, files: PrivateFolder, is_here: Callable[[Pin], bool] = lambda pin: False) -> None:
        self._files = files
        self._is_here = is_here
        self._pins: dict[str, Pin] = {}
        self.problems: list[str] = []
        """The files that are not pins, each in a sentence."""
        self._read_all()

    def _read_all(self) -> None:
        for file in self._files.names():
            name = file.removesuffix(_SUFFIX)
            if file.startswith(".") or len(self._pins) >= MOST_PINS:
                continue
            try:
                self._pins[name] = self._read(name)
            except DevServerError as error:
                self.problems.append(f"the pin {file} is not used: {error}")
            except (OSError, KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
                self.problems.append(f"the pin {file} is not used: it cannot be read ({type(error).__name__}: {error})")

    def _read(self, name: str) -> Pin:
        if not _NAME.fullmatch(name):
            raise PinRefused("its name is not that of a pin")
        data = self._files.read(f"{name}{_SUFFIX}", MOST_BYTES + 1)
        if data is None or len(data) > MOST_BYTES:
            raise PinRefused(f"it is larger than {MOST_BYTES // 1024 // 1024} MiB")
        values = json.loads(data)
        if not isinstance(values, dict) or is_too_deep(values):
            raise PinRefused("it is not a pin")
        pin = Pin.from_dict(values)
        pin.is_here = self._is_here(pin)
        if pin.name != name:
            raise PinRefused(f"it says to be {pin.name!r}")
        return pin

    def all(self) -> list[Pin]:
        """Return every pin: those that differed last first, then in the order of their names."""
        return sorted(self._pins.values(), key=lambda each: (not each.differed, each.name))

    def __len__(self) -> int:
        return len(self._pins)

    def find(self, what: str | int) -> Pin | None:
        """Return the pin of that name, or of the event of that number."""
        if isinstance(what, str) and what in self._pins:
            return self._pins[what]
        text = str(what).removeprefix("#")
        number = int(text) if text.isdecimal() and len(text) < 19 else None
        return next((each for each in self._pins.values() if number is not None and each.known_as == number), None)

    @property
    def numbers(self) -> set[int]:
        """Return the numbers of the events of this run that are pinned."""
        return {each.known_as for each in self._pins.values() if each.known_as is not None}

    def name_for(self, event_name: str, number: int | None, wanted: str | None) -> str:
        """Return a name for a pin: the wanted one, or a free one. Raises PinRefused without any."""
        if len(self._pins) >= MOST_PINS and (wanted is None or wanted not in self._pins):
            raise PinRefused(f"there are {MOST_PINS} pins already: remove some (oa-dev pins remove NAME)")
        if wanted is not None:
            if not _NAME.fullmatch(wanted):
                raise PinRefused(f"{wanted!r} is not a name for a pin: letters, digits, dots, dashes and underscores")
            return wanted
        base = event_name[:80] + ("" if number is None else f"-{number}")
        name, count = base, 2
        while name in self._pins and (number is None or self._pins[name].known_as != number):
            name, count = f"{base}-{count}", count + 1
        return name

    def put(self, pin: Pin) -> None:
        """Keep a pin in place of one with its name. Raises PinRefused if too large; OSError."""
        text = json.dumps(pin.to_dict(), ensure_ascii=False, indent=1)
        if len(text.encode()) > MOST_BYTES:
            raise PinRefused(f"it would take more than {MOST_BYTES // 1024 // 1024} MiB: pin it with --state empty")
        self._files.write(f"{pin.name}{_SUFFIX}", text + "\n")
        self._pins[pin.name] = pin

    def accept(self, pin: Pin) -> bool:
        """Accept the observation of its last run; False if it has not been run."""
        if pin.seen is None:
            return False
        pin.accepted, pin.last = pin.seen, None
        pin.forget_flips()
        pin.generations = dict(pin.seen.generations)
        self.put(pin)
        return True

    def ignore(self, pin: Pin, pattern: str) -> None:
        """Stop comparing a path, or all paths of a pattern."""
        pin.ignore = tuple(dict.fromkeys((*pin.ignore, pattern)))
        pin.forget_flips()
        if pin.seen is not None:
            pin.last = pin.judge(pin.seen)
        self.put(pin)

    def remove(self, pin: Pin) -> None:
        self._files.remove(f"{pin.name}{_SUFFIX}")
        del self._pins[pin.name]
