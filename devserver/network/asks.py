"""The mods that agents have asked for and that wait for a person. Bounded; installs nothing.

The request fixes the version and the digest that a person will look at.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any

from devserver.errors import DevServerError, EventRefused
from devserver.market.shelf import Shelf
from devserver.model.event import Event
from devserver.model.facts import Fact, ModAsked
from devserver.network.agents import Directory

ANSWERED = "system.notification.mod_asked"

MOST_OF_AGENT = 5
MOST = 20
MOST_ANSWERED = 100
LONGEST_WHY = 200


class AskState(StrEnum):
    """The state of an agent's request."""

    WAITING = "waiting"
    ADDED = "added"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A mod that an agent asks for. `sha256` is empty where the catalogue names no file."""

    number: int
    agent_id: str
    name: str
    version: str
    catalogue: str
    why: str
    sha256: str
    state: AskState = AskState.WAITING


class Asks:
    """The requests, by number. The last MOST_ANSWERED answered ones stay available."""

    def __init__(self, shelf: Shelf, directory: Directory, tell: Callable[[Fact], None]) -> None:
        self._shelf = shelf
        self._directory = directory
        self._tell = tell
        self._asked: dict[int, Asked] = {}
        self._number = 0

    def waiting(self) -> tuple[Asked, ...]:
        """Return the requests that wait for a person, in order."""
        return tuple(each for each in self._asked.values() if each.state is AskState.WAITING)

    def find(self, number: int) -> Asked | None:
        return self._asked.get(number)

    async def ask_for(self, agent_id: str, name: str, why: str) -> Asked:
        """Ask a person for a mod that a catalogue offers; repeated requests are one. Installs
        nothing.

        Raises EventRefused for a mod that is in no catalogue or blocked, and if too many requests
        wait.
        """
        try:
            facts = await self._shelf.listing(name)
        except DevServerError as error:
            raise EventRefused("unknown_mod", str(error)) from error
        if facts["blocked"]:
            raise EventRefused("blocked", f"{facts['name']} is blocked by {facts['catalogue']}: {facts['blocked']}")
        return self._noted(agent_id, facts, why)

    def _noted(self, agent_id: str, facts: Mapping[str, Any], why: str) -> Asked:
        waiting = self.waiting()
        own = [each for each in waiting if each.agent_id == agent_id]
        same = next((each for each in own if (each.name, each.version) == (facts["name"], facts["version"])), None)
        if same is not None:
            return same
        if len(own) >= MOST_OF_AGENT:
            raise EventRefused(
                "too_many", f"{agent_id} has asked for {MOST_OF_AGENT} mods that a person has to answer first"
            )
        if len(waiting) >= MOST:
            raise EventRefused("too_many", f"{MOST} mods wait for a person already: ask later")
        self._number += 1
        asked = Asked(
            number=self._number,
            agent_id=agent_id,
            name=facts["name"],
            version=facts["version"] or "",
            catalogue=facts["catalogue"],
            why=why[:LONGEST_WHY],
            sha256=facts.get("sha256", ""),
        )
        self._asked[asked.number] = asked
        self._tell(_fact(asked))
        return asked

    def answer(self, number: int, *, added: bool) -> Asked | None:
        """Tell an agent the answer of a person; None if no request waits under that number."""
        asked = self._asked.get(number)
        if asked is None or asked.state is not AskState.WAITING:
            return None
        self._asked[number] = answered = replace(asked, state=AskState.ADDED if added else AskState.REFUSED)
        done = [each.number for each in self._asked.values() if each.state is not AskState.WAITING]
        for old in done[:-MOST_ANSWERED]:
            del self._asked[old]
        payload = {"asked": number, "state": answered.state.value, "name": asked.name, "version": asked.version}
        event = Event(event_name=ANSWERED, source_id="system:system", source_type="system", payload=payload)
        event.destination_id = f"agent:{asked.agent_id}"
        self._directory.tell(event)
        return answered

    # A restart in place

    def pack(self) -> dict[str, Any]:
        """Return what the next image of the process needs, as plain values."""
        return {"number": self._number, "asked": [to_dict(each) for each in self._asked.values()]}

    def unpack(self, packed: Mapping[str, Any]) -> None:
        """Continue after an earlier image."""
        self._number = packed["number"]
        asked = (Asked(**{**each, "state": AskState(each["state"])}) for each in packed["asked"])
        self._asked = {each.number: each for each in asked}


def _fact(asked: Asked) -> ModAsked:
    return ModAsked(
        number=asked.number,
        agent_id=asked.agent_id,
        name=asked.name,
        version=asked.version,
        catalogue=asked.catalogue,
        why=asked.why,
    )


def to_dict(asked: Asked) -> dict[str, Any]:
    """Return a request as plain values."""
    return {**asdict(asked), "state": asked.state.value}
