"""Tells how a change of mods reaches their users: events without a handler, other answers.

Lost events are known at once; the shape of answers only after the new generation has given some, so
it is looked for a few times after a change, on a thread of its own, in the rows that the recorder
keeps.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import asdict
from typing import Any

from devserver.agent_network import AgentNetwork
from devserver.live.loops import run_in_thread
from devserver.model.encoding import from_json
from devserver.model.facts import ContractChanged, Fact, LostEvent, PlanDone, Restarted, ShapeChange, Status
from devserver.model.lifecycle import Action
from devserver.model.plan import RESTART, START
from devserver.model.trace import EVENT_NAME, NUMBER, PARENT, PAYLOAD, SOURCE, TO, WAY, Said
from devserver.model.wire_form import form_of
from devserver.network.recorder import Recorder, rest_of, row_of

Needs = dict[str, frozenset[str]]
"""The keys that the payload of each event (by pattern) needs."""

LOOKS = (2.0, 10.0, 30.0)
"""Seconds after a change at which answers are looked at."""
_MOST_LOOKED_AT = 3000


class Contracts:
    """Arguments: `tell`, told facts; `begin` starts work without a waiting caller."""

    def __init__(
        self,
        network: AgentNetwork,
        recorder: Recorder,
        *,
        tell: Callable[[Fact], None],
        begin: Callable[[Coroutine[Any, Any, object]], None],
    ) -> None:
        self._network, self._recorder = network, recorder
        self._tell, self._begin = tell, begin
        self._heard: Mapping[str, tuple[str, ...]] = {}
        """The patterns of each mod, as of the last plan."""
        self._needed: dict[str, Needs] = {}
        """The keys that declared payloads need, by mod and event."""
        self._lost: dict[str, LostEvent] = {}
        self._needs: list[ShapeChange] = []
        self._told: set[ShapeChange] = set()
        self._shapes: Any = None
        self._looked_at = 0
        self._looking: asyncio.Task[None] | None = None

    def note(self, fact: Fact) -> None:
        """Note a plan that was carried out. Call it on the control side's loop; returns at once."""
        match fact:
            case PlanDone() if fact.plan.cause != RESTART:
                changed = [each.mod_id for each in fact.outcomes if each.status is Status.APPLIED]
                # A person who unloads a mod knows that it hears nothing any more; its users may not.
                unloads = any(each.action is Action.UNLOAD for each in fact.outcomes)
                new = [each for each in fact.outcomes if each.action in (Action.RELOAD, Action.LOAD)]
                brings = any(each.status is Status.APPLIED for each in new)
                is_start = fact.plan.cause == START
            case Restarted():
                # Its plans bring the mods back one after the other; what counts is all of them.
                changed = [each.mod_id for each in self._network.engine.registry.live]
                unloads, brings, is_start = False, True, False
            case _:
                return
        if not changed:
            return
        before, self._heard = self._heard, self._heard_now()
        needed = self._note_needs(changed)
        if not is_start and (before or self._lost):
            self._begin(self._after(before, needed, unloads=unloads, brings=brings))

    def pack(self) -> dict[str, Any]:
        """Return what the next image of this process compares its mods with, as plain values."""
        needed = {mod_id: {name: tuple(keys) for name, keys in own.items()} for mod_id, own in self._needed.items()}
        lost, needs = [asdict(each) for each in self._lost.values()], [asdict(each) for each in self._needs]
        return {"heard": dict(self._heard), "needed": needed, "lost": lost, "needs": needs}

    def unpack(self, packed: Mapping[str, Any]) -> None:
        """Continue after an earlier image of this process."""
        self._heard = packed["heard"]
        for mod_id, own in packed["needed"].items():
            self._needed[mod_id] = {name: frozenset(keys) for name, keys in own.items()}
        self._lost = {each["event_name"]: LostEvent(**each) for each in packed["lost"]}
        self._needs = [ShapeChange(**each) for each in packed["needs"]]

    async def current(self) -> dict[str, Any]:
        """Return the lost events and changed shapes at present."""
        if not self._heard:
            self._heard = self._heard_now()
            self._note_needs(self._heard)
        changed = await run_in_thread(self._looked)
        named = await run_in_thread(self._with_agents, [*self._needs, *changed])
        # Here and not above: most starts never need it.
        from devserver.replay.contract import Heard

        heard = Heard(_patterns(self._heard))
        lost = tuple(each for name, each in self._lost.items() if name not in heard)
        told: dict[str, Any] = form_of(ContractChanged(lost, tuple(named)))
        return told

    async def _after(
        self, before: Mapping[str, tuple[str, ...]], needed: tuple[Needs, Needs], *, unloads: bool, brings: bool
    ) -> None:
        # Here and not above: most starts never need it.
        from devserver.replay.contract import lost_events, newly_needed, with_agents

        # The rows of the former generation are in the ring now; those of the new one may drive them
        # out.
        changed_before = await run_in_thread(self._looked)
        self._told |= set(changed_before)
        # The table of a network whose mods hear what they heard is the same one.
        is_same, needs = before is self._heard, list(newly_needed(*needed))
        senders, receivers = ({}, {}) if is_same and not needs else await run_in_thread(self._senders_and_receivers)
        lost = [] if is_same else lost_events(_patterns(before), _patterns(self._heard), senders)
        lost = [each for each in lost if each.seen or not unloads]
        needs = with_agents(needs, senders, receivers)
        self._lost |= {each.event_name: each for each in lost}
        self._needs = [*self._needs, *needs][-100:]
        if lost or needs:
            self._tell(ContractChanged(tuple(lost), tuple(needs)))
        if brings:
            if self._looking is not None:
                self._looking.cancel()
            self._looking = asyncio.create_task(self._look_later())

    async def _look_later(self) -> None:
        for seconds in LOOKS:
            await asyncio.sleep(seconds)
            news = [each for each in await run_in_thread(self._looked) if each not in self._told]
            if news:
                self._told |= set(news)
                self._tell(ContractChanged((), tuple(await run_in_thread(self._with_agents, news))))

    def end(self) -> None:
        """Stop, at the end of the run."""
        if self._looking is not None:
            self._looking.cancel()

    def _heard_now(self) -> Mapping[str, tuple[str, ...]]:
        registry = self._network.engine.registry
        heard = registry.heard()
        # Its new host tells of a mod that has moved only a moment after it has left this one.
        left = {mod_id: self._heard[mod_id] for mod_id in registry.moved if mod_id in self._heard}
        return {**left, **heard} if left else heard

    def _note_needs(self, mods: Iterable[str]) -> tuple[Needs, Needs]:
        """Take in what these mods (ids) need now; return what they needed, and what they need."""
        before: Needs = {}
        now: Needs = {}
        for mod_id in mods:
            before |= self._needed.pop(mod_id, {})
            slot = self._network.engine.registry.find(mod_id)
            if slot is not None and slot.live is not None:
                self._needed[mod_id] = own = slot.live.handlers.needed()
                now |= own
        return before, now

    def _senders_and_receivers(self) -> tuple[dict[str, list[str | None]], dict[str, list[str]]]:
        """Return the senders and receivers of the kept events, the latest first. Blocks."""
        senders: dict[str, list[str | None]] = {}
        receivers: dict[str, list[str]] = {}
        for entry in self._recorder.newest():
            row = from_json(row_of(entry))
            senders.setdefault(row[EVENT_NAME], []).append(row[SOURCE])
            # Where many got it, the last one is a number.
            receivers.setdefault(row[EVENT_NAME], []).extend(each for each in row[TO] if isinstance(each, str))
        return senders, receivers

    def _with_agents(self, changes: list[ShapeChange]) -> list[ShapeChange]:
        from devserver.replay.contract import with_agents

        return with_agents(changes, *self._senders_and_receivers()) if changes else []

    def _looked(self) -> list[ShapeChange]:
        """Take in the events that have ended since, and return the changes. On a worker thread."""
        from devserver.replay.contract import Shapes

        self._shapes = shapes = self._shapes or Shapes()
        ended, entries = self._recorder.all()
        news = entries[: min(ended - self._looked_at, _MOST_LOOKED_AT)]
        self._looked_at = ended
        rows = {int(row[NUMBER]): (row, entry) for entry in reversed(news) if (row := from_json(row_of(entry)))}
        for row, entry in rows.values():
            if row[EVENT_NAME].startswith("system."):
                continue
            _add_answer(shapes, row, entry)
            _add_sent(shapes, row, entry, rows.get(row[PARENT]))
        return list(shapes.changed())


def _patterns(heard: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    # A handler of everything hears no event in particular.
    return tuple(dict.fromkeys(each for own in heard.values() for each in own if each != "*"))


def _add_answer(shapes: Any, row: list[Any], entry: bytes) -> None:
    from devserver.replay.contract import Observed

    answered = [each for each in row[WAY] if each[5] == Said.ANSWERED]
    answer = rest_of(entry).get("answer")
    if answered and answer is not None and answer[0] is True:
        mod_id, generation, *_ = answered[-1]
        shapes.add(Observed(mod_id, "answer", row[EVENT_NAME]), generation, answer[2])


def _add_sent(shapes: Any, row: list[Any], entry: bytes, parent: tuple[list[Any], bytes] | None) -> None:
    """Add the events that a handler has sent: to the generation of its own event."""
    from devserver.replay.contract import Observed

    payload = rest_of(entry).get("payload", row[PAYLOAD])
    if parent is None or not isinstance(payload, dict):
        return
    sender = str(row[SOURCE]).removeprefix("mod:").rpartition(".")[2]
    for mod_id, generation, *_ in parent[0][WAY]:
        if mod_id == sender:
            shapes.add(Observed(mod_id, "sends", row[EVENT_NAME]), generation, payload)
