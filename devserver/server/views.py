"""The contents of the feed: the recorder, facts, log lines, results of plans, and running mods.

Facts and lines come to it without secrets; events of mods are cleaned on their way out.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict
from typing import Any

from devserver.agent_network import AgentNetwork
from devserver.control.feed import LogLine
from devserver.control.tape import Tape
from devserver.live.loops import run_in_thread
from devserver.model.facts import ConfigRefused, ContractChanged, Fact, ModError, PlanDone, Replayed, Restarted, Status
from devserver.model.wire_form import done_to_dict, error_to_dict, form_of, iso_of, lines_of, restarted_to_dict
from devserver.network.accounts import FACTS, LOGS, RELOADS
from devserver.server.changes import Changes, diffs_of
from devserver.server.redact import Redactor
from devserver.server.status import Standing, mods_since
from devserver.ui.repeats import Repeats, what_repeats
from devserver.ui.said import Said, Say

_MOST_WORDS = 2000
_MOST_RELOADS, _MOST_FACTS, _MOST_LOGS = 200, 500, 2000


class LiveViews:
    """The views of one run. Told from any thread."""

    def __init__(self, network: AgentNetwork, redactor: Redactor) -> None:
        self._network = network
        self._redactor = redactor
        self.recorder = network.record()
        self.standing = Standing()
        self._away_changes = 0
        accounts = network.directory.accounts
        self.reloads: Tape[dict[str, Any]] = Tape(_MOST_RELOADS, accounts.open(RELOADS))
        self.facts: Tape[Any] = Tape(_MOST_FACTS, accounts.open(FACTS))
        self.logs: Tape[LogLine] = Tape(_MOST_LOGS, accounts.open(LOGS))
        self.pinned: Collection[int] = ()
        """The numbers of the events that pins were made of; the owner of the pins keeps it."""
        self.changes = Changes()
        self.recording: Callable[[], str | None] = lambda: None
        """Says which file a session is recorded into."""
        self.noted: dict[int, dict[str, Any]] = {}
        """Further facts about a change, by its number: `pins`, `contract`."""
        self._repeats, self._lock = Repeats(), threading.Lock()
        self._changed = 0
        """The number of the latest change of mods: replay and the contract speak of that."""
        self._tapes: dict[str, Tape[Any]] = {RELOADS.name: self.reloads, FACTS.name: self.facts, LOGS.name: self.logs}

    def note(self, fact: Fact) -> None:
        now = iso_of(time.time())
        self.standing.note(fact)
        if isinstance(fact, ModError):
            # Each of a burst would push swaps and pins off the tape; the mods' rows count them all.
            with self._lock:
                if self._repeats.times(what_repeats(fact), time.monotonic()) is None:
                    return
        number = self._note_reload(fact, now)
        if number is None:
            number = self._note_beside(fact)
        for line in lines_of(fact, now):
            self.facts.put({**line, "change": number} if number is not None else line)

    def _note_reload(self, fact: Fact, now: str) -> int | None:
        """Keep the result of a plan; return its number."""
        match fact:
            case PlanDone():
                number = self.reloads.put({"time": now, **done_to_dict(fact)})
                if any(each.status is Status.APPLIED for each in fact.outcomes):
                    self._changed = number
                self.changes.keep(number, fact.code)
                return number
            case Restarted():
                told = restarted_to_dict(fact)
                return self.reloads.put({"time": now, "success": not fact.failed, "restarted": told})
            case ConfigRefused():
                refused = [error_to_dict(each) for each in fact.errors]
                return self.reloads.put({"time": now, "success": False, "refused": refused})
            case _:
                return None

    def _note_beside(self, fact: Fact) -> int | None:
        """Keep what replay and the contract say of the latest change; its number."""
        number = self._changed
        match fact:
            case Replayed():
                self.note_beside(number, pins=[form_of(each) for each in fact.pins])
            case ContractChanged():
                known = self.beside(number).get("contract", {"lost": [], "changed": []})
                told = form_of(fact)
                both = {key: [*known[key], *told[key]] for key in known}
                self.note_beside(number, contract=both)
            case _:
                return None
        return number or None

    def hearing(self, say: Say) -> Say:
        """Return the same function, which also keeps what is told."""

        def said(line: Said) -> None:
            self.logs.put(_log_line(line, time.time()))
            say(line)

        return said

    def mods_revision(self) -> int:
        """Return a number that grows with each change of the mods' rows, of mods of other hosts included."""
        away = self._network.engine.registry.away_changes
        if away != self._away_changes:
            self._away_changes = away
            self.standing.touch()
        return self.standing.revision

    def mods_since(self, revision: int) -> dict[str, Any]:
        """Return the rows of mods that changed since a revision, and the order of all."""
        return mods_since(self._network, self.standing, revision)

    async def diff(self, number: int) -> list[dict[str, Any]] | None:
        """Return the changes of each file; None if its code is not kept."""
        code = self.changes.of(number)
        return [asdict(each) for each in await run_in_thread(diffs_of, code)] if code else None

    def beside(self, number: int) -> dict[str, Any]:
        """Return further facts about a change."""
        return self.noted.get(number, {})

    def note_beside(self, number: int, **known: Any) -> None:
        """Note a further fact about a change, as the results of its pins."""
        self.noted[number] = {**self.noted.get(number, {}), **known}
        for each in [each for each in self.noted if each <= number - _MOST_RELOADS]:
            del self.noted[each]

    def agents_seen(self) -> dict[str, int]:
        """Return how many agents are connected, and how many connections this run dropped."""
        directory = self._network.directory
        return {"n": directory.connected(), "dropped": directory.drops}

    def clean(self, raw: bytes) -> bytes:
        """Return JSON without live secrets."""
        return self._redactor.json(raw)

    def close(self) -> None:
        """Release all waiting callers: nothing more will come."""
        for each in self._tapes.values():
            each.close()

    def open_again(self) -> None:
        """Let news come again."""
        for each in self._tapes.values():
            each.open_again()

    def pack(self) -> dict[str, Any]:
        """Return the values with which this process's next image continues these numbers, with the
        code of changes and the further facts about them."""
        tapes = {name: each.pack() for name, each in self._tapes.items()}
        return {**tapes, "code": self.changes.pack(), "noted": self.noted, "changed": self._changed}

    def unpack(self, packed: Mapping[str, Any]) -> None:
        """Continue after an earlier image, which may have packed less."""
        for name, tape in self._tapes.items():
            tape.unpack(packed.get(name, ()))
        self.changes.unpack(packed.get("code", {}))
        self.noted, self._changed = packed.get("noted", {}), packed.get("changed", 0)


def _log_line(line: Said, now: float) -> LogLine:
    words = line.words if not line.fields else f"{line.words} {' '.join(f'{k}={v!r}' for k, v in line.fields.items())}"
    whose = str(line.bound.get("mod") or line.who)
    return (round(now, 3), line.level, whose, int(line.bound.get("number") or 0), words[:_MOST_WORDS])
