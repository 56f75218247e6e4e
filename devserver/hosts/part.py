"""A host's part of the groups that another one has planned: it builds, prepares, votes, and does what is decided.

The table of what it does when is `decision.HOST`. Runs on the control loop.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from devserver.errors import DevServerError
from devserver.hosts import move
from devserver.hosts.code import BadCode, Copies
from devserver.hosts.decision import At, Came, Do, Word, step
from devserver.hosts.follow import Followed, Key, Row
from devserver.hosts.link import Conflict, Link, Listening, Message
from devserver.hosts.members import Member, Members
from devserver.hosts.names import Names
from devserver.hosts.parts import (
    Part,
    failure_from,
    failure_to_dict,
    part_from,
    ran_to_dict,
    sources_to_dict,
    state_from,
    state_to_dict,
)
from devserver.hosts.seats import DECIDES_AFTER
from devserver.hosts.work import Work
from devserver.model.change import PartAsked
from devserver.model.encoding import to_json
from devserver.model.facts import ErrorFacts, Outcome, Status
from devserver.model.lifecycle import Phase
from devserver.model.names import module_of
from devserver.model.plan import Plan
from devserver.model.wire_form import form_of
from devserver.reload.carried import Candidate
from devserver.reload.elsewhere import FailedElsewhere, StepEnded
from devserver.reload.engine import Engine
from devserver.transports.strict import Malformed, parse_object

_CATCHES_UP = 5.0
"""Seconds that an event waits for a host which may have missed a plan."""

_LOOK = 0.25
"""Seconds between looks at whether the author is still there."""


_PIECE = 512 * 1024
"""Characters of a copy of a state that travel at once."""


class Follower:
    """The parts of this host. `author` gives the name of the host that has network.yaml."""

    def __init__(
        self,
        link: Link,
        names: Names,
        members: Members,
        *,
        decisions: Followed,
        copies: Copies,
        engine: Engine,
        author: Callable[[], str],
    ) -> None:
        self.author = author
        self.link, self.names, self.members = link, names, members
        self.decisions, self.copies, self.engine = decisions, copies, engine
        self.parts: dict[int, Carrying] = {}
        self.adrift: dict[int, Part] = {}
        """The groups that this host has voted for, and whose decision it does not know."""
        self.opened = 0
        """The last revision that serves here."""
        self.ordered: Callable[[Sequence[str]], None] = lambda order: None
        """Told the order of all mods of the network."""
        self.settled: Callable[[], Awaitable[object]] = lambda: asyncio.sleep(0)
        """Waits until this host knows which mods are still its own, after it was cut off."""
        self.tell_seats: Callable[[], Awaitable[int]] = _none_to_tell
        """Has all hosts know which mods run here; the revision of what was written of that."""
        self._copied: dict[str, tuple[str, str]] = {}
        """The last copy of the state of each mod (by module): its digest, and the copy as text."""
        self._listening: Listening | None = None
        self._work = Work()
        self._settled = asyncio.Event()
        self._settled.set()
        self._current = asyncio.Event()
        """Set while this host has missed no plan, as far as the author has said."""

    async def begin(self) -> None:
        """Be asked from now on. Raises EngineAway."""
        self.decisions.on_change.append(self._decided)
        self.members.on_come.append(self._came)
        self.link.on_away.append(self._cut)
        self.link.on_back.append(self._back)
        self._listening = await self.link.subscribe(self.names.plan(self.members.host), self._heard)

    async def end(self) -> None:
        """Be asked no more."""
        if self._listening is not None:
            await self._listening.end()
        await self._work.end()

    def is_ready(self, met: int) -> bool:
        """Return whether `ready` would wait for nothing."""
        return met <= self.opened and self._settled.is_set()

    async def ready(self, met: int) -> None:
        """Wait until an event that has met this revision elsewhere can meet no code here from before it."""
        if met > self.decisions.revision and str(met) not in {key[0] for key in self.decisions.rows}:
            await self.decisions.look()
        await self._settled.wait()
        if met > self.opened and not self._current.is_set():
            try:
                await asyncio.wait_for(self._current.wait(), _CATCHES_UP)
            except TimeoutError:
                return  # the author is gone: no host can bring what was missed

    # What is heard

    async def _heard(self, message: Message) -> None:
        self._work.begin(self._answer(message))

    async def _answer(self, message: Message) -> None:
        try:
            values = parse_object(message.data)
            answer = await self._do(str(values.pop("phase", "")), values)
        except (Malformed, LookupError, TypeError, ValueError) as error:
            answer = {"vote": "no", "why": f"the part cannot be read: {error}"}
        try:
            await self.link.publish(message.reply, to_json(answer))
        except DevServerError:
            return  # who has asked does not hear it, and decides without this host

    async def _do(self, phase: str, values: dict[str, Any]) -> dict[str, Any]:
        if phase == "tell":
            await self.settled()
            return self._told(())
        if phase == "copy":
            return await self._copy(str(values["mod"]), values)
        if phase == "current":
            self._current.set()
            return {}
        if phase == "build":
            part = part_from(values)
            if part.order is not None:
                self.ordered(part.order)
            for old in sorted(self.parts)[:-8]:
                del self.parts[old]
            carrying = self.parts[part.revision] = Carrying(self, part, values.get("code"))
            carrying.task = asyncio.ensure_future(carrying.run())
            return await carrying.built
        asked = self.parts.get(int(values["revision"]))
        if asked is None:
            return {"vote": "no", "why": "this host knows nothing of that part: it was started again"}
        if phase == "prepare":
            asked.states = {str(path): state_from(each) for path, each in dict(values.get("states") or {}).items()}
            asked.comes(Came.PREPARE)
            return await asked.ready
        asked.hear(values)
        outcomes = await asyncio.shield(asked.task) if asked.task is not None else ()
        # Before the answer: who has asked knows then where the mods are.
        return {**self._told(outcomes), "seats": await self.tell_seats()}

    async def _copy(self, path: str, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return a piece of the state of a mod, as it was for the pieces before; nothing of what is known."""
        at = int(values["at"])
        if at == 0:
            slot = self.engine.registry.find(path)
            if slot is None or slot.live is None:
                return {}
            state = await self.engine.home.run(move.copied, slot.live)
            text = json.dumps(state_to_dict(state))
            self._copied[path] = hashlib.sha256(text.encode()).hexdigest(), text
        digest, text = self._copied.get(path, ("", ""))
        if digest in ("", values["known"]):
            return {"digest": digest}
        return {"digest": digest, "size": len(text), "text": text[at : at + _PIECE]}

    def _told(self, outcomes: Sequence[Outcome]) -> dict[str, Any]:
        live = [self.engine.knowledge.ran(module_of(each.mod_path)) for each in self.engine.registry.live]
        workspace = self.engine.roots.workspace
        return {
            "outcomes": [form_of(each) for each in outcomes],
            "ran": [ran_to_dict(each, workspace) for each in live if each is not None],
        }

    def _decided(self, key: Key, before: Row | None, after: Row | None) -> None:
        if len(key) != 1 or not key[0].isdecimal() or after is None:
            return
        part = self.parts.get(int(key[0]))
        if part is not None:
            part.hear(after.values)

    def _came(self, member: Member, away: float | None) -> None:
        if member.host == self.author():
            # It may have carried out plans without this host meanwhile, and says when nothing is missing any more.
            self._current.clear()

    def _cut(self) -> None:
        self._current.clear()
        for part in self.parts.values():
            part.comes(Came.CUT)

    async def _back(self, seconds: float) -> None:
        for revision in sorted(self.adrift):
            self._work.begin(self._follow(revision))

    # Decisions that this host has missed

    def drift(self, part: Part) -> None:
        """Voted, and cut off: the old generation serves what is local, until it is known what was decided."""
        self.adrift[part.revision] = part
        self._settled.clear()

    async def _follow(self, revision: int) -> None:
        """Read what was decided, or decide; and carry it out."""
        word = await self.ask_abort(revision)
        part = self.adrift.get(revision)
        if word is None or part is None:
            return
        del self.adrift[revision]
        if word is Word.COMMIT:
            await self.engine.submit(PartAsked(await self.plan_of(part), None, part.numbers))
            self.opened = max(self.opened, revision)
        if not self.adrift:
            self._settled.set()

    async def plan_of(self, part: Part, code: Mapping[str, Any] | None = None) -> Plan:
        """Fetch the code of a part, as far as it did not come along (`code`), and return the part as a plan
        of this host. It loads what it cannot undo: the former sources came along. Raises BadCode,
        EngineAway and others."""
        copies = self.copies
        fetched = await copies.fetch(part.revision, code)
        known = {copies.folder / path: copies.files.get(path) for path in part.changed}
        plan = part.plan(self.engine.roots.workspace, {**known, **fetched})
        can = plan.undo and self.engine.knowledge.undoing.can_undo((each.mod_id for each in part.steps), redo=plan.redo)
        return plan if can or not plan.undo else replace(plan, undo=False, redo=False)

    async def ask_abort(self, revision: int) -> Word | None:
        """Ask for an abort, and return what stands then; None where the engine cannot be reached."""
        try:
            await self.decisions.put((str(revision),), {"word": Word.ABORT.value, "by": self.members.host}, last=0)
            return Word.ABORT
        except Conflict:  # a decision stands, which is read below
            pass
        except DevServerError:
            return None
        try:
            await self.decisions.read()
        except DevServerError:
            return None
        row = self.decisions.get(str(revision))
        return None if row is None else Word(str(row.values.get("word")))


class Carrying:
    """One part on its way: the `reload.elsewhere.Pact` of this host."""

    def __init__(self, follower: Follower, part: Part, code: Mapping[str, Any] | None) -> None:
        loop = asyncio.get_running_loop()
        self._code = code
        self._follower, self.part = follower, part
        self.at = At.BUILDING
        self.states: Mapping[str, Any] = {}
        """The states of the mods that come here, by module."""
        self.built: asyncio.Future[dict[str, Any]] = loop.create_future()
        self.ready: asyncio.Future[dict[str, Any]] = loop.create_future()
        self.task: asyncio.Future[Sequence[Outcome]] | None = None
        self._moved = asyncio.Event()
        self._why: tuple[str, ErrorFacts] = "", ErrorFacts("Aborted", "another host has aborted it")

    def comes(self, came: Came) -> Do:
        """Go on by the table."""
        self.at, do = step(self.at, came)
        self._moved.set()
        return do

    def hear(self, row: Mapping[str, Any]) -> None:
        """What was decided is known."""
        if "error" in row:
            self._why = failure_from(row)
        if row.get("word") in tuple(Word):
            self.comes(Came(str(row["word"])))

    async def run(self) -> Sequence[Outcome]:
        """Carry the part out, to whichever end."""
        follower, engine = self._follower, self._follower.engine
        try:
            plan = await follower.plan_of(self.part, self._code)
            self._code = None
        except (BadCode, DevServerError) as error:
            self._vote_no(self.part.steps[0].mod_id if self.part.steps else "", ErrorFacts("BadCode", str(error)))
            return ()
        try:
            done = await engine.submit(PartAsked(plan, self, self.part.numbers, cause=self.part.cause))
        except Exception as error:
            self._vote_no("", ErrorFacts(type(error).__name__, str(error)))
            raise
        if self.at is At.COMMITTED:
            follower.opened = max(follower.opened, self.part.revision)
        failed = next((each for each in done.outcomes if each.status is not Status.APPLIED), None)
        if failed is not None:
            facts = failed.error or ErrorFacts("Skipped", failed.reason)
            self._vote_no(failed.mod_id, facts, sources_to_dict(engine.touched, engine.roots.workspace))
        return done.outcomes

    def _vote_no(self, mod_id: str, facts: ErrorFacts, touched: Mapping[str, Any] | None = None) -> None:
        self.comes(Came.FAILED)
        no = {"vote": "no", "touched": dict(touched or {}), **failure_to_dict(mod_id, facts)}
        for each in (self.built, self.ready):
            if not each.done():
                each.set_result(no)

    # The pact

    async def before(self, phase: Phase, candidates: Sequence[Candidate]) -> None:
        """As of `Pact`: vote, and wait for what the others say."""
        if phase is Phase.GATE:
            self.comes(Came.DONE)
            self.built.set_result({"vote": Do.VOTE_BUILT.value})
            limits = self._follower.engine.limits
            await self._until((At.PREPARING,), limits.imports + DECIDES_AFTER)
            for path, state in self.states.items():
                give = partial(move.give, state=state, limit=limits.initialize)
                self._follower.engine.moving[path] = give
            return
        states = await self._pack(candidates)
        for each in candidates:
            if each.slot is not None and each.step.leaves:
                each.slot.host = each.step.leaves  # what waits at its gate is asked there
        self.comes(Came.DONE)
        self.ready.set_result({"vote": Do.VOTE_READY.value, "states": states})
        await self._until((At.COMMITTED,), DECIDES_AFTER)

    async def _until(self, wanted: Sequence[At], seconds: float) -> None:
        """Wait for the word. Raises FailedElsewhere where it is another one."""
        began = time.monotonic()
        while self.at not in wanted:
            if self.at is At.ADRIFT:
                self._follower.drift(self.part)
                facts = ErrorFacts("EngineAway", "the engine is unreachable; what was decided is carried out later")
                raise FailedElsewhere("", facts)
            if self.at is At.ABORTED:
                raise FailedElsewhere(*self._why)
            self._moved.clear()
            try:
                await asyncio.wait_for(self._moved.wait(), _LOOK)
            except TimeoutError:
                await self._look(time.monotonic() - began, seconds)

    async def _look(self, waited: float, seconds: float) -> None:
        """Ask for an abort where the author is gone, or takes longer than all of its work may."""
        follower = self._follower
        limits = follower.engine.limits
        is_gone = not follower.members.alive(follower.author())
        if waited < seconds or (not is_gone and waited < limits.exclusive_drain + limits.initialize + seconds):
            return
        if self.comes(Came.WAITED) is Do.ASK_ABORT:
            word = await follower.ask_abort(self.part.revision)
            if word is not None:
                self.comes(Came(word.value))

    async def _pack(self, candidates: Sequence[Candidate]) -> dict[str, Any]:
        """The states of the mods that leave this host for another one."""
        engine, found = self._follower.engine, {}
        room = move.room_in(self._follower.link.most_bytes)
        for each in candidates:
            if each.step.leaves and each.old is not None:
                state = await engine.home.run(move.packed, each.old, engine.limits.initialize, room)
                room -= move.weight_of(state)
                found[module_of(each.step.mod_path)] = state_to_dict(state)
        return found

    async def end(self, failure: ErrorFacts | None, mod_id: str) -> Sequence[StepEnded]:
        """As of `Pact`: nothing happens elsewhere on behalf of this host."""
        return ()


async def _none_to_tell() -> int:
    return 0
