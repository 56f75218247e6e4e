"""Runs one event through a network without other users, and observes its effects.

The network is the child's in the replay process, or that of a test. Nothing is delivered: the
outboxes afterwards hold what would have been.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import io
import pickle
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from devserver.agent_network import AgentNetwork
from devserver.live.generation import Generation
from devserver.model.encoding import from_json, to_json
from devserver.model.event import Event, EventResponse
from devserver.model.facts import ErrorFacts, Fact, ModError
from devserver.model.observation import (
    ANSWERED,
    MOST_PRINTED,
    PASSED,
    RAISED,
    Changed,
    Observation,
    Raised,
    Sent,
)
from devserver.model.principal import LOCAL
from devserver.network.compare import ABSENT, compare_at
from devserver.replay.plain import shown

TASKS_LAST = 0.05
"""Seconds that tasks of a handler may go on after the answer."""

MOST_COMPARED = 256 * 1024
"""The most bytes of an answer or a payload; larger ones are replaced by their digests."""


@dataclass(slots=True)
class _Seen:
    """The observations so far."""

    way: list[tuple[str, str]] = field(default_factory=list)
    sends: list[Sent] = field(default_factory=list)
    raised: list[Raised] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    states: dict[str, tuple[Generation, dict[Any, bytes | None]]] = field(default_factory=dict)
    """The former state of each asked mod: each key pickled by itself, None if it cannot."""


class Watched:
    """A network whose events are watched from now on. Its mods reach nothing outside of it."""

    def __init__(self, network: AgentNetwork) -> None:
        self._network = network
        self._seen = _Seen()
        self._with_state = True
        network.watch_events(self._through, self._sending, self._told)
        for name in ("load_mod", "unload_mod", "reload_mod"):
            setattr(network, name, self._refusing(name))

    async def run(
        self, event: Event, seconds: float, *, tasks_last: float = TASKS_LAST, with_state: bool = True
    ) -> Observation:
        """Run an event; return its observation. Raises TimeoutError if it does not end within so many seconds.

        `with_state`: also what it changes in states, which takes time with their size.
        """
        self._with_state = with_state
        network, seen = self._network, self._seen = self._network, _Seen()
        for agent in network.directory.agents():
            agent.outbox.take_nowait()  # what an earlier run, or the start of a mod, has left
        printed = io.StringIO()
        before = asyncio.all_tasks()
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            began = time.perf_counter()
            async with asyncio.timeout(seconds):
                answer = await network.ingest(event, LOCAL)
            took = time.perf_counter() - began
            await self._end_tasks(asyncio.all_tasks() - before, tasks_last)
        told = {
            agent.agent_id: tuple(each.event.event_name for each in agent.outbox.take_nowait())
            for agent in network.directory.agents()
        }
        return Observation(
            success=answer.success,
            message=answer.message,
            data=on_wire(answer.data),
            way=tuple(seen.way),
            sends=tuple(seen.sends),
            told={agent_id: names for agent_id, names in sorted(told.items()) if names},
            changed={mod_id: found for mod_id in seen.states if with_state and (found := self._changes(mod_id))},
            raised=tuple(seen.raised),
            refused=tuple(seen.refused),
            printed=printed.getvalue()[:MOST_PRINTED],
            took_us=int(took * 1e6),
            at=time.time(),
            generations={mod_id: generation.number for mod_id, (generation, _) in seen.states.items()},
            notes=tuple(seen.notes),
        )

    async def _end_tasks(self, tasks: set[asyncio.Task[Any]], seconds: float) -> None:
        """Let tasks of handlers go on for a moment, then cut them."""
        if not tasks:
            return
        done, pending = await asyncio.wait(tasks, timeout=seconds)
        for each in done:
            error = None if each.cancelled() else each.exception()
            if error is not None:
                self._seen.raised.append(Raised(each.get_name(), type(error).__name__, str(error)))
        if pending:
            self._seen.notes.append(f"{len(pending)} task{'s' * (len(pending) > 1)} cut after {seconds * 1000:.0f} ms")
            for each in pending:
                each.cancel()
            await asyncio.wait(pending, timeout=seconds)

    # What the network tells

    def _through(self, ask: Callable[..., Awaitable[EventResponse | None]]) -> Callable[..., Any]:
        """Have each mod asked so that it is observed."""

        async def asked(generation: Generation | None, event: Event, *rest: Any) -> EventResponse | None:
            if generation is None or not generation.handlers.find(event.event_name):
                return await ask(generation, event, *rest)
            seen = self._seen
            if generation.mod_id not in seen.states:
                state = generation.kept if self._with_state else {}
                seen.states[generation.mod_id] = (generation, _frozen(state))
            place, failed = len(seen.way), generation.failed
            seen.way.append((generation.mod_id, PASSED))
            answer = await ask(generation, event, *rest)
            if answer is not None:
                seen.way[place] = (generation.mod_id, ANSWERED)
            elif generation.failed > failed:
                seen.way[place] = (generation.mod_id, RAISED)
            return answer

        return asked

    async def _sending(self, event: Event) -> None:
        source, target = event.source_id, event.destination_id
        self._seen.sends.append(Sent(event.event_name, source, target, on_wire(event.payload)))

    def _told(self, fact: Fact) -> None:
        if isinstance(fact, ModError):
            self._seen.raised.append(_raised(fact.mod_id, fact.error))

    def _refusing(self, name: str) -> Callable[..., Awaitable[EventResponse]]:
        async def refuse(mod: str, *_: Any, **__: Any) -> EventResponse:
            self._seen.refused.append(f"{name} {mod}")
            return EventResponse(False, f"a replay changes no mods: {name} was refused")

        return refuse

    # State

    def _changes(self, mod_id: str) -> tuple[Changed, ...]:
        generation, before = self._seen.states[mod_id]
        after = _frozen(generation.kept)
        found: list[Changed] = []
        for key in (*before, *(each for each in after if each not in before)):
            if key in before and key in after and before[key] is not None and before[key] == after[key]:
                continue
            was = before.get(key)
            one = ABSENT if was is None else shown(pickle.loads(was))
            two = shown(generation.kept[key]) if key in after else ABSENT
            found += [Changed(*each) for each in compare_at((str(key),), one, two)]
        return tuple(found)


def _frozen(state: Mapping[Any, Any]) -> dict[Any, bytes | None]:
    frozen: dict[Any, bytes | None] = {}
    for key, value in list(state.items()):
        try:
            frozen[key] = pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
        except Exception:
            # Values that cannot be pickled, as a lock, are not followed: a run that ends with this
            # process changes no other.
            frozen[key] = None
    return frozen


def _raised(mod_id: str, error: ErrorFacts) -> Raised:
    where = error.where
    if where is None:
        return Raised(mod_id, error.kind, error.message)
    return Raised(mod_id, error.kind, error.message, file=where.file, line=where.line, function=where.function)


def on_wire(value: Any) -> Any:
    """Return a value as agents get it; of a large one its digest."""
    data = to_json(value)
    if len(data) > MOST_COMPARED:
        return f"{len(data):,} bytes, SHA-256 {hashlib.sha256(data).hexdigest()}"
    return from_json(data)


def with_numbers(seen: Observation, numbers: Mapping[str, int]) -> Observation:
    """Return an observation with the numbers of generations in the network that people know."""
    return replace(seen, generations={mod: numbers.get(mod, number) for mod, number in seen.generations.items()})
